import type { Clock } from './clock.ts';

/**
 * A loop's pause between two rounds that something may end early. What asks for a round while one goes on is not lost: that
 * one may have read before, so the next pause ends at once.
 */
export class WakeableSleep {
  readonly #clock: Clock;
  #isWoken = false;
  #pause: AbortController | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A round begins: what was asked for until now is done by it. */
  begin(): void {
    this.#isWoken = false;
  }

  /** Asks for another round. */
  wake(): void {
    this.#isWoken = true;
    this.#pause?.abort();
  }

  /** Waits until it is woken, or for a time in milliseconds, or until the signal aborts. */
  async sleep(ms: number, signal: AbortSignal): Promise<void> {
    if (this.#isWoken || signal.aborted) return;
    const pause = new AbortController();
    this.#pause = pause;
    const either = AbortSignal.any([signal, pause.signal]);
    try {
      await this.#clock.sleep(ms, either);
    } catch (error) {
      if (!either.aborted) throw error;
    } finally {
      this.#pause = undefined;
    }
  }
}
