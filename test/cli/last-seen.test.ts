import { describe, expect, it } from 'vitest';
import { lastSeen } from '../../src/cli/last-seen.ts';
import type { KubeObject } from '../../src/kube/object.ts';

function object(kind: string, status: object | undefined): KubeObject {
  const known = { apiVersion: 'virtctl.dev/v1alpha1', kind, metadata: { name: 'a' } };
  return status === undefined ? known : { ...known, ...{ status } };
}

const conditions = [
  { type: 'Synchronized', status: 'False', reason: 'Drifted', message: 'changed at the host' },
  { type: 'Ready', status: 'False', reason: 'VolumeNotReady', message: 'there is no VirtualDisk "a"' },
];

describe('what an object was last seen to be', () => {
  const cases: readonly (readonly [title: string, kind: string, status: object | undefined, said: string])[] = [
    ['an operation that nobody has seen', 'VirtualMachineOperation', undefined, '; no executor has begun with it yet'],
    [
      'an operation that has to wait',
      'VirtualMachineOperation',
      { phase: 'Pending', message: 'Restart goes on' },
      '; last seen Pending: Restart goes on',
    ],
    [
      'an operation that goes on',
      'VirtualMachineOperation',
      { phase: 'Running', step: 'Migrating', percent: 0 },
      '; last seen Running at step Migrating, 0 %',
    ],
    [
      'an operation with a reason and a message of several lines',
      'VirtualMachineOperation',
      { phase: 'Running', step: 'Switching', reason: 'NoAnswer', message: 'the target\n  is silent' },
      '; last seen Running at step Switching: NoAnswer: the target is silent',
    ],
    [
      'a machine, by the condition that something can be done about',
      'VirtualMachine',
      { printableStatus: 'Provisioning', conditions },
      '; last seen Provisioning: VolumeNotReady: there is no VirtualDisk "a"',
    ],
    [
      'a machine whose reason is its state',
      'VirtualMachine',
      {
        printableStatus: 'Terminating',
        conditions: [{ ...conditions[1], reason: 'Terminating', message: 'it stops' }],
      },
      '; last seen Terminating: it stops',
    ],
    ['a disk', 'VirtualDisk', { phase: 'Provisioning', message: 'copying' }, '; last seen Provisioning: copying'],
    ['an object without a status', 'VirtualDisk', undefined, ''],
  ];
  it.each(cases)('tells of %s', (_title, kind, status, said) => {
    expect(lastSeen(object(kind, status))).toBe(said);
  });

  it('says nothing of one that is not there', () => {
    expect(lastSeen(undefined)).toBe('');
  });
});
