import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildModel } from '../../scripts/generate-model/model.ts';
import { writeTables } from '../../scripts/generate-model/write-tables.ts';
import { writeTypes } from '../../scripts/generate-model/write-types.ts';
import { schemas113 } from '../support/libvirt-schemas.ts';

const generated = (name: string): string =>
  readFileSync(join(import.meta.dirname, '../../src/model', `${name}.gen.ts`), 'utf8');

describe.skipIf(schemas113 === undefined)('the generator, from libvirt 11.3’s schemas', () => {
  it('writes exactly what is checked in', () => {
    const model = buildModel(schemas113 ?? '');
    expect(writeTables(model) === generated('tables')).toBe(true);
    expect(writeTypes(model) === generated('types')).toBe(true);
  });
});

/** A small grammar with what libvirt's schemas use. */
const grammar = (content: string): string =>
  `<grammar xmlns="http://relaxng.org/ns/structure/1.0" datatypeLibrary="http://www.w3.org/2001/XMLSchema-datatypes">${content}</grammar>`;

describe('the generator, from a schema', () => {
  let folder: string;
  const kinds = [
    'domain',
    'domainsnapshot',
    'domaincheckpoint',
    'network',
    'networkport',
    'storagepool',
    'storagevol',
    'nwfilter',
    'secret',
    'nodedev',
  ];

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'virtctl-rng-'));
    for (const kind of kinds) {
      writeFileSync(join(folder, `${kind}.rng`), grammar(`<start><element name="${kind}"><empty/></element></start>`));
    }
  });

  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  /** The row of the domain's type in the tables for this content of `<domain>`. */
  function rowOf(content: string, definitions = ''): string {
    const start = `<start><element name="domain">${content}</element></start>`;
    writeFileSync(join(folder, 'domain.rng'), grammar(start + definitions));
    return /"Domain ?([^"]*)"/.exec(writeTables(buildModel(folder)))?.[1] ?? '';
  }

  it.each([
    ['<zeroOrMore><element name="a"><empty/></element></zeroOrMore>', 'a*/1'],
    ['<oneOrMore><element name="a"><empty/></element></oneOrMore>', 'a*!/1'],
    ['<group><ref name="a"/><ref name="a"/></group>', 'a*!/1'],
    ['<choice><ref name="a"/><group><ref name="a"/></group></choice>', 'a!/1'],
    ['<optional><interleave><ref name="a"/><element name="b"><empty/></element></interleave></optional>', 'a/1 b/2'],
  ])('knows what may repeat and what must be there: %s', (content, expected) => {
    expect(rowOf(content, '<define name="a"><element name="a"><empty/></element></define>')).toBe(expected);
  });

  it('puts attributes first and children in the order of ordered groups', () => {
    const child = (name: string): string => `<element name="${name}"><empty/></element>`;
    expect(
      rowOf(
        `<optional>${child('b')}</optional><attribute name="x"/><interleave>${child('c')}${child('d')}</interleave>`,
      ),
    ).toBe('x!@0 b/1 c!/2 d!/3');
    expect(rowOf(`<choice>${child('b')}<group>${child('a')}${child('b')}</group></choice>`)).toBe('a/1 b!/2');
  });

  it('combines definitions and overrides included ones', () => {
    writeFileSync(
      join(folder, 'base.rng'),
      grammar('<define name="a"><notAllowed/></define><define name="b"><attribute name="old"/></define>'),
    );
    const definitions =
      '<include href="base.rng"><define name="b"><attribute name="new"/></define></include>' +
      '<define name="a" combine="choice"><attribute name="extra"/></define>';
    expect(rowOf('<optional><ref name="a"/></optional><ref name="b"/>', definitions)).toBe('extra@0 new!@0');
  });

  it('closes recursive definitions', () => {
    const definitions = '<define name="a"><element name="a"><optional><ref name="a"/></optional></element></define>';
    expect(rowOf('<ref name="a"/>', definitions)).toBe('a!/1');
  });

  it('leaves out what can never match', () => {
    expect(rowOf('<optional><element name="a"><notAllowed/></element></optional>')).toBe('');
  });

  it('renames a child that shares its name with an attribute', () => {
    const both = '<optional><attribute name="a"/></optional><element name="a"><empty/></element>';
    expect(rowOf(both)).toBe('a@0 aConfig=a!/1');
    expect(rowOf('<attribute name="a"/><zeroOrMore><element name="a"><empty/></element></zeroOrMore>')).toBe(
      'a!@0 as=a*/1',
    );
  });

  it('inherits namespaces for elements and not for attributes', () => {
    const uri = 'http://libvirt.org/schemas/domain/qemu/1.0';
    expect(rowOf(`<element name="a" ns="${uri}"><attribute name="b"/></element>`)).toBe('qemu:a!/1');
  });
});
