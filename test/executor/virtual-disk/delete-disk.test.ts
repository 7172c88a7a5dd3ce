import { describe, expect, it } from 'vitest';
import type { VirtualDisk } from '../../../src/api/virtual-disk.ts';
import { deleteDisk, diskFinalizer } from '../../../src/executor/virtual-disk/delete-disk.ts';
import type { StorageContext } from '../../../src/executor/virtual-pool/storage-context.ts';
import { ErrorNumber } from '../../../src/libvirt/constants.gen.ts';
import { LibvirtError } from '../../../src/libvirt/errors.ts';

const path = '/virtctl/no/such/folder/base.qcow2';

interface Scene {
  /** Files of the pool with what they lie over, that the pool sees when it is looked through. */
  readonly overlays?: Readonly<Record<string, string>>;
  /** Disks of others. */
  readonly others?: readonly NonNullable<VirtualDisk['status']>[];
  /** What libvirt says to a look through the pool. */
  readonly refusal?: Error;
  readonly spec?: VirtualDisk['spec'];
  /** The work is to end while the pool is looked through. */
  readonly isEnded?: boolean;
}

function said(message: string): LibvirtError {
  const silent = { str1: null, str2: null, str3: null, int1: 0, int2: 0 };
  return new LibvirtError('storagePoolRefresh', {
    ...silent,
    ...{ code: ErrorNumber.INTERNAL_ERROR, domain: 18, level: 2, message },
  });
}

/** Deletes a disk that nobody known uses. */
async function drop({ overlays = {}, others = [], refusal, spec = {}, isEnded = false }: Scene) {
  const end = new AbortController();
  const acts: string[] = [];
  let seen: Readonly<Record<string, string>> = {};
  let stored = {
    ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualDisk' },
    metadata: { name: 'base', namespace: 'shop', uid: 'u', resourceVersion: '1', finalizers: [diskFinalizer] },
    spec,
    status: { phase: 'Ready', nodeName: 'node-1', pool: 'local', volume: 'base.qcow2', path },
  } as VirtualDisk;
  const volume = (file: string, below: string) => ({
    name: file,
    xml: () =>
      Promise.resolve(
        `<volume><name>v</name><target><path>${file}</path></target>` +
          `${below === '' ? '' : `<backingStore><path>${below}</path></backingStore>`}</volume>`,
      ),
    info: () => Promise.resolve({}),
    wipe: () => Promise.resolve(void acts.push('wipe')),
    delete: () => Promise.resolve(void acts.push('delete')),
  });
  const pool = {
    name: 'local',
    isActive: () => Promise.resolve(true),
    refresh: ({ signal }: { readonly signal: AbortSignal }) => {
      acts.push('look');
      if (isEnded) end.abort();
      if (signal.aborted) return Promise.reject(new Error('aborted'));
      if (refusal !== undefined) return Promise.reject(refusal);
      seen = overlays;
      return Promise.resolve();
    },
    volume: () => Promise.resolve(volume(path, '')),
    volumes: () => Promise.resolve([volume(path, ''), ...Object.entries(seen).map((one) => volume(...one))]),
  };
  const context = {
    nodeName: 'node-1',
    clock: { now: () => 0 },
    nodes: () => [{ name: 'node-1', labels: {} }],
    knownDisks: () => [stored, ...others.map((status) => ({ metadata: { uid: 'other' }, spec: {}, status }))],
    usersOf: () => [],
    snapshots: { listAll: () => Promise.resolve({ items: [] }) },
    record: () => undefined,
    libvirt: () => ({ domains: { list: () => Promise.resolve([]) }, pools: { byName: () => Promise.resolve(pool) } }),
    disks: {
      mergePatch: (_ref: unknown, patch: Partial<VirtualDisk>) => {
        stored = { ...stored, ...patch, metadata: { ...stored.metadata, ...patch.metadata } };
        return Promise.resolve(stored);
      },
    },
  } as unknown as StorageContext;
  let thrown: unknown;
  const again = await deleteDisk(context, stored, end.signal).catch((error: unknown) => {
    thrown = error;
    return undefined;
  });
  const { conditions = [], message } = stored.status ?? {};
  return {
    ...{ acts, again, thrown, message },
    isGone: (stored.metadata.finalizers ?? []).length === 0,
    inUse: conditions.find(({ type }) => type === 'InUse')?.message,
  };
}

describe('the deletion of a disk', () => {
  it('looks through its pool, and removes the volume that nothing lies over', async () => {
    const { acts, isGone } = await drop({ overlays: { '/other': '/elsewhere' } });
    expect(acts).toEqual(['look', 'delete']);
    expect(isGone).toBe(true);
  });

  it('waits for a file that was made over it since the pool was looked through, and names it', async () => {
    const { acts, isGone, inUse, again } = await drop({ overlays: { '/p/over.qcow2': path } });
    expect(acts).toEqual(['look']);
    expect(inUse).toBe('deletion waits for file /p/over.qcow2');
    expect([isGone, again?.requeueAfterMs]).toEqual([false, 10_000]);
  });

  it('is not held up by a guest that wrote the header of an overlay into its raw disk', async () => {
    const raw = { nodeName: 'node-1', path: '/p/over.raw', format: 'raw' };
    const { acts, isGone } = await drop({ overlays: { '/p/over.raw': path }, others: [raw] });
    expect([acts, isGone]).toEqual([['look', 'delete'], true]);
  });

  it.each([
    ['that is qcow2', { nodeName: 'node-1', format: 'qcow2' }],
    ['of that name on another node', { nodeName: 'node-2', format: 'raw' }],
  ])('waits for the file of a disk %s', async (_what, status) => {
    const other = { ...status, path: '/p/over' };
    const { isGone, inUse } = await drop({ overlays: { '/p/over': path }, others: [other] });
    expect([isGone, inUse]).toEqual([false, 'deletion waits for file /p/over']);
  });

  it('keeps the file while its pool cannot be looked through, and says why', async () => {
    const refusal = said("pool 'local' has asynchronous jobs running.");
    const { acts, isGone, message, again } = await drop({ refusal });
    expect(acts).toEqual(['look']);
    expect(message).toBe(
      `pool local cannot be looked through for files that lie over ${path}: pool 'local' has asynchronous jobs running.`,
    );
    expect([isGone, again?.requeueAfterMs]).toEqual([false, 1_000]);
  });

  it('ends when it is to end while the pool is looked through', async () => {
    const { acts, isGone, message, thrown } = await drop({ isEnded: true });
    expect(acts).toEqual(['look']);
    expect([isGone, message]).toEqual([false, undefined]);
    expect(String(thrown)).toContain('aborted');
  });

  it('looks for nothing where the volume is kept', async () => {
    const { acts, isGone } = await drop({ spec: { reclaimPolicy: 'Retain' } });
    expect([acts, isGone]).toEqual([[], true]);
  });
});
