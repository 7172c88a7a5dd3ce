import { silentLogger } from '../base/logger.ts';
import type { KubeObject, ObjectRef } from '../kube/object.ts';
import type { ResourceClient } from '../kube/resource-client.ts';
import { waitForObject as wait } from '../kube/wait-for-object.ts';

/** Options of {@link waitForObject}. */
export interface WaitOptions {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  /** Names what is waited for in the error: `vm/web to run`. */
  readonly what: string;
}

/**
 * Follows one object until `settled` says so. Lost connections are nothing that a user wants to hear of: they end with
 * the deadline at the latest.
 *
 * @param settled Gets the object, or undefined when it does not exist (any more); returns whether the wait is over, and
 *   throws to end it with an error.
 * @returns The object as it was then; undefined when it was gone.
 * @throws TimedOutError with what was waited for; what `settled` throws.
 */
export async function waitForObject<T extends KubeObject>(
  client: ResourceClient<T>,
  ref: ObjectRef,
  settled: (object: T | undefined) => boolean,
  { signal, timeoutMs, what }: WaitOptions,
): Promise<T | undefined> {
  return wait(client, ref, settled, { signal, timeoutMs, logger: silentLogger, what: `waiting for ${what}` });
}
