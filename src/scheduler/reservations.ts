/**
 * Room on nodes, reserved before a machine is bound and given back when that can no longer happen.
 *
 *   reserve: read the node ─▶ do the node's own filters still hold? ─▶ write its allocation with the resourceVersion read
 *   release: which entries are dead? ─▶ ask the API server for the machine ─▶ write without them, same condition
 *
 * An entry is taken out only when the bind that it was made for cannot come any more: its machine is gone; or is bound
 * elsewhere, which no bind with an older resourceVersion survives; or has no node, is not about to get this one, and was
 * given a new resourceVersion after the entry was read, which refuses every bind that was decided before. One that was made
 * for a machine that is to move here stays as long as the operation that moves it goes on.
 *
 * A Hypervisor that is deleted takes its entries with it, not the binds that they were made for: whoever saw it counts them
 * on the one of the same name that comes after it, and writes them there.
 */
import { allocationAnnotation, formatAllocation, type Allocation, type AllocationEntry } from './allocation.ts';
import { prepareTest } from './select-node.ts';
import { nodeFilters } from './filters/all-filters.ts';
import type { MachineInfo } from './machine-info.ts';
import type { NodeInfo } from './node-info.ts';
import type { NodeChange, Snapshot } from './snapshot.ts';
import type { Hypervisor } from '../api/hypervisor.ts';
import type { VirtualMachineOperation } from '../api/virtual-machine-operation.ts';
import type { VirtualMachine } from '../api/virtual-machine.ts';
import { backoffMs, reconnectBackoff } from '../base/backoff.ts';
import type { Clock } from '../base/clock.ts';
import { toError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { ResourceClient } from '../kube/resource-client.ts';
import { isConflict, isNotFound } from '../kube/status-error.ts';

/** Given a new value to refuse binds that were decided before. */
export const revokedAnnotation = 'scheduler.virtctl.dev/revoked';

/** What reservations need. */
export interface ReservationsOptions {
  readonly snapshot: Snapshot;
  readonly machines: Pick<ResourceClient<VirtualMachine>, 'find' | 'mergePatch'>;
  readonly operations: Pick<ResourceClient<VirtualMachineOperation>, 'find'>;
  readonly hypervisors: Pick<ResourceClient<Hypervisor>, 'find' | 'mergePatch'>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** A word that is new each time, among all schedulers. */
  readonly newToken: () => string;
  /** 0 to 1, for the jitter of retries. */
  readonly random: () => number;
  /** Whether a machine without a node may be bound to this one soon by this scheduler. */
  readonly isWanted: (uid: string, node: string) => boolean;
  /** Is told that room was given back on a node, or that it was found to be changed by others, in its traits too. */
  readonly onChanged: (node: string, change: NodeChange) => void;
}

/** What a change makes of the entries; undefined to leave them. */
type Change = (node: NodeInfo) => Allocation | undefined | Promise<Allocation | undefined>;

const maxConflicts = 8;
/** Own writes whose echo has not come back are remembered up to this many for each node. */
const maxEchoes = 256;

/** See the head of this file. */
export class Reservations {
  readonly #options: ReservationsOptions;
  readonly #writing = new Map<string, Promise<unknown>>();
  /** Nodes with entries that may be dead, and those that are being looked at. */
  readonly #dirty = new Set<string>();
  readonly #releasing = new Map<string, Promise<void>>();
  readonly #echoes = new Map<string, Set<string>>();

  constructor(options: ReservationsOptions) {
    this.#options = options;
  }

  /** Releases that are under way. */
  get pending(): readonly Promise<void>[] {
    return [...this.#releasing.values()];
  }

  /** Whether a version of a node, seen by a watch, was written here: that one or a newer is known. */
  isEcho({ metadata: { name = '', resourceVersion = '' } }: Hypervisor): boolean {
    const echoes = this.#echoes.get(name);
    if (echoes?.delete(resourceVersion) !== true) return false;
    if (echoes.size === 0) this.#echoes.delete(name);
    return true;
  }

  /**
   * Writes a node's allocation with the machine in it.
   *
   * @param operation By which it is to move here, for a machine that has a node.
   * @returns false when the node will not do any more: it is full, cordoned, tainted or gone by now.
   */
  async reserve(machine: MachineInfo, nodeName: string, signal: AbortSignal, operation?: string): Promise<boolean> {
    const { snapshot, newToken } = this.#options;
    const { uid, namespace, name, requests } = machine;
    const entry: AllocationEntry = { namespace, name, requests, token: newToken(), operation };
    return this.#write(nodeName, signal, (node) => {
      const fits = prepareTest(machine, snapshot, nodeFilters)(node) === undefined;
      return fits ? new Map([...node.allocation, [uid, entry]]) : undefined;
    });
  }

  /** Looks whether entries of a node are dead, and takes those out, however often that has to be tried. */
  release(nodeName: string, signal: AbortSignal): void {
    this.#dirty.add(nodeName);
    if (this.#releasing.has(nodeName)) return;
    const work = this.#releaseAll(nodeName, signal).finally(() => this.#releasing.delete(nodeName));
    this.#releasing.set(nodeName, work);
  }

  async #releaseAll(nodeName: string, signal: AbortSignal): Promise<void> {
    const { clock, logger, random } = this.#options;
    for (let failures = 0; this.#dirty.delete(nodeName) && !signal.aborted;) {
      try {
        const isChanged = await this.#write(nodeName, signal, (node) => this.#without(node, signal));
        if (isChanged) this.#options.onChanged(nodeName, 'allocation');
        failures = 0;
      } catch (error) {
        if (isAborted(signal)) return;
        logger.warn('cannot give room back, trying again', { node: nodeName, error: toError(error) });
        this.#dirty.add(nodeName);
        failures += 1;
        await clock.sleep(backoffMs(reconnectBackoff, failures, random), signal).catch(() => undefined);
      }
    }
  }

  /** A node's allocation without its dead entries; undefined when none is. */
  async #without(node: NodeInfo, signal: AbortSignal): Promise<Allocation | undefined> {
    const { snapshot } = this.#options;
    // As read now: what is written later has the condition that the entries are still these.
    const entries = node.allocation;
    const kept = new Map(entries);
    for (const [uid, entry] of entries) {
      if (snapshot.isGone(uid)) kept.delete(uid);
      else if (this.#mayBeDead(uid, node.name) && (await this.#isDead(uid, entry, node.name, signal))) kept.delete(uid);
    }
    return kept.size === entries.size && node.inherited.size === 0 ? undefined : kept;
  }

  #mayBeDead(uid: string, nodeName: string): boolean {
    const { snapshot, isWanted } = this.#options;
    return snapshot.nodeOf(uid) !== nodeName && !isWanted(uid, nodeName);
  }

  async #isDead(uid: string, entry: AllocationEntry, nodeName: string, signal: AbortSignal): Promise<boolean> {
    const { machines, newToken, isWanted } = this.#options;
    const ref = { namespace: entry.namespace, name: entry.name };
    // Before the machine: it has its node before the operation is over, so that one that arrives in between is found there.
    const mayArrive = entry.operation !== undefined && (await this.#mayArrive(uid, entry, nodeName, signal));
    const live = await machines.find(ref, { signal });
    if (live?.metadata.uid !== uid) return true;
    const on = live.spec.nodeName ?? '';
    if (on === nodeName || mayArrive) return false;
    // The operation may have been removed by force, while the guest was on its way: only the machine says so.
    const { migration } = live.status ?? {};
    if (migration?.phase === 'Running' && migration.targetNode === nodeName) return false;
    if (on !== '') return true;
    if (isWanted(uid, nodeName)) return false;
    const { resourceVersion } = live.metadata;
    const annotations = { [revokedAnnotation]: newToken() };
    try {
      await machines.mergePatch(ref, { metadata: { uid, resourceVersion, annotations } }, { signal });
      return true;
    } catch (error) {
      // Gone, or changed meanwhile, perhaps bound: look again.
      if (!isConflict(error) && !isNotFound(error)) throw error;
      this.#dirty.add(nodeName);
      return false;
    }
  }

  /** Whether the operation that moves a machine goes on, and not to another node. */
  async #mayArrive(
    uid: string,
    { namespace, operation: name = '' }: AllocationEntry,
    nodeName: string,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { status } = (await this.#options.operations.find({ namespace, name }, { signal })) ?? {};
    if (status?.phase !== 'Running' || status.context?.['machineUid'] !== uid) return false;
    return status.context['refusal'] === undefined && (status.context['target'] ?? nodeName) === nodeName;
  }

  /** Changes a node's allocation by one conditional write; one at a time for each node. Says whether it was changed. */
  #write(name: string, signal: AbortSignal, change: Change): Promise<boolean> {
    const before = this.#writing.get(name) ?? Promise.resolve();
    const work = before.then(() => this.#writeNow(name, signal, change));
    const settled = work.catch(() => undefined);
    this.#writing.set(name, settled);
    void settled.then(() => {
      if (this.#writing.get(name) === settled) this.#writing.delete(name);
    });
    return work;
  }

  async #writeNow(name: string, signal: AbortSignal, change: Change): Promise<boolean> {
    const { hypervisors, snapshot, onChanged } = this.#options;
    for (let round = 0; round < maxConflicts; round += 1) {
      const node = snapshot.nodes.get(name);
      if (node === undefined) return false;
      const { resourceVersion, uid } = node.hypervisor.metadata;
      const { inherited } = node;
      const next = await change(node);
      if (next === undefined) return false;
      const annotations = { [allocationAnnotation]: formatAllocation(next) };
      try {
        const metadata = { resourceVersion, uid, annotations };
        const written = await hypervisors.mergePatch({ name }, { metadata }, { signal });
        if (snapshot.nodes.get(name)?.hypervisor.metadata.uid !== uid) {
          // It was written in time to be on the object that is gone by now, and on no other.
          snapshot.inherit(name, next);
          this.release(name, signal);
          return false;
        }
        this.#expect(name, written.metadata.resourceVersion);
        node.disinherit(inherited);
        snapshot.setNode(written);
        return true;
      } catch (error) {
        if (isNotFound(error)) return false;
        if (!isConflict(error)) throw error;
        const fresh = await hypervisors.find({ name }, { signal });
        if (fresh === undefined || !snapshot.nodes.has(name)) return false;
        // What was reserved on the one before is in its last state, which the watch is about to bring.
        if (fresh.metadata.uid !== snapshot.nodes.get(name)?.hypervisor.metadata.uid) throw new RemadeError(name);
        onChanged(name, snapshot.setNode(fresh));
      }
    }
    throw new ContendedError(name);
  }

  #expect(name: string, resourceVersion: string | undefined): void {
    if (resourceVersion === undefined) return;
    let echoes = this.#echoes.get(name);
    // A watch that was broken off skips versions: those never come.
    if (echoes === undefined || echoes.size >= maxEchoes) this.#echoes.set(name, (echoes = new Set()));
    echoes.add(resourceVersion);
  }
}

/** Others changed the node between each read and write. */
class ContendedError extends Error {
  constructor(node: string) {
    super(`the Hypervisor ${node} was changed by others ${maxConflicts} times in a row`);
    this.name = 'ContendedError';
  }
}

/** Another Hypervisor has taken the name, and what was reserved on the one before is not known yet. */
class RemadeError extends Error {
  constructor(node: string) {
    super(`the Hypervisor ${node} was deleted and made anew`);
    this.name = 'RemadeError';
  }
}

/** A function, because the compiler does not know that a signal changes while one waits. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}
