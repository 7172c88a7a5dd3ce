/**
 * Chooses nodes for machines that are to be migrated: by the same filters and scores as at their first placement, without
 * the node that they are on. Where the operation names a node it is that one, or none. Room is reserved there as for a new
 * machine (reservations.ts); then what was decided is noted in the operation (`status.context.target`, or `refusal` with
 * the reasons), and the executors do the rest. The room is given back when the operation is over and the machine is not
 * there. Disks in pools of a node keep the machine there, unless the operation says that they are copied: then a target is
 * where these pools run, too, and have room for them.
 */
import { allFilters, copyingFilters } from './filters/all-filters.ts';
import type { MachineInfo } from './machine-info.ts';
import type { Filter } from './plugin.ts';
import { prepareTest, selectNode } from './select-node.ts';
import type { Snapshot } from './snapshot.ts';
import { failureText, unschedulableMessage } from './unschedulable.ts';
import { copiesPools, type VirtualMachineOperation } from '../api/virtual-machine-operation.ts';
import { ConflictError, toError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Informer } from '../kube/informer.ts';
import { objectKey, refOf } from '../kube/object.ts';
import type { ResourceClient } from '../kube/resource-client.ts';
import { isConflict, isNotFound } from '../kube/status-error.ts';

/** A migration that goes on, as far as it matters here. */
interface Move {
  readonly uid: string;
  readonly target: string | undefined;
}

/** What {@link MigrationTargets} works with. */
export interface MigrationTargetsOptions {
  readonly snapshot: Snapshot;
  readonly operations: Pick<ResourceClient<VirtualMachineOperation>, 'find' | 'mergePatch'>;
  readonly logger: Logger;
  /** Reserves room on a node for a machine that an operation moves; false when it will not do any more. */
  readonly reserve: (uid: string, node: string, operation: string, signal: AbortSignal) => Promise<boolean>;
  /** Looks whether what is reserved on a node is still needed. */
  readonly release: (node: string) => void;
}

/** A node is found unfit at the very moment of reserving so many times in a row at most. */
const maxTries = 5;

/** Where a machine should move to, or why there is no such node. */
export type Choice = { readonly target: string } | { readonly refusal: string };

/**
 * The node that a machine should move to, as if those that move already were where they go. Leaves the snapshot as it was.
 *
 * @param moves Machines that move, by UID, with where they go.
 * @param wanted The node that it is to be, if any will not do.
 * @param isCopied Whether its disks in pools of the node it is on go with it.
 * @returns The node's name, or why there is none.
 */
export function chooseTarget(
  uid: string,
  snapshot: Snapshot,
  moves: ReadonlyMap<string, string>,
  wanted?: string,
  isCopied = false,
): Choice {
  const filters = isCopied ? copyingFilters : allFilters;
  const undo: (() => void)[] = [];
  const put = (machine: MachineInfo, from: string, to: string | undefined): void => {
    snapshot.remove(machine.uid);
    if (to !== undefined) snapshot.place(machine, to);
    undo.push(() => {
      snapshot.remove(machine.uid);
      snapshot.place(machine, from);
    });
  };
  const found = placed(uid, snapshot);
  if (found === undefined) return { refusal: 'the scheduler does not know where it is' };
  try {
    for (const [other, target] of moves) {
      const moving = other === uid || !snapshot.nodes.has(target) ? undefined : placed(other, snapshot);
      if (moving !== undefined && moving.node !== target) put(moving.machine, moving.node, target);
    }
    put(found.machine, found.node, undefined);
    if (wanted !== undefined) return judge(wanted, found.machine, snapshot, filters);
    const elsewhere: Filter = () => (node) => (node.name === found.node ? { reason: 'where it is now' } : undefined);
    const selection = selectNode(found.machine, snapshot, { filters: [elsewhere, ...filters] });
    if (selection.node !== undefined) return { target: selection.node.name };
    return { refusal: unschedulableMessage(selection.failures) };
  } finally {
    for (const one of undo.reverse()) one();
  }
}

function judge(wanted: string, machine: MachineInfo, snapshot: Snapshot, filters: readonly Filter[]): Choice {
  const node = snapshot.nodes.get(wanted);
  if (node === undefined) return { refusal: `there is no node "${wanted}"` };
  const failure = prepareTest(machine, snapshot, filters)(node);
  return failure === undefined ? { target: wanted } : { refusal: `${wanted}: ${failureText(failure)}` };
}

function placed(uid: string, snapshot: Snapshot): { readonly machine: MachineInfo; readonly node: string } | undefined {
  const node = snapshot.nodeOf(uid);
  const machine = node === undefined ? undefined : snapshot.nodes.get(node)?.machines.get(uid);
  return node === undefined || machine === undefined ? undefined : { machine, node };
}

/** Whether the source waits for a node to be chosen. */
function isAsked({ status }: VirtualMachineOperation): boolean {
  const { source, target, refusal } = status?.context ?? {};
  const isOpen = status?.phase === 'Running' && status.step === 'Preparing' && source !== undefined;
  return isOpen && target === undefined && refusal === undefined;
}

/** See the head of this file. */
export class MigrationTargets {
  readonly #options: MigrationTargetsOptions;
  readonly #moves = new Map<string, Move>();

  constructor(options: MigrationTargetsOptions) {
    this.#options = options;
  }

  /** Follows the operations of an informer that is full. */
  follow(operations: Informer<VirtualMachineOperation>, signal: AbortSignal): void {
    operations.onChange(({ type, object }) => {
      if (object.spec.verb !== 'Migrate') return;
      const key = objectKey(object);
      const { phase, context } = object.status ?? {};
      if (type === 'deleted' || phase !== 'Running') {
        const target = context?.['target'] ?? this.#moves.get(key)?.target;
        if (this.#moves.delete(key) && target !== undefined) this.#options.release(target);
        return;
      }
      const uid = context?.['machineUid'] ?? '';
      // What was chosen a moment ago may not have come back by the watch.
      const target = context?.['target'] ?? this.#moves.get(key)?.target;
      this.#moves.set(key, { uid, target });
      if (isAsked(object) && target === undefined) void this.#choose(key, uid, object, signal);
    });
  }

  async #choose(key: string, uid: string, object: VirtualMachineOperation, signal: AbortSignal): Promise<void> {
    const { logger } = this.#options;
    let asked: VirtualMachineOperation | undefined = object;
    try {
      for (let tries = 0; tries < maxTries && asked !== undefined; tries += 1) {
        asked = await this.#chooseFor(key, uid, asked, signal);
      }
      if (asked !== undefined) throw new ConflictError(`it was changed ${maxTries} times in a row`);
    } catch (error) {
      if (signal.aborted) return;
      // The source gives it up when nobody chooses; until then the next change of the operation has it chosen again.
      this.#moves.set(key, { uid, target: undefined });
      logger.warn('cannot say where a machine should move', { operation: key, error: toError(error) });
    }
  }

  /**
   * Chooses a node, reserves room there and says so, unless somebody else was quicker: once the target is told it makes files,
   * and the guest is sent there.
   *
   * @returns The operation as it is now, when it was changed meanwhile and has no target still.
   */
  async #chooseFor(
    key: string,
    uid: string,
    object: VirtualMachineOperation,
    signal: AbortSignal,
  ): Promise<VirtualMachineOperation | undefined> {
    const { snapshot, operations, release } = this.#options;
    const choice = await this.#reserve(key, uid, object, signal);
    let target = 'target' in choice ? choice.target : undefined;
    const { uid: operationUid, resourceVersion } = object.metadata;
    try {
      const patch = { metadata: { uid: operationUid, resourceVersion }, status: { context: choice } };
      await operations.mergePatch(refOf(object), patch, { subresource: 'status', signal });
    } catch (error) {
      if (!isConflict(error) && !isNotFound(error)) throw error;
      const live = await operations.find(refOf(object), { signal });
      const same = live?.metadata.uid === operationUid ? live : undefined;
      if (same !== undefined && isAsked(same)) return same;
      // Another scheduler has told its choice, or nothing is left to choose for.
      target = same?.status?.context?.['target'];
      if (same?.status?.phase === 'Running') this.#moves.set(key, { uid, target });
      else this.#moves.delete(key);
    }
    // Also where a scheduler before this one had reserved room for it.
    for (const name of snapshot.reservationsOf(uid)) {
      if (name !== target && name !== snapshot.nodeOf(uid)) release(name);
    }
    return undefined;
  }

  /** Chooses a node and reserves room there, before anybody is told. */
  async #reserve(key: string, uid: string, object: VirtualMachineOperation, signal: AbortSignal): Promise<Choice> {
    const { snapshot, reserve } = this.#options;
    for (let tries = 0; tries < maxTries; tries += 1) {
      const moves = [...this.#moves.values()].flatMap((move) =>
        move.target === undefined ? [] : [[move.uid, move.target] as const],
      );
      const { nodeName, copyStorage } = object.spec.migrate ?? {};
      const choice = chooseTarget(uid, snapshot, new Map(moves), nodeName, copiesPools(copyStorage));
      if ('refusal' in choice) return choice;
      // From now on others reckon with it.
      this.#moves.set(key, { uid, target: choice.target });
      if (await reserve(uid, choice.target, object.metadata.name ?? '', signal)) return choice;
      this.#moves.set(key, { uid, target: undefined });
    }
    return { refusal: `each node that would do was taken by others ${maxTries} times in a row; try again` };
  }
}
