import { expect, it } from 'vitest';
import { metaOf } from '../suite.ts';
import type { Cases } from '../suite.ts';
import type { Json } from '../server-under-test.ts';

const invalidValue = 'FieldValueInvalid';
const refusals: readonly (readonly [string, Json, string, string, string])[] = [
  ['a required field that is missing', {}, 'FieldValueRequired', 'spec.size', 'Required value'],
  [
    'a string for an integer',
    { size: 'x' },
    invalidValue,
    'spec.size',
    'Invalid value: "string": spec.size in body must be of type integer: "string"',
  ],
  [
    'a fraction for an integer',
    { size: 1.5 },
    invalidValue,
    'spec.size',
    'Invalid value: "number": spec.size in body must be of type integer: "number"',
  ],
  [
    'less than the minimum',
    { size: 0 },
    invalidValue,
    'spec.size',
    'Invalid value: 0: spec.size in body should be greater than or equal to 1',
  ],
  [
    'more than the maximum',
    { size: 101 },
    invalidValue,
    'spec.size',
    'Invalid value: 101: spec.size in body should be less than or equal to 100',
  ],
  [
    'the exclusive minimum',
    { size: 1, ratio: 0 },
    invalidValue,
    'spec.ratio',
    'Invalid value: 0: spec.ratio in body should be greater than 0',
  ],
  [
    'the exclusive maximum',
    { size: 1, ratio: 1 },
    invalidValue,
    'spec.ratio',
    'Invalid value: 1: spec.ratio in body should be less than 1',
  ],
  [
    'no multiple',
    { size: 1, step: 7 },
    invalidValue,
    'spec.step',
    'Invalid value: 7: spec.step in body should be a multiple of 5',
  ],
  [
    'a word that is not in the enumeration',
    { size: 1, color: 'pink' },
    'FieldValueNotSupported',
    'spec.color',
    'Unsupported value: "pink": supported values: "red", "green", "blue"',
  ],
  [
    'a string that does not match',
    { size: 1, code: 'AB' },
    invalidValue,
    'spec.code',
    'Invalid value: "AB": spec.code in body should match \'^[a-z]+$\'',
  ],
  [
    'a string that is too long',
    { size: 1, code: 'abcdefg' },
    invalidValue,
    'spec.code',
    'Invalid value: "abcdefg": spec.code in body should be at most 5 chars long',
  ],
  [
    'a string that is too short',
    { size: 1, code: 'a' },
    invalidValue,
    'spec.code',
    'Invalid value: "a": spec.code in body should be at least 2 chars long',
  ],
  [
    'a string for a boolean',
    { size: 1, enabled: 'yes' },
    invalidValue,
    'spec.enabled',
    'Invalid value: "string": spec.enabled in body must be of type boolean: "string"',
  ],
  [
    'a boolean for an integer or string',
    { size: 1, port: true },
    invalidValue,
    'spec.port',
    'Invalid value: "boolean": spec.port in body must be of type integer,string: "boolean"',
  ],
  [
    'a time that is none',
    { size: 1, when: 'x' },
    invalidValue,
    'spec.when',
    'Invalid value: "x": spec.when in body must be of type date-time: "x"',
  ],
  [
    'too few items',
    { size: 1, tags: [] },
    invalidValue,
    'spec.tags',
    'Invalid value: 0: spec.tags in body should have at least 1 items',
  ],
  [
    'too many items',
    { size: 1, tags: ['a', 'b', 'c', 'd'] },
    invalidValue,
    'spec.tags',
    'Invalid value: 4: spec.tags in body should have at most 3 items',
  ],
  [
    'an item of a set twice',
    { size: 1, tags: ['a', 'a'] },
    'FieldValueDuplicate',
    'spec.tags[1]',
    'Duplicate value: "a"',
  ],
  [
    'a key of a list twice',
    { size: 1, parts: [{ name: 'a' }, { name: 'a' }] },
    'FieldValueDuplicate',
    'spec.parts[1]',
    'Duplicate value: map[string]interface {}{"name":"a"}',
  ],
  [
    'a value of a map of a wrong type',
    { size: 1, labels: { a: 1 } },
    invalidValue,
    'spec.labels.a',
    'Invalid value: "integer": spec.labels.a in body must be of type string: "integer"',
  ],
  [
    'too few properties',
    { size: 1, limits: {} },
    invalidValue,
    'spec.limits',
    'Invalid value: 1: spec.limits in body should have at least 1 properties',
  ],
  [
    'too many properties',
    { size: 1, limits: { a: 1, b: 2, c: 3 } },
    invalidValue,
    'spec.limits',
    'Invalid value: 2: spec.limits in body should have at most 2 properties',
  ],
  [
    'two of a choice',
    { size: 1, choice: { a: 'x', b: 'y' } },
    invalidValue,
    '<nil>',
    'Invalid value: "": "spec.choice" must validate one and only one schema (oneOf). Found 2 valid alternatives',
  ],
  [
    'a number for an object',
    { size: 1, anything: 5 },
    invalidValue,
    'spec.anything',
    'Invalid value: "integer": spec.anything in body must be of type object: "integer"',
  ],
  [
    'a string for a list',
    { size: 1, words: 'x' },
    invalidValue,
    'spec.words',
    'Invalid value: "string": spec.words in body must be of type array: "string"',
  ],
];

export const schemaCases: Cases = (bench) => {
  it.each(refusals)('refuses %s', async (_what, spec, reason, field, message) => {
    const { api, widgets, widget } = bench();
    const { code, body } = await api.post(widgets(), widget('bad', spec));
    expect([code, body['reason']]).toEqual([422, 'Invalid']);
    expect(body['message']).toBe(`Widget.conformance.test "bad" is invalid: ${field}: ${message}`);
    expect(body['details']).toEqual({
      name: 'bad',
      group: 'conformance.test',
      kind: 'Widget',
      causes: [{ reason, message, field }],
    });
  });
  it('refuses a string for the spec', async () => {
    const { api, widgets, widget } = bench();
    const { body } = await api.post(widgets(), { ...widget('bad'), spec: 'text' });
    expect(body['message']).toBe(
      'Widget.conformance.test "bad" is invalid: spec: Invalid value: "string": spec in body must be of type object: "string"',
    );
  });
  it('tells every problem at once', async () => {
    const { api, widgets, widget } = bench();
    const { body } = await api.post(widgets(), widget('bad', { size: 0, color: 'pink', code: 'abcdefg' }));
    const causes = (body['details'] as Json)['causes'] as Json[];
    expect(causes.map((cause) => cause['field']).sort()).toEqual(['spec.code', 'spec.color', 'spec.size']);
    expect(body['message']).toMatch(/ is invalid: \[.*, .*, .*\]$/);
  });
  it('fills in defaults', async () => {
    const { make } = bench();
    const body = await make('defaults', { size: 1, parts: [{ name: 'a' }] });
    expect(body['spec']).toEqual({ size: 1, color: 'red', parts: [{ name: 'a', count: 1 }] });
  });
  it('drops unknown fields', async () => {
    const { api, widgets, widget } = bench();
    const manifest = {
      ...widget('pruned', { size: 1, nope: 1, labels: { any: 'thing' }, parts: [{ name: 'a', nope: 2 }] }),
      extra: { deep: 1 },
    };
    const { code, body } = await api.post(`${widgets()}?fieldValidation=Ignore`, manifest);
    expect([code, body['spec']]).toEqual([
      201,
      { size: 1, color: 'red', labels: { any: 'thing' }, parts: [{ name: 'a', count: 1 }] },
    ]);
    expect(body).not.toHaveProperty('extra');
  });
  it('keeps unknown fields where the schema asks for it', async () => {
    const { make } = bench();
    const anything = { deep: { list: [1, 'two', null], flag: true } };
    expect((await make('preserved', { size: 1, anything }))['spec']).toEqual({ size: 1, color: 'red', anything });
  });
  it('drops unknown fields of metadata', async () => {
    const { api, widgets, widget } = bench();
    const { body } = await api.post(`${widgets()}?fieldValidation=Ignore`, widget('meta', { size: 1 }, { nope: 1 }));
    expect(metaOf(body)).not.toHaveProperty('nope');
  });
  it.each([[80], ['http']])('takes an integer or a string: %s', async (port) => {
    const { make } = bench();
    expect((await make(`port-${port}`, { size: 1, port }))['spec']).toMatchObject({ port });
  });
  it('takes null where the schema allows it', async () => {
    const { make } = bench();
    expect((await make('nullable', { size: 1, note: null }))['spec']).toMatchObject({ note: null });
  });
  it('takes one of a choice', async () => {
    const { make } = bench();
    expect((await make('choice', { size: 1, choice: { a: 'x' } }))['spec']).toMatchObject({ choice: { a: 'x' } });
  });
  it('refuses a null item of a list', async () => {
    const { api, widgets, widget } = bench();
    expect((await api.post(widgets(), widget('null-item', { size: 1, words: [null] }))).code).toBe(422);
  });
  it('takes a null field as left out', async () => {
    const { api, widgets, widget } = bench();
    const { code, body } = await api.post(widgets(), widget('null-size', { size: null }));
    expect([code, body['message']]).toEqual([
      422,
      'Widget.conformance.test "null-size" is invalid: spec.size: Required value',
    ]);
  });
  it('keeps characters beyond ASCII', async () => {
    const { api, widgets, make } = bench();
    await make('unicode', { size: 1, note: 'grüße 漢字 🐧' });
    expect((await api.get(widgets('unicode'))).body['spec']).toMatchObject({ note: 'grüße 漢字 🐧' });
  });
};
