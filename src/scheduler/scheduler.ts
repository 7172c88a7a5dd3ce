/**
 * The entry of src/scheduler: places machines that have no node. Everything that decides is pure; this file and
 * run-scheduler.ts are the thin loop around it.
 *
 *   informers ─▶ Snapshot (incremental) ─┐
 *            └─▶ SchedulingQueue ─▶ selectNode: filters/, scores/ ─▶ assume ─▶ reserve ─▶ bind
 *                     ▲                         │ no node                          (two conditional writes)
 *                     └── something relevant ◀──┴─▶ condition Scheduled=False with the reason of each node
 *
 * No double-booking: first the Hypervisor's allocation is written with the resourceVersion that the decision was made
 * on (allocation.ts), then spec.nodeName with the machine's. Whoever comes second has a conflict and looks again.
 */
import { addAmounts } from './amounts.ts';
import { allocationAnnotation, formatAllocation, parseAllocation, type AllocationEntry } from './allocation.ts';
import { machineInfo, type MachineInfo } from './machine-info.ts';
import type { Failure } from './plugin.ts';
import type { NodeInfo } from './node-info.ts';
import { SchedulingQueue } from './scheduling-queue.ts';
import { prepareTest, selectNode } from './select-node.ts';
import type { Snapshot } from './snapshot.ts';
import { findPreemption, unschedulableMessage } from './unschedulable.ts';
import type { Hypervisor } from '../api/hypervisor.ts';
import type { VirtualMachine } from '../api/virtual-machine.ts';
import type { Clock } from '../base/clock.ts';
import { toError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { CacheChange } from '../kube/informer.ts';
import type { ResourceClient } from '../kube/resource-client.ts';
import { isConflict, isNotFound } from '../kube/status-error.ts';
import { setCondition } from '../reconcile/conditions.ts';
import type { EventRecord } from '../reconcile/event-recorder.ts';

/** What the scheduler needs of the API server. */
export interface SchedulerOptions {
  readonly snapshot: Snapshot;
  readonly machines: Pick<ResourceClient<VirtualMachine>, 'find' | 'mergePatch'>;
  readonly hypervisors: Pick<ResourceClient<Hypervisor>, 'find' | 'mergePatch'>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** A word that is new each time. */
  readonly newToken: () => string;
  readonly record: (event: EventRecord) => void;
}

/** Binds that are under way at the same time. */
const maxBinds = 16;
/** A machine whose bind failed is looked at again after this long, in milliseconds. */
const retryMs = 1_000;
const maxConflicts = 8;

/** See the head of this file. */
export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #queue = new SchedulingQueue();
  /** Machines for which no node would do. */
  readonly #waiting = new Map<string, MachineInfo>();
  /** The newest version of each machine without a node. */
  readonly #unbound = new Map<string, MachineInfo>();
  readonly #assumed = new Set<string>();
  readonly #writing = new Map<string, Promise<unknown>>();
  readonly #dirty = new Set<string>();
  readonly #binds = new Set<Promise<void>>();
  #retryAll = false;
  #start = 0;
  #wake: () => void = () => undefined;

  constructor(options: SchedulerOptions) {
    this.#options = options;
  }

  /** Takes a change of a machine over. */
  onMachine(change: CacheChange<VirtualMachine>): void {
    if (change.type === 'resync') return;
    const { snapshot } = this.#options;
    const machine = machineInfo(change.object);
    const { key, uid } = machine;
    if (change.type === 'deleted') {
      this.#forget(key);
      this.#assumed.delete(uid);
      const near = snapshot.nodeOf(uid);
      snapshot.remove(uid);
      for (const node of new Set([...snapshot.reservationsOf(uid), ...(near === undefined ? [] : [near])])) {
        this.#release(node);
      }
      this.#retryAll ||= machine.far.length > 0;
    } else if (machine.nodeName !== '') {
      this.#forget(key);
      this.#assumed.delete(uid);
      const before = snapshot.nodeOf(uid);
      snapshot.place(machine, machine.nodeName);
      if (before !== undefined && before !== machine.nodeName) this.#dirty.add(before);
      for (const node of snapshot.reservationsOf(uid)) if (node !== machine.nodeName) this.#release(node);
      this.#affected();
    } else if (machine.deleting) this.#forget(key);
    else if (!this.#assumed.has(uid)) {
      snapshot.remove(uid);
      const known = this.#unbound.get(key);
      this.#unbound.set(key, machine);
      if (known?.version === machine.version && !this.#queue.has(key)) this.#waiting.set(key, machine);
      else this.#activate(machine);
    } else this.#unbound.set(key, machine);
    this.#wake();
  }

  /** Takes a change of a node over. */
  onNode(change: CacheChange<Hypervisor>): void {
    if (change.type === 'resync') return;
    const { snapshot } = this.#options;
    const name = change.object.metadata.name ?? '';
    if (change.type === 'deleted') {
      snapshot.deleteNode(name);
      this.#retryAll = true;
    } else if (snapshot.setNode(change.object)) this.#retryAll = true;
    else this.#dirty.add(name);
    const node = snapshot.nodes.get(name);
    if (node !== undefined && [...node.allocation.keys()].some((uid) => this.#isDead(uid, node))) this.#release(name);
    this.#wake();
  }

  /** Disks, images, pools or networks changed: machines that wait may find a node now. */
  onSurroundings(): void {
    this.#retryAll = true;
    this.#wake();
  }

  /** Places machines until the signal aborts, then lets the binds under way come to their end. */
  async run(signal: AbortSignal): Promise<void> {
    const onAbort = (): void => this.#wake();
    signal.addEventListener('abort', onAbort, { once: true });
    while (!signal.aborted) {
      await this.drain(signal);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        if (signal.aborted || this.#isBusy()) resolve();
      });
    }
    await Promise.allSettled(this.#binds);
  }

  /** Works until there is nothing left to do for now. */
  async drain(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#reconsider();
      const machine = this.#queue.pop();
      if (machine === undefined) {
        if (this.#binds.size === 0) return;
        await Promise.race(this.#binds);
        continue;
      }
      const bind = this.#schedule(machine, signal);
      const tracked = bind.finally(() => this.#binds.delete(tracked));
      this.#binds.add(tracked);
      if (this.#binds.size >= maxBinds) await Promise.race(this.#binds);
    }
  }

  #isBusy(): boolean {
    return this.#queue.size > 0 || this.#retryAll || this.#dirty.size > 0;
  }

  #forget(key: string): void {
    this.#queue.delete(key);
    this.#waiting.delete(key);
    this.#unbound.delete(key);
  }

  #activate(machine: MachineInfo): void {
    this.#waiting.delete(machine.key);
    this.#queue.add(machine);
  }

  /** A machine was placed: those that must be near one, or are spread over them, may find a node now. */
  #affected(): void {
    for (const machine of [...this.#waiting.values()]) {
      if (machine.near.length > 0 || machine.spec.topologySpreadConstraints !== undefined) this.#activate(machine);
    }
  }

  /** Looks which of the machines that wait the changes since may have helped; where one node changed, only at that. */
  #reconsider(): void {
    const { snapshot } = this.#options;
    if (this.#retryAll) for (const machine of [...this.#waiting.values()]) this.#activate(machine);
    else if (this.#dirty.size > 0) {
      for (const machine of [...this.#waiting.values()]) {
        const test = prepareTest(machine, snapshot);
        for (const name of this.#dirty) {
          const node = snapshot.nodes.get(name);
          if (node === undefined || test(node) !== undefined) continue;
          this.#activate(machine);
          break;
        }
      }
    }
    this.#retryAll = false;
    this.#dirty.clear();
  }

  async #schedule(machine: MachineInfo, signal: AbortSignal): Promise<void> {
    const { snapshot, logger } = this.#options;
    const selection = selectNode(machine, snapshot, { start: this.#start });
    try {
      if (selection.node === undefined) {
        this.#waiting.set(machine.key, machine);
        await this.#tell(machine, selection.failures, signal);
        return;
      }
      this.#start = selection.nextStart;
      this.#assumed.add(machine.uid);
      snapshot.place(machine, selection.node.name);
      if (await this.#reserve(machine, selection.node.name, signal)) {
        await this.#bind(machine, selection.node.name, signal);
        return;
      }
      this.#undo(machine);
      this.#again(machine, 0, signal);
    } catch (error) {
      if (signal.aborted) return;
      logger.warn('cannot place a machine yet', { machine: machine.key, error: toError(error) });
      this.#undo(machine);
      this.#again(machine, retryMs, signal);
    }
  }

  #undo({ uid }: MachineInfo): void {
    // Its spec.nodeName may have arrived meanwhile.
    if (!this.#assumed.delete(uid)) return;
    const node = this.#options.snapshot.nodeOf(uid);
    this.#options.snapshot.remove(uid);
    if (node !== undefined) this.#dirty.add(node);
  }

  #again({ key }: MachineInfo, ms: number, signal: AbortSignal): void {
    const retry = (): void => {
      const newest = this.#unbound.get(key);
      if (newest !== undefined) this.#activate(newest);
      this.#wake();
    };
    if (ms === 0) retry();
    else void this.#options.clock.sleep(ms, signal).then(retry, () => undefined);
  }

  /** Writes the node's allocation with the machine in it; false when it is full by now. */
  #reserve(machine: MachineInfo, name: string, signal: AbortSignal): Promise<boolean> {
    const token = this.#options.newToken();
    const { uid, namespace, name: own, requests } = machine;
    return this.#write(name, signal, (node, entries) => {
      const others = [...entries].filter(
        ([id]) => id !== uid && !node.machines.has(id) && !this.#isElsewhere(id, name),
      );
      let used = node.pods;
      for (const { requests: taken, uid: id } of node.machines.values()) if (id !== uid) used = addAmounts(used, taken);
      for (const [, entry] of others) used = addAmounts(used, entry.requests);
      const fits = Object.entries(requests).every(([what, much]) => (used[what] ?? 0) + much <= node.capacity(what));
      if (!fits || node.traits.notReady !== undefined) return undefined;
      return new Map([...entries, [uid, { namespace, name: own, requests, token }]]);
    });
  }

  #isElsewhere(uid: string, name: string): boolean {
    const on = this.#options.snapshot.nodeOf(uid);
    return on !== undefined && on !== name;
  }

  #isDead(uid: string, node: NodeInfo): boolean {
    const { snapshot } = this.#options;
    const on = snapshot.nodeOf(uid);
    if (on !== undefined) return on !== node.name && !this.#assumed.has(uid);
    const entry = node.allocation.get(uid);
    return this.#unbound.get(`${entry?.namespace ?? ''}/${entry?.name ?? ''}`)?.uid !== uid;
  }

  /** Takes entries out whose machine is gone or bound elsewhere: whoever meant to bind it here has a conflict by now. */
  #release(name: string): void {
    const signal = AbortSignal.timeout(30_000);
    const work = this.#write(name, signal, async (node, entries) => {
      const kept = new Map(entries);
      for (const [uid, entry] of entries) {
        if (!this.#isDead(uid, node)) continue;
        const live = await this.#options.machines.find({ namespace: entry.namespace, name: entry.name }, { signal });
        const on = live?.metadata.uid === uid ? (live.spec.nodeName ?? '') : undefined;
        if (on === undefined || (on !== '' && on !== name)) kept.delete(uid);
      }
      return kept.size === entries.size ? undefined : kept;
    }).then(
      () => undefined,
      (error: unknown) =>
        this.#options.logger.warn('cannot release an allocation', { node: name, error: toError(error) }),
    );
    const tracked: Promise<void> = work.finally(() => this.#binds.delete(tracked));
    this.#binds.add(tracked);
  }

  /** Changes a node's allocation by one conditional write; one at a time for each node. */
  #write(
    name: string,
    signal: AbortSignal,
    change: (
      node: NodeInfo,
      entries: ReadonlyMap<string, AllocationEntry>,
    ) => ReadonlyMap<string, AllocationEntry> | undefined | Promise<ReadonlyMap<string, AllocationEntry> | undefined>,
  ): Promise<boolean> {
    const before = this.#writing.get(name) ?? Promise.resolve();
    const work = before.then(async () => {
      const { hypervisors, snapshot } = this.#options;
      for (let round = 0; round < maxConflicts; round += 1) {
        const node = snapshot.nodes.get(name);
        if (node === undefined) return false;
        const { metadata } = node.hypervisor;
        const next = await change(node, parseAllocation(metadata.annotations));
        if (next === undefined) return false;
        const { resourceVersion } = metadata;
        const annotations = { [allocationAnnotation]: formatAllocation(next) };
        try {
          const written = await hypervisors.mergePatch(
            { name },
            { metadata: { resourceVersion, annotations } },
            { signal },
          );
          if (snapshot.nodes.has(name)) snapshot.setNode(written);
          this.#dirty.add(name);
          return true;
        } catch (error) {
          if (isNotFound(error)) return false;
          if (!isConflict(error)) throw error;
          const fresh = await hypervisors.find({ name }, { signal });
          if (fresh === undefined) return false;
          snapshot.setNode(fresh);
        }
      }
      return false;
    });
    const settled = work.catch(() => undefined);
    this.#writing.set(name, settled);
    void settled.then(() => {
      if (this.#writing.get(name) === settled) this.#writing.delete(name);
    });
    return work;
  }

  async #bind(machine: MachineInfo, nodeName: string, signal: AbortSignal): Promise<void> {
    const { machines, clock, record, logger } = this.#options;
    const { namespace, name, uid, resourceVersion } = machine;
    const ref = { namespace, name };
    let bound: VirtualMachine;
    try {
      bound = await machines.mergePatch(ref, { metadata: { uid, resourceVersion }, spec: { nodeName } }, { signal });
    } catch (error) {
      if (!isConflict(error) && !isNotFound(error)) throw error;
      const live = await machines.find(ref, { signal });
      this.#undo(machine);
      // Its change is on the way; a machine without a node is looked at in its new version.
      if (live !== undefined) this.onMachine({ type: 'updated', object: live, before: machine.object });
      else this.#release(nodeName);
      if (live !== undefined && (live.spec.nodeName ?? '') === '') this.#again(machine, 0, signal);
      return;
    }
    this.onMachine({ type: 'updated', object: bound, before: machine.object });
    record({ regarding: bound, type: 'Normal', reason: 'Scheduled', action: 'Bind', note: `placed on ${nodeName}` });
    if (machine.scheduled?.status !== 'False') return;
    const update = { type: 'Scheduled', status: true, reason: 'Bound', message: `on node ${nodeName}` };
    const conditions = setCondition(bound.status?.conditions, update, clock.now());
    const patch = {
      metadata: { uid, resourceVersion: bound.metadata.resourceVersion },
      status: { conditions, printableStatus: 'Pending' },
    };
    try {
      await machines.mergePatch(ref, patch, { subresource: 'status', signal });
    } catch (error) {
      // The executor was quicker, and says the same.
      if (!isConflict(error) && !isNotFound(error)) logger.warn('cannot write a status', { error: toError(error) });
    }
  }

  async #tell(machine: MachineInfo, failures: ReadonlyMap<NodeInfo, Failure>, signal: AbortSignal): Promise<void> {
    const { machines, clock, record, snapshot } = this.#options;
    const preemption = machine.priority > 0 ? findPreemption(machine, snapshot, failures) : undefined;
    const victims = preemption?.machines.map(({ key }) => key).join(', ');
    const room =
      preemption === undefined ? '' : `; moving ${victims ?? ''} away from ${preemption.node} would make room`;
    const message = `${unschedulableMessage(failures)}${room}`;
    if (machine.scheduled?.status === 'False' && machine.scheduled.message === message) return;
    const { namespace, name, uid, resourceVersion, object } = machine;
    const update = { type: 'Scheduled', status: false, reason: 'Unschedulable', message };
    const conditions = setCondition(object.status?.conditions, update, clock.now());
    const patch = { metadata: { uid, resourceVersion }, status: { conditions, printableStatus: 'ErrorUnschedulable' } };
    try {
      await machines.mergePatch({ namespace, name }, patch, { subresource: 'status', signal });
      record({ regarding: object, type: 'Warning', reason: 'FailedScheduling', action: 'Schedule', note: message });
    } catch (error) {
      if (!isConflict(error) && !isNotFound(error)) throw error;
      // A newer version is on the way, and is told then.
      if (isConflict(error)) this.#again(machine, retryMs, signal);
    }
  }
}
