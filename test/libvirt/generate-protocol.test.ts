import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { generateConstants } from '../../scripts/generate-libvirt-constants.ts';
import { generateProtocol } from '../../scripts/generate-protocol.ts';
import { emptyDefinitions, parseXdr } from '../../scripts/xdr-language.ts';
import { DomainEventID, DomainState, DomainXMLFlags, ErrorNumber } from '../../src/libvirt/constants.gen.ts';

const root = resolve(import.meta.dirname, '../..');
const definitions = resolve(root, '../shared/libvirt-protocol-11.3');
const description = '/usr/share/libvirt/api';

describe('the protocol generator', () => {
  it.skipIf(!existsSync(definitions))('reproduces protocol.gen.ts', () => {
    expect(generateProtocol(definitions)).toBe(readFileSync(resolve(root, 'src/libvirt/protocol.gen.ts'), 'utf8'));
  });

  it('reads every kind of definition', () => {
    const found = emptyDefinitions();
    const text = `
      %#include "x.h"
      const MAX = 0x10;
      enum colour { RED = 0, /** @readstream: 1 */ GREEN = 1 };
      typedef string name<MAX>; typedef name *maybe; typedef opaque uuid[16];
      struct thing { unsigned hyper big; unsigned plain; name names<MAX>; maybe one; int *pointer; };
      union value switch (int type) { case RED: int i; case GREEN: hyper h; };`;
    parseXdr(text, 'x.x', found);
    expect(found.structs.get('thing')).toEqual([
      { name: 'big', type: 'unsigned hyper', shape: 'one' },
      { name: 'plain', type: 'unsigned int', shape: 'one' },
      { name: 'names', type: 'name', shape: 'variable', size: 'MAX' },
      { name: 'one', type: 'maybe', shape: 'one' },
      { name: 'pointer', type: 'int', shape: 'optional' },
    ]);
    expect(found.enums.get('colour')?.[1]?.annotations.get('readstream')).toBe('1');
    expect(found.unions.get('value')).toHaveLength(2);
    expect(found.constants.get('MAX')).toBe('0x10');
  });

  it('says file and line of what it does not understand', () => {
    expect(() => parseXdr('const A = 1;\nstruct { int a; };', 'bad.x', emptyDefinitions())).toThrow(
      /^bad\.x:2: expected a name/,
    );
    expect(() => parseXdr('struct a { int', 'bad.x', emptyDefinitions())).toThrow(/bad\.x:1: unexpected end/);
  });
});

describe('the constants generator', () => {
  it.skipIf(!existsSync(`${description}/libvirt-api.xml`))('reproduces constants.gen.ts', () => {
    expect(generateConstants(description)).toBe(readFileSync(resolve(root, 'src/libvirt/constants.gen.ts'), 'utf8'));
  });

  it('wrote the numbers of libvirt.h', () => {
    expect([DomainState.RUNNING, DomainState.SHUTOFF, DomainXMLFlags.INACTIVE]).toEqual([1, 5, 2]);
    expect([ErrorNumber.NO_DOMAIN, ErrorNumber.OPERATION_INVALID, DomainEventID.NIC_MAC_CHANGE]).toEqual([42, 55, 27]);
  });
});
