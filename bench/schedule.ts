/**
 * Placing machines: the whole scheduler (queue, filters, scores, reservation, bind) against an API in memory that
 * encodes and decodes every object as a real one does, beside the naive way: each machine against every node, with what
 * is taken added up anew each time. Then what should not get worse with size: rules between machines, and a full cluster
 * where thousands wait.
 */
import process from 'node:process';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Hypervisor } from '../src/api/hypervisor.ts';
import type { VirtualMachine, VirtualMachineSpec } from '../src/api/virtual-machine.ts';
import { systemClock } from '../src/base/clock.ts';
import { silentLogger } from '../src/base/logger.ts';
import type { KubeObject } from '../src/kube/object.ts';
import { statusError } from '../src/kube/status-error.ts';
import { machineInfo } from '../src/scheduler/machine-info.ts';
import { Scheduler } from '../src/scheduler/scheduler.ts';
import { selectNode } from '../src/scheduler/select-node.ts';
import { Snapshot } from '../src/scheduler/snapshot.ts';
import type { BenchReport } from './bench-report.ts';

const none = (): undefined => undefined;
const nodeCount = 1_000;
const sizes = [1_000, 10_000] as const;
/** The naive way with 10,000 machines takes minutes: so many of them are placed, on a cluster that has the others. */
const naiveSample = 300;

/** See the head of this file. */
export async function run(): Promise<BenchReport> {
  // The first machines pay for the compiler.
  await placeAll(sizes[0]);
  const [few, many] = [await placeAll(sizes[0]), await placeAll(sizes[1])];
  const spread = [await placeAll(sizes[0], apart), await placeAll(sizes[1], apart)] as const;
  const naive = [placeNaively(sizes[0]), placeNaively(sizes[1])] as const;
  const full = await fillUp();
  const perMachine = (one: Placed): number => (one.cpuMs / one.count) * 1000;
  const growth = perMachine(many) / perMachine(few);
  return {
    title: `Placing machines on ${nodeCount} nodes`,
    rows: [
      {
        what: 'processor time for one machine',
        unit: 'µs',
        values: { [`of ${sizes[1]}`]: perMachine(many), [`of ${sizes[0]}`]: perMachine(few) },
      },
      rate(`placements of ${sizes[0]} machines`, few, naive[0].microseconds),
      rate(`placements of ${sizes[1]} machines`, many, naive[1].microseconds),
      {
        what: `time for one of ${sizes[1]} by that of ${sizes[0]}`,
        unit: '×',
        values: { virtctl: growth, 'every node anew': naive[1].microseconds / naive[0].microseconds },
        goal: '≤ 1.3 (linear: 1)',
        reached: growth <= 1.3,
      },
      {
        what: `${sizes[1]} machines, spread over 20 zones and apart in tens`,
        unit: '/s',
        values: {
          virtctl: (spread[1].count / spread[1].cpuMs) * 1000,
          'of 1000': (spread[0].count / spread[0].cpuMs) * 1000,
        },
      },
      { what: `memory with ${sizes[1]} machines`, unit: 'MiB', values: { heap: many.heapMib, rss: many.rssMib } },
      {
        what: `${full.waiting} wait on a full cluster: one goes, ${full.attempts} looked at again`,
        unit: 'ms',
        values: { 'until it is placed': full.ms },
      },
    ],
    notes: [
      'by processor time of one core, which other work on the machine disturbs least',
      `every node anew: all filters and scores on all ${nodeCount} nodes for each machine; the last ${naiveSample} machines, on a cluster that has the others`,
      'the API server answers at once and encodes each object twice; a real one adds its own two writes for each machine',
    ],
  };
}

interface Placed {
  readonly count: number;
  /** Of the processor: what a machine that does other things too does not change. */
  readonly cpuMs: number;
  readonly heapMib: number;
  readonly rssMib: number;
}

function rate(what: string, { count, cpuMs: ms }: Placed, naiveMicroseconds: number): BenchReport['rows'][number] {
  const values = { virtctl: (count / ms) * 1000, 'every node anew': 1e6 / naiveMicroseconds };
  return { what, unit: '/s', values };
}

/** Rules between machines: ten of an application on different nodes, and all of it even over the zones. */
function apart(index: number): VirtualMachineSpec {
  const labelSelector = { matchLabels: { app: `app-${Math.floor(index / 10)}` } };
  return {
    affinity: {
      vmAntiAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: [{ topologyKey: 'kubernetes.io/hostname', labelSelector }],
      },
    },
    topologySpreadConstraints: [{ maxSkew: 1, topologyKey: 'zone', whenUnsatisfiable: 'DoNotSchedule', labelSelector }],
  };
}

async function placeAll(count: number, rules?: (index: number) => VirtualMachineSpec): Promise<Placed> {
  collect();
  const empty = process.memoryUsage();
  const api = new MemoryApi();
  for (let index = 0; index < nodeCount; index += 1) api.store('node', makeNode(index));
  const scheduler = api.start();
  const before = cpuMs();
  for (let index = 0; index < count; index += 1) api.store('machine', makeMachine(index, rules?.(index)));
  await api.untilIdle();
  const used = cpuMs() - before;
  const placed = [...api.machines.values()].filter(({ spec }) => spec.nodeName !== undefined).length;
  if (placed !== count) throw new Error(`${count - placed} of ${count} machines were not placed`);
  collect();
  const after = process.memoryUsage();
  await scheduler.stop();
  const mib = 2 ** 20;
  return {
    count,
    cpuMs: used,
    heapMib: (after.heapUsed - empty.heapUsed) / mib,
    rssMib: after.rss / mib,
  };
}

/** The processor time for one machine of the last ones, in microseconds. */
function placeNaively(count: number): { readonly microseconds: number } {
  const snapshot = new Snapshot({ disk: none, image: none, pool: none, network: none, machineSnapshot: none });
  for (let index = 0; index < nodeCount; index += 1) snapshot.setNode(makeNode(index));
  const measuredFrom = count - naiveSample;
  for (let index = 0; index < measuredFrom; index += 1) {
    snapshot.place(machineInfo(makeMachine(index)), `node-${index % nodeCount}`);
  }
  const before = cpuMs();
  for (let index = measuredFrom; index < count; index += 1) {
    const machine = machineInfo(makeMachine(index));
    for (const node of snapshot.nodes.values()) node.touch();
    const { node } = selectNode(machine, snapshot, { enough: Number.POSITIVE_INFINITY });
    if (node === undefined) throw new Error('no node');
    snapshot.place(machine, node.name);
  }
  return { microseconds: ((cpuMs() - before) / naiveSample) * 1000 };
}

/** A cluster with no room left, on which thousands wait: what one departure costs. */
async function fillUp(): Promise<{ readonly waiting: number; readonly ms: number; readonly attempts: number }> {
  const waiting = 5_000;
  const api = new MemoryApi();
  const nodes = 100;
  for (let index = 0; index < nodes; index += 1) api.store('node', makeNode(index));
  const big: VirtualMachineSpec = { domain: { memory: { unit: 'GiB', value: 60 }, vcpu: { value: 4 } } };
  const scheduler = api.start();
  for (let index = 0; index < nodes + waiting; index += 1) api.store('machine', makeMachine(index, big));
  await api.untilIdle();
  const rounds = 50;
  const attempts = scheduler.attempts();
  const before = cpuMs();
  for (let round = 0; round < rounds; round += 1) {
    const gone = [...api.machines.values()].find(({ spec }) => spec.nodeName !== undefined);
    api.remove(gone?.metadata.name ?? '');
    await api.untilIdle();
  }
  const ms = (cpuMs() - before) / rounds;
  await scheduler.stop();
  return { waiting, ms, attempts: (scheduler.attempts() - attempts) / rounds };
}

function makeNode(index: number): Hypervisor {
  const capabilities = (domainType: 'kvm' | 'qemu') => ({
    arch: 'x86_64',
    domainType,
    machineTypes: Array.from({ length: 60 }, (_none, at) => (at === 0 ? 'q35' : `pc-q35-${at}.0`)),
    cpuModels: Array.from({ length: 40 }, (_none, at) => `Model-${at}`),
    cpuFeatures: Array.from({ length: 120 }, (_none, at) => `feature-${at}`),
    maxVcpus: 288,
    firmware: ['efi'],
  });
  const name = `node-${index}`;
  return {
    apiVersion: 'virtctl.dev/v1alpha1',
    kind: 'Hypervisor',
    metadata: { name, uid: name, labels: { 'kubernetes.io/hostname': name, zone: `zone-${index % 20}` } },
    spec: {},
    status: {
      allocatable: { cpu: '256', memory: '64Gi' },
      nodeInfo: { architecture: 'x86_64' },
      domainCapabilities: [capabilities('kvm'), capabilities('qemu')],
      conditions: [
        { type: 'Ready', status: 'True' },
        { type: 'KVMUsable', status: 'True' },
      ],
    },
  };
}

function makeMachine(index: number, spec: VirtualMachineSpec = {}): VirtualMachine {
  const name = `machine-${index}`;
  return {
    apiVersion: 'virtctl.dev/v1alpha1',
    kind: 'VirtualMachine',
    metadata: {
      ...{ name, namespace: 'bench', uid: name, generation: 1, creationTimestamp: '2026-01-01T00:00:00Z' },
      labels: { app: `app-${Math.floor(index / 10)}`, tier: index % 2 === 0 ? 'front' : 'back' },
    },
    spec: {
      runStrategy: 'Always',
      domain: {
        memory: { unit: 'MiB', value: 1024 + 512 * (index % 4) },
        vcpu: { value: 1 + (index % 4) },
        os: { type: { arch: 'x86_64', machine: 'q35', value: 'hvm' } },
        cpu: { mode: 'host-passthrough' },
        devices: { interface: [{ type: 'network', source: { network: 'default' }, model: { type: 'virtio' } }] },
      },
      ...spec,
    },
  };
}

type Table = 'machine' | 'node';

/** An API server without a network: one event for each change, objects as text in between. */
class MemoryApi {
  readonly machines = new Map<string, VirtualMachine>();
  readonly #nodes = new Map<string, Hypervisor>();
  #version = 0;
  #scheduler: Scheduler | undefined;

  start(): { readonly stop: () => Promise<void>; readonly attempts: () => number } {
    const client = (table: Table): never =>
      ({
        find: ({ name }: { name: string }) => later(() => copy(this.#table(table).get(name))),
        mergePatch: ({ name }: { name: string }, patch: object) => later(() => copy(this.#patch(table, name, patch))),
      }) as never;
    let token = 0;
    const scheduler = new Scheduler({
      snapshot: new Snapshot({ disk: none, image: none, pool: none, network: none, machineSnapshot: none }),
      machines: client('machine'),
      hypervisors: client('node'),
      operations: { find: () => Promise.resolve(undefined) },
      clock: systemClock,
      logger: silentLogger,
      newToken: () => String((token += 1)),
      random: Math.random,
      record: none,
    });
    this.#scheduler = scheduler;
    for (const object of this.#nodes.values()) scheduler.onNode({ type: 'added', object });
    const stop = new AbortController();
    const ended = scheduler.run(stop.signal);
    return {
      attempts: () => scheduler.attempts,
      stop: async () => {
        stop.abort(new Error('the benchmark is over'));
        await ended;
      },
    };
  }

  async untilIdle(): Promise<void> {
    for (let idle = 0; idle < 3; idle = this.#scheduler?.isIdle === true ? idle + 1 : 0) await turn();
  }

  store(table: Table, object: KubeObject): KubeObject {
    this.#version += 1;
    const name = object.metadata.name ?? '';
    const stored = { ...object, metadata: { ...object.metadata, resourceVersion: String(this.#version) } };
    const before = this.#table(table).get(name);
    this.#table(table).set(name, stored);
    const event = { type: before === undefined ? 'added' : 'updated', object: copy(stored), before } as never;
    if (table === 'machine') setImmediate(() => this.#scheduler?.onMachine(event));
    else setImmediate(() => this.#scheduler?.onNode(event));
    return stored;
  }

  remove(name: string): void {
    const object = this.machines.get(name);
    if (object === undefined) throw new Error(`there is no ${name}`);
    this.machines.delete(name);
    this.#scheduler?.onMachine({ type: 'deleted', object });
  }

  #table(table: Table): Map<string, KubeObject> {
    return table === 'machine' ? this.machines : this.#nodes;
  }

  #patch(table: Table, name: string, patch: { metadata?: { resourceVersion?: string } }): KubeObject {
    const known = this.#table(table).get(name);
    const refuse = (code: number, reason: string): Error =>
      statusError(code, { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason }, { what: name });
    if (known === undefined) throw refuse(404, 'NotFound');
    if ((patch.metadata?.resourceVersion ?? '') !== known.metadata.resourceVersion) throw refuse(409, 'Conflict');
    return this.store(table, merge(known, copy(patch)) as KubeObject);
  }
}

/** Processor time of this process so far, in milliseconds. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

async function later<T>(answer: () => T): Promise<T> {
  await turn();
  return answer();
}

function copy<T>(value: T): T {
  return value === undefined ? value : (JSON.parse(JSON.stringify(value)) as T);
}

/** RFC 7386. */
function merge(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const result = new Map<string, unknown>(Object.entries(typeof target === 'object' ? (target ?? {}) : {}));
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) result.delete(key);
    else result.set(key, merge(result.get(key), value));
  }
  return Object.fromEntries(result);
}

/** What is left over is not counted as memory. */
function collect(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}
