/**
 * How long a machine that keeps ending waits for its next start: as a pod does (kubelet's CrashLoopBackOff).
 */

/** What is remembered of ends that nobody asked for. Times in milliseconds since 1970. */
export interface Failures {
  /** How many, one after the other. */
  readonly count: number;
  readonly lastAt: number;
  /** Not started again before. */
  readonly nextAttemptAt: number;
  readonly message: string;
}

/** The wait after the second end; the first is followed by a start at once. */
const initialMs = 10_000;
/** No wait is longer. */
const maxMs = 300_000;
/** A run this long was no crash loop. */
export const stableRunMs = 600_000;

/**
 * Counts an end.
 *
 * @param before What was counted so far.
 * @param ranMs How long it had run; 0 when it did not start at all.
 * @param now Milliseconds since 1970.
 */
export function countFailure(before: Failures | undefined, ranMs: number, now: number, message: string): Failures {
  const count = (ranMs >= stableRunMs ? 0 : (before?.count ?? 0)) + 1;
  const waitMs = count === 1 ? 0 : Math.min(maxMs, initialMs * 2 ** Math.min(count - 2, 32));
  return { count, lastAt: now, nextAttemptAt: now + waitMs, message };
}

/** Whether a count is to be forgotten: it has run for long enough. */
export function isStable(bootedAt: number | undefined, now: number): boolean {
  return bootedAt !== undefined && now - bootedAt >= stableRunMs;
}
