import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { matchesNodeTerm } from '../../src/scheduler/label-match.ts';

const compares = (operator: 'Gt' | 'Lt', label: string | undefined, ...values: string[]): boolean =>
  matchesNodeTerm(
    { matchExpressions: [{ key: 'cores', operator, values }] },
    label === undefined ? {} : { cores: label },
    'a',
  );

describe('Gt and Lt of the node affinity', () => {
  it('compare integers, also those that a floating-point number cannot hold', () => {
    const integer = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
    const near = fc.tuple(integer, fc.bigInt({ min: -2n, max: 2n })).map(([one, by]) => {
      const other = BigInt.asIntN(64, one + by);
      return [one, other] as const;
    });
    fc.assert(
      fc.property(fc.oneof(near, fc.tuple(integer, integer)), ([label, bound]) => {
        expect(compares('Gt', String(label), String(bound))).toBe(label > bound);
        expect(compares('Lt', String(label), String(bound))).toBe(label < bound);
      }),
    );
  });

  it.each([
    ['a label that is no integer', 'nine', '1'],
    ['a label with a fraction', '9.5', '1'],
    ['a label that is not there', undefined, '1'],
    ['a label beyond 64 bits', '9223372036854775808', '1'],
    ['an empty bound', '9', ''],
    ['a bound in hexadecimal', '9', '0x1'],
    ['a bound with an exponent', '9', '1e0'],
    ['a bound with a blank', '9', ' 1'],
    ['a bound beyond 64 bits', '9', '-9223372036854775809'],
  ])('match nothing with %s', (_what, label, bound) => {
    expect([compares('Gt', label, bound), compares('Lt', label, bound)]).toEqual([false, false]);
  });

  it('match nothing without one bound', () => {
    expect([compares('Gt', '9'), compares('Gt', '9', '1', '2')]).toEqual([false, false]);
  });

  it('read signs and leading zeros as strconv.ParseInt does', () => {
    expect([compares('Gt', '007', '+6'), compares('Lt', '-08', '-7')]).toEqual([true, true]);
  });
});
