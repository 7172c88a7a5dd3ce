/**
 * Keeps a connection to libvirt, for as long as its owner wants one.
 *
 *     connecting ──connected, events registered──▶ up ──lost──▶ waiting (backoff with jitter) ──▶ connecting
 *         └────────────failed──────────────────────────────────▶ waiting
 *
 * The owner iterates it. `resynchronise` comes first of all and after every gap: since the events were registered
 * before it, whoever lists everything on that signal and then follows the events has missed nothing. An overflow of
 * the queue is a gap too. Signals do not pile up: a new gap replaces all that waits.
 *
 *     for await (const signal of supervise({ uri: 'qemu:///system', kinds: ['domain.lifecycle'] })) {
 *       if (signal.type === 'resynchronise') await listEverything(signal.libvirt);
 *       else if (signal.type === 'event') enqueue(signal.event.domain.name);
 *     }
 */
import { backoffMs, reconnectBackoff, type BackoffPolicy } from '../base/backoff.ts';
import { systemClock, type Clock } from '../base/clock.ts';
import { toError } from '../base/errors.ts';
import { silentLogger, type Logger } from '../base/logger.ts';
import { AsyncQueue } from './async-queue.ts';
import type { ConnectOptions } from './connect.ts';
import { ConnectionError } from './errors.ts';
import type { DecodedEvent, WatchedKind } from './event-feed.ts';
import { openLibvirt, type Libvirt } from './libvirt.ts';

/** What a {@link Supervisor} tells. */
export type SupervisorSignal<Kind extends WatchedKind> =
  /** Connected, or events were lost: look at everything afresh. */
  | { readonly type: 'resynchronise'; readonly libvirt: Libvirt; readonly reason: 'connected' | 'overflow' }
  | { readonly type: 'event'; readonly libvirt: Libvirt; readonly event: DecodedEvent<Kind> }
  /** Not connected; the next attempt comes in `retryMs` milliseconds. */
  | { readonly type: 'disconnected'; readonly error: Error; readonly retryMs: number };

/** How a {@link Supervisor} works. */
export interface SupervisorOptions<Kind extends WatchedKind> {
  readonly uri: string;
  /** Kinds of events to follow; those that the daemon does not have are left out. */
  readonly kinds: readonly Kind[];
  readonly connect?: ConnectOptions;
  /** {@link reconnectBackoff} unless given. */
  readonly backoff?: BackoffPolicy;
  /** So many events wait at most. 4096. */
  readonly limit?: number;
  readonly signal?: AbortSignal | undefined;
  readonly logger?: Logger;
  readonly clock?: Clock;
  /** As Math.random. */
  readonly random?: () => number;
}

/** A connection that stood this long starts the backoff afresh when it is lost, in milliseconds. */
const steadyMs = 5000;

/** See the head of this file. One consumer iterates it. */
export class Supervisor<Kind extends WatchedKind> implements AsyncIterableIterator<SupervisorSignal<Kind>, undefined> {
  readonly #options: SupervisorOptions<Kind>;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #limit: number;
  readonly #queue = new AsyncQueue<SupervisorSignal<Kind>>();
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;
  #current: Libvirt | undefined;
  #waiters: ((libvirt: Libvirt | undefined) => void)[] = [];

  constructor(options: SupervisorOptions<Kind>) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#logger = options.logger ?? silentLogger;
    this.#limit = options.limit ?? 4096;
    const { signal } = options;
    const onAbort = (): void => void this.close();
    signal?.addEventListener('abort', onAbort, { once: true });
    this.#done = this.#run().finally(() => signal?.removeEventListener('abort', onAbort));
    if (signal?.aborted === true) onAbort();
  }

  /** The connection; undefined while there is none. */
  get current(): Libvirt | undefined {
    return this.#current;
  }

  /**
   * Waits for a connection.
   *
   * @throws ConnectionError when the supervisor is closed, the signal's reason when it aborts.
   */
  async connected(signal?: AbortSignal): Promise<Libvirt> {
    signal?.throwIfAborted();
    const closed = new ConnectionError('the supervisor of the connection to libvirt is closed');
    if (this.#current !== undefined) return this.#current;
    if (this.#stop.signal.aborted) throw closed;
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiters = this.#waiters.filter((other) => other !== waiter);
        reject(toError(signal?.reason));
      };
      const waiter = (libvirt: Libvirt | undefined): void => {
        signal?.removeEventListener('abort', onAbort);
        if (libvirt === undefined) reject(closed);
        else resolve(libvirt);
      };
      this.#waiters.push(waiter);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  next(): Promise<IteratorResult<SupervisorSignal<Kind>, undefined>> {
    return this.#queue.next();
  }

  async return(): Promise<IteratorResult<SupervisorSignal<Kind>, undefined>> {
    await this.close();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Ends the supervisor and its connection. May be called twice. */
  close(): Promise<void> {
    this.#stop.abort(new ConnectionError('the supervisor of the connection to libvirt is closed'));
    return this.#done;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    for (let attempt = 0; ; attempt += 1) {
      const startedMs = this.#clock.monotonicMs();
      const error = await this.#session(signal);
      if (signal.aborted) break;
      if (this.#clock.monotonicMs() - startedMs >= steadyMs) attempt = 0;
      const { backoff = reconnectBackoff, random = Math.random } = this.#options;
      const retryMs = backoffMs(backoff, attempt, random);
      this.#logger.warn('not connected to libvirt', { uri: this.#options.uri, error, retryMs });
      this.#gap({ type: 'disconnected', error, retryMs });
      await this.#clock.sleep(retryMs, signal).catch((reason: unknown) => {
        if (!signal.aborted) throw reason;
      });
    }
    this.#queue.clear();
    this.#queue.end();
    this.#tellWaiters(undefined);
  }

  /** One connection, from its beginning to its end; gives the reason of the end. */
  async #session(signal: AbortSignal): Promise<Error> {
    const { uri, kinds, connect } = this.#options;
    let libvirt: Libvirt | undefined;
    try {
      libvirt = await openLibvirt(uri, { ...connect, signal });
      const feed = await libvirt.watch(kinds, { limit: this.#limit, skipUnsupported: true, signal });
      this.#current = libvirt;
      this.#gap({ type: 'resynchronise', libvirt, reason: 'connected' });
      this.#tellWaiters(libvirt);
      for await (const item of kinds.length === 0 ? untilClosed(libvirt, signal) : feed) {
        if (item.type === 'overflow' || this.#queue.size >= this.#limit) {
          this.#gap({ type: 'resynchronise', libvirt, reason: 'overflow' });
        } else {
          this.#queue.push({ type: 'event', libvirt, event: item.event });
        }
      }
      return new ConnectionError('libvirt closed the connection');
    } catch (error) {
      return toError(error);
    } finally {
      this.#current = undefined;
      await libvirt?.close();
    }
  }

  /** Whatever waits is out of date. */
  #gap(signal: SupervisorSignal<Kind>): void {
    this.#queue.clear();
    this.#queue.push(signal);
  }

  #tellWaiters(libvirt: Libvirt | undefined): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter(libvirt);
  }
}

/** Starts a {@link Supervisor}. */
export function supervise<Kind extends WatchedKind>(options: SupervisorOptions<Kind>): Supervisor<Kind> {
  return new Supervisor(options);
}

/** A feed without events, which lasts as long as the connection. */
// eslint-disable-next-line require-yield -- the caller iterates feeds, and this one is empty
async function* untilClosed(libvirt: Libvirt, signal: AbortSignal): AsyncGenerator<never, undefined> {
  await new Promise<void>((resolve, reject) => {
    const onAbort = (): void => resolve();
    signal.addEventListener('abort', onAbort, { once: true });
    libvirt.rpc.onClose((error) => {
      signal.removeEventListener('abort', onAbort);
      if (error === undefined) resolve();
      else reject(error);
    });
  });
  return undefined;
}
