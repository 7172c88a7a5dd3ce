import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UsageError } from '../../../src/base/errors.ts';
import { compileExpression, compileTemplate } from '../../../src/cli/resources/json-path.ts';

const list = {
  kind: 'List',
  items: [
    {
      metadata: { name: 'a', labels: { 'app.io/x': 'one' } },
      status: { capacity: { cpu: '4' }, addresses: [{ type: 'ip', address: '10.0.0.1' }] },
      ready: true,
      n: 3,
    },
    { metadata: { name: 'b' }, status: { capacity: { cpu: '8' } }, ready: false, n: 7, 'odd key': 1 },
  ],
};

describe('compileTemplate', () => {
  // The examples of https://kubernetes.io/docs/reference/kubectl/jsonpath/, on our own data.
  it.each([
    ['{.kind}', 'List'],
    ['kind is {.kind}', 'kind is List'],
    ['.kind', 'List'],
    ["{['kind']}", 'List'],
    ['{$.kind}', 'List'],
    ['{..name}', 'a b'],
    ['{.items[*].metadata.name}', 'a b'],
    ['{.items[0].metadata.name}', 'a'],
    ['{.items[-1].metadata.name}', 'b'],
    ['{.items[-1:].metadata.name}', 'b'],
    ['{.items[0:1].metadata.name}', 'a'],
    ['{.items[0,1].metadata.name}', 'a b'],
    ['{.items[5].metadata.name}', ''],
    ["{.items[*]['metadata.name']}", ''],
    ["{.items[0]['ready','n']}", 'true 3'],
    ['{.items[?(@.metadata.name=="b")].status.capacity.cpu}', '8'],
    ["{.items[?(@.metadata.name=='b')].status.capacity.cpu}", '8'],
    ['{.items[?(@.n > 3)].metadata.name}', 'b'],
    ['{.items[?(@.n<=3)].metadata.name}', 'a'],
    ['{.items[?(@.ready==true)].metadata.name}', 'a'],
    ['{.items[?(@.metadata.name != "a")].metadata.name}', 'b'],
    ['{.items[?(@.status.addresses)].metadata.name}', 'a'],
    ['{.items[0].metadata.labels.app\\.io/x}', 'one'],
    ["{.items[1]['odd key']}", '1'],
    ['{.items[0].status.capacity}', '{"cpu":"4"}'],
    ['{range .items[*]}[{.metadata.name}, {.status.capacity}]{"\\n"}{end}', '[a, {"cpu":"4"}]\n[b, {"cpu":"8"}]\n'],
    ['{range .items[*]}{.metadata.name}{"\\t"}{end}', 'a\tb\t'],
    ['{range .items[*]}{range .status.addresses[*]}{.address}{end};{end}', '10.0.0.1;;'],
    ['{"{literal}"}', '{literal}'],
    ['{.missing.deep}', ''],
    ['{.items[*].constructor}', ''],
    ['', ''],
  ])('writes %s as %j', (template, text) => {
    expect(compileTemplate(template)(list)).toBe(text);
  });

  it.each(['{.a', '{range .items[*]}{.x}', '{end}', '{.items[}', '{.items[?(@.a]}', '{.items[x]}'])(
    'refuses %s',
    (template) => {
      expect(() => compileTemplate(template)).toThrow(UsageError);
    },
  );

  it('either works or is refused as a usage error, whatever it is', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom(...Array.from('{}[]().*?@=!<>"\'\\:,-01ab $')), maxLength: 24 }),
        (text) => {
          try {
            expect(typeof compileTemplate(text)(list)).toBe('string');
          } catch (error) {
            expect(error).toBeInstanceOf(UsageError);
          }
        },
      ),
      { numRuns: 5000 },
    );
  });
});

describe('compileExpression', () => {
  it('takes a path with and without braces and the first dot', () => {
    for (const text of ['items[0].n', '.items[0].n', '{.items[0].n}', '$.items[0].n']) {
      expect(compileExpression(text)(list), text).toEqual([3]);
    }
  });

  it('finds whatever field a key names', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[a-zA-Z_][\w-]*$/), fc.jsonValue(), (key, value) => {
        expect(compileExpression(`.${key}`)(Object.fromEntries([[key, value]]))).toEqual([value]);
      }),
    );
  });
});
