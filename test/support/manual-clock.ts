import type { Clock } from '../../src/base/clock.ts';

interface Sleeper {
  readonly atMs: number;
  readonly wake: () => void;
}

/**
 * A clock that moves only when told. With `automatic`, sleeping moves it at once by as much, so that waits cost no time
 * and can be read afterwards from `slept`.
 */
export class ManualClock implements Clock {
  /** Every wait that was asked for, in milliseconds; the last 1,000. */
  readonly slept: number[] = [];
  readonly #automatic: boolean;
  #nowMs: number;
  #sleepers: Sleeper[] = [];

  constructor(options: { readonly automatic?: boolean; readonly startMs?: number } = {}) {
    this.#automatic = options.automatic ?? false;
    this.#nowMs = options.startMs ?? Date.UTC(2030, 0, 1);
  }

  now(): number {
    return this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    this.slept.push(ms);
    if (this.slept.length > 1000) this.slept.shift();
    if (this.#automatic) {
      this.#nowMs += ms;
      return new Promise((resolve) => void setImmediate(resolve));
    }
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#sleepers = this.#sleepers.filter((one) => one !== sleeper);
        reject(signal?.reason as Error);
      };
      const sleeper = {
        atMs: this.#nowMs + ms,
        wake: () => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#sleepers.push(sleeper);
    });
  }

  /** How many wait now. */
  get sleeping(): number {
    return this.#sleepers.length;
  }

  /** Moves the clock, wakes whose time has come, in order, and lets them run. */
  async advance(ms: number): Promise<void> {
    const end = this.#nowMs + ms;
    for (;;) {
      const next = this.#sleepers.filter(({ atMs }) => atMs <= end).sort((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined) break;
      this.#sleepers = this.#sleepers.filter((one) => one !== next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.wake();
      await new Promise((resolve) => void setImmediate(resolve));
    }
    this.#nowMs = end;
    await new Promise((resolve) => void setImmediate(resolve));
  }
}
