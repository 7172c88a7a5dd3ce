import type { KubeObject } from './object.ts';
import type { ListOptions, ListPage, Selection, WatchOptions } from './resource-client.ts';
import { isExpired, retryAfterMs } from './status-error.ts';
import type { ObjectEvent, WatchEvent } from './watch-stream.ts';
import { backoffMs, reconnectBackoff } from '../base/backoff.ts';
import type { BackoffPolicy } from '../base/backoff.ts';
import type { Clock } from '../base/clock.ts';
import { toError } from '../base/errors.ts';

/** Where a reflector reads; a ResourceClient is one. */
export interface ListWatchSource<T extends KubeObject> {
  list(options: ListOptions): Promise<ListPage<T>>;
  listAll(options: Omit<ListOptions, 'continue'>): Promise<ListPage<T>>;
  watch(options: WatchOptions): AsyncIterable<WatchEvent<T>>;
}

/** What takes in what a reflector reads. Throwing makes the reflector list again after a wait. */
export interface ReflectorStore<T extends KubeObject> {
  /** Everything there is, as of one moment. */
  replace(items: readonly T[]): void;
  /** One change after that. */
  apply(event: ObjectEvent<T>): void;
}

/** Options of {@link runReflector}. */
export interface ReflectorOptions<T extends KubeObject> {
  readonly source: ListWatchSource<T>;
  readonly store: ReflectorStore<T>;
  readonly selection: Selection;
  readonly clock: Clock;
  readonly random: () => number;
  /** Ends the reflector. */
  readonly signal: AbortSignal;
  /** Called after each failure, with the wait that follows; it never ends the reflector. */
  readonly onError: (error: Error, waitMs: number) => void;
  /** Called after each list and after each watch that started well. */
  readonly onContact?: (() => void) | undefined;
  readonly pageSize?: number | undefined;
  /** The server ends each watch after this long, or up to twice as long. */
  readonly watchSeconds?: number | undefined;
  /** See WatchOptions. */
  readonly idleTimeoutMs?: number | undefined;
  readonly backoff?: BackoffPolicy | undefined;
}

/** After this many watches in a row that failed without bringing anything, trust nothing and list again. */
const maxBarrenWatches = 5;
/** A watch that ends sooner and brought nothing counts as a failure, as in client-go: never reconnect in a hot loop. */
const shortWatchMs = 1_000;

/**
 * Keeps a store equal to what the server has: list, watch from there, and again, until the signal aborts. Never gives
 * up and never goes silent: a watch that ends, breaks, falls silent or brings garbage is resumed from the last
 * resourceVersion seen, with backoff; "too old" (410, as an answer or inside the stream) lists again; every failure
 * is told to `onError`. A server that has lost its data, or was given back older data, counts from there: it would take a
 * watch of the version seen last for one of the future, and keep silent. So after a watch that broke or brought nothing it
 * is asked how far it is, and listed again when that is less, or when it cannot be asked.
 *
 * @returns When the signal aborted.
 */
export async function runReflector<T extends KubeObject>(options: ReflectorOptions<T>): Promise<void> {
  const { source, store, selection, clock, random, signal } = options;
  const policy = options.backoff ?? reconnectBackoff;
  const watchSeconds = options.watchSeconds ?? 240;
  let failures = 0;
  let barren = 0;
  let resourceVersion: string | undefined;
  let isDoubtful = false;

  const fail = async (thrown: unknown): Promise<void> => {
    const error = toError(thrown);
    const waitMs = Math.max(backoffMs(policy, failures, random), retryAfterMs(error) ?? 0);
    failures += 1;
    options.onError(error, waitMs);
    await sleep(clock, waitMs, signal);
  };

  while (!signal.aborted) {
    if (resourceVersion === undefined) {
      try {
        const page = await source.listAll({ ...selection, limit: options.pageSize, signal });
        store.replace(page.items);
        resourceVersion = page.resourceVersion;
        barren = 0;
        isDoubtful = false;
        options.onContact?.();
      } catch (error) {
        if (isAborted(signal)) return;
        await fail(error);
        continue;
      }
    }
    if (isDoubtful) {
      try {
        const { resourceVersion: now } = await source.list({ ...selection, limit: 1, signal });
        isDoubtful = false;
        if (isBefore(now, resourceVersion)) {
          resourceVersion = undefined;
          continue;
        }
      } catch (error) {
        if (isAborted(signal)) return;
        // It was away, and may come back with other data that counts beyond what was seen.
        resourceVersion = undefined;
        await fail(error);
        continue;
      }
    }
    const startedMs = clock.monotonicMs();
    let events = 0;
    try {
      const timeoutSeconds = Math.ceil(watchSeconds * (1 + random()));
      const { idleTimeoutMs } = options;
      for await (const event of source.watch({
        ...selection,
        resourceVersion,
        timeoutSeconds,
        idleTimeoutMs,
        signal,
      })) {
        if (event.type === 'BOOKMARK') resourceVersion = event.resourceVersion;
        else {
          // Taken in first: should that fail, the change is not lost.
          store.apply(event);
          resourceVersion = event.object.metadata.resourceVersion ?? resourceVersion;
        }
        events += 1;
        failures = 0;
        barren = 0;
        options.onContact?.();
      }
      if (isAborted(signal)) return;
      isDoubtful = events === 0;
      if (events > 0 || clock.monotonicMs() - startedMs >= shortWatchMs) {
        failures = 0;
        continue;
      }
      throw new ShortWatchError();
    } catch (error) {
      if (isAborted(signal)) return;
      barren += 1;
      isDoubtful = true;
      if (isExpired(error) || barren >= maxBarrenWatches) resourceVersion = undefined;
      await fail(error);
    }
  }
}

/** Whether a resourceVersion is of an earlier moment; they count up in every API server, though clients need not know. */
function isBefore(version: string, other: string): boolean {
  return /^\d+$/.test(version) && /^\d+$/.test(other) && BigInt(version) < BigInt(other);
}

/** The server ended a watch at once, without an event. */
class ShortWatchError extends Error {
  constructor() {
    super('the server ended the watch at once');
    this.name = 'ShortWatchError';
  }
}

/** A function, because the compiler does not know that a signal changes while one waits. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}

async function sleep(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  try {
    await clock.sleep(ms, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
