/** How waits grow between attempts. */
export interface BackoffPolicy {
  /** The first wait, in milliseconds. */
  readonly initialMs: number;
  /** No wait is longer, in milliseconds. */
  readonly maxMs: number;
  /** Each wait is this many times the one before. */
  readonly factor: number;
  /** Fraction of the wait that is random, 0 (none) to 1 (all of it). */
  readonly jitter: number;
}

/** Reconnecting to a server: quick at first, at most half a minute. */
export const reconnectBackoff: BackoffPolicy = { initialMs: 200, maxMs: 30_000, factor: 2, jitter: 0.5 };

/**
 * The wait before attempt `attempt` (0 for the first retry).
 *
 * @param random Returns a number in [0, 1), as Math.random does.
 * @returns Milliseconds, between `(1 - jitter)` of the full wait and the full wait.
 */
export function backoffMs(policy: BackoffPolicy, attempt: number, random: () => number): number {
  const full = Math.min(policy.maxMs, policy.initialMs * policy.factor ** Math.min(attempt, 64));
  return full * (1 - policy.jitter * random());
}
