import { TimedOutError } from '../base/errors.ts';
import { withDeadline } from '../base/abort.ts';
import { backoffMs } from '../base/backoff.ts';
import { systemClock } from '../base/clock.ts';
import type { KubeObject, ObjectRef } from '../kube/object.ts';
import type { ResourceClient } from '../kube/resource-client.ts';
import { isExpired } from '../kube/status-error.ts';

/** Options of {@link waitForObject}. */
export interface WaitOptions {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  /** Names what is waited for in the error: `vm/web to run`. */
  readonly what: string;
}

/** A watch that ended without an answer begins anew after a moment, so that a failing server is not pressed. */
const rewatch = { initialMs: 100, maxMs: 2000, factor: 2, jitter: 0.5 };

/**
 * Follows one object until `settled` says so.
 *
 * @param settled Gets the object, or undefined when it does not exist (any more); returns whether the wait is over, and
 *   throws to end it with an error.
 * @returns The object as it was then; undefined when it was gone.
 * @throws TimedOutError with what was waited for; what `settled` throws; StatusError and UnreachableError when the
 *   server refuses or cannot be reached at all.
 */
export async function waitForObject<T extends KubeObject>(
  client: ResourceClient<T>,
  ref: ObjectRef,
  settled: (object: T | undefined) => boolean,
  options: WaitOptions,
): Promise<T | undefined> {
  return withDeadline(`waiting for ${options.what}`, options.timeoutMs, options.signal, async (signal) => {
    for (let attempt = 0; ; attempt += 1) {
      const page = await client.list({
        namespace: ref.namespace,
        fieldSelector: `metadata.name=${ref.name}`,
        signal,
      });
      const [present] = page.items;
      if (settled(present)) return present;
      try {
        const found = await follow(client, ref, settled, page.resourceVersion, signal);
        if (found !== undefined) return found.object;
      } catch (error) {
        // A watch may end for many reasons; the list at the top of the loop tells whether the server is there.
        if (!(error instanceof WatchEnded) && !isExpired(error)) throw error;
      }
      await systemClock.sleep(backoffMs(rewatch, attempt, Math.random), signal);
    }
  });
}

/** Thrown inside, when the stream broke. */
class WatchEnded extends TimedOutError {}

async function follow<T extends KubeObject>(
  client: ResourceClient<T>,
  ref: ObjectRef,
  settled: (object: T | undefined) => boolean,
  resourceVersion: string,
  signal: AbortSignal,
): Promise<{ readonly object: T | undefined } | undefined> {
  const events = client.watch({
    namespace: ref.namespace,
    fieldSelector: `metadata.name=${ref.name}`,
    resourceVersion,
    timeoutSeconds: 300,
    signal,
  });
  try {
    for (;;) {
      const next = await events.next().catch((error: unknown) => {
        signal.throwIfAborted();
        throw new WatchEnded('the watch broke', { cause: error });
      });
      if (next.done === true) return undefined;
      const event = next.value;
      if (event.type === 'BOOKMARK') continue;
      const object = event.type === 'DELETED' ? undefined : event.object;
      if (settled(object)) return { object };
    }
  } finally {
    await events.return();
  }
}
