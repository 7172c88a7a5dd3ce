import { describe, expect, it } from 'vitest';
import { validateObject } from '../../src/api/validate.ts';

/** What is wrong with a machine of this spec, each with where it is, below spec. */
function problems(spec: object): string[] {
  const object = { apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualMachine', metadata: { name: 'web' }, spec };
  return validateObject(object)
    .filter(({ severity }) => severity === 'error')
    .map(({ path, message }) => `${path.replace('spec.', '')}: ${message}`);
}

describe('the node affinity of a machine', () => {
  const bounded = (...values: string[]): object => ({
    affinity: {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [{ matchExpressions: [{ key: 'cores', operator: 'Gt', values }] }],
        },
      },
    },
  });
  const where =
    'affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values';

  it.each([['8'], ['-8'], ['+8'], ['9223372036854775807']])('compares with the integer %s', (value) => {
    expect(problems(bounded(value))).toEqual([]);
  });

  it.each([[''], ['many'], ['8.5'], ['0x8'], ['1e3'], ['9223372036854775808']])(
    'does not compare with "%s"',
    (value) => {
      expect(problems(bounded(value))).toEqual([`${where}: Gt takes exactly one integer of 64 bits`]);
    },
  );

  it('compares with one number', () => {
    expect([...problems(bounded()), ...problems(bounded('1', '2'))]).toHaveLength(2);
  });
});
