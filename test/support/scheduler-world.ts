/**
 * The API server as schedulers see it, in memory and in slow motion: every request waits until the test carries it out,
 * every change waits at each scheduler's watch until the test delivers it, and a scheduler can die between any two of
 * them. What is stored follows Kubernetes' rules for resourceVersion, UID and merge patches.
 */
import type { Hypervisor } from '../../src/api/hypervisor.ts';
import type { VirtualMachineOperation } from '../../src/api/virtual-machine-operation.ts';
import type { VirtualMachine, VirtualMachineSpec } from '../../src/api/virtual-machine.ts';
import { silentLogger } from '../../src/base/logger.ts';
import type { CacheChange } from '../../src/kube/informer.ts';
import type { KubeObject } from '../../src/kube/object.ts';
import { statusError } from '../../src/kube/status-error.ts';
import { Scheduler } from '../../src/scheduler/scheduler.ts';
import type { NamedKind } from '../../src/scheduler/queueing-hints.ts';
import { Snapshot, type Surroundings } from '../../src/scheduler/snapshot.ts';
import { ManualClock } from './manual-clock.ts';
import { forgotten, overcommitted } from './placements.ts';

type Table = 'machine' | 'node';

interface Request {
  readonly owner: SchedulerProcess;
  /** The object it is about. */
  readonly name: string;
  readonly run: () => object | undefined;
  readonly answer: (value: object | undefined) => void;
  readonly fail: (error: Error) => void;
}

/** See the head of this file. */
export class SchedulerWorld {
  readonly clock = new ManualClock();
  readonly machines = new Map<string, VirtualMachine>();
  readonly nodes = new Map<string, Hypervisor>();
  readonly operations = new Map<string, VirtualMachineOperation>();
  /** Storage and networks, by `KIND/NAMESPACE/NAME`. */
  readonly #things = new Map<string, KubeObject>();
  /** Them as every scheduler sees them: at once. */
  readonly surroundings: Surroundings = {
    disk: (namespace, name) => this.#thing('VirtualDisk', namespace, name),
    image: (namespace, name) => this.#thing('VirtualImage', namespace, name),
    pool: (name) => this.#thing('VirtualPool', '', name),
    network: (namespace, name) => this.#thing('VirtualNetwork', namespace, name),
    machineSnapshot: (namespace, name) => this.#thing('VirtualMachineSnapshot', namespace, name),
  };
  readonly schedulers: SchedulerProcess[] = [];
  readonly requests: Request[] = [];
  /** Carries requests out at once, and delivers changes at once. */
  readonly direct: boolean;
  /** Machines whose node was changed to another one while they had one. */
  readonly moved: string[] = [];
  /** Whether a node was ever made anew. */
  remade = false;
  /** Requests carried out. */
  served = 0;
  #version = 0;

  constructor(options: { readonly direct?: boolean } = {}) {
    this.direct = options.direct ?? false;
  }

  addNode(name: string, memory: string, spec: Hypervisor['spec'] = {}, labels: Record<string, string> = {}): void {
    const metadata = {
      name,
      uid: `node-${name}-${this.#version}`,
      labels: { 'kubernetes.io/hostname': name, ...labels },
    };
    this.#store('node', {
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'Hypervisor',
      metadata,
      spec,
      status: { allocatable: { cpu: '1000', memory }, conditions: [{ type: 'Ready', status: 'True' }] },
    });
  }

  addMachine(name: string, mib: number, spec: VirtualMachineSpec = {}, labels: Record<string, string> = {}): void {
    this.#store('machine', {
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualMachine',
      metadata: { name, namespace: 'shop', uid: `machine-${name}-${this.#version}`, labels, generation: 1 },
      spec: { ...spec, domain: { memory: { unit: 'MiB', value: mib }, ...spec.domain } },
    });
  }

  /** Makes or changes a disk, image, pool, network or snapshot, and tells the schedulers that live. */
  put(kind: NamedKind, name: string, spec: object = {}, status: object = {}, namespace = 'shop'): void {
    const place = kind === 'VirtualPool' ? {} : { namespace };
    const object = { apiVersion: 'virtctl.dev/v1alpha1', kind, metadata: { name, ...place }, spec, status };
    this.#things.set(`${kind}/${kind === 'VirtualPool' ? '' : namespace}/${name}`, object);
    for (const { alive, scheduler } of this.schedulers) if (alive()) scheduler.onNamed(kind, { object });
  }

  #thing(kind: NamedKind, namespace: string, name: string): never {
    return this.#things.get(`${kind}/${namespace}/${name}`) as never;
  }

  /** Changes an object as somebody else would. */
  change<T extends Table>(
    table: T,
    name: string,
    edit: (object: T extends 'machine' ? VirtualMachine : Hypervisor) => object,
  ): void {
    const known = this.#table(table).get(name);
    if (known !== undefined) this.#store(table, { ...known, ...edit(known as never) });
  }

  /** Deletes a node and makes it anew: the name is the same, the UID another, and nothing is reserved there. */
  remake(name: string): void {
    const known = this.nodes.get(name);
    if (known === undefined) return;
    this.remade = true;
    this.delete('node', name);
    const { annotations: _gone, ...metadata } = known.metadata;
    this.#store('node', { ...known, metadata: { ...metadata, uid: `node-${name}-${this.#version}` } });
  }

  delete(table: Table, name: string): void {
    const object = this.#table(table).get(name);
    if (object === undefined) return;
    this.#table(table).delete(name);
    this.#announce(table, { type: 'deleted', object });
  }

  /** Starts a scheduler: it knows what is stored now, and is told of every change from now on. */
  start(): SchedulerProcess {
    const process = new SchedulerProcess(this);
    this.schedulers.push(process);
    return process;
  }

  /** Carries out a request; its answer may get lost on the way. */
  serve(index: number, fate: 'answered' | 'lost' = 'answered'): void {
    const [request] = this.requests.splice(index, 1);
    if (request === undefined) return;
    this.served += 1;
    try {
      const value = request.run();
      if (fate === 'answered') request.answer(value);
      else request.fail(new Error('the answer was lost'));
    } catch (error) {
      request.fail(error as Error);
    }
  }

  /**
   * Carries out what one scheduler asks for, and tells it what happens, until it has nothing left to do.
   *
   * @param held Requests about this object wait.
   */
  async settleOnly(process: SchedulerProcess, held = ''): Promise<void> {
    const next = (): number => this.requests.findIndex(({ owner, name }) => owner === process && name !== held);
    for (let idle = 0; idle < 3; idle += 1) {
      await turn();
      if (process.inbox.length > 0) idle = 0;
      process.deliver(process.inbox.length);
      for (let at = next(); at >= 0; idle = 0) {
        this.serve(at);
        at = next();
      }
    }
  }

  /** Everything that is under way comes to its end: requests, watches, waits. */
  async settle(): Promise<void> {
    let idle = 0;
    while (idle < 3) {
      await turn();
      const busy = this.requests.length > 0 || this.schedulers.some(({ inbox }) => inbox.length > 0);
      while (this.requests.length > 0) this.serve(0);
      for (const { alive, inbox, deliver } of this.schedulers) while (alive() && inbox.length > 0) deliver(1);
      idle = busy ? 0 : idle + 1;
    }
  }

  /** Nodes on which machines have more than there is, with the numbers. */
  overcommitted(): string[] {
    return overcommitted(this.machines.values(), this.nodes.values());
  }

  /** Machines without a node for which there is room on a node that is ready. */
  forgotten(): string[] {
    return forgotten(this.machines.values(), this.nodes.values());
  }

  /** @internal */
  request(owner: SchedulerProcess, name: string, run: () => object | undefined): Promise<object | undefined> {
    return new Promise((answer, fail) => {
      this.requests.push({ owner, name, run, answer, fail });
      if (this.direct) queueMicrotask(() => this.serve(this.requests.length - 1));
    });
  }

  /** @internal */
  find(table: Table, name: string): object | undefined {
    return this.#table(table).get(name);
  }

  /** @internal */
  patch(table: Table, name: string, patch: { metadata?: { resourceVersion?: string; uid?: string } }): object {
    const known = this.#table(table).get(name);
    if (known === undefined) throw refusal(404, 'NotFound', `${table} ${name} not found`);
    const { resourceVersion, uid } = patch.metadata ?? {};
    if (
      (resourceVersion !== undefined && resourceVersion !== known.metadata.resourceVersion) ||
      (uid !== undefined && uid !== known.metadata.uid)
    ) {
      throw refusal(409, 'Conflict', `${table} ${name} was modified`);
    }
    const merged = merge(known, patch) as VirtualMachine;
    const [from = '', to = ''] = [(known as VirtualMachine).spec.nodeName, merged.spec.nodeName];
    if (table === 'machine' && from !== '' && from !== to) this.moved.push(`${name} from ${from} to ${to}`);
    return this.#store(table, merged);
  }

  #table(table: Table): Map<string, KubeObject> {
    return table === 'machine' ? this.machines : this.nodes;
  }

  #store<T extends KubeObject>(table: Table, object: T): T {
    this.#version += 1;
    const stored = { ...object, metadata: { ...object.metadata, resourceVersion: String(this.#version) } };
    const name = object.metadata.name ?? '';
    const before = this.#table(table).get(name);
    this.#table(table).set(name, stored);
    this.#announce(
      table,
      before === undefined ? { type: 'added', object: stored } : { type: 'updated', object: stored, before },
    );
    return stored;
  }

  #announce(table: Table, change: CacheChange<KubeObject>): void {
    for (const process of this.schedulers) {
      if (!process.alive()) continue;
      process.inbox.push({ table, change });
      if (this.direct) queueMicrotask(() => process.deliver(1));
    }
  }
}

/** One scheduler with its watches. */
export class SchedulerProcess {
  readonly snapshot: Snapshot;
  readonly scheduler: Scheduler;
  readonly inbox: { readonly table: Table; readonly change: CacheChange<KubeObject> }[] = [];
  readonly world: SchedulerWorld;
  readonly ended: Promise<void>;
  readonly #stop = new AbortController();
  #isAlive = true;

  constructor(world: SchedulerWorld) {
    this.world = world;
    this.snapshot = new Snapshot(world.surroundings);
    let token = 0;
    const id = world.schedulers.length;
    const client = (table: Table): never =>
      ({
        find: ({ name }: { name: string }) => this.#ask(name, () => world.find(table, name)),
        mergePatch: ({ name }: { name: string }, patch: object) =>
          this.#ask(name, () => world.patch(table, name, patch)),
      }) as never;
    this.scheduler = new Scheduler({
      operations: { find: (ref) => Promise.resolve(world.operations.get(ref.name)) },
      snapshot: this.snapshot,
      machines: client('machine'),
      hypervisors: client('node'),
      clock: world.clock,
      logger: silentLogger,
      newToken: () => `${id}-${(token += 1)}`,
      random: () => 0.5,
      record: () => undefined,
    });
    for (const object of world.nodes.values()) this.scheduler.onNode({ type: 'added', object });
    for (const object of world.machines.values()) this.scheduler.onMachine({ type: 'added', object });
    this.ended = this.scheduler.run(this.#stop.signal);
  }

  readonly alive = (): boolean => this.#isAlive;

  /** Delivers changes in the order in which they were made. */
  readonly deliver = (count: number): void => {
    for (const { table, change } of this.inbox.splice(0, count)) {
      if (table === 'machine') this.scheduler.onMachine(change as CacheChange<VirtualMachine>);
      else this.scheduler.onNode(change as CacheChange<Hypervisor>);
    }
  };

  /** Dies at once: what it asked for may still be carried out, and nobody hears the answer. */
  kill(): void {
    this.#isAlive = false;
    this.inbox.length = 0;
    this.#stop.abort(new Error('killed'));
  }

  /** Ends as on SIGTERM. */
  async stop(): Promise<void> {
    this.#stop.abort(new Error('stopped'));
    await this.world.settle();
    this.#isAlive = false;
    await this.ended;
  }

  async #ask(name: string, run: () => object | undefined): Promise<object | undefined> {
    // The dead ask for nothing.
    if (!this.#isAlive) return new Promise(() => undefined);
    const answer = await this.world.request(this, name, run);
    return this.alive() ? answer : new Promise(() => undefined);
  }
}

/** Lets everything run that can. */
export async function turn(): Promise<void> {
  for (let round = 0; round < 4; round += 1) await new Promise((resolve) => void setImmediate(resolve));
}

function refusal(code: number, reason: string, message: string): Error {
  return statusError(
    code,
    { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message },
    { what: 'it' },
  );
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
