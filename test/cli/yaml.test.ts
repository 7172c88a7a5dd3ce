import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InvalidInputError } from '../../src/base/errors.ts';
import { readYaml } from '../../src/cli/input/read-yaml.ts';
import { ObjectDocument, sourceText } from '../../src/cli/input/source-document.ts';
import { isPlainSafe, resolvePlainScalar } from '../../src/cli/yaml/plain-scalar.ts';
import { writeYaml, writeYamlDocuments } from '../../src/cli/yaml/write-yaml.ts';

function read(text: string): (ObjectDocument | InvalidInputError)[] {
  return [...readYaml(sourceText('a.yaml', text))];
}

function only(text: string): ObjectDocument {
  const [document, ...rest] = read(text);
  if (!(document instanceof ObjectDocument)) throw document ?? new Error('no document');
  expect(rest).toEqual([]);
  return document;
}

function errorOf(text: string): string {
  const errors = read(text).filter((document) => document instanceof Error);
  expect(errors).toHaveLength(1);
  return errors[0]?.message ?? '';
}

describe('a YAML scalar without quotes', () => {
  // What kubectl 1.32 prints for each of them: `kubectl label --local -f FILE a=b -o json`.
  it.each<[string, unknown]>([
    ['y', true],
    ['n', false],
    ['Y', true],
    ['NO', false],
    ['yes', true],
    ['on', true],
    ['Off', false],
    ['yES', 'yES'],
    ['True', true],
    ['tRUE', 'tRUE'],
    ['0777', 511],
    ['0o777', 511],
    ['0899', 899],
    ['08', 8],
    ['007', 7],
    ['-0777', -511],
    ['0x1F', 31],
    ['-0x10', -16],
    ['0b101', 5],
    ['1_000', 1000],
    ['_1', '_1'],
    ['12:30:45', '12:30:45'],
    ['52:54:00:12:34:56', '52:54:00:12:34:56'],
    ['2001-12-14', '2001-12-14'],
    ['~', null],
    ['Null', null],
    ['', null],
    ['=', '='],
    ['1e3', 1000],
    ['1.', 1],
    ['.5', 0.5],
    ['1.e+5', 100000],
    ['1e', '1e'],
    ['.', '.'],
    ['+12', 12],
    ['-0', 0],
    ['685e5_3.1', '685e5_3.1'],
  ])('%s means what it means to kubectl', (text, value) => {
    expect(resolvePlainScalar(text)).toEqual(value);
  });

  it('keeps an integer that a double cannot hold, as the string of its digits', () => {
    expect(resolvePlainScalar('18446744073709551615')).toBe('18446744073709551615');
    expect(resolvePlainScalar('0xFFFFFFFFFFFFFFFF')).toBe('18446744073709551615');
    expect(resolvePlainScalar('-9223372036854775808')).toBe('-9223372036854775808');
    expect(resolvePlainScalar('9007199254740991')).toBe(9007199254740991);
    expect(resolvePlainScalar('9007199254740993')).toBe('9007199254740993');
  });
});

describe('the YAML writer', () => {
  it.each([
    ...['y', 'N', 'yes', 'on', 'OFF', 'true', 'null', '~', '', '=', '<<', '0777', '1e3', '1_000', '12:30:45'],
    ...['52:54:00:12:34:56', '2001-12-14', '2001-12-14t21:59:43.10-05:00', '0x1F', '0o17', '-1', '+1', '.5', '1.5'],
    ...['.inf', '-.INF', '.nan', '- a', '? a', 'a: b', 'a #b', 'a:', ' a', 'a ', '*a', '&a', '!a', '%a', '@a', '`a'],
    ...['{a}', '[a]', '"a"', "'a'", '#a', '|', '>', '---', '...', 'a\tb', '10.0.0.5', '1.2.3', '\ufeffa', 'a\u2028b'],
  ])('quotes the string %j', (text) => {
    expect(isPlainSafe(text)).toBe(false);
    const written = writeYaml({ key: text });
    expect(written).toMatch(/^key: (?:".*"|'.*')\n$/s);
    expect(only(written).value).toEqual({ key: text });
  });

  it.each(['virtio', 'x86_64', '/dev/vda', 'q35', '52:54:00:ab:cd:ef', 'host-passthrough', 'a b', 'qemu:commandline'])(
    'leaves the string %s as it is',
    (text) => {
      expect(writeYaml({ key: text })).toBe(`key: ${text}\n`);
    },
  );

  it('quotes keys that are booleans in YAML 1.1', () => {
    expect(writeYaml({ x: 1, y: 2, on: {} })).toBe('x: 1\n"y": 2\n"on": {}\n');
  });

  it('writes lists as kubectl does and several lines as a block', () => {
    const text = writeYaml({ a: { b: [{ c: 1, d: [] }, [2, 3], 'x'] }, raw: ['<a>\n  <b/>\n</a>', 'tail\nline\n'] });
    expect(text).toBe(
      'a:\n  b:\n  - c: 1\n    d: []\n  - - 2\n    - 3\n  - x\nraw:\n- |-\n  <a>\n    <b/>\n  </a>\n- |\n  tail\n  line\n',
    );
  });

  it('writes what the reader reads back, for any strings', () => {
    const text = fc
      .string({ unit: 'grapheme' })
      .filter((value) => !/[\0-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]/.test(value)); // eslint-disable-line no-control-regex -- XML has none of them
    const lines = fc
      .array(fc.oneof(text, fc.constantFrom('', ' ', '\t<a>', '  <b/>', '# c', '- d', 'e: f', '---')))
      .map((parts) => parts.join('\n'));
    const scalar = fc.oneof(
      text,
      lines,
      fc.boolean(),
      fc.constant(null),
      fc.maxSafeInteger(),
      fc.constantFrom('0777', 'y'),
    );
    const { value } = fc.letrec<{ value: unknown }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        scalar,
        fc.array(tie('value'), { maxLength: 4 }),
        fc.dictionary(fc.oneof(text, fc.constantFrom('y', '<<', '1', 'a b')), tie('value'), {
          maxKeys: 4,
          noNullPrototype: true,
        }),
      ),
    }));
    fc.assert(
      fc.property(fc.dictionary(text, value, { noNullPrototype: true, minKeys: 1 }), (object) => {
        expect(only(writeYaml(object)).value).toEqual(object);
      }),
      { numRuns: 300 },
    );
  });

  it('separates documents', () => {
    expect(
      read(writeYamlDocuments([{ a: 1 }, { b: 2 }])).map((document) => (document as ObjectDocument).value),
    ).toEqual([{ a: 1 }, { b: 2 }]);
  });
});

describe('the YAML reader', () => {
  it('refuses a key given twice and says where the first one is', () => {
    expect(errorOf('a:\n  b: 1\n  c: 2\n  b: 3\n')).toBe(
      'a.yaml:4:3: the key "b" is given twice in one object, first at 2:3',
    );
  });

  it('reads the documents beside a broken one', () => {
    const [first, second, third] = read('a: 1\n---\nb: [1\n---\nc: 3\n');
    expect((first as ObjectDocument).value).toEqual({ a: 1 });
    expect((second as Error).message).toMatch(/^a\.yaml:\d+:\d+: not YAML: /);
    expect((third as ObjectDocument).value).toEqual({ c: 3 });
  });

  it('leaves out empty documents and comments', () => {
    expect(read('# nothing\n---\n---\na: 1\n...\n---\n# end\n')).toHaveLength(1);
  });

  it('merges maps as kubectl does', () => {
    expect(only('{<<: [{a: 1}, {a: 2, c: 3}], b: 9}').value).toEqual({ a: 1, b: 9, c: 3 });
    expect(only('{<<: {a: 1}, a: 9}').value).toEqual({ a: 9 });
    expect(only('{"<<": {a: 1}}').value).toEqual({ '<<': { a: 1 } });
    expect(errorOf('{a: 1, <<: {a: 2}}')).toContain('stands before a merge key');
  });

  it('follows anchors, and each use is a value of its own', () => {
    const { a, b } = only('a: &x {c: [1]}\nb: *x\n').value as { a: object; b: object };
    expect(b).toEqual(a);
    expect(b).not.toBe(a);
  });

  it('refuses an alias bomb, an anchor that contains itself and one that does not exist', () => {
    const bomb = ['a0: &a0 [x, x, x, x, x, x, x, x, x]'];
    for (let at = 1; at < 30; at += 1)
      bomb.push(
        `a${at}: &a${at} [${Array(9)
          .fill(`*a${at - 1}`)
          .join(', ')}]`,
      );
    expect(errorOf(bomb.join('\n'))).toMatch(/^a\.yaml:\d+:\d+: aliases that stand for more than 10000 values/);
    expect(errorOf('a: &a [*a]')).toContain('contains itself');
    expect(errorOf('a: *b')).toBe('a.yaml:1:4: unknown anchor "b"');
  });

  it.each([['['], ['{a: '], ['- '], ['? '], ['&a [']])('refuses %j nested a hundred thousand times', (text) => {
    expect(errorOf(text.repeat(100_000))).toMatch(/nested deeper than 100 levels|not YAML/);
  });

  it('refuses tabs as indentation, control characters and infinity', () => {
    expect(errorOf('a:\n\tb: 1\n')).toMatch(/^a\.yaml:2:1: not YAML: Tabs/);
    expect(errorOf('a: "\u0000"')).toBe('a.yaml:1:5: the control character U+0000 is not allowed in YAML');
    expect(errorOf('a: .inf')).toContain('infinity');
  });

  it('obeys explicit tags', () => {
    expect(only('{a: !!str 0777, b: !!int "0777", c: !!binary aGk=, d: !foo 12, e: !!bool "y"}').value).toEqual({
      a: '0777',
      b: 511,
      c: 'hi',
      d: '12',
      e: true,
    });
    expect(errorOf('a: !!int x')).toContain('not a value for the tag !!int');
  });

  it('keeps a key that would be an object prototype', () => {
    expect(JSON.stringify(only('{__proto__: {a: 1}}').value)).toBe('{"__proto__":{"a":1}}');
  });

  it('knows the place of every value by its path', () => {
    const document = only(
      '# c\nmetadata:\n  labels:\n    a.b/c: x\nspec:\n  disk:\n  - {type: file, n: 1}\n  - type: block\n',
    );
    expect(document.place('metadata.labels.a.b/c')).toEqual({ line: 4, column: 12 });
    expect(document.place('metadata.labels["a.b/c"]', 'key')).toEqual({ line: 4, column: 5 });
    expect(document.place('spec.disk[0].type')).toEqual({ line: 7, column: 12 });
    expect(document.place('spec.disk[1].type', 'key')).toEqual({ line: 8, column: 5 });
    expect(document.place('spec.disk[1].driver.name')).toEqual({ line: 8, column: 5 });
    expect(document.place('spec.none')).toEqual({ line: 5, column: 1 });
  });

  it('says that YAML 1.1 makes a boolean of a word when that breaks something', () => {
    const document = only('name: on\nresolution: {x: 1, y: 2}\n');
    expect(document.problem('name', 'expected a string').message).toBe(
      'expected a string (on without quotes is the boolean true in YAML 1.1, as kubectl reads it)',
    );
    expect(document.problem('resolution.true', 'unknown field').message).toContain('write "y"');
  });

  it('takes each item of a List as a document, with its places', () => {
    const items = only('kind: List\nitems:\n- a: 1\n- b:\n    c: 2\n').items();
    expect(items.map((item) => item.value)).toEqual([{ a: 1 }, { b: { c: 2 } }]);
    expect(items[1]?.place('b.c')).toEqual({ line: 5, column: 8 });
  });

  it('never crashes nor hangs on arbitrary text', () => {
    const piece = fc.constantFrom(
      'a',
      ': ',
      '\n',
      '  ',
      '- ',
      '[',
      ']',
      '{',
      '}',
      ',',
      '"',
      "'",
      '&a ',
      '*a',
      '!',
      '|',
      '>',
      '#',
      '---',
      '? ',
      '<<',
      '%',
      '\t',
      '\r\n',
      '\\',
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary' }),
          fc.array(piece, { maxLength: 60 }).map((parts) => parts.join('')),
        ),
        (text) => {
          for (const document of read(text)) {
            if (document instanceof Error) expect(document).toBeInstanceOf(InvalidInputError);
          }
        },
      ),
      { numRuns: 1000 },
    );
  });
});
