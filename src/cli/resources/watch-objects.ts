import { backoffMs } from '../../base/backoff.ts';
import { systemClock } from '../../base/clock.ts';
import type { KubeObject } from '../../kube/object.ts';
import { objectKey } from '../../kube/object.ts';
import type { ResourceClient, Selection } from '../../kube/resource-client.ts';
import { isExpired, statusOf } from '../../kube/status-error.ts';

/** What is told while objects are watched. */
export interface WatchObjectsOptions extends Selection {
  readonly signal: AbortSignal;
  /** What is there at first. */
  readonly present: (objects: readonly KubeObject[]) => Promise<void>;
  /** Each object after each change of it, and as it was last when it is deleted. */
  readonly changed: (object: KubeObject, type: 'ADDED' | 'MODIFIED' | 'DELETED') => Promise<void>;
}

const rewatch = { initialMs: 200, maxMs: 5000, factor: 2, jitter: 0.5 };

/**
 * Follows objects until the signal aborts, which is its normal end. A watch that ends or breaks is begun anew where it
 * was; one that is too old is replaced by a fresh list, of which only what changed is told.
 *
 * @throws StatusError when the server refuses for good, UnreachableError when the first list cannot be had.
 */
export async function watchObjects(client: ResourceClient<KubeObject>, options: WatchObjectsOptions): Promise<void> {
  const { namespace, labelSelector, fieldSelector, signal } = options;
  const selection = { namespace, labelSelector, fieldSelector };
  const versions = new Map<string, string | undefined>();
  try {
    const first = await client.listAll({ ...selection, signal });
    await options.present(first.items);
    for (const item of first.items) versions.set(objectKey(item), item.metadata.resourceVersion);
    let { resourceVersion } = first;
    for (let attempt = 0; ; attempt += 1) {
      try {
        for await (const event of client.watch({ ...selection, resourceVersion, timeoutSeconds: 300, signal })) {
          attempt = 0;
          if (event.type === 'BOOKMARK') {
            ({ resourceVersion } = event);
            continue;
          }
          const version = event.object.metadata.resourceVersion;
          if (version !== undefined) resourceVersion = version;
          if (event.type === 'DELETED') versions.delete(objectKey(event.object));
          else versions.set(objectKey(event.object), version);
          await options.changed(event.object, event.type);
        }
      } catch (error) {
        signal.throwIfAborted();
        const code = statusOf(error)?.code ?? 0;
        if (isExpired(error)) {
          const fresh = await client.listAll({ ...selection, signal });
          for (const item of fresh.items) {
            if (versions.get(objectKey(item)) === item.metadata.resourceVersion) continue;
            versions.set(objectKey(item), item.metadata.resourceVersion);
            await options.changed(item, 'MODIFIED');
          }
          resourceVersion = fresh.resourceVersion;
        } else if (code >= 400 && code < 500 && code !== 429) throw error;
      }
      await systemClock.sleep(backoffMs(rewatch, attempt, Math.random), signal);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
