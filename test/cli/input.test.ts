import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { decodeText } from '../../src/cli/input/decode-text.ts';
import { listInputs } from '../../src/cli/input/list-inputs.ts';
import { readDocuments, XmlDocument } from '../../src/cli/input/read-documents.ts';
import { readInput } from '../../src/cli/input/read-input.ts';
import { ObjectDocument } from '../../src/cli/input/source-document.ts';
import { splitXml } from '../../src/cli/input/split-xml.ts';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'virtctl-input-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const values = (file: string, text: string): unknown[] =>
  [...readDocuments(file, text)].map((document) =>
    document instanceof ObjectDocument
      ? document.value
      : document instanceof XmlDocument
        ? document.text
        : document.message,
  );

describe('decoding', () => {
  it('drops a byte order mark', () => {
    expect(decodeText('a', Buffer.from('\ufeffa: 1'))).toBe('a: 1');
  });

  it('names the place of the first byte that is not UTF-8', () => {
    const bytes = Buffer.concat([Buffer.from('a: 1\nb: "ü'), Buffer.from([0xfc]), Buffer.from('"\n')]);
    expect(() => decodeText('a.yaml', bytes)).toThrow('a.yaml:2:6: the byte 0xfc is not UTF-8 text');
  });

  it('reads XML in the encoding that it declares', () => {
    const bytes = Buffer.from("<?xml version='1.0' encoding='ISO-8859-1'?><a>ü</a>", 'latin1');
    expect(decodeText('a.xml', bytes)).toContain('<a>ü</a>');
    expect(decodeText('a.xml', Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from('<a/>', 'utf16le')]))).toBe(
      '<a/>',
    );
    expect(() => decodeText('a.xml', Buffer.from("<?xml version='1.0' encoding='x-none'?><a>ü</a>", 'latin1'))).toThrow(
      'x-none',
    );
  });
});

describe('reading documents', () => {
  it('tells XML, JSON and YAML by the content', () => {
    expect(values('a', '<a/>')).toEqual(['<a/>']);
    expect(values('a', '{"a": 1}')).toEqual([{ a: 1 }]);
    expect(values('a', '{a: on}')).toEqual([{ a: true }]);
    expect(values('a', 'a: 1')).toEqual([{ a: 1 }]);
  });

  it('reads several JSON documents and their Lists', () => {
    expect(values('a', '{"a": 1}\n{"kind": "List", "items": [{"b": 2}, {"c": 3}]}')).toEqual([
      { a: 1 },
      { b: 2 },
      { c: 3 },
    ]);
  });

  it('keeps integers of JSON exact', () => {
    expect(values('a', '{"a": 18446744073709551615, "b": 1.5, "c": -0, "d": 1e3}')).toEqual([
      { a: '18446744073709551615', b: 1.5, c: 0, d: 1000 },
    ]);
  });

  it.each([
    ['{"a": 1, "a": 2}', 'a.json:1:10: the key "a" is given twice in one object, first at 1:2'],
    ['{"a": 1,}', 'a.json:1:9: expected a key in double quotes, found "}"'],
    ['{"a": tru}', 'a.json:1:7: expected a value, found "t"'],
    ['{"a": 1', 'a.json:1:8: expected "," or "}", found the end'],
    ['{"a": "x\n"}', 'a.json:1:7: not a whole JSON string'],
    ['{"a": 1e999}', 'a.json:1:7: the number 1e999 is too large'],
    ['['.repeat(200_000), 'a.json:1:102: nested deeper than 100 levels'],
  ])('refuses %.20j', (text, message) => {
    expect(values('a.json', text)).toEqual([message]);
  });

  it('says that there is nothing in an empty text', () => {
    expect(values('a', ' \n')).toEqual(['a:1:1: empty: there is no document in it']);
    expect(values('a', '# only a comment\n')).toEqual(['a:1:1: there is no document in it']);
  });

  it('splits XML documents that stand one after another', () => {
    const text = `<?xml version="1.0"?>\n<a b="x>y"><!-- <c> --><d/><![CDATA[</a>]]></a>\n<!-- e -->\n<f/>\n<?xml version="1.0"?><g></g>\n`;
    expect(splitXml(text).map(({ start, end }) => text.slice(start, end).trim())).toEqual([
      `<?xml version="1.0"?>\n<a b="x>y"><!-- <c> --><d/><![CDATA[</a>]]></a>\n<!-- e -->`,
      '<f/>',
      '<?xml version="1.0"?><g></g>',
    ]);
    expect(splitXml('<a><b></a')).toHaveLength(1);
    expect(splitXml('<!DOCTYPE a><a/><b/>')).toHaveLength(1);
  });

  it('gives the places of a later XML document in the whole file', () => {
    const documents = [...readDocuments('a.xml', '<a/>\n  <b>\n  <c/></b>')];
    const second = documents[1] as XmlDocument;
    expect(second.problems([{ file: '', line: 1, column: 2, path: '', message: 'm' }])).toEqual([
      { file: 'a.xml', line: 2, column: 4, path: '', message: 'm' },
    ]);
    expect(second.problems([{ file: '', line: 2, column: 3, path: '', message: 'm' }])[0]).toMatchObject({
      line: 3,
      column: 3,
    });
  });
});

describe('listing inputs', () => {
  it('walks folders in the order of names and passes over other files', () => {
    mkdirSync(join(folder, 'd/e'), { recursive: true });
    mkdirSync(join(folder, '.git'));
    for (const name of ['b.xml', 'a.yaml', 'c.txt', 'd/e/f.json', 'd/g.yml', '.git/h.xml'])
      writeFileSync(join(folder, name), '');
    symlinkSync(folder, join(folder, 'd/loop'));
    const { inputs, errors } = listInputs(['.', '-', 'c.txt'], folder);
    expect(errors).toEqual([]);
    expect(inputs.map(({ name, relative }) => [name, relative])).toEqual([
      ['a.yaml', 'a.yaml'],
      ['b.xml', 'b.xml'],
      ['d/e/f.json', 'd/e/f.json'],
      ['d/g.yml', 'd/g.yml'],
      ['-', 'stdin'],
      ['c.txt', 'c.txt'],
    ]);
  });

  it('reports what does not exist and a folder with nothing in it, and lists the rest', () => {
    writeFileSync(join(folder, 'a.xml'), '');
    mkdirSync(join(folder, 'empty'));
    const { inputs, errors } = listInputs(['none.xml', 'empty', 'a.xml'], folder);
    expect(inputs).toHaveLength(1);
    expect(errors.map(({ message }) => message)).toEqual([
      'none.xml: no such file or folder',
      'empty: no .xml, .yaml, .yml or .json file in this folder',
    ]);
  });

  it('reads standard input', async () => {
    const stdin = Readable.from([Buffer.from('a: '), Buffer.from('ü')]);
    const input = { name: '-', path: undefined, relative: 'stdin' };
    expect(await readInput(input, { stdin, signal: new AbortController().signal })).toBe('a: ü');
  });
});
