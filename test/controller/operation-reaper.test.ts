import { describe, expect, it } from 'vitest';
import type { VirtualMachine } from '../../src/api/virtual-machine.ts';
import type { VirtualMachineOperation } from '../../src/api/virtual-machine-operation.ts';
import { OperationReaper } from '../../src/controller/operation-reaper.ts';
import { ManualClock } from '../support/manual-clock.ts';

const clock = new ManualClock();
const { signal } = new AbortController();

/** Looks at one operation that ended now; `nodeName` is undefined for a machine that is gone. */
async function look(
  nodeName: string | undefined,
  phase: 'Running' | 'Succeeded' | 'Failed',
  afterMs: number,
): Promise<{ readonly deleted: boolean; readonly againMs: number | undefined }> {
  const operation: VirtualMachineOperation = {
    apiVersion: 'virtctl.dev/v1alpha1',
    kind: 'VirtualMachineOperation',
    metadata: { name: 'op', namespace: 'shop', uid: 'u' },
    spec: { virtualMachine: 'web', verb: 'Reset', ttlSecondsAfterFinished: 60 },
    status: { phase, completionTime: new Date(clock.now()).toISOString() },
  };
  const machine: VirtualMachine = {
    apiVersion: 'virtctl.dev/v1alpha1',
    kind: 'VirtualMachine',
    metadata: { name: 'web', namespace: 'shop' },
    spec: { nodeName: nodeName ?? '' },
  };
  let deleted = false;
  const reaper = new OperationReaper({
    caches: {
      operations: { get: () => operation },
      machines: { get: () => (nodeName === undefined ? undefined : machine) },
    } as unknown as ConstructorParameters<typeof OperationReaper>[0]['caches'],
    operations: {
      delete: (_ref, options) => {
        expect(options?.preconditions).toEqual({ uid: 'u' });
        deleted = true;
        return Promise.resolve(undefined);
      },
    },
    clock,
  });
  await clock.advance(afterMs);
  const result = await reaper.reconcile('shop/op', { signal });
  return { deleted, againMs: result?.requeueAfterMs };
}

describe('OperationReaper', () => {
  it('deletes a finished operation of a machine that is gone, when its time is over and not before', async () => {
    expect(await look(undefined, 'Succeeded', 59_000)).toEqual({ deleted: false, againMs: 1_000 });
    expect(await look(undefined, 'Failed', 60_000)).toEqual({ deleted: true, againMs: undefined });
  });

  it('deletes that of a machine without a node', async () => {
    expect(await look('', 'Failed', 60_000)).toMatchObject({ deleted: true });
  });

  it('leaves that of a machine on a node to its executor, and one that goes on alone', async () => {
    expect(await look('node-1', 'Succeeded', 600_000)).toEqual({ deleted: false, againMs: undefined });
    expect(await look(undefined, 'Running', 600_000)).toEqual({ deleted: false, againMs: undefined });
  });
});
