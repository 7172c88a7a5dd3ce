import { Informer } from './informer.ts';
import type { KubeObject, ObjectRef } from './object.ts';
import { objectKey } from './object.ts';
import type { ListWatchSource } from './reflector.ts';
import { withDeadline } from '../base/abort.ts';
import { toError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';

/** Options of {@link waitForObject}. */
export interface WaitOptions<T extends KubeObject = KubeObject> {
  readonly signal?: AbortSignal | undefined;
  /** Gives up after this long. */
  readonly timeoutMs: number;
  /** Is told of lost connections, which do not end the waiting. */
  readonly logger: Logger;
  /**
   * What is waited for, for the error: "timed out after 30 s: WHAT". A function is asked at the deadline, about the object
   * as it was last seen; undefined when it was not there.
   */
  readonly what: string | ((last: T | undefined) => string);
}

/**
 * Waits until an object is as wanted, over lost connections and restarts of the server.
 *
 * @param isReached Is asked about the object as it is at first and after each change; `undefined` when it does not
 *   exist. What it throws ends the waiting.
 * @returns The object that was as wanted; undefined when that was its absence.
 * @throws TimedOutError at the deadline; the signal's reason; what `isReached` throws.
 */
export async function waitForObject<T extends KubeObject>(
  source: ListWatchSource<T>,
  ref: ObjectRef,
  isReached: (object: T | undefined) => boolean,
  options: WaitOptions<T>,
): Promise<T | undefined> {
  const informer = new Informer<T>({
    source,
    namespace: ref.namespace,
    fieldSelector: `metadata.name=${ref.name}`,
    logger: options.logger,
    transform: (object) => object,
  });
  const key = objectKey(ref);
  const { what } = options;
  const words = typeof what === 'string' ? what : () => what(informer.get(key));
  return withDeadline(words, options.timeoutMs, options.signal, async (signal) => {
    const over = new AbortController();
    const onAbort = (): void => over.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const following = informer.run(over.signal);
    try {
      await informer.synced(over.signal);
      return await new Promise<T | undefined>((resolve, reject) => {
        const look = (): void => {
          try {
            const object = informer.get(key);
            if (isReached(object)) resolve(object);
          } catch (error) {
            reject(toError(error));
          }
        };
        informer.onChange(look);
        look();
        over.signal.addEventListener('abort', () => reject(toError(over.signal.reason)), { once: true });
      });
    } finally {
      over.abort();
      signal.removeEventListener('abort', onAbort);
      await following;
    }
  });
}
