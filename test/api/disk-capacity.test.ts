import { describe, expect, it } from 'vitest';
import { formatProblem } from '../../src/base/errors.ts';
import { validateObject } from '../../src/api/validate.ts';

const problemsOf = (spec: object): string[] =>
  validateObject({
    apiVersion: 'virtctl.dev/v1alpha1',
    kind: 'VirtualDisk',
    metadata: { name: 'd', namespace: 'n' },
    spec,
  }).map(formatProblem);

describe('the spec of a disk', () => {
  it('has a capacity that a file can have', () => {
    expect(problemsOf({ capacity: '7Ei' })).toEqual([]);
    expect(problemsOf({ capacity: '8Ei' })).toEqual(['spec.capacity: must be less than 8Ei']);
    expect(problemsOf({ capacity: '0' })).toEqual(['spec.capacity: must be more than 0']);
  });

  it('is encrypted in formats only that know LUKS', () => {
    const encryption = { secretRef: { name: 'key' } };
    for (const format of ['raw', 'qcow2', undefined]) {
      expect(problemsOf({ capacity: '1Gi', encryption, ...(format === undefined ? {} : { format }) })).toEqual([]);
    }
    expect(problemsOf({ capacity: '1Gi', encryption, format: 'vmdk' })).toEqual([
      'spec.encryption: is for raw and qcow2 only, not for vmdk',
    ]);
  });
});
