import { describe, expect, it } from 'vitest';
import { scalarOf } from '../../scripts/generate-model/scalar.ts';
import type { Pattern } from '../../scripts/generate-model/rng.ts';
import { fieldAt, type ScalarType } from '../../src/model/schema.ts';
import { readScalar, writeScalar } from '../../src/model/scalar.ts';

const words = (...texts: string[]): Pattern => ({ t: 'choice', parts: texts.map((text) => ({ t: 'value', text })) });
const data = (type: string, ...params: [string, string][]): Pattern => ({ t: 'data', type, params });

describe('the type of a text', () => {
  it.each<[string, Pattern[], object]>([
    ['yes|no', [words('no', 'yes')], { kind: 'boolean', words: ['yes', 'no'] }],
    ['on|off', [words('on', 'off')], { kind: 'boolean', words: ['on', 'off'] }],
    ['yes alone', [words('yes')], { kind: 'enum', words: ['yes'] }],
    ['on|off|auto', [words('on', 'off', 'auto')], { kind: 'enum', words: ['on', 'off', 'auto'] }],
    ['words of two places', [words('on', 'off'), words('x')], { kind: 'enum', words: ['on', 'off', 'x'] }],
    ['a small integer', [data('unsignedShort')], { kind: 'integer', min: '0', max: '65535' }],
    ['a bounded integer', [data('int', ['minInclusive', '1'])], { kind: 'integer', min: '1', max: '2147483647' }],
    ['a 64-bit integer', [data('unsignedLong')], { kind: 'int-or-string', min: '0', max: '18446744073709551615' }],
    ['an unbounded integer', [data('integer')], { kind: 'int-or-string' }],
    ['-1 or an integer', [words('-1'), data('unsignedShort')], { kind: 'integer', min: '-1', max: '65535' }],
    ['an octal number', [data('unsignedInt', ['pattern', '[0-7]+'])], { kind: 'string', patterns: ['[0-7]+'] }],
    ['any text or a word', [words('a'), { t: 'text' }], { kind: 'string' }],
    [
      'XML Schema’s own escapes',
      [data('string', ['pattern', '$a\\-[^,\\-]'])],
      { kind: 'string', patterns: ['\\$a-[^,\\-]'] },
    ],
    ['a length', [data('string', ['maxLength', '39'])], { kind: 'string', maxLength: 39 }],
  ])('of %s', (_, patterns, expected) => {
    expect(scalarOf(patterns)).toEqual(expected);
  });
});

describe('a scalar', () => {
  const integer: ScalarType = { kind: 'integer', min: 0n, max: 255n };
  const long: ScalarType = { kind: 'int-or-string', min: 0n, max: 2n ** 64n - 1n };

  it.each<[ScalarType, string, unknown]>([
    [integer, '7', 7],
    [integer, '256', undefined],
    [integer, '07', undefined],
    [integer, '+7', undefined],
    [integer, '-0', undefined],
    [integer, '', undefined],
    [integer, '1e2', undefined],
    [long, '9007199254740991', 9007199254740991],
    [long, '9007199254740992', '9007199254740992'],
    [long, '18446744073709551616', undefined],
    [long, '007', '007'],
    [long, '+7', '+7'],
    [{ kind: 'boolean', booleanWords: ['on', 'off'] }, 'on', true],
    [{ kind: 'boolean', booleanWords: ['on', 'off'] }, 'ON', undefined],
    [{ kind: 'string', pattern: 'a|b' }, 'ab', undefined],
    [{ kind: 'string', pattern: 'a|b' }, 'b\n', undefined],
  ])('of %o is read from %j and written as it was', (type, text, value) => {
    expect(readScalar(type, text)).toBe(value);
    if (value !== undefined) expect(writeScalar(type, value)).toBe(text);
  });

  it.each<[ScalarType, unknown]>([
    [integer, '7'],
    [integer, 7.5],
    [integer, NaN],
    [integer, null],
    [long, 2 ** 53],
    [long, 'ten'],
    [long, 1e300],
    [{ kind: 'string' }, 7],
    [{ kind: 'enum', enum: ['off'] }, false],
  ])('of %o is not written from %j', (type, value) => {
    expect(writeScalar(type, value)).toBeUndefined();
  });

  it('may be empty where the schema says so', () => {
    const genid = fieldAt('domain', ['genid'])?.scalar;
    expect(genid !== undefined && readScalar(genid, '')).toBe('');
    const uuid = fieldAt('domain', ['uuid'])?.scalar;
    expect(uuid !== undefined && readScalar(uuid, '')).toBeUndefined();
  });
});
