import { lastSeen } from './last-seen.ts';
import { silentLogger } from '../base/logger.ts';
import type { KubeObject, ObjectRef } from '../kube/object.ts';
import type { ListWatchSource } from '../kube/reflector.ts';
import { waitForObject as wait } from '../kube/wait-for-object.ts';

/** Options of {@link waitForObject}. */
export interface WaitOptions {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  /** Of the object that is meant: another one that took its name meanwhile counts as none. */
  readonly uid?: string | undefined;
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
 * @throws TimedOutError with what was waited for, and what the object was last seen to be; what `settled` throws.
 */
export async function waitForObject<T extends KubeObject>(
  source: ListWatchSource<T>,
  ref: ObjectRef,
  settled: (object: T | undefined) => boolean,
  { signal, timeoutMs, uid, what }: WaitOptions,
): Promise<T | undefined> {
  const words = (last: T | undefined): string => `waiting for ${what}${lastSeen(last)}`;
  const isMeant = (now: T | undefined): boolean => uid === undefined || now?.metadata.uid === uid;
  const look = (now: T | undefined): boolean => settled(isMeant(now) ? now : undefined);
  return wait(source, ref, look, { signal, timeoutMs, logger: silentLogger, what: words });
}
