/**
 * Writes the finalizers that executors ask for and may not write themselves (src/reconcile/finalizers.ts): an executor has
 * no right to change an object but its status. Only finalizers of virtctl.dev are written, and one is taken away only from
 * an object that is being deleted.
 */
import type { Caches } from './caches.ts';
import { resourceOfKind } from '../api/kinds.ts';
import type { KubeClient } from '../kube/kube-client.ts';
import { objectKey, parseObjectKey, type KubeObject } from '../kube/object.ts';
import { isConflict } from '../kube/status-error.ts';
import type { ReconcileResult } from '../reconcile/controller.ts';
import {
  addFinalizer,
  askedFinalizer,
  hasFinalizer,
  isBeingDeleted,
  removeFinalizer,
} from '../reconcile/finalizers.ts';

/** See the head of this file. */
export class FinalizerKeeper {
  readonly #client: KubeClient;
  readonly #caches: Pick<Caches, 'held'>;

  constructor(client: KubeClient, caches: Pick<Caches, 'held'>) {
    this.#client = client;
    this.#caches = caches;
  }

  /**
   * Has objects looked at that ask for something; the keys are `KIND namespace/name`.
   *
   * @returns Stops it.
   */
  follow(enqueue: (key: string) => void): () => void {
    const stops = [...this.#caches.held()].map(([kind, informer]) =>
      informer.onChange(({ type, object }) => {
        if (type !== 'deleted' && stepFor(object) !== undefined) enqueue(`${kind} ${objectKey(object)}`);
      }),
    );
    for (const [kind, informer] of this.#caches.held()) {
      for (const object of informer.list()) if (stepFor(object) !== undefined) enqueue(`${kind} ${objectKey(object)}`);
    }
    return () => {
      for (const stop of stops) stop();
    };
  }

  /** Looks at one object. */
  async reconcile(key: string, signal: AbortSignal): Promise<ReconcileResult | undefined> {
    const [kind = '', name = ''] = key.split(' ');
    const objects = this.#client.resource<KubeObject>(resourceOfKind(kind));
    const object = await objects.find(parseObjectKey(name), { signal });
    const step = object === undefined ? undefined : stepFor(object);
    if (object === undefined || step === undefined) return undefined;
    try {
      if (step.isWanted) await addFinalizer(objects, object, step.finalizer, signal);
      else await removeFinalizer(objects, object, step.finalizer, signal);
      return undefined;
    } catch (error) {
      if (isConflict(error)) return { requeueAfterMs: 20 };
      throw error;
    }
  }
}

/** What an object asks for and does not have yet. */
function stepFor(object: KubeObject): { readonly finalizer: string; readonly isWanted: boolean } | undefined {
  const asked = askedFinalizer(object);
  if (asked === undefined || !/^virtctl\.dev\/[a-z-]+$/.test(asked.finalizer)) return undefined;
  if (asked.isWanted === hasFinalizer(object, asked.finalizer) || asked.isWanted === isBeingDeleted(object)) {
    return undefined;
  }
  return asked;
}
