import { DelayedKeys } from './delayed-keys.ts';
import type { RateLimiter } from './rate-limiter.ts';
import type { Clock } from '../base/clock.ts';
import { FailedError, toError } from '../base/errors.ts';

/** Options of {@link WorkQueue}. */
export interface WorkQueueOptions {
  readonly clock: Clock;
  readonly limiter: RateLimiter;
  /** More different keys than this are an error; a million by default. */
  readonly maxKeys?: number | undefined;
}

/** A key taken from the queue. */
export interface QueuedKey {
  readonly key: string;
  /** How long it was ready before it was taken, in milliseconds. */
  readonly waitedMs: number;
}

/**
 * A queue of keys with client-go's semantics (k8s.io/client-go/util/workqueue):
 * - a key is in it at most once, however often it is added;
 * - a key that is added while it is being worked on is not handed out a second time, but once more after `done`;
 * - keys come out in the order in which they became ready.
 */
export class WorkQueue {
  readonly #clock: Clock;
  readonly #limiter: RateLimiter;
  readonly #maxKeys: number;
  /** Ready, in order. */
  readonly #queue = new Map<string, number>();
  /** Need work: those in the queue, and those that were added while being worked on. */
  readonly #dirty = new Set<string>();
  /** Handed out and not done. */
  readonly #processing = new Set<string>();
  readonly #delayed: DelayedKeys;
  readonly #takers: (() => void)[] = [];
  readonly #drainers: (() => void)[] = [];
  #shuttingDown = false;

  constructor(options: WorkQueueOptions) {
    this.#clock = options.clock;
    this.#limiter = options.limiter;
    this.#maxKeys = options.maxKeys ?? 1_000_000;
    this.#delayed = new DelayedKeys(options.clock, (key) => this.add(key));
  }

  /** Keys that are ready. */
  get length(): number {
    return this.#queue.size;
  }

  /** Keys that are being worked on. */
  get processing(): number {
    return this.#processing.size;
  }

  /** Keys that will be ready later. */
  get delayed(): number {
    return this.#delayed.size;
  }

  get isShuttingDown(): boolean {
    return this.#shuttingDown;
  }

  /**
   * Marks a key as in need of work. Does nothing after `shutDown`.
   *
   * @throws FailedError when there are too many different keys.
   */
  add(key: string): void {
    if (this.#shuttingDown || this.#dirty.has(key)) return;
    if (this.#dirty.size >= this.#maxKeys) throw new FailedError(`the queue holds ${this.#maxKeys} keys already`);
    this.#dirty.add(key);
    if (!this.#processing.has(key)) this.#push(key);
  }

  /** Adds a key after a time; a key that waits already becomes ready at the earlier of both. */
  addAfter(key: string, ms: number): void {
    if (this.#shuttingDown) return;
    if (ms <= 0) this.add(key);
    else if (this.#delayed.size >= this.#maxKeys) throw new FailedError(`${this.#maxKeys} keys are waiting already`);
    else this.#delayed.add(key, ms);
  }

  /** Adds a key after the wait that its failures so far ask for; returns the wait in milliseconds. */
  addRateLimited(key: string): number {
    const waitMs = this.#limiter.when(key);
    this.addAfter(key, waitMs);
    return waitMs;
  }

  /** The key's failures are forgotten. */
  forget(key: string): void {
    this.#limiter.forget(key);
  }

  /** How often the key failed since it was last forgotten. */
  requeues(key: string): number {
    return this.#limiter.requeues(key);
  }

  /**
   * Takes the next key; waits for one. Whoever takes a key must call `done` with it.
   *
   * @returns undefined when the queue is shut down and empty.
   */
  async get(): Promise<QueuedKey | undefined> {
    for (;;) {
      const [next] = this.#queue;
      if (next !== undefined) {
        const [key, readyMs] = next;
        this.#queue.delete(key);
        this.#dirty.delete(key);
        this.#processing.add(key);
        return { key, waitedMs: this.#clock.monotonicMs() - readyMs };
      }
      if (this.#shuttingDown) return undefined;
      await new Promise<void>((resolve) => this.#takers.push(resolve));
    }
  }

  /** The work on a key is over; the key comes again if it was added meanwhile. */
  done(key: string): void {
    if (!this.#processing.delete(key)) return;
    if (this.#dirty.has(key)) this.#push(key);
    this.#wakeDrainers();
  }

  /** Takes no more keys; those that are ready are still handed out, those that wait are dropped. */
  shutDown(): void {
    this.#shuttingDown = true;
    this.#delayed.clear();
    for (const wake of this.#takers.splice(0)) wake();
    this.#wakeDrainers();
  }

  /**
   * Shuts down and waits until every key is done, those added while being worked on included.
   *
   * @throws the signal's reason when it aborts before.
   */
  async shutDownWithDrain(signal: AbortSignal): Promise<void> {
    this.shutDown();
    if (this.#isIdle()) return;
    signal.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => reject(toError(signal.reason));
      signal.addEventListener('abort', onAbort, { once: true });
      this.#drainers.push(() => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      });
    });
  }

  #push(key: string): void {
    this.#queue.set(key, this.#clock.monotonicMs());
    this.#takers.shift()?.();
  }

  #isIdle(): boolean {
    return this.#processing.size === 0 && this.#queue.size === 0;
  }

  #wakeDrainers(): void {
    if (this.#shuttingDown && this.#isIdle()) for (const wake of this.#drainers.splice(0)) wake();
  }
}
