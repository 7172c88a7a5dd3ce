/**
 * How far the API server's clock is ahead of this host's, as its answers tell: each was stamped between the question and
 * its arrival, so that a slow network makes the answer vague and not wrong.
 */
export class ServerClock {
  readonly #now: () => number;
  #askedMs: number;
  #leastMs = Number.NEGATIVE_INFINITY;
  #mostMs = Number.POSITIVE_INFINITY;

  /** @param now This host's clock, in wall-clock milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
    this.#askedMs = now();
  }

  /** The next answers are to what is asked from now on. */
  asks(): void {
    this.#askedMs = this.#now();
  }

  /** @param time What an answer says, in wall-clock milliseconds; whole seconds. */
  answered(time: number): void {
    this.#leastMs = Math.max(this.#leastMs, time - this.#now());
    this.#mostMs = Math.min(this.#mostMs, time - this.#askedMs);
  }

  /** In milliseconds, the least that the answers allow; undefined where none said the time. */
  get aheadMs(): number | undefined {
    if (!Number.isFinite(this.#mostMs)) return undefined;
    return Math.max(this.#leastMs, Math.min(0, this.#mostMs));
  }
}
