import type { Clock } from '../../base/clock.ts';
import { ConflictError, NotFoundError, UnreachableError } from '../../base/errors.ts';

/** How {@link whileOurs} looks. */
export interface OwnershipOptions {
  /** Asks whether what is worked on is still ours; throws NotFoundError when it is not there any more. */
  readonly isOurs: (signal: AbortSignal) => Promise<boolean>;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** How often it is asked, in milliseconds. */
const askMs = 3_000;
/** No work goes on for longer than this after the last answer was asked for, in milliseconds. */
const silentMs = 8_000;
/** How long somebody else waits who has taken over, until no work of the one before goes on, in milliseconds. */
export const takeOverMs = 10_000;

/**
 * Works while it is ours. Two that write the same volume at once would harm it, and libvirt does not keep them apart: the
 * one before ends as soon as it hears of another, or hears nothing.
 *
 * @param work Gets a signal that aborts then.
 * @throws ConflictError when it is somebody else's; NotFoundError when it is gone; UnreachableError when nobody
 *   says whose it is; what `work` throws.
 */
export async function whileOurs<T>(
  work: (signal: AbortSignal) => Promise<T>,
  { isOurs, clock, signal }: OwnershipOptions,
): Promise<T> {
  const over = new AbortController();
  const done = new AbortController();
  const ended = AbortSignal.any([signal, done.signal]);
  let seenMs = clock.monotonicMs();
  if (!(await isOurs(signal))) throw takenOver();
  const ask = async (): Promise<void> => {
    while (!ended.aborted) {
      const askedMs = clock.monotonicMs();
      const limit = AbortSignal.timeout(Math.max(1, Math.ceil(seenMs + silentMs - askedMs)));
      try {
        if (!(await isOurs(AbortSignal.any([ended, limit])))) {
          over.abort(takenOver());
          return;
        }
        seenMs = askedMs;
      } catch (cause) {
        if (cause instanceof NotFoundError) {
          over.abort(cause);
          return;
        }
        if (clock.monotonicMs() - seenMs >= silentMs) {
          over.abort(new UnreachableError('the API server does not say whether the upload is still ours', { cause }));
          return;
        }
      }
      const waitMs = Math.min(askMs, Math.max(1, seenMs + silentMs - clock.monotonicMs()));
      // It rejects when the work is done, which the loop sees.
      await clock.sleep(waitMs, ended).catch(() => undefined);
    }
  };
  const asking = ask();
  try {
    return await work(AbortSignal.any([signal, over.signal]));
  } catch (error) {
    // However the work puts it.
    over.signal.throwIfAborted();
    throw error;
  } finally {
    done.abort();
    await asking;
  }
}

/** The error of who has to end. */
export function takenOver(): ConflictError {
  return new ConflictError('another upload of it has begun meanwhile');
}
