import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { virtualDiskKind, virtualPoolKind } from '../../../src/api/kinds.ts';
import type { KubeObject } from '../../../src/api/meta.ts';
import { forceStopAnnotation, type VirtualPool } from '../../../src/api/virtual-pool.ts';
import { ForbiddenError } from '../../../src/base/errors.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { resourceTypeOf } from '../../../src/cli/machine-verb.ts';
import { poolFinalizer, PoolReconciler } from '../../../src/executor/virtual-pool/reconciler.ts';
import type { StorageContext } from '../../../src/executor/virtual-pool/storage-context.ts';
import type { KubeClient } from '../../../src/kube/kube-client.ts';
import { builtin } from '../../../src/kube/resource-type.ts';
import type { ResourceClient } from '../../../src/kube/resource-client.ts';
import { isConflict } from '../../../src/kube/status-error.ts';
import { commandLine, type CommandResult } from '../../support/command-line.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { startTestApi, type TestApi } from '../../support/test-api.ts';

const apiVersion = 'virtctl.dev/v1alpha1';
const { signal } = new AbortController();

describe('stopping a pool', () => {
  let api: TestApi;
  let client: KubeClient;
  let pools: ResourceClient<VirtualPool>;
  let kubeconfig: string;
  let reconciler: PoolReconciler;
  let count = 0;
  let name: string;
  let running: string[];
  let isActive: boolean;
  /** Whether the executor may write more than status. */
  let mayWrite: boolean;

  const virtctl = (...args: string[]): Promise<CommandResult> =>
    commandLine(['pool', ...args, '--kubeconfig', kubeconfig]);
  const reconcile = () => reconciler.reconcile(name, { signal, logger: silentLogger });

  /** What the executor does to the pool's changes until the command has ended. */
  async function withExecutor(command: Promise<CommandResult>): Promise<CommandResult> {
    const over = new AbortController();
    const ending = command.finally(() => over.abort());
    while (!over.signal.aborted) {
      await reconcile().catch((error: unknown) => {
        // The command wrote in between.
        if (!isConflict(error)) throw error;
      });
      await new Promise((resolve) => setImmediate(resolve));
    }
    return ending;
  }

  beforeAll(async () => {
    api = await startTestApi('stop-pool');
    ({ client, kubeconfig } = api);
    pools = client.resource<VirtualPool>(resourceTypeOf(virtualPoolKind));
    await client
      .resource<KubeObject>(builtin.namespaces)
      .create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } });
  });

  afterAll(async () => {
    await api.close();
  });

  beforeEach(async () => {
    count += 1;
    name = `pool-${count}`;
    running = [];
    isActive = true;
    mayWrite = true;
    const xml = `<pool type='dir'><name>${name}</name><target><path>/pool</path></target></pool>`;
    const there = {
      name,
      uuid: '6ad2e5a5-6fb6-4b8e-9a1b-3a4dbe9a8d11',
      xml: () => Promise.resolve(xml),
      isActive: () => Promise.resolve(isActive),
      destroy: () => Promise.resolve((isActive = false)),
      start: () => Promise.resolve((isActive = true)),
      isPersistent: () => Promise.resolve(false),
      refresh: () => Promise.resolve(),
      info: () =>
        Promise.resolve({
          state: isActive ? 'running' : 'inactive',
          capacityBytes: 1,
          allocationBytes: 0,
          availableBytes: 1,
        }),
      volumes: () => Promise.resolve([]),
    };
    const domain = (one: string) => ({
      name: one,
      xml: () =>
        Promise.resolve(
          `<domain type='qemu'><name>${one}</name><os><type>hvm</type></os><devices><disk type='file' device='disk'>` +
            "<source file='/pool/x.raw'/><target dev='vda'/></disk></devices></domain>",
        ),
    });
    reconciler = new PoolReconciler({
      nodeName: 'node-1',
      pools: {
        find: pools.find.bind(pools),
        mergePatch: (...[ref, body, options]: Parameters<typeof pools.mergePatch>) =>
          mayWrite || options?.subresource === 'status'
            ? pools.mergePatch(ref, body, options)
            : Promise.reject(new ForbiddenError('only status')),
      },
      nodes: () => [{ name: 'node-1', labels: {} }],
      knownDisks: () => [],
      knownImages: () => [],
      libvirt: () => ({
        pools: { byName: () => Promise.resolve(there) },
        // All that there are run.
        domains: { list: () => Promise.resolve(running.map(domain)) },
      }),
      record: () => undefined,
      clock: new ManualClock(),
    } as unknown as StorageContext);
    await pools.create({
      apiVersion,
      kind: 'VirtualPool',
      metadata: { name, finalizers: [poolFinalizer] },
      spec: { pool: { type: 'dir', target: { path: '/pool' } } },
    });
    await reconcile();
  });

  const inUse = async () => (await pools.get({ name })).status?.conditions?.find(({ type }) => type === 'InUse');

  it('waits for the guests that run on it, names them, and goes on when they are off', async () => {
    running = ['shop.web'];
    expect(await withExecutor(virtctl('stop', name))).toMatchObject({
      exitCode: 4,
      stderr: expect.stringMatching(
        /stop waits for domain shop.web on node node-1[^]*it is stopped once they are off; --force stops it now/,
      ) as string,
    });
    expect(isActive).toBe(true);
    expect(await inUse()).toMatchObject({ status: 'True', message: 'stop waits for domain shop.web on node node-1' });
    expect(await reconcile()).toEqual({ requeueAfterMs: 10_000 });
    running = [];
    await reconcile();
    expect(isActive).toBe(false);
    expect(await inUse()).toMatchObject({ status: 'False', reason: 'NotInUse' });
  });

  it('is done under guests with --force, once, and called off by a start', async () => {
    running = ['shop.web'];
    expect(await withExecutor(virtctl('stop', name, '--force'))).toMatchObject({ exitCode: 0 });
    expect(isActive).toBe(false);
    expect(await withExecutor(virtctl('start', name))).toMatchObject({ exitCode: 0 });
    expect((await pools.get({ name })).metadata.annotations?.[forceStopAnnotation]).toBeUndefined();
    expect(await withExecutor(virtctl('stop', name))).toMatchObject({ exitCode: 4 });
    expect(isActive).toBe(true);
  });

  it('waits again after a start that was not asked of virtctl', async () => {
    running = ['shop.web'];
    expect(await withExecutor(virtctl('stop', name, '--force'))).toMatchObject({ exitCode: 0 });
    await pools.mergePatch({ name }, { spec: { active: true } });
    await reconcile();
    expect(isActive).toBe(true);
    await pools.mergePatch({ name }, { spec: { active: false } });
    await reconcile();
    expect(isActive).toBe(true);
    expect(await inUse()).toMatchObject({ status: 'True', message: 'stop waits for domain shop.web on node node-1' });
  });

  it('does not keep an executor from its work that may only write status', async () => {
    expect(await withExecutor(virtctl('stop', name, '--force'))).toMatchObject({ exitCode: 0 });
    await pools.mergePatch({ name }, { spec: { active: true } });
    mayWrite = false;
    await reconcile();
    expect(isActive).toBe(true);
  });

  it('is refused while disks are in it, with their names and whose they are', async () => {
    const disks = client.resource<KubeObject>(resourceTypeOf(virtualDiskKind));
    const metadata = { name: 'root', namespace: 'shop' };
    await disks.create({ apiVersion, kind: 'VirtualDisk', metadata, spec: { pool: name, capacity: '1Mi' } });
    const usedBy = [{ kind: 'VirtualMachine', name: 'web' }];
    await disks.mergePatch(metadata, { status: { usedBy } }, { subresource: 'status' });
    await pools.mergePatch({ name }, { status: { usedBy: 1 } }, { subresource: 'status' });
    const refused = await virtctl('stop', name);
    expect(refused.exitCode).toBe(4);
    expect(refused.stderr).toContain(`vpool/${name}: VirtualDisk shop/root (of VirtualMachine web) is in it`);
    expect((await pools.get({ name })).spec.active).toBeUndefined();
  });
});
