import { toError } from '../base/errors.ts';
import { AsyncQueue } from './async-queue.ts';
import type { Connection } from './connection.ts';
import { decodeEvent, type DecodedEvent, type WatchedKind } from './decode-event.ts';
import { isUnsupported } from './errors.ts';
import { watchEvents, type EventWatch } from './watch-events.ts';

export type { DecodedEvent, WatchedKind } from './decode-event.ts';

/** What a {@link EventFeed} yields. */
export type FeedItem<Kind extends WatchedKind> =
  | { readonly type: 'event'; readonly event: DecodedEvent<Kind> }
  /** `lost` events were dropped here, since nobody took them in time: look at everything afresh. */
  | { readonly type: 'overflow'; lost: number };

/** Options of `Libvirt.watch`. */
export interface FeedOptions {
  /** So many events wait at most. 1024. */
  readonly limit?: number;
  /** Leaves out the kinds that the driver or the daemon's version does not have. */
  readonly skipUnsupported?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Events of several kinds in one bounded queue, for one consumer. Within a kind they are in the daemon's order.
 * Iteration ends after `close` or when its connection is closed, and throws when the connection is lost.
 */
export class EventFeed<Kind extends WatchedKind> implements AsyncIterableIterator<FeedItem<Kind>, undefined> {
  readonly #queue = new AsyncQueue<FeedItem<Kind>>();
  readonly #limit: number;
  readonly #watches: readonly EventWatch<unknown>[];

  /** For {@link watchKinds}. */
  constructor(limit: number, watches: readonly (readonly [Kind, EventWatch<unknown>])[]) {
    this.#limit = limit;
    this.#watches = watches.map(([, watch]) => watch);
    const pumps = watches.map(([kind, watch]) => this.#pump(kind, watch));
    Promise.all(pumps).then(
      () => this.#queue.end(),
      (error: unknown) => this.#queue.end(toError(error)),
    );
  }

  next(): Promise<IteratorResult<FeedItem<Kind>, undefined>> {
    return this.#queue.next();
  }

  async return(): Promise<IteratorResult<FeedItem<Kind>, undefined>> {
    await this.close();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Ends the feed, here and in the daemon; what waits is dropped. */
  async close(): Promise<void> {
    this.#queue.clear();
    this.#queue.end();
    await Promise.all(this.#watches.map((watch) => watch.close()));
  }

  async #pump(kind: Kind, watch: EventWatch<unknown>): Promise<void> {
    for await (const item of watch) {
      if (item.type === 'overflow') this.#overflow(item.lost);
      else if (this.#queue.size >= this.#limit) this.#overflow(1);
      else this.#queue.push({ type: 'event', event: decodeEvent(kind, item.event as never) });
    }
  }

  #overflow(lost: number): void {
    const last = this.#queue.last();
    if (last?.type === 'overflow') last.lost += lost;
    else this.#queue.push({ type: 'overflow', lost });
  }
}

/** See Libvirt.watch. */
export async function watchKinds<Kind extends WatchedKind>(
  connection: Connection,
  kinds: readonly Kind[],
  options: FeedOptions,
): Promise<EventFeed<Kind>> {
  const { limit = 1024, signal, skipUnsupported = false } = options;
  const watches: (readonly [Kind, EventWatch<unknown>])[] = [];
  try {
    const settled = await Promise.allSettled(kinds.map((kind) => watchEvents(connection, kind, { limit, signal })));
    for (const [index, result] of settled.entries()) {
      const kind = kinds[index];
      if (result.status === 'fulfilled' && kind !== undefined) watches.push([kind, result.value]);
    }
    for (const result of settled) {
      if (result.status === 'rejected' && !(skipUnsupported && isUnsupported(result.reason))) throw result.reason;
    }
    return new EventFeed(limit, watches);
  } catch (error) {
    await Promise.all(watches.map(([, watch]) => watch.close()));
    throw error;
  }
}
