/** What reconcilers share, against a real kube-apiserver: finalizers, events, leases, leader election, a whole loop. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { selectConnection } from '../../src/kube/connection.ts';
import { Informer } from '../../src/kube/informer.ts';
import { KubeClient } from '../../src/kube/kube-client.ts';
import { objectKey, parseObjectKey } from '../../src/kube/object.ts';
import type { KubeObject } from '../../src/kube/object.ts';
import { builtin } from '../../src/kube/resource-type.ts';
import { isConflict } from '../../src/kube/status-error.ts';
import { Controller } from '../../src/reconcile/controller.ts';
import { EventRecorder } from '../../src/reconcile/event-recorder.ts';
import type { KubeEvent } from '../../src/reconcile/event-recorder.ts';
import { addFinalizer, hasFinalizer, isBeingDeleted, removeFinalizer } from '../../src/reconcile/finalizers.ts';
import { LeaderElector } from '../../src/reconcile/leader-election.ts';
import { renewLease } from '../../src/reconcile/lease.ts';
import type { Lease } from '../../src/reconcile/lease.ts';
import { startKubeApiserver } from '../support/kube-apiserver.ts';
import type { KubeApiserver } from '../support/kube-apiserver.ts';

interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>> | undefined;
}

let api: KubeApiserver;
let client: KubeClient;

beforeAll(async () => {
  api = await startKubeApiserver();
  client = new KubeClient(
    await selectConnection({ kubeconfig: api.kubeconfigPath, env: {}, home: '/nonexistent', cwd: '/' }),
  );
});
afterAll(async () => {
  client.close();
  await api.stop();
});

const never = new AbortController().signal;
const until = (isSo: () => boolean | Promise<boolean>): Promise<unknown> =>
  vi.waitUntil(isSo, { timeout: 30_000, interval: 20 });
const finalizer = 'virtctl.dev/test';
const map = (name: string): ConfigMap => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace: 'default' },
});
const at = (name: string): { namespace: string; name: string } => ({ namespace: 'default', name });

describe('finalizers', () => {
  it('hold an object back until they are taken away, and never lose one of somebody else', async () => {
    const maps = client.resource<ConfigMap>(builtin.configMaps);
    const made = await maps.create(map('held'));
    const held = await addFinalizer(maps, made, finalizer, never);
    expect(hasFinalizer(held, finalizer)).toBe(true);
    expect(await addFinalizer(maps, held, finalizer, never)).toBe(held);
    await maps.mergePatch(at('held'), { metadata: { finalizers: [finalizer, 'other.dev/too'] } });
    const stale = await removeFinalizer(maps, held, finalizer, never).catch((error: unknown) => error);
    expect(isConflict(stale)).toBe(true);
    await maps.delete(at('held'));
    let current = await maps.get(at('held'));
    expect(isBeingDeleted(current)).toBe(true);
    current = (await removeFinalizer(maps, current, finalizer, never)) ?? current;
    expect(current.metadata.finalizers).toEqual(['other.dev/too']);
    await removeFinalizer(maps, current, 'other.dev/too', never);
    expect(await maps.find(at('held'))).toBeUndefined();
    expect(await removeFinalizer(maps, current, 'other.dev/too', never)).toBeUndefined();
  });
});

describe('events', () => {
  it('are taken by the server, with their series, and kubectl’s view shows them', async () => {
    const events = client.resource<KubeEvent>(builtin.events);
    const recorder = new EventRecorder({
      events,
      controller: 'virtctl.dev/executor',
      instance: 'node-1',
      clock: systemClock,
      random: Math.random,
      logger: { ...silentLogger, warn: (message, fields) => void warnings.push([message, fields]) },
    });
    const warnings: unknown[] = [];
    const regarding = await client.resource<ConfigMap>(builtin.configMaps).create(map('eventful'));
    const node: KubeObject = { apiVersion: 'virtctl.dev/v1alpha1', kind: 'Hypervisor', metadata: { name: 'node-1' } };
    const stop = new AbortController();
    const running = recorder.run(stop.signal);
    const record = { regarding, type: 'Warning', reason: 'Failed', action: 'Start', note: 'ö'.repeat(1000) } as const;
    recorder.record(record);
    recorder.record({ ...record, regarding: node });
    await until(async () => warnings.length > 0 || (await events.listAll()).items.length >= 2);
    expect(warnings).toEqual([]);
    recorder.record(record);
    stop.abort();
    await running;
    const written = (await events.listAll()).items;
    const counts = written
      .filter(({ reportingController }) => reportingController === 'virtctl.dev/executor')
      .map((event) => [event.regarding?.name, event.series?.count])
      .sort();
    expect(counts).toEqual([
      ['eventful', 2],
      ['node-1', undefined],
    ]);
    const core = (await client.raw('/api/v1/namespaces/default/events?fieldSelector=involvedObject.name=eventful')) as {
      items: { reason: string; message: string }[];
    };
    expect(core.items.map(({ reason }) => reason)).toEqual(['Failed']);
  });
});

describe('leases', () => {
  it('are made and renewed', async () => {
    const leases = client.resource<Lease>(builtin.leases);
    const options = { leases, ref: at('node-1'), holder: 'node-1', clock: systemClock, logger: silentLogger };
    const first = await renewLease(options);
    const second = await renewLease(options);
    expect(second.metadata.uid).toBe(first.metadata.uid);
    expect(second.spec?.holderIdentity).toBe('node-1');
    expect(Date.parse(second.spec?.renewTime ?? '')).toBeGreaterThanOrEqual(Date.parse(first.spec?.renewTime ?? ''));
  });

  it('let one of several candidates lead, and another one after it', async () => {
    const leases = client.resource<Lease>(builtin.leases);
    const leading = new Set<string>();
    let most = 0;
    const start = (identity: string): { stop: AbortController; ended: Promise<void> } => {
      const elector = new LeaderElector({
        leases,
        ref: at('leader'),
        identity,
        clock: systemClock,
        random: Math.random,
        logger: silentLogger,
        leaseDurationMs: 3000,
        renewDeadlineMs: 2000,
        retryPeriodMs: 200,
      });
      const stop = new AbortController();
      const lead = async (signal: AbortSignal): Promise<void> => {
        leading.add(identity);
        most = Math.max(most, leading.size);
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
        leading.delete(identity);
      };
      return { stop, ended: elector.run(lead, stop.signal) };
    };
    const candidates = new Map(['a', 'b', 'c'].map((name) => [name, start(name)]));
    for (let turn = 0; turn < 3; turn++) {
      await until(() => leading.size === 1);
      const [leader] = leading;
      const candidate = candidates.get(leader ?? '');
      candidate?.stop.abort();
      await candidate?.ended;
      candidates.delete(leader ?? '');
    }
    expect([most, candidates.size]).toEqual([1, 0]);
  });
});

describe('a whole control loop', () => {
  it('brings every object to its desired state, through conflicts and a restart of the server', async () => {
    const maps = client.resource<ConfigMap>(builtin.configMaps);
    const informer = new Informer<ConfigMap>({
      source: maps,
      namespace: 'default',
      labelSelector: 'loop=yes',
      logger: silentLogger,
      backoff: { initialMs: 20, maxMs: 200, factor: 2, jitter: 0.5 },
    });
    const running = new Set<string>();
    const controller = new Controller({
      name: 'loop',
      logger: silentLogger,
      concurrency: 4,
      async reconcile(key, { signal }) {
        expect(running.has(key)).toBe(false);
        running.add(key);
        try {
          const object = await maps.find(parseObjectKey(key), { signal });
          if (object !== undefined && object.data?.['seen'] !== object.data?.['wanted']) {
            await maps.update({ ...object, data: { ...object.data, seen: object.data?.['wanted'] ?? '' } }, { signal });
          }
          return undefined;
        } finally {
          running.delete(key);
        }
      },
    });
    informer.onChange(({ object }) => controller.enqueue(objectKey(object)));
    const stop = new AbortController();
    const all = Promise.all([informer.run(stop.signal), controller.run(stop.signal)]);
    try {
      const names = Array.from({ length: 20 }, (_, i) => `loop-${i}`);
      for (const name of names) {
        await maps.create({
          ...map(name),
          metadata: { ...at(name), labels: { loop: 'yes' } },
          data: { wanted: '1' },
        });
      }
      for (const name of names) await maps.mergePatch(at(name), { data: { wanted: '2' } });
      await api.restart();
      for (const name of names) await maps.mergePatch(at(name), { data: { wanted: '3' } });
      await until(() => informer.list().filter(({ data }) => data?.['seen'] === '3').length === names.length);
    } finally {
      stop.abort();
      await all;
    }
  });
});
