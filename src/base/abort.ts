import { TimedOutError } from './errors.ts';

/** Node's timers take no more, and end at once instead: 24.8 days. */
const maxTimerMs = 2 ** 31 - 1;

/**
 * Runs `work` with a signal that aborts when `parent` does or after `timeoutMs`.
 *
 * @param what Names the work in the error: "timed out after 30 s: WHAT". A function is asked when the deadline runs out, for
 *   what is known only then.
 * @throws TimedOutError when the deadline ran out; the parent's reason when it aborted; else what `work` throws.
 */
export async function withDeadline<T>(
  what: string | (() => string),
  timeoutMs: number,
  parent: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  parent?.throwIfAborted();
  const controller = new AbortController();
  const forget = parent === undefined ? undefined : onAbort(parent, () => controller.abort(parent.reason));
  const expire = (): void => {
    const words = typeof what === 'string' ? what : what();
    controller.abort(new TimedOutError(`timed out after ${timeoutMs / 1000} s: ${words}`));
  };
  let timer: NodeJS.Timeout | undefined;
  const arm = (leftMs: number): void => {
    const more = leftMs > maxTimerMs;
    timer = setTimeout(more ? () => arm(leftMs - maxTimerMs) : expire, more ? maxTimerMs : leftMs);
  };
  arm(timeoutMs);
  try {
    return await Promise.race([work(controller.signal), rejectOnAbort(controller.signal)]);
  } finally {
    clearTimeout(timer);
    forget?.();
    // Ends the listener of rejectOnAbort and tells work that nobody waits any more.
    controller.abort(new TimedOutError(typeof what === 'string' ? `over: ${what}` : 'over'));
  }
}

function rejectOnAbort(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
}

const abortListeners = new WeakMap<AbortSignal, Set<() => void>>();

/**
 * Calls `listener` once when `signal` aborts, at once where it already has. However many wait, the signal gets one
 * listener: Node.js warns of a leak from the eleventh on.
 *
 * @returns Takes the listener away; to be called when the wait is over.
 */
export function onAbort(signal: AbortSignal, listener: () => void): () => void {
  if (signal.aborted) {
    listener();
    return () => undefined;
  }
  const known = abortListeners.get(signal);
  const listeners = known ?? new Set();
  // A function of its own, so that the same listener can wait twice.
  const entry = (): void => listener();
  listeners.add(entry);
  if (known === undefined) {
    const all = (): void => {
      abortListeners.delete(signal);
      for (const one of [...listeners]) one();
    };
    stoppers.set(listeners, () => signal.removeEventListener('abort', all));
    abortListeners.set(signal, listeners);
    signal.addEventListener('abort', all, { once: true });
  }
  return () => {
    if (!listeners.delete(entry) || listeners.size > 0 || abortListeners.get(signal) !== listeners) return;
    abortListeners.delete(signal);
    stoppers.get(listeners)?.();
  };
}

const stoppers = new WeakMap<Set<() => void>, () => void>();
