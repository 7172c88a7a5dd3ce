import { describe, expect, it } from 'vitest';
import type { VirtualMachine } from '../../../src/api/virtual-machine.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { machineFinalizer } from '../../../src/executor/virtual-machine/delete-machine.ts';
import { MachineReconciler } from '../../../src/executor/virtual-machine/reconciler.ts';
import type { MachineReconcilerOptions } from '../../../src/executor/virtual-machine/round.ts';
import { ConnectionError } from '../../../src/libvirt/errors.ts';
import type { EventRecord } from '../../../src/reconcile/event-recorder.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const machine: VirtualMachine = {
  apiVersion: 'virtctl.dev/v1alpha1',
  kind: 'VirtualMachine',
  metadata: { name: 'web', namespace: 'shop', uid: 'c0ffee', finalizers: [machineFinalizer] },
  spec: { nodeName: 'node-1' },
};

/** Reconciles a machine whose domain cannot be read for this reason. */
async function failWith(error: Error, signal = new AbortController().signal): Promise<EventRecord[]> {
  const events: EventRecord[] = [];
  const options = {
    nodeName: 'node-1',
    machines: { find: () => Promise.resolve(machine) },
    openOperations: () => [],
    libvirt: () => ({ domains: { byName: () => Promise.reject(error) } }),
    record: (event: EventRecord) => void events.push(event),
    clock: new ManualClock(),
  } as unknown as MachineReconcilerOptions;
  const reconciler = new MachineReconciler(options);
  await expect(reconciler.reconcile('shop/web', { signal, logger: silentLogger })).rejects.toBe(error);
  return events;
}

describe('a reconcile that fails in a way nobody foresaw', () => {
  it('is told as an Event of the machine, which `why` and `describe` show', async () => {
    expect(await failWith(new TypeError('x is not a function'))).toMatchObject([
      {
        regarding: { metadata: { name: 'web' } },
        type: 'Warning',
        reason: 'ReconcileFailed',
        note: 'failed, and is tried again: x is not a function',
      },
    ]);
  });

  it('is not told for what the node tells of itself: no connection, or the end of the executor', async () => {
    expect(await failWith(new ConnectionError('the connection to libvirt was lost'))).toEqual([]);
    expect(await failWith(new Error('over'), AbortSignal.abort())).toEqual([]);
  });
});
