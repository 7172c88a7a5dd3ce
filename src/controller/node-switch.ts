/**
 * Gives a machine that was migrated to the node that it is on, where the executor that moved it may not write spec
 * (src/executor/migration): the source's executor has written to status that the domain has left it, and where it is. It is
 * the same write that an executor with more rights does, and may be done twice.
 */
import type { Caches } from './caches.ts';
import type { VirtualMachine } from '../api/virtual-machine.ts';
import { objectKey, parseObjectKey, refOf } from '../kube/object.ts';
import type { ResourceClient } from '../kube/resource-client.ts';
import { isConflict, isNotFound } from '../kube/status-error.ts';
import type { ReconcileResult } from '../reconcile/controller.ts';

/** What it works with. */
export interface NodeSwitchOptions {
  readonly caches: Pick<Caches, 'machines'>;
  readonly machines: Pick<ResourceClient<VirtualMachine>, 'find' | 'mergePatch'>;
}

/** See the head of this file. */
export class NodeSwitch {
  readonly #options: NodeSwitchOptions;

  constructor(options: NodeSwitchOptions) {
    this.#options = options;
  }

  /**
   * Has machines looked at that have left their node.
   *
   * @returns Stops it.
   */
  follow(enqueue: (key: string) => void): () => void {
    const { machines } = this.#options.caches;
    const look = (machine: VirtualMachine): void => {
      if (newNode(machine) !== undefined) enqueue(objectKey(machine));
    };
    const stop = machines.onChange(({ type, object }) => {
      if (type !== 'deleted') look(object);
    });
    for (const machine of machines.list()) look(machine);
    return stop;
  }

  /** Looks at one machine, by `namespace/name`. */
  async reconcile(key: string, signal: AbortSignal): Promise<ReconcileResult | undefined> {
    const { machines } = this.#options;
    const machine = await machines.find(parseObjectKey(key), { signal });
    const nodeName = machine === undefined ? undefined : newNode(machine);
    if (machine === undefined || nodeName === undefined) return undefined;
    const { uid, resourceVersion } = machine.metadata;
    try {
      await machines.mergePatch(refOf(machine), { metadata: { uid, resourceVersion }, spec: { nodeName } }, { signal });
      return undefined;
    } catch (error) {
      if (isNotFound(error)) return undefined;
      if (isConflict(error)) return { requeueAfterMs: 20 };
      throw error;
    }
  }
}

/** Where a machine is whose spec still names the node that it has left. */
export function newNode({ spec, status }: VirtualMachine): string | undefined {
  const { nodeName, migration } = status ?? {};
  if (migration?.phase !== 'Succeeded' || nodeName === undefined || migration.targetNode !== nodeName) return undefined;
  return migration.sourceNode === spec.nodeName && spec.nodeName !== nodeName ? nodeName : undefined;
}
