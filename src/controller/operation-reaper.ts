/**
 * Deletes finished operations whose time (`spec.ttlSecondsAfterFinished`, one hour) is over and that no executor deletes:
 * those whose machine is gone or has no node. An executor deletes those of the machines on its node, so each operation
 * has one owner.
 */
import type { Caches } from './caches.ts';
import type { VirtualMachineOperation } from '../api/virtual-machine-operation.ts';
import type { Clock } from '../base/clock.ts';
import { objectKey, refOf } from '../kube/object.ts';
import type { ResourceClient } from '../kube/resource-client.ts';
import { isNotFound } from '../kube/status-error.ts';
import type { ReconcileContext, ReconcileResult } from '../reconcile/controller.ts';

const defaultTtlSeconds = 3600;

/** Options of {@link OperationReaper}. */
export interface OperationReaperOptions {
  readonly caches: Pick<Caches, 'machines' | 'operations'>;
  readonly operations: Pick<ResourceClient<VirtualMachineOperation>, 'delete'>;
  readonly clock: Clock;
}

/** See the head of this file. */
export class OperationReaper {
  readonly #options: OperationReaperOptions;

  constructor(options: OperationReaperOptions) {
    this.#options = options;
  }

  /**
   * Has operations looked at when they, or the machines that they are for, change.
   *
   * @returns Stops it.
   */
  follow(enqueue: (key: string) => void): () => void {
    const { machines, operations } = this.#options.caches;
    const stops = [
      operations.onChange(({ type, object }) => {
        if (type !== 'deleted' && isFinished(object)) enqueue(objectKey(object));
      }),
      machines.onChange(({ type, object }) => {
        if (type !== 'deleted') return;
        const { namespace, name } = object.metadata;
        for (const operation of operations.list()) {
          const isOfIt = operation.metadata.namespace === namespace && operation.spec.virtualMachine === name;
          if (isOfIt && isFinished(operation)) enqueue(objectKey(operation));
        }
      }),
    ];
    return () => {
      for (const stop of stops) stop();
    };
  }

  /** Looks at one operation. */
  async reconcile(key: string, { signal }: Pick<ReconcileContext, 'signal'>): Promise<ReconcileResult | undefined> {
    const { caches, operations, clock } = this.#options;
    const operation = caches.operations.get(key);
    if (operation === undefined || !isFinished(operation)) return undefined;
    const machine = caches.machines.get(`${operation.metadata.namespace ?? ''}/${operation.spec.virtualMachine}`);
    if ((machine?.spec.nodeName ?? '') !== '') return undefined;
    const { metadata, spec, status } = operation;
    const finishedAt = Date.parse(status?.completionTime ?? metadata.creationTimestamp ?? '');
    const leftMs = finishedAt + (spec.ttlSecondsAfterFinished ?? defaultTtlSeconds) * 1000 - clock.now();
    if (leftMs > 0) return { requeueAfterMs: Math.min(leftMs, 2 ** 31 - 1) };
    try {
      await operations.delete(refOf(operation), { preconditions: { uid: metadata.uid }, signal });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
    return undefined;
  }
}

function isFinished({ status }: VirtualMachineOperation): boolean {
  return status?.phase === 'Succeeded' || status?.phase === 'Failed';
}
