import { describe, expect, it } from 'vitest';
import type { Hypervisor } from '../../src/api/hypervisor.ts';
import { findCondition } from '../../src/api/meta.ts';
import type { VirtualMachine } from '../../src/api/virtual-machine.ts';
import { toKubernetesMicroTime } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { NodeHealth } from '../../src/controller/node-health.ts';
import { objectKey, type KubeObject, type ObjectRef } from '../../src/kube/object.ts';
import { makeLease, type Lease } from '../../src/reconcile/lease.ts';
import { ManualClock } from '../support/manual-clock.ts';

/** One kind's objects: at the API server, and in a cache that can be left behind. */
class Objects<T extends KubeObject> {
  readonly stored = new Map<string, T>();
  readonly cached = new Map<string, T>();
  readonly patches: unknown[] = [];
  #version = 0;

  put(object: T): void {
    this.#version += 1;
    const metadata = { uid: 'u', ...object.metadata, resourceVersion: String(this.#version) };
    this.stored.set(objectKey(object), { ...object, metadata });
  }

  sync(): void {
    this.cached.clear();
    for (const [key, object] of this.stored) this.cached.set(key, object);
  }

  read(key: string): T {
    const found = this.stored.get(key);
    if (found === undefined) throw new Error(`no ${key}`);
    return found;
  }

  readonly client = {
    find: (ref: ObjectRef) => Promise.resolve(this.stored.get(objectKey(ref))),
    mergePatch: (ref: ObjectRef, patch: object): Promise<T> => {
      const { metadata, status } = patch as { metadata: { resourceVersion: string }; status: object };
      const now = this.read(objectKey(ref));
      if (metadata.resourceVersion !== now.metadata.resourceVersion) return Promise.reject(new Error('conflict'));
      this.patches.push(patch);
      this.put({ ...now, status: { ...(now as { status?: object }).status, ...status } });
      return Promise.resolve(this.read(objectKey(ref)));
    },
  };
}

class Cluster {
  readonly clock = new ManualClock();
  readonly leases = new Objects<Lease>();
  readonly machines = new Objects<VirtualMachine>();
  readonly hypervisors = new Objects<Hypervisor>();
  readonly events: string[] = [];
  readonly health = new NodeHealth({
    // The parts of informers that are used: a real one needs a server.
    caches: {
      leases: { get: (key: string) => this.leases.cached.get(key) },
      hypervisors: { get: (key: string) => this.hypervisors.cached.get(key) },
      machines: {
        byIndex: (_index: string, node: string) =>
          [...this.machines.cached.values()].filter(({ spec }) => spec.nodeName === node),
      },
    } as unknown as ConstructorParameters<typeof NodeHealth>[0]['caches'],
    leases: this.leases.client,
    machines: this.machines.client,
    hypervisors: this.hypervisors.client,
    recorder: { record: ({ reason }) => void this.events.push(reason) },
    clock: this.clock,
  });

  constructor() {
    this.hypervisors.put({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'Hypervisor',
      metadata: { name: 'a' },
      spec: {},
      status: {
        conditions: [
          { type: 'LibvirtConnected', status: 'True' },
          { type: 'Ready', status: 'True', reason: 'Ready' },
        ],
      },
    });
    for (const [name, nodeName] of [
      ['web', 'a'],
      ['db', 'a'],
      ['other', 'b'],
    ] as const) {
      this.machines.put({
        apiVersion: 'virtctl.dev/v1alpha1',
        kind: 'VirtualMachine',
        metadata: { name, namespace: 'shop' },
        spec: { nodeName, runStrategy: 'Always' },
        status: {
          printableStatus: 'Running',
          nodeName,
          conditions: [{ type: 'Ready', status: 'True', reason: 'Running', observedGeneration: 3 }],
        },
      });
    }
    this.renew();
    this.sync();
  }

  /** @param offMs How far the node's clock is off. */
  renew(offMs = 0): void {
    const spec = { leaseDurationSeconds: 40, renewTime: toKubernetesMicroTime(this.clock.now() + offMs) };
    this.leases.put(makeLease({ namespace: 'virtctl-node-lease', name: 'a' }, spec));
  }

  sync(): void {
    for (const one of [this.leases, this.machines, this.hypervisors]) one.sync();
  }

  /** What the controller's loop does. */
  async look(): Promise<number | undefined> {
    const { signal } = new AbortController();
    return (await this.health.reconcile('a', { signal, logger: silentLogger }))?.requeueAfterMs;
  }

  state(name = 'web'): unknown[] {
    const { status } = this.machines.read(`shop/${name}`);
    const ready = findCondition(status, 'Ready');
    return [status?.printableStatus, ready?.status, ready?.reason];
  }

  ready(): unknown[] {
    const ready = findCondition(this.hypervisors.read('a').status, 'Ready');
    return [ready?.status, ready?.reason];
  }
}

const running = ['Running', 'True', 'Running'];
const unknown = ['Unknown', 'Unknown', 'NodeLost'];

describe('NodeHealth', () => {
  it('leaves a node alone whose lease is renewed, and looks again when it would end', async () => {
    const cluster = new Cluster();
    for (let beat = 0; beat < 20; beat += 1) {
      expect(await cluster.look()).toBe(40_001);
      await cluster.clock.advance(10_000);
      cluster.renew();
      cluster.sync();
    }
    expect([cluster.ready(), cluster.state()]).toEqual([['True', 'Ready'], running]);
    expect(cluster.machines.patches).toEqual([]);
  });

  it('says after 40 s without a renewal that nobody knows, of the node and of its machines only', async () => {
    const cluster = new Cluster();
    await cluster.look();
    await cluster.clock.advance(39_999);
    expect(await cluster.look()).toBe(2);
    expect(cluster.state()).toEqual(running);
    await cluster.clock.advance(1);
    expect(await cluster.look()).toBe(10_000);
    expect(cluster.ready()).toEqual(['Unknown', 'LeaseExpired']);
    expect([cluster.state('web'), cluster.state('db'), cluster.state('other')]).toEqual([unknown, unknown, running]);
    expect(cluster.events).toEqual(['LeaseExpired', 'NodeLost', 'NodeLost']);
    const ready = findCondition(cluster.machines.read('shop/web').status, 'Ready');
    expect(ready?.message).toMatch(/^the executor of a has not renewed its lease since 2030-.*guests run on/);
    // Nobody looked at the spec: the generation that was observed stays.
    expect(ready?.observedGeneration).toBe(3);
  });

  it('never touches what is wanted: no second copy, however long the node is away', async () => {
    const cluster = new Cluster();
    const specs = [...cluster.machines.stored.values()].map(({ spec }) => spec);
    for (let hour = 0; hour < 48; hour += 1) {
      await cluster.look();
      await cluster.clock.advance(3_600_000);
      cluster.sync();
    }
    expect([...cluster.machines.stored.values()].map(({ spec }) => spec)).toEqual(specs);
    expect(cluster.machines.patches).toHaveLength(2);
    for (const patch of cluster.machines.patches) expect(Object.keys(patch as object)).toEqual(['metadata', 'status']);
  });

  it('asks the API server before it believes a cache that heard nothing', async () => {
    const cluster = new Cluster();
    await cluster.look();
    await cluster.clock.advance(60_000);
    cluster.renew();
    expect(await cluster.look()).toBe(40_001);
    expect([cluster.ready(), cluster.state()]).toEqual([['True', 'Ready'], running]);
  });

  it('heals the node when its lease is renewed, as libvirt was, and leaves its machines to their executor', async () => {
    const cluster = new Cluster();
    await cluster.look();
    await cluster.clock.advance(40_000);
    await cluster.look();
    cluster.renew();
    cluster.sync();
    expect(await cluster.look()).toBe(40_001);
    expect(cluster.ready()).toEqual(['True', 'Ready']);
    expect(cluster.state()).toEqual(unknown);
    expect(cluster.events.at(-1)).toBe('NodeBack');
  });

  it('gives a lost node no life for being seen for the first time: a new leader waits for a renewal', async () => {
    const cluster = new Cluster();
    await cluster.look();
    await cluster.clock.advance(40_000);
    await cluster.look();
    cluster.sync();
    const next = new NodeHealth({ ...optionsOf(cluster) });
    const { signal } = new AbortController();
    await next.reconcile('a', { signal, logger: silentLogger });
    expect(cluster.ready()).toEqual(['Unknown', 'LeaseExpired']);
    cluster.renew();
    cluster.sync();
    await next.reconcile('a', { signal, logger: silentLogger });
    expect(cluster.ready()).toEqual(['True', 'Ready']);
  });

  it('marks the other machines though one changed meanwhile, and fails to be run again', async () => {
    const cluster = new Cluster();
    await cluster.look();
    await cluster.clock.advance(40_000);
    cluster.machines.put(cluster.machines.read('shop/web'));
    await expect(cluster.look()).rejects.toThrow('conflict');
    expect([cluster.state('web'), cluster.state('db')]).toEqual([running, unknown]);
    cluster.sync();
    await cluster.look();
    expect(cluster.state('web')).toEqual(unknown);
  });

  it.each([-3_600_000, -40_123, 3_600_000])('takes no notice of a step of the node’s clock: %i ms', async (offMs) => {
    const cluster = new Cluster();
    await cluster.look();
    for (let beat = 0; beat < 20; beat += 1) {
      await cluster.clock.advance(10_000);
      cluster.renew(beat < 3 || beat > 12 ? 0 : offMs);
      cluster.sync();
      expect(await cluster.look()).toBe(40_001);
    }
    expect([cluster.ready(), cluster.machines.patches]).toEqual([['True', 'Ready'], []]);
  });

  it('takes no life from a cache that stays behind what the API server has said', async () => {
    const cluster = new Cluster();
    await cluster.look();
    // The watch hangs; the node is renewed three times, and dies.
    for (let beat = 0; beat < 3; beat += 1) {
      await cluster.clock.advance(40_000);
      cluster.renew();
      await cluster.look();
    }
    await cluster.clock.advance(20_000);
    expect(await cluster.look()).toBe(20_001);
    await cluster.clock.advance(20_000);
    await cluster.look();
    expect(cluster.ready()).toEqual(['Unknown', 'LeaseExpired']);
  });

  it('takes a node that never had a lease for lost after the same time', async () => {
    const cluster = new Cluster();
    cluster.leases.stored.clear();
    cluster.sync();
    await cluster.look();
    await cluster.clock.advance(40_000);
    await cluster.look();
    expect(cluster.ready()).toEqual(['Unknown', 'LeaseExpired']);
  });
});

function optionsOf(cluster: Cluster): ConstructorParameters<typeof NodeHealth>[0] {
  return {
    caches: {
      leases: { get: (key: string) => cluster.leases.cached.get(key) },
      hypervisors: { get: (key: string) => cluster.hypervisors.cached.get(key) },
      machines: { byIndex: () => [] },
    } as unknown as ConstructorParameters<typeof NodeHealth>[0]['caches'],
    leases: cluster.leases.client,
    machines: cluster.machines.client,
    hypervisors: cluster.hypervisors.client,
    recorder: { record: () => undefined },
    clock: cluster.clock,
  };
}
