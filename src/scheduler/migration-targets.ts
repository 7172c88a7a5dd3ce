/**
 * Chooses nodes for machines that are to be migrated and whose operation names none: by the same filters and scores as at
 * their first placement, without the node that they are on. What it decides it notes in the operation
 * (`status.context.target`, or `refusal` with the reason of each node); the executors do the rest.
 */
import { allFilters } from './filters/all-filters.ts';
import type { MachineInfo } from './machine-info.ts';
import type { Filter } from './plugin.ts';
import { selectNode } from './select-node.ts';
import type { Snapshot } from './snapshot.ts';
import { unschedulableMessage } from './unschedulable.ts';
import type { VirtualMachineOperation } from '../api/virtual-machine-operation.ts';
import { toError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Informer } from '../kube/informer.ts';
import { objectKey, refOf } from '../kube/object.ts';
import type { ResourceClient } from '../kube/resource-client.ts';
import { isNotFound } from '../kube/status-error.ts';

/** A migration that goes on, as far as it matters here. */
interface Move {
  readonly uid: string;
  readonly target: string | undefined;
}

/** What {@link MigrationTargets} works with. */
export interface MigrationTargetsOptions {
  readonly snapshot: Snapshot;
  readonly operations: Pick<ResourceClient<VirtualMachineOperation>, 'mergePatch'>;
  readonly logger: Logger;
}

/**
 * The node that a machine should move to, as if those that move already were where they go. Leaves the snapshot as it was.
 *
 * @param moves Machines that move, by UID, with where they go.
 * @returns The node's name, or why there is none.
 */
export function chooseTarget(
  uid: string,
  snapshot: Snapshot,
  moves: ReadonlyMap<string, string>,
): { readonly target: string } | { readonly refusal: string } {
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
    const elsewhere: Filter = () => (node) => (node.name === found.node ? { reason: 'where it is now' } : undefined);
    const selection = selectNode(found.machine, snapshot, { filters: [elsewhere, ...allFilters] });
    if (selection.node !== undefined) return { target: selection.node.name };
    return { refusal: unschedulableMessage(selection.failures) };
  } finally {
    for (const one of undo.reverse()) one();
  }
}

function placed(uid: string, snapshot: Snapshot): { readonly machine: MachineInfo; readonly node: string } | undefined {
  const node = snapshot.nodeOf(uid);
  const machine = node === undefined ? undefined : snapshot.nodes.get(node)?.machines.get(uid);
  return node === undefined || machine === undefined ? undefined : { machine, node };
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
      const { phase, context, step } = object.status ?? {};
      if (type === 'deleted' || phase !== 'Running') {
        this.#moves.delete(key);
        return;
      }
      const uid = context?.['machineUid'] ?? '';
      // What was chosen a moment ago may not have come back by the watch.
      const target = context?.['target'] ?? this.#moves.get(key)?.target;
      this.#moves.set(key, { uid, target });
      const isAsked = step === 'Preparing' && context?.['source'] !== undefined && context['refusal'] === undefined;
      if (isAsked && target === undefined) void this.#choose(key, uid, object, signal);
    });
  }

  async #choose(key: string, uid: string, object: VirtualMachineOperation, signal: AbortSignal): Promise<void> {
    const { snapshot, operations, logger } = this.#options;
    const moves = [...this.#moves.values()].flatMap((move) =>
      move.target === undefined ? [] : [[move.uid, move.target] as const],
    );
    const choice = chooseTarget(uid, snapshot, new Map(moves));
    if ('target' in choice) this.#moves.set(key, { uid, target: choice.target });
    try {
      const patch = { metadata: { uid: object.metadata.uid }, status: { context: choice } };
      await operations.mergePatch(refOf(object), patch, { subresource: 'status', signal });
    } catch (error) {
      if (signal.aborted || isNotFound(error)) return;
      // The source gives it up when nobody chooses; until then the next change of the operation has it chosen again.
      this.#moves.set(key, { uid, target: undefined });
      logger.warn('cannot say where a machine should move', { operation: key, error: toError(error) });
    }
  }
}
