import { describe, expect, it } from 'vitest';
import type { VirtualDisk } from '../../../src/api/virtual-disk.ts';
import type { VirtualPool } from '../../../src/api/virtual-pool.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { diskFinalizer } from '../../../src/executor/virtual-disk/delete-disk.ts';
import { DiskReconciler } from '../../../src/executor/virtual-disk/reconciler.ts';
import type { StorageContext } from '../../../src/executor/virtual-pool/storage-context.ts';
import type { EventRecord } from '../../../src/reconcile/event-recorder.ts';

const path = '/shared/shop.root.qcow2';

/** What the first node does about a deleted disk of a shared pool that no node has. */
async function drop(pool: VirtualPool['spec'] | undefined, status: VirtualDisk['status']) {
  const notes: string[] = [];
  let stored = {
    ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualDisk' },
    metadata: {
      ...{ name: 'root', namespace: 'shop', uid: 'u', resourceVersion: '1', finalizers: [diskFinalizer] },
      deletionTimestamp: '2026-01-01T00:00:00Z',
    },
    spec: { pool: 'nfs' },
    status,
  } as VirtualDisk;
  const context = {
    ...{ nodeName: 'node-1', clock: { now: () => 0 }, nodes: () => [{ name: 'node-1', labels: {} }] },
    ...{ usersOf: () => [], knownDisks: () => [stored], libvirt: () => undefined },
    pools: { find: () => Promise.resolve(pool === undefined ? undefined : { metadata: { name: 'nfs' }, spec: pool }) },
    record: ({ reason, note }: EventRecord) => void notes.push(`${reason}: ${note}`),
    disks: {
      find: () => Promise.resolve(stored),
      mergePatch: (_ref: unknown, patch: Partial<VirtualDisk>) => {
        stored = { ...stored, ...patch, metadata: { ...stored.metadata, ...patch.metadata } };
        return Promise.resolve(stored);
      },
    },
  } as unknown as StorageContext;
  const { signal } = new AbortController();
  const again = await new DiskReconciler(context).reconcile('shop/root', { signal, logger: silentLogger });
  const isGone = (stored.metadata.finalizers ?? []).length === 0;
  return { isGone, notes, again, message: stored.status?.message };
}

describe('a deleted disk that no node has', () => {
  it('goes where it was never made', async () => {
    expect(await drop({ shared: true }, undefined)).toMatchObject({ isGone: true, notes: [] });
  });

  it('stays while its shared pool is on no node that could remove the volume, and says so', async () => {
    const nowhere = { shared: true, nodeSelector: { matchLabels: { storage: 'yes' } } };
    const { isGone, message, again } = await drop(nowhere, { phase: 'Ready', pool: 'nfs', volume: 'v', path });
    expect([isGone, again]).toEqual([false, { requeueAfterMs: 10_000 }]);
    expect(message).toBe('deletion waits: VirtualPool "nfs" is on no node');
  });

  it('goes where its pool is no more, and says what it leaves', async () => {
    const { isGone, notes } = await drop(undefined, { phase: 'Ready', pool: 'nfs', volume: 'v', path });
    expect(isGone).toBe(true);
    expect(notes).toEqual([`VolumeLeft: ${path} is left: there is no VirtualPool "nfs" any more`]);
  });
});
