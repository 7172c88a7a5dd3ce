import { TimedOutError } from './errors.ts';

/**
 * Runs `work` with a signal that aborts when `parent` does or after `timeoutMs`.
 *
 * @param what Names the work in the error: "timed out after 30 s: WHAT".
 * @throws TimedOutError when the deadline ran out; the parent's reason when it aborted; else what `work` throws.
 */
export async function withDeadline<T>(
  what: string,
  timeoutMs: number,
  parent: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  parent?.throwIfAborted();
  const controller = new AbortController();
  const onParent = (): void => controller.abort(parent?.reason);
  parent?.addEventListener('abort', onParent, { once: true });
  const timer = setTimeout(() => {
    controller.abort(new TimedOutError(`timed out after ${timeoutMs / 1000} s: ${what}`));
  }, timeoutMs);
  try {
    return await Promise.race([work(controller.signal), rejectOnAbort(controller.signal)]);
  } finally {
    clearTimeout(timer);
    parent?.removeEventListener('abort', onParent);
    // Ends the listener of rejectOnAbort and tells work that nobody waits any more.
    controller.abort(new TimedOutError(`over: ${what}`));
  }
}

function rejectOnAbort(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
}
