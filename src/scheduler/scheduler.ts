/**
 * The entry of src/scheduler: places machines that have no node. Everything that decides is pure; this file,
 * reservations.ts, report.ts and run-scheduler.ts are the thin loop around it.
 *
 *   informers ─▶ Snapshot (incremental) ─┐
 *            └─▶ SchedulingQueue ─▶ selectNode: filters/, scores/ ─▶ assume ─▶ reserve ─▶ bind
 *                     ▲                         │ no node                          (two conditional writes)
 *                     └── Changes.mayHelp ◀─────┴─▶ condition Scheduled=False with the reason of each node
 *
 * No double-booking: first the Hypervisor's allocation is written with the resourceVersion that the decision was made
 * on (reservations.ts), then spec.nodeName with the machine's. Whoever comes second has a conflict and looks again.
 *
 * A machine without a node is in exactly one of: queue (its turn comes), assumed (a bind is under way), waiting (no node
 * would do; a change that may help brings it back), paused (something failed; a moment later it is queued again).
 */
import { machineInfo, type MachineInfo } from './machine-info.ts';
import { Changes, type NamedKind } from './queueing-hints.ts';
import { reportBound, reportUnknownNode, reportUnschedulable, type ReportOptions } from './report.ts';
import { Reservations } from './reservations.ts';
import { SchedulingQueue } from './scheduling-queue.ts';
import { selectNode } from './select-node.ts';
import type { Snapshot } from './snapshot.ts';
import { findPreemption, unschedulableMessage } from './unschedulable.ts';
import type { Amounts } from './amounts.ts';
import type { Hypervisor } from '../api/hypervisor.ts';
import type { VirtualMachineOperation } from '../api/virtual-machine-operation.ts';
import { virtualMachineReasons, type VirtualMachine } from '../api/virtual-machine.ts';
import type { Clock } from '../base/clock.ts';
import { toError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { CacheChange } from '../kube/informer.ts';
import type { KubeObject } from '../kube/object.ts';
import type { ResourceClient } from '../kube/resource-client.ts';
import { isConflict, isNotFound } from '../kube/status-error.ts';
import type { EventRecord } from '../reconcile/event-recorder.ts';

/** What the scheduler needs of the API server. */
export interface SchedulerOptions {
  readonly snapshot: Snapshot;
  readonly machines: Pick<ResourceClient<VirtualMachine>, 'find' | 'mergePatch'>;
  readonly hypervisors: Pick<ResourceClient<Hypervisor>, 'find' | 'mergePatch'>;
  readonly operations: Pick<ResourceClient<VirtualMachineOperation>, 'find'>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** A word that is new each time, among all schedulers. */
  readonly newToken: () => string;
  /** 0 to 1, for the jitter of retries. */
  readonly random: () => number;
  readonly record: (event: EventRecord) => void;
}

/** Machines that are worked on at the same time: each waits for the API server most of the time. */
const maxWorking = 32;
/** A machine whose bind failed is looked at again after this long, in milliseconds. */
const retryMs = 1_000;
const stepsInARow = 16;

/** See the head of this file. */
export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #reports: ReportOptions;
  readonly #reservations: Reservations;
  readonly #queue = new SchedulingQueue();
  readonly #waiting = new Map<string, MachineInfo>();
  /** The newest version of each machine without a node. */
  readonly #unbound = new Map<string, MachineInfo>();
  /** Machines whose bind is under way, or was answered but not seen in the watch yet. */
  readonly #assumed = new Map<string, 'binding' | 'bound'>();
  readonly #changes = new Changes();
  readonly #working = new Set<Promise<void>>();
  /** Machines, by UID, whose condition is to say whether their node exists. */
  readonly #untold = new Map<string, MachineInfo>();
  /** Where room was found for machines that are queued again, by UID. */
  readonly #claims = new Map<string, string>();
  /** The signal of `run`. */
  #signal = AbortSignal.abort();
  #start = 0;
  #wake: () => void = () => undefined;
  /** What came of the last machines for which no node would do, while nothing has changed since. */
  readonly #failures = new Map<string, string>();
  #failuresVersion = -1;
  /** Attempts to find a node, for tests and metrics. */
  attempts = 0;

  constructor(options: SchedulerOptions) {
    const { snapshot, machines, hypervisors, operations, clock, logger, newToken, random, record } = options;
    this.#options = options;
    this.#reports = { machines, clock, record };
    this.#reservations = new Reservations({
      ...{ snapshot, machines, hypervisors, operations, clock, logger, newToken, random },
      isWanted: (uid) => this.#assumed.has(uid) || this.#isQueued(uid),
      onChanged: (name, change) => {
        this.#changes.addNode(name, change);
        this.#wake();
      },
    });
  }

  /** How many machines wait because no node would do. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Takes a change of a machine over. */
  onMachine(change: CacheChange<VirtualMachine>): void {
    if (change.type === 'resync') return;
    const machine = machineInfo(change.object);
    if (change.type === 'deleted') this.#onGone(machine);
    else if (machine.nodeName !== '') this.#onBound(machine);
    else if (this.#assumed.get(machine.uid) === 'bound') this.#verify(machine);
    else this.#onUnbound(machine);
    this.#wake();
  }

  /** Takes a change of a node over. */
  onNode(change: CacheChange<Hypervisor>): void {
    if (change.type === 'resync') return;
    const { snapshot } = this.#options;
    const name = change.object.metadata.name ?? '';
    if (change.type === 'deleted') {
      snapshot.deleteNode(name, change.object);
      this.#changes.addNode(name, 'place');
      for (const machine of snapshot.machinesOn(name)) this.#untold.set(machine.uid, machine);
    } else {
      if (this.#reservations.isEcho(change.object)) return;
      if (change.type === 'added') for (const one of snapshot.machinesOn(name)) this.#untold.set(one.uid, one);
      this.#changes.addNode(name, snapshot.setNode(change.object));
      this.#releaseDead(name);
    }
    this.#wake();
  }

  /** Takes a change of a namespace over: rules may select it by its labels. */
  onNamespace(change: CacheChange<KubeObject>): void {
    if (change.type === 'resync') return;
    const { snapshot } = this.#options;
    const { name = '', labels = {} } = change.object.metadata;
    const matters = change.type === 'deleted' ? snapshot.deleteNamespace(name) : snapshot.setNamespace(name, labels);
    if (!matters) return;
    this.#changes.addNamespaces();
    this.#wake();
  }

  /** Disks, images, pools or networks changed: machines that name them may find a node now. */
  onNamed(kind: NamedKind, { object }: { readonly object: KubeObject }): void {
    this.#failures.clear();
    this.#changes.addNamed(kind, object.metadata.namespace ?? '', object.metadata.name ?? '');
    this.#wake();
  }

  /**
   * Reserves room for a machine that is to move; see {@link Reservations.reserve}.
   *
   * @param operation The operation that moves it.
   */
  async reserveMove(uid: string, nodeName: string, operation: string, signal: AbortSignal): Promise<boolean> {
    const machine = this.#options.snapshot.machine(uid);
    return machine !== undefined && (await this.#reservations.reserve(machine, nodeName, signal, operation));
  }

  /** A machine that was to move to a node will not come, or goes to another one: what is reserved for it is looked at. */
  releaseMove(nodeName: string): void {
    this.#release(nodeName);
  }

  /** What pods of a kubelet on a node request changed. */
  onPods(name: string, requests: Amounts): void {
    this.#options.snapshot.setPods(name, requests);
    this.#roomOn(name);
  }

  /** Places machines until the signal aborts, then lets what is under way come to its end. */
  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    const { snapshot } = this.#options;
    for (const name of snapshot.nodes.keys()) this.#releaseDead(name);
    for (const machine of snapshot.homeless()) this.#untold.set(machine.uid, machine);
    const onAbort = (): void => this.#wake();
    signal.addEventListener('abort', onAbort, { once: true });
    for (let steps = 1; !isAborted(signal); steps += 1) {
      const woken = new Promise<void>((resolve) => (this.#wake = resolve));
      if (!this.#step()) await woken;
      // Others in this process get their turn too, above all the renewal of the lease.
      else if (steps % stepsInARow === 0) await new Promise((resolve) => void setImmediate(resolve));
    }
    await Promise.allSettled([...this.#working, ...this.#reservations.pending]);
  }

  /** Whether nothing is left to do until something changes. */
  get isIdle(): boolean {
    const busy = this.#queue.size + this.#untold.size + this.#working.size + this.#reservations.pending.length;
    return busy === 0 && !this.#changes.any;
  }

  /** Takes the next machine up; false when there is none, or too many are worked on. */
  #step(): boolean {
    this.#reconsider();
    if (this.#working.size >= maxWorking) return false;
    const machine = this.#queue.pop();
    if (machine !== undefined) {
      this.#work(() => this.#schedule(machine));
      return true;
    }
    const [untold] = this.#untold.values();
    if (untold === undefined) return false;
    this.#untold.delete(untold.uid);
    this.#work(() => this.#tellNode(untold));
    return true;
  }

  #work(task: () => Promise<void>): void {
    const work = task().finally(() => {
      this.#working.delete(work);
      this.#wake();
    });
    this.#working.add(work);
  }

  #onGone(machine: MachineInfo): void {
    const { snapshot } = this.#options;
    const { key, uid } = machine;
    this.#forget(key, uid);
    this.#assumed.delete(uid);
    const on = snapshot.nodeOf(uid);
    const reserved = snapshot.reservationsOf(uid);
    snapshot.forget(uid);
    for (const name of reserved) this.#release(name);
    for (const name of new Set([...reserved, ...(on === undefined ? [] : [on])])) this.#changes.room.add(name);
    this.#changes.addMachine(machine);
  }

  #onBound(machine: MachineInfo): void {
    const { snapshot } = this.#options;
    const { key, uid, nodeName } = machine;
    this.#forget(key, uid);
    this.#assumed.delete(uid);
    this.#place(machine, nodeName);
    for (const name of snapshot.reservationsOf(uid)) if (name !== nodeName) this.#release(name);
    if (!snapshot.nodes.has(nodeName)) this.#untold.set(uid, machine);
    else this.#untold.delete(uid);
  }

  #onUnbound(machine: MachineInfo): void {
    const { snapshot } = this.#options;
    const { key, uid } = machine;
    const known = this.#unbound.get(key);
    if (machine.deleting) this.#forget(key, uid);
    else this.#unbound.set(key, machine);
    if (this.#assumed.has(uid)) return;
    const on = snapshot.nodeOf(uid);
    if (on !== undefined) {
      snapshot.remove(uid);
      this.#changes.room.add(on);
      this.#changes.addMachine(machine);
    }
    if (machine.deleting) for (const name of snapshot.reservationsOf(uid)) this.#release(name);
    // Only its status is new: what stood in its way still does.
    else if (known?.version === machine.version && this.#waiting.has(key)) this.#waiting.set(key, machine);
    else this.#activate(machine);
  }

  /** An old version that the watch brought after the bind was answered, or the node was taken away again: ask. */
  #verify(machine: MachineInfo): void {
    const { machines, logger } = this.#options;
    const { key, uid, namespace, name } = machine;
    this.#work(async () => {
      try {
        const live = await machines.find({ namespace, name }, { signal: this.#signal });
        if (live?.metadata.uid !== uid || (live.spec.nodeName ?? '') !== '') return;
        this.#assumed.delete(uid);
        this.#onUnbound(machineInfo(live));
      } catch (error) {
        if (this.#signal.aborted) return;
        logger.warn('cannot read a machine', { machine: key, error: toError(error) });
        this.#later(() => this.#assumed.get(uid) === 'bound' && this.#verify(machine));
      }
    });
  }

  /** Places a machine in the snapshot, and notes what that changes for others. */
  #place(machine: MachineInfo, nodeName: string): void {
    const { snapshot } = this.#options;
    const { uid } = machine;
    const on = snapshot.nodeOf(uid);
    const before = on === undefined ? undefined : snapshot.nodes.get(on)?.machines.get(uid);
    snapshot.place(machine, nodeName);
    if (on === nodeName && before?.version === machine.version) return;
    if (on !== undefined) this.#changes.room.add(on);
    if (before !== undefined) this.#changes.addMachine(before);
    this.#changes.addMachine(machine);
  }

  /** A machine takes the room that was found for it, or leaves it to the next. */
  #settleClaim(uid: string, nodeName: string | undefined): void {
    const claimed = this.#claims.get(uid);
    if (claimed === undefined) return;
    this.#claims.delete(uid);
    if (claimed !== nodeName) this.#roomOn(claimed);
  }

  #forget(key: string, uid: string): void {
    this.#settleClaim(uid, undefined);
    if ((this.#unbound.get(key)?.uid ?? uid) !== uid) return;
    this.#queue.delete(key);
    this.#waiting.delete(key);
    this.#unbound.delete(key);
  }

  #activate(machine: MachineInfo): void {
    this.#waiting.delete(machine.key);
    this.#queue.add(machine);
  }

  #isQueued(uid: string): boolean {
    return this.#queue.hasUid(uid);
  }

  #roomOn(name: string): void {
    this.#changes.room.add(name);
    this.#wake();
  }

  /** Brings back which of the machines that wait the changes since may help. */
  #reconsider(): void {
    if (!this.#changes.any) return;
    const { snapshot } = this.#options;
    if (this.#waiting.size > 0) {
      const claim = (machine: MachineInfo, node: string): unknown => this.#claims.set(machine.uid, node);
      for (const machine of this.#changes.helped(this.#waiting.values(), snapshot, claim)) this.#activate(machine);
    }
    this.#changes.clear();
  }

  async #schedule(machine: MachineInfo): Promise<void> {
    const { snapshot, logger } = this.#options;
    const signal = this.#signal;
    try {
      const message = this.#select(machine);
      this.#settleClaim(machine.uid, snapshot.nodeOf(machine.uid));
      if (message !== undefined) {
        await this.#tell(machine, message);
        return;
      }
      const nodeName = snapshot.nodeOf(machine.uid) ?? '';
      if (await this.#reservations.reserve(machine, nodeName, signal)) await this.#bind(machine, nodeName);
      else {
        this.#undo(machine);
        this.#again(machine);
      }
    } catch (error) {
      if (signal.aborted) return;
      logger.warn('cannot place a machine yet', { machine: machine.key, error: toError(error) });
      this.#undo(machine);
      this.#later(() => this.#again(machine));
    }
  }

  /** Finds a node and assumes that the machine is there; else says why there is none. */
  #select(machine: MachineInfo): string | undefined {
    const { snapshot } = this.#options;
    this.attempts += 1;
    if (this.#failuresVersion !== snapshot.version) this.#failures.clear();
    // A machine for which room is kept somewhere, or that names a device, is not like any other.
    const isPlain =
      snapshot.reservationsOf(machine.uid).length === 0 && machine.spec.domain?.devices?.hostdev === undefined;
    const known = isPlain ? this.#failures.get(machine.shape) : undefined;
    if (known !== undefined) return known;
    const selection = selectNode(machine, snapshot, { start: this.#start });
    if (selection.node !== undefined) {
      this.#start = selection.nextStart;
      this.#assumed.set(machine.uid, 'binding');
      this.#place(machine, selection.node.name);
      return undefined;
    }
    const preemption = machine.priority > 0 ? findPreemption(machine, snapshot, selection.failures) : undefined;
    const victims = preemption?.machines.map(({ key }) => key).join(', ') ?? '';
    const room = preemption === undefined ? '' : `; moving ${victims} away from ${preemption.node} would make room`;
    const message = `${unschedulableMessage(selection.failures)}${room}`;
    this.#failuresVersion = snapshot.version;
    if (isPlain) this.#failures.set(machine.shape, message);
    return message;
  }

  #undo({ uid }: MachineInfo): void {
    // Its spec.nodeName may have arrived meanwhile.
    if (!this.#assumed.delete(uid)) return;
    const { snapshot } = this.#options;
    const name = snapshot.nodeOf(uid);
    const machine = name === undefined ? undefined : snapshot.nodes.get(name)?.machines.get(uid);
    snapshot.remove(uid);
    if (name !== undefined) this.#roomOn(name);
    if (machine !== undefined) this.#changes.addMachine(machine);
  }

  /** Queues the newest version, unless it has a node by now or is gone. */
  #again({ key, uid }: MachineInfo): void {
    const newest = this.#unbound.get(key);
    if (newest?.uid !== uid) {
      for (const name of this.#options.snapshot.reservationsOf(uid)) this.#releaseDead(name);
    } else if (!this.#assumed.has(uid)) {
      this.#activate(newest);
      this.#wake();
    }
  }

  #later(task: () => void): void {
    void this.#options.clock.sleep(retryMs, this.#signal).then(task, () => undefined);
  }

  #release(name: string): void {
    if (!this.#signal.aborted) this.#reservations.release(name, this.#signal);
  }

  /** Looks whether a node's allocation names machines that nobody is about to place there. */
  #releaseDead(name: string): void {
    const { snapshot } = this.#options;
    const node = snapshot.nodes.get(name);
    if (node === undefined) return;
    // Whoever comes to know the node later is to find there what was reserved on the one before it.
    if (node.inherited.size > 0) this.#release(name);
    for (const uid of node.allocation.keys()) {
      if (snapshot.nodeOf(uid) === name || this.#assumed.has(uid) || this.#isQueued(uid)) continue;
      this.#release(name);
      return;
    }
  }

  async #bind(machine: MachineInfo, nodeName: string): Promise<void> {
    const { machines, record, logger, snapshot } = this.#options;
    const { namespace, name, uid, key, resourceVersion } = machine;
    const signal = this.#signal;
    const ref = { namespace, name };
    let object: VirtualMachine;
    try {
      object = await machines.mergePatch(ref, { metadata: { uid, resourceVersion }, spec: { nodeName } }, { signal });
    } catch (error) {
      if (!isConflict(error) && !isNotFound(error)) throw error;
      // Its newer version is on the way by the watch; asked for here, so as not to decide on the old one again.
      const live = await machines.find(ref, { signal });
      this.#undo(machine);
      if (live?.metadata.uid !== uid) this.#release(nodeName);
      else if ((live.spec.nodeName ?? '') !== '') this.#onBound(machineInfo(live));
      else {
        this.#onUnbound(machineInfo(live));
        this.#again(machine);
      }
      return;
    }
    const bound = machineInfo(object);
    this.#forget(key, uid);
    if (this.#assumed.has(uid)) {
      this.#assumed.set(uid, 'bound');
      this.#place(bound, nodeName);
      for (const other of snapshot.reservationsOf(uid)) if (other !== nodeName) this.#release(other);
    }
    record({ regarding: object, type: 'Normal', reason: 'Scheduled', action: 'Bind', note: `placed on ${nodeName}` });
    if (bound.scheduled?.status !== 'False') return;
    try {
      await reportBound(bound, this.#reports, signal);
    } catch (error) {
      // It is bound; its executor says the same when it takes it up.
      if (!signal.aborted) logger.warn('cannot write a status', { machine: key, error: toError(error) });
    }
  }

  async #tell(machine: MachineInfo, message: string): Promise<void> {
    const newest = this.#unbound.get(machine.key);
    if (newest?.uid !== machine.uid) return;
    this.#waiting.set(machine.key, newest);
    // What was kept for it on a node that will not do any more is for others.
    for (const name of this.#options.snapshot.reservationsOf(machine.uid)) this.#release(name);
    const reported = await reportUnschedulable(newest, message, this.#reports, this.#signal);
    if (reported !== 'refused') return;
    const { namespace, name, uid } = machine;
    const live = await this.#options.machines.find({ namespace, name }, { signal: this.#signal });
    if (live?.metadata.uid !== uid || !this.#waiting.has(machine.key)) return;
    if ((live.spec.nodeName ?? '') !== '') this.#onBound(machineInfo(live));
    else {
      this.#onUnbound(machineInfo(live));
      this.#again(machine);
    }
  }

  /** Says that a machine's node does not exist, or that it does after all. */
  async #tellNode({ uid, nodeName }: MachineInfo): Promise<void> {
    const { snapshot, logger } = this.#options;
    const machine = snapshot.machine(uid);
    if (machine === undefined || machine.deleting || machine.nodeName !== nodeName) return;
    const isKnown = snapshot.nodes.has(nodeName);
    // Where it was never said to be unknown, its executor has the word.
    if (isKnown && machine.scheduled?.reason !== virtualMachineReasons.NodeUnknown) return;
    try {
      // Refused: its newer version is on the way, and comes by here.
      if (isKnown) await reportBound(machine, this.#reports, this.#signal);
      else await reportUnknownNode(machine, this.#reports, this.#signal);
    } catch (error) {
      if (this.#signal.aborted) return;
      logger.warn('cannot write a status', { machine: machine.key, error: toError(error) });
      this.#later(() => {
        this.#untold.set(uid, machine);
        this.#wake();
      });
    }
  }
}

/** A function, because the compiler does not know that a signal changes while one waits. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}
