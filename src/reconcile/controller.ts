/**
 * The entry of src/reconcile: level-triggered control loops, with the behaviour of client-go and controller-runtime.
 *
 *   informers, libvirt events ──▶ enqueue(key) ──▶ WorkQueue ──▶ workers ──▶ reconcile(key)
 *                                                     ▲                          │
 *                                                     └── after a time, or ◀─────┘
 *                                                         after a backoff
 *
 * A key is `namespace/name`. What triggered a reconcile is forgotten on purpose: it reads both sides afresh and does
 * the next necessary step. Beside the loop, this folder has what reconcilers share: finalizers.ts, conditions.ts,
 * event-recorder.ts, lease.ts and leader-election.ts.
 */
import { defaultLimiter } from './rate-limiter.ts';
import type { RateLimiter } from './rate-limiter.ts';
import { TerminalError } from './terminal-error.ts';
import { WorkQueue } from './work-queue.ts';
import { onAbort } from '../base/abort.ts';
import { systemClock } from '../base/clock.ts';
import type { Clock } from '../base/clock.ts';
import { TimedOutError, toError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';

/** What a reconcile gets beside its key. */
export interface ReconcileContext {
  /** Aborts at the deadline, and some time after the controller was told to stop. */
  readonly signal: AbortSignal;
  /** Its lines carry the controller's name and the key. */
  readonly logger: Logger;
}

/** When to look again. */
export interface ReconcileResult {
  /** Look again after this long even if nothing happens; never when left out. */
  readonly requeueAfterMs?: number | undefined;
}

/**
 * Does the next necessary step for one object. Throwing means: again, after a backoff that grows; throwing a
 * {@link TerminalError} means: not again until something changes.
 */
export type Reconcile = (key: string, context: ReconcileContext) => Promise<ReconcileResult | undefined>;

/** How a reconcile ended. */
export type ReconcileOutcome = 'done' | 'requeued' | 'failed' | 'terminal';

/** One reconcile, for metrics. */
export interface ReconcileRecord {
  readonly controller: string;
  readonly key: string;
  readonly outcome: ReconcileOutcome;
  readonly durationMs: number;
  /** How long the key was ready before its turn came. */
  readonly waitedMs: number;
  readonly error: Error | undefined;
}

/** Options of {@link Controller}. */
export interface ControllerOptions {
  /** For logs and metrics, such as `virtualmachine`. */
  readonly name: string;
  readonly reconcile: Reconcile;
  readonly logger: Logger;
  /** How many keys are worked on at the same time; one by default. A single key never is twice. */
  readonly concurrency?: number | undefined;
  /** A reconcile's signal aborts after this long; two minutes by default. */
  readonly timeoutMs?: number | undefined;
  /** After the stop, running reconciles have this long before their signals abort; ten seconds by default. */
  readonly drainMs?: number | undefined;
  /** Waits after failures; client-go's default limits with at most five minutes for one key by default. */
  readonly limiter?: RateLimiter | undefined;
  readonly clock?: Clock | undefined;
  /** Is told of each reconcile when it ended. */
  readonly onReconciled?: ((record: ReconcileRecord) => void) | undefined;
}

/** How a controller is doing, for metrics. */
export interface ControllerStats {
  /** Keys that are ready and wait for a worker. */
  readonly queueDepth: number;
  /** Keys that are being worked on. */
  readonly running: number;
  /** Keys that will be looked at later: backoff and `requeueAfterMs`. */
  readonly delayed: number;
}

/** Runs reconciles for keys. */
export class Controller {
  readonly #options: ControllerOptions;
  readonly #clock: Clock;
  readonly #queue: WorkQueue;

  constructor(options: ControllerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    const limiter = options.limiter ?? defaultLimiter(this.#clock, 300_000);
    this.#queue = new WorkQueue({ clock: this.#clock, limiter });
  }

  /** Has a key looked at soon. */
  enqueue(key: string): void {
    this.#queue.add(key);
  }

  /** Has a key looked at after a time, or sooner if something else asks for it. */
  enqueueAfter(key: string, ms: number): void {
    this.#queue.addAfter(key, ms);
  }

  /** The numbers of this moment. */
  stats(): ControllerStats {
    return { queueDepth: this.#queue.length, running: this.#queue.processing, delayed: this.#queue.delayed };
  }

  /**
   * Works until the signal aborts, then lets running reconciles come to their end and returns. Keys whose turn had
   * not come are dropped: whoever starts next looks at everything anyway. Call it once.
   */
  async run(signal: AbortSignal): Promise<void> {
    const { concurrency = 1, drainMs = 10_000 } = this.#options;
    const hurry = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    const onStop = (): void => {
      this.#queue.shutDown();
      timer = setTimeout(() => hurry.abort(signal.reason), drainMs);
    };
    const forget = onAbort(signal, onStop);
    try {
      await Promise.all(Array.from({ length: concurrency }, () => this.#work(signal, hurry.signal)));
    } finally {
      clearTimeout(timer);
      forget();
    }
  }

  async #work(stop: AbortSignal, hurry: AbortSignal): Promise<void> {
    for (let next = await this.#queue.get(); next !== undefined; next = await this.#queue.get()) {
      const { key, waitedMs } = next;
      try {
        if (!stop.aborted) await this.#reconcile(key, waitedMs, hurry);
      } finally {
        this.#queue.done(key);
      }
    }
  }

  async #reconcile(key: string, waitedMs: number, hurry: AbortSignal): Promise<void> {
    const { name, reconcile, timeoutMs = 120_000, onReconciled } = this.#options;
    const logger = this.#options.logger.with({ controller: name, key });
    const startedMs = this.#clock.monotonicMs();
    let outcome: ReconcileOutcome = 'done';
    let failure: Error | undefined;
    const deadline = new AbortController();
    const forget = onAbort(hurry, () => deadline.abort(hurry.reason));
    // The reconcile is awaited in any case, so that the same key never runs twice; what ignores its signal is seen.
    const timer = setTimeout(() => {
      logger.warn('a reconcile reached its deadline', { timeoutMs });
      deadline.abort(new TimedOutError(`timed out after ${timeoutMs / 1000} s: reconcile of ${name} ${key}`));
    }, timeoutMs);
    try {
      const result = await reconcile(key, { signal: deadline.signal, logger });
      this.#queue.forget(key);
      if (result?.requeueAfterMs !== undefined) {
        outcome = 'requeued';
        this.#queue.addAfter(key, result.requeueAfterMs);
      }
    } catch (thrown) {
      failure = toError(thrown);
      if (failure instanceof TerminalError) {
        outcome = 'terminal';
        this.#queue.forget(key);
        logger.error('cannot be done until something changes', { error: failure });
      } else {
        outcome = 'failed';
        const retryMs = this.#queue.addRateLimited(key);
        logger.warn('failed, trying again', { error: failure, retryMs: Math.round(retryMs) });
      }
    } finally {
      clearTimeout(timer);
      forget();
    }
    const durationMs = this.#clock.monotonicMs() - startedMs;
    onReconciled?.({ controller: name, key, outcome, durationMs, waitedMs, error: failure });
  }
}
