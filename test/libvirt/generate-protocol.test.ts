import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { generateConstants } from '../../scripts/generate-libvirt-constants.ts';
import { generateProtocol } from '../../scripts/generate-protocol.ts';
import { emptyDefinitions, parseXdr } from '../../scripts/xdr-language.ts';
import { DomainEventID, DomainState, DomainXMLFlags, ErrorNumber } from '../../src/libvirt/constants.gen.ts';
import { makeTestFolder } from '../support/test-folder.ts';

const root = resolve(import.meta.dirname, '../..');
const definitions = resolve(root, '../shared/libvirt-protocol-11.3');
const description = '/usr/share/libvirt/api';

/** `Type.NAME` to value, of a generated text. */
function constantsOf(text: string): Map<string, string> {
  const found = new Map<string, string>();
  let type = '';
  for (const [, name, key, value] of text.matchAll(/^export const (\w+) = \{$|^ {2}'?(\w+)'?: (-?\d+),$/gm)) {
    if (name !== undefined) type = name;
    else if (key !== undefined && value !== undefined) found.set(`${type}.${key}`, value);
  }
  return found;
}

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
  it.skipIf(!existsSync(`${description}/libvirt-api.xml`))(
    'agrees with the description installed here, of any version',
    () => {
      const ours = constantsOf(readFileSync(resolve(root, 'src/libvirt/constants.gen.ts'), 'utf8'));
      const theirs = constantsOf(generateConstants(description));
      const shared = [...ours].filter(([name]) => theirs.has(name));
      expect(shared.length).toBeGreaterThan(900);
      expect(shared.filter(([name, value]) => theirs.get(name) !== value)).toEqual([]);
    },
  );

  it('names types, prefixes and warnings, and adds what later versions brought', () => {
    const folder = makeTestFolder('api');
    const line = (name: string, value: number, type: string): string =>
      `<enum name='${name}' file='libvirt-x' value='${value}' value_hex='0x1' type='${type}' version='1' info='x'/>\n`;
    writeFileSync(
      join(folder, 'libvirt-api.xml'),
      [
        line('VIR_THING_OFF', 0, 'virThing'),
        line('VIR_THING_ON', 1, 'virThing'),
        line('VIR_THING_LAST', 2, 'virThing'),
        line('VIR_WARN_NO_NETWORK', 41, 'virErrorNumber'),
      ].join(''),
    );
    writeFileSync(join(folder, 'libvirt-qemu-api.xml'), '');
    const found = constantsOf(generateConstants(folder));
    expect(found.get('Thing.ON')).toBe('1');
    expect(found.has('Thing.LAST')).toBe(false);
    expect(found.get('ErrorNumber.WARN_NO_NETWORK')).toBe('41');
    expect(found.get('ErrorNumber.AGENT_COMMAND_TIMEOUT')).toBe('112');
  });

  it('wrote the numbers of libvirt.h', () => {
    expect([DomainState.RUNNING, DomainState.SHUTOFF, DomainXMLFlags.INACTIVE]).toEqual([1, 5, 2]);
    expect([ErrorNumber.NO_DOMAIN, ErrorNumber.OPERATION_INVALID, DomainEventID.NIC_MAC_CHANGE]).toEqual([42, 55, 27]);
  });
});
