import type { Clock } from '../base/clock.ts';

/** Says how long a key has to wait (client-go's workqueue.RateLimiter). */
export interface RateLimiter {
  /** The wait before the key's next turn, in milliseconds; counts as one failure of the key. */
  when(key: string): number;
  /** The key succeeded, or is given up: its failures are forgotten. */
  forget(key: string): void;
  /** How often the key failed since it was last forgotten. */
  requeues(key: string): number;
}

/** Waits that double with each failure of the same key: 5 ms, 10 ms, … up to a maximum (client-go's default limits). */
export function exponentialLimiter(initialMs = 5, maxMs = 1_000_000): RateLimiter {
  const failures = new Map<string, number>();
  return {
    when(key) {
      const failed = failures.get(key) ?? 0;
      failures.set(key, failed + 1);
      return Math.min(maxMs, initialMs * 2 ** Math.min(failed, 60));
    },
    forget: (key) => void failures.delete(key),
    requeues: (key) => failures.get(key) ?? 0,
  };
}

/** One token bucket for all keys together: `burst` at once, then `perSecond` (golang.org/x/time/rate reservations). */
export function tokenBucketLimiter(clock: Clock, perSecond = 10, burst = 100): RateLimiter {
  let tokens = burst;
  let atMs = clock.monotonicMs();
  return {
    when() {
      const now = clock.monotonicMs();
      tokens = Math.min(burst, tokens + ((now - atMs) * perSecond) / 1000) - 1;
      atMs = now;
      // A debt is a place in the line.
      return tokens >= 0 ? 0 : (-tokens * 1000) / perSecond;
    },
    forget: () => undefined,
    requeues: () => 0,
  };
}

/** The longest wait of several limiters. */
export function maxOfLimiters(...limiters: readonly RateLimiter[]): RateLimiter {
  return {
    when: (key) => Math.max(...limiters.map((one) => one.when(key))),
    forget(key) {
      for (const one of limiters) one.forget(key);
    },
    requeues: (key) => Math.max(...limiters.map((one) => one.requeues(key))),
  };
}

/** client-go's DefaultControllerRateLimiter: both of the above, with a wait per key of at most `maxMs`. */
export function defaultLimiter(clock: Clock, maxMs = 1_000_000): RateLimiter {
  return maxOfLimiters(exponentialLimiter(5, maxMs), tokenBucketLimiter(clock));
}
