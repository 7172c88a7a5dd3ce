import { describe, expect, it } from 'vitest';
import { InvalidInputError } from '../../src/base/errors.ts';
import { canonicalXml, xmlDifferences } from '../../src/xml/canonical.ts';
import { decodeXml } from '../../src/xml/decode.ts';
import { parseElement } from '../../src/xml/element.ts';
import { readFragment } from '../../src/xml/fragment.ts';
import { lineAndColumn } from '../../src/xml/position.ts';

const same = (one: string, other: string): boolean =>
  canonicalXml(parseElement(one)) === canonicalXml(parseElement(other));

describe('two documents', () => {
  it.each([
    ['<a><!-- c --><b/>\n</a>', '<a><b></b></a>'],
    ['<a x="1" y="2"/>', "<a y='2' x='1'/>"],
    ['<a><b i="1"/><c/><b i="2"/></a>', '<a><c/><b i="1"/><b i="2"/></a>'],
    ['<a><![CDATA[<]]>&#65;</a>', '<a>&lt;A</a>'],
    ['<p:a xmlns:p="u"/>', '<a xmlns="u" xmlns:other="v"/>'],
  ])('say the same: %s %s', (one, other) => {
    expect(same(one, other)).toBe(true);
    expect(xmlDifferences(parseElement(one), parseElement(other))).toEqual([]);
  });

  it.each([
    ['<a><b i="1"/><b i="2"/></a>', '<a><b i="2"/><b i="1"/></a>', '/a/b[1]/@i'],
    ['<a x="1"/>', '<a/>', '/a/@x'],
    ['<a/>', '<a><b/></a>', '/a/b'],
    ['<a>b</a>', '<a>c</a>', '/a'],
    ['<a> b</a>', '<a>b</a>', '/a'],
    ['<a/>', '<a xmlns="u"/>', '/'],
    ['<a b="c"/>', '<a p:b="c" xmlns:p="u"/>', '/a/@b'],
  ])('differ: %s %s', (one, other, path) => {
    expect(same(one, other)).toBe(false);
    expect(xmlDifferences(parseElement(one), parseElement(other))[0]?.path).toBe(path);
  });
});

describe('bytes', () => {
  it('are read as UTF-8, with or without a byte order mark', () => {
    expect(decodeXml(new TextEncoder().encode('<é/>'))).toBe('<é/>');
    expect(parseElement(decodeXml(Uint8Array.from([0xef, 0xbb, 0xbf, 0x3c, 0x61, 0x2f, 0x3e]))).name).toBe('a');
  });

  it.each([
    ['UTF-16 LE', [0xff, 0xfe, 0x3c, 0]],
    ['UTF-16 BE', [0xfe, 0xff, 0, 0x3c]],
    ['UTF-16 without a mark', [0x3c, 0, 0x61, 0]],
    ['Latin-1', [0x3c, 0x61, 0x3e, 0xe9]],
  ])('are refused in %s', (_, bytes) => {
    expect(() => decodeXml(Uint8Array.from(bytes), 'a.xml')).toThrow(InvalidInputError);
  });
});

describe('a fragment', () => {
  it.each(['<a/>', '<a/><b/>', 'text', '<p:a/>', '<!-- c --><a/>', '', '<a><![CDATA[]]></a>'])(
    'is taken: %s',
    (xml) => {
      expect(readFragment(xml)).toEqual({ hasText: xml === 'text' });
    },
  );

  it.each(['<a>', '</a>', '</x><x>', '<?xml version="1.0"?><a/>', '<!DOCTYPE a>', '&b;', '<'])(
    'is refused: %s',
    (xml) => {
      expect(readFragment(xml)).toBeTypeOf('string');
    },
  );
});

describe('a position', () => {
  it.each([
    [0, 1, 1],
    [2, 1, 3],
    [3, 2, 1],
    [5, 3, 1],
    [99, 3, 2],
  ])('of offset %i is line %i, column %i', (offset, line, column) => {
    expect(lineAndColumn('ab\nc\nd', offset)).toEqual({ line, column });
  });
});
