import { beforeEach, describe, expect, it } from 'vitest';
import type { VirtualPool } from '../../../src/api/virtual-pool.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { poolFinalizer, PoolReconciler } from '../../../src/executor/virtual-pool/reconciler.ts';
import type { StorageContext } from '../../../src/executor/virtual-pool/storage-context.ts';
import { ErrorNumber } from '../../../src/libvirt/constants.gen.ts';
import { LibvirtError } from '../../../src/libvirt/errors.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const { signal } = new AbortController();

function said(code: number, message: string): LibvirtError {
  const silent = { str1: null, str2: null, str3: null, int1: 0, int2: 0 };
  return new LibvirtError('storagePoolCreate', { ...silent, code, domain: 18, level: 2, message });
}

describe('a pool between two of its steps', () => {
  /** What libvirt was asked to do. */
  let acts: string[];
  let stored: VirtualPool;
  /** libvirt's pool. */
  let isDefined: boolean;
  let isActive: boolean;
  /** The device of the pool is not there. */
  let isAway: boolean;
  /** The pool cannot be looked through: libvirt stops it then. */
  let isUnreadable: boolean;
  let disks: readonly object[];
  /** What the executor was killed before: a call of libvirt, or a write of status. */
  let killedAt: string | undefined;
  let isDead: boolean;

  const kill = (what: string): void => {
    isDead ||= what === killedAt;
    if (isDead) throw new Error(`killed before ${killedAt ?? ''}`);
  };
  const act = async (name: string, done: () => void): Promise<void> => {
    await Promise.resolve();
    kill(name);
    if (isAway && name !== 'undefine') throw said(ErrorNumber.INTERNAL_ERROR, `cannot ${name} it: the device is away`);
    acts.push(name);
    done();
  };
  const xml = "<pool type='fs'><name>p</name><target><path>/p</path></target></pool>";
  const there = {
    ...{ name: 'p', uuid: '6ad2e5a5-6fb6-4b8e-9a1b-3a4dbe9a8d11' },
    xml: () => Promise.resolve(xml),
    isActive: () => Promise.resolve(isActive),
    isPersistent: () => Promise.resolve(true),
    autostart: () => Promise.resolve(true),
    build: ({ overwrite }: { readonly overwrite?: boolean }) =>
      act(overwrite === true ? 'overwrite' : 'build', () => undefined),
    start: () => act('start', () => (isActive = true)),
    destroy: () => act('stop', () => (isActive = false)),
    undefine: () => act('undefine', () => (isDefined = false)),
    refresh: () => {
      if (!isUnreadable) return Promise.resolve();
      isActive = false;
      return Promise.reject(said(ErrorNumber.INTERNAL_ERROR, 'cannot read it'));
    },
    info: () =>
      Promise.resolve({
        ...{ capacityBytes: 1, allocationBytes: 0, availableBytes: 1 },
        state: isActive ? 'running' : 'inactive',
      }),
    volumes: () => Promise.resolve([]),
  };
  let reconciler: PoolReconciler;
  const reconcile = (): Promise<unknown> =>
    reconciler.reconcile('p', { signal, logger: silentLogger }).catch((error: unknown) => error);
  /** An executor of a node, that remembers nothing of the one before. */
  const executor = (nodeName: string): PoolReconciler => {
    killedAt = undefined;
    isDead = false;
    return new PoolReconciler({
      nodeName,
      pools: {
        find: () => Promise.resolve(stored.metadata.finalizers?.length === 0 ? undefined : stored),
        mergePatch: async (_ref: unknown, body: Partial<VirtualPool>) => {
          await Promise.resolve();
          kill(`status ${body.status?.nodes?.map(({ state }) => state).join() ?? ''}`);
          const metadata = { ...stored.metadata, ...body.metadata };
          return (stored = { ...stored, metadata, status: { ...stored.status, ...body.status } });
        },
      },
      nodes: () => ['node-1', 'node-2'].map((name) => ({ name, labels: { on: name === 'node-1' ? 'yes' : 'no' } })),
      knownDisks: () => disks,
      knownImages: () => [],
      libvirt: () => ({
        pools: {
          byName: () =>
            isDefined ? Promise.resolve(there) : Promise.reject(said(ErrorNumber.NO_STORAGE_POOL, 'no pool')),
          defineXml: async () => {
            await act('define', () => (isDefined = true));
            return there;
          },
        },
        secrets: { byUsage: () => Promise.reject(said(ErrorNumber.NO_SECRET, 'no secret')) },
        domains: { list: () => Promise.resolve([]) },
      }),
      record: () => undefined,
      clock: new ManualClock(),
    } as unknown as StorageContext);
  };

  beforeEach(() => {
    acts = [];
    isDefined = false;
    isActive = false;
    isAway = false;
    isUnreadable = false;
    disks = [];
    stored = {
      ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualPool' },
      metadata: { name: 'p', uid: 'u', resourceVersion: '1', finalizers: [poolFinalizer] },
      spec: {
        nodeSelector: { matchLabels: { on: 'yes' } },
        build: 'Overwrite',
        pool: { type: 'fs', target: { path: '/p' } },
      },
    };
    reconciler = executor('node-1');
  });

  it('is overwritten once, and not after a time in which its device was away', async () => {
    await reconcile();
    expect(acts).toEqual(['define', 'overwrite', 'start']);
    // The node was started again before its device was there.
    isActive = false;
    isAway = true;
    await reconcile();
    isAway = false;
    acts = [];
    await reconcile();
    expect(acts).toEqual(['start']);
  });

  it('is not overwritten again when the executor was killed before status said that it runs', async () => {
    killedAt = 'status running';
    await reconcile();
    expect(isActive).toBe(true);
    // The node was started again, and the pool has not been since: there may be disks in it.
    isActive = false;
    reconciler = executor('node-1');
    acts = [];
    await reconcile();
    expect(acts).toEqual(['start']);
  });

  it('is never overwritten when it ran before it had an object, whatever became of it at the first look', async () => {
    isDefined = true;
    isActive = true;
    isUnreadable = true;
    await reconcile();
    expect(isActive).toBe(false);
    isUnreadable = false;
    await reconcile();
    expect(acts).toEqual(['start']);
  });

  it('is never overwritten when it ran before it had an object, and is stopped since it is otherwise than spec says', async () => {
    isDefined = true;
    isActive = true;
    stored = { ...stored, spec: { ...stored.spec, pool: { type: 'fs', target: { path: '/other' } } } };
    await reconcile();
    expect(acts).toEqual(['define', 'stop', 'start']);
  });

  it('is not taken away while a disk is in it that is to be in another one by now', async () => {
    await reconcile();
    const metadata = { namespace: 'shop', name: 'data' };
    disks = [{ metadata, spec: { pool: 'other' }, status: { nodeName: 'node-1', pool: 'p' } }];
    stored = { ...stored, metadata: { ...stored.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } };
    acts = [];
    await reconcile();
    expect(acts).toEqual([]);
    disks = [];
    await reconcile();
    expect(acts).toEqual(['stop', 'undefine']);
  });

  it.each(['overwrite', 'start', 'status running'])(
    'is taken away with its object by an executor that was killed before "%s"',
    async (what) => {
      killedAt = what;
      await reconcile();
      expect(isDefined).toBe(true);
      stored = { ...stored, metadata: { ...stored.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } };
      // Another node must not take this one for clean.
      reconciler = executor('node-2');
      await reconcile();
      expect(stored.metadata.finalizers).toEqual([poolFinalizer]);
      reconciler = executor('node-1');
      await reconcile();
      expect(isDefined).toBe(false);
      expect(stored.metadata.finalizers ?? []).toEqual([]);
    },
  );
});
