import { onAbort } from '../base/abort.ts';
import { AsyncQueue } from './async-queue.ts';
import { events, programs, type Events } from './protocol.gen.ts';
import { codecOf } from './xdr-codec.ts';
import { XdrReader } from './xdr-reader.ts';

/** An event as it came. */
export interface AnyEvent {
  readonly name: keyof Events;
  readonly message: unknown;
}

/** What a {@link Subscription} yields: an event, or that events were dropped because nobody took them in time. */
export type EventItem<T> =
  | { readonly type: 'event'; readonly event: T }
  /** `lost` events are missing here: look at the state afresh. */
  | { readonly type: 'overflow'; lost: number };

/** How a {@link Subscription} queues. */
export interface SubscribeOptions<T> {
  /** So many events wait at most; later ones are counted and dropped. 1024. */
  readonly limit?: number | undefined;
  /** Takes only the events for which it is true. */
  readonly filter?: ((message: T) => boolean) | undefined;
  /** Ends the subscription. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Events through a bounded queue, for one consumer. It ends when it is closed, its signal aborts, its consumer breaks
 * out of the loop or the connection is closed; it throws when the connection is lost.
 */
export class Subscription<T> implements AsyncIterableIterator<EventItem<T>, undefined> {
  readonly #queue = new AsyncQueue<EventItem<T>>();
  readonly #limit: number;
  readonly #onOver: () => void;
  readonly #forget: (() => void) | undefined;
  #filter: ((message: T) => boolean) | undefined;

  constructor(options: SubscribeOptions<T>, onOver: () => void) {
    this.#limit = options.limit ?? 1024;
    this.#filter = options.filter;
    this.#onOver = onOver;
    this.#forget = options.signal === undefined ? undefined : onAbort(options.signal, () => this.close());
  }

  /** Events that wait. */
  get size(): number {
    return this.#queue.size;
  }

  /** Takes only events for which `filter` is true, also of those that wait already. */
  setFilter(filter: (message: T) => boolean): void {
    this.#filter = filter;
    this.#queue.retain((item) => item.type === 'overflow' || filter(item.event));
  }

  /** For the router. */
  push(message: T): void {
    if (this.#filter?.(message) === false) return;
    if (this.#queue.size < this.#limit) {
      this.#queue.push({ type: 'event', event: message });
      return;
    }
    const last = this.#queue.last();
    if (last?.type === 'overflow') last.lost += 1;
    else this.#queue.push({ type: 'overflow', lost: 1 });
  }

  /** Ends it; what waits is dropped. */
  close(): void {
    this.#queue.clear();
    this.end(undefined);
  }

  /** For the router: what waits can still be taken, then iteration ends or throws. */
  end(error: Error | undefined): void {
    if (this.#queue.ended) return;
    this.#forget?.();
    this.#queue.end(error);
    this.#onOver();
  }

  next(): Promise<IteratorResult<EventItem<T>, undefined>> {
    return this.#queue.next();
  }

  return(): Promise<IteratorResult<EventItem<T>, undefined>> {
    this.close();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

const namesByProcedure = new Map<string, keyof Events>(
  (Object.keys(events) as (keyof Events)[]).map((name) => {
    const [program, procedure] = events[name];
    return [`${programs[program].program}.${procedure}`, name];
  }),
);

/** What the router needs of a subscription, whatever its type. */
interface AnySubscription {
  push(message: unknown): void;
  end(error: Error | undefined): void;
}

/** Hands the events of a connection to its subscriptions. */
export class EventRouter {
  readonly #subscriptions = new Map<keyof Events, Set<AnySubscription>>();

  /** Subscriptions that are not over. */
  get size(): number {
    let size = 0;
    for (const set of this.#subscriptions.values()) size += set.size;
    return size;
  }

  /** See Connection.subscribe. */
  subscribe<Name extends keyof Events>(
    name: Name,
    options: SubscribeOptions<Events[Name]>,
  ): Subscription<Events[Name]> {
    let set = this.#subscriptions.get(name);
    if (set === undefined) this.#subscriptions.set(name, (set = new Set()));
    const owners = set;
    const subscription: Subscription<Events[Name]> = new Subscription(options, () => {
      owners.delete(subscription);
    });
    if (options.signal?.aborted !== true) owners.add(subscription);
    return subscription;
  }

  /**
   * The event of a message; undefined where the procedure is not one.
   *
   * @throws ProtocolError where its data is not of its type.
   */
  decode(program: number, procedure: number, payload: Buffer): AnyEvent | undefined {
    const name = namesByProcedure.get(`${program}.${procedure}`);
    if (name === undefined) return undefined;
    return { name, message: codecOf(events[name][2]).read(new XdrReader(payload)) };
  }

  /** Queues an event wherever it is waited for. */
  dispatch(event: AnyEvent): void {
    for (const subscription of this.#subscriptions.get(event.name) ?? []) subscription.push(event.message);
  }

  /** Ends all subscriptions. */
  end(error: Error | undefined): void {
    for (const set of this.#subscriptions.values()) for (const subscription of [...set]) subscription.end(error);
  }
}
