/**
 * Forgets that a pool's stop was forced once the pool is to run again: the next stop waits for guests as the first had to.
 * Executors that may write more than status do so themselves (src/executor/virtual-pool/reconciler.ts).
 */
import type { Caches } from './caches.ts';
import { forceStopAnnotation, type VirtualPool } from '../api/virtual-pool.ts';
import { objectKey, parseObjectKey, refOf, type KubeObject } from '../kube/object.ts';
import type { ResourceClient } from '../kube/resource-client.ts';
import { isConflict, isNotFound } from '../kube/status-error.ts';
import type { ReconcileResult } from '../reconcile/controller.ts';

/** See the head of this file. */
export class ForcedStops {
  readonly #pools: ResourceClient<VirtualPool>;
  readonly #caches: Pick<Caches, 'held'>;

  constructor(pools: ResourceClient<VirtualPool>, caches: Pick<Caches, 'held'>) {
    this.#pools = pools;
    this.#caches = caches;
  }

  /**
   * Has pools looked at that have something to forget.
   *
   * @returns Stops it.
   */
  follow(enqueue: (key: string) => void): () => void {
    const informer = this.#caches.held().get('VirtualPool');
    const stop = informer?.onChange(({ type, object }) => {
      if (type !== 'deleted' && isOver(object)) enqueue(objectKey(object));
    });
    for (const object of informer?.list() ?? []) if (isOver(object)) enqueue(objectKey(object));
    return () => stop?.();
  }

  /** Looks at one pool. */
  async reconcile(key: string, signal: AbortSignal): Promise<ReconcileResult | undefined> {
    const pool = await this.#pools.find(parseObjectKey(key), { signal });
    if (pool === undefined || !isOver(pool)) return undefined;
    const { uid, resourceVersion } = pool.metadata;
    const metadata = { uid, resourceVersion, annotations: { [forceStopAnnotation]: null } };
    try {
      await this.#pools.mergePatch(refOf(pool), { metadata }, { signal });
      return undefined;
    } catch (error) {
      if (isConflict(error)) return { requeueAfterMs: 20 };
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }
}

/** Whether a pool that is to run still says that its stop was forced. */
function isOver(object: KubeObject): boolean {
  const { metadata, spec } = object as VirtualPool;
  return spec.active !== false && metadata.annotations?.[forceStopAnnotation] !== undefined;
}
