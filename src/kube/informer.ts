import { IndexedCache } from './indexed-cache.ts';
import type { Indexers } from './indexed-cache.ts';
import { objectKey } from './object.ts';
import type { KubeObject } from './object.ts';
import { runReflector } from './reflector.ts';
import type { ListWatchSource } from './reflector.ts';
import type { Selection } from './resource-client.ts';
import type { ObjectEvent } from './watch-stream.ts';
import { onAbort } from '../base/abort.ts';
import { systemClock } from '../base/clock.ts';
import type { BackoffPolicy } from '../base/backoff.ts';
import type { Clock } from '../base/clock.ts';
import { toError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';

/** A change of the cache. `resync` is a reminder of an object that did not change. */
export type CacheChange<T> =
  | { readonly type: 'added'; readonly object: T }
  | { readonly type: 'updated'; readonly object: T; readonly before: T }
  | { readonly type: 'deleted'; readonly object: T }
  | { readonly type: 'resync'; readonly object: T };

/** Is told of each change, in order. Must be quick: usually it puts a key into a queue. */
export type CacheHandler<T> = (change: CacheChange<T>) => void;

/** How an informer is doing, for health checks and metrics. */
export interface InformerHealth {
  /** Whether the cache held everything once. */
  readonly synced: boolean;
  /** Milliseconds since the server last said something; undefined before the first time. */
  readonly silentMs: number | undefined;
  /** What went wrong last, when nothing went well since. */
  readonly lastError: Error | undefined;
  readonly objects: number;
}

/** Options of {@link Informer}. */
export interface InformerOptions<T extends KubeObject, Name extends string> extends Selection {
  /** Usually `client.resource(type)`. */
  readonly source: ListWatchSource<T>;
  readonly logger: Logger;
  readonly indexers?: Indexers<T, Name> | undefined;
  /** Reminds the handlers of every object in this interval; 0 for never, which is the default. */
  readonly resyncMs?: number | undefined;
  /** Changes an object before it is kept, to save memory; drops `managedFields` by default. */
  readonly transform?: ((object: T) => T) | undefined;
  /** More objects than this are an error, reported again and again; 100,000 by default. */
  readonly maxObjects?: number | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: (() => number) | undefined;
  readonly pageSize?: number | undefined;
  readonly watchSeconds?: number | undefined;
  readonly idleTimeoutMs?: number | undefined;
  readonly backoff?: BackoffPolicy | undefined;
}

/**
 * A cache of the objects of one resource that follows the server for ever, and tells its handlers of each change.
 * Objects in it are shared: never change one, make a copy.
 */
export class Informer<T extends KubeObject, Name extends string = never> {
  readonly #options: InformerOptions<T, Name>;
  readonly #clock: Clock;
  readonly #cache: IndexedCache<T, Name>;
  readonly #handlers = new Set<CacheHandler<T>>();
  readonly #synced: Promise<void>;
  #resolveSynced: () => void = () => undefined;
  #isSynced = false;
  #contactMs: number | undefined;
  #lastError: Error | undefined;

  constructor(options: InformerOptions<T, Name>) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#cache = new IndexedCache(options.indexers ?? ({} as Indexers<T, Name>), options.maxObjects ?? 100_000);
    this.#synced = new Promise((resolve) => (this.#resolveSynced = resolve));
  }

  /** The object of a key (`namespace/name`), as last seen. */
  get(key: string): T | undefined {
    return this.#cache.get(key);
  }

  /** All objects, in no order. */
  list(): readonly T[] {
    return [...this.#cache.values()];
  }

  /** The objects that have `value` in an index. */
  byIndex(name: Name, value: string): readonly T[] {
    return this.#cache.byIndex(name, value);
  }

  /**
   * Adds a handler, and tells it of every object that is there already.
   *
   * @returns Takes the handler away again.
   */
  onChange(handler: CacheHandler<T>): () => void {
    this.#handlers.add(handler);
    for (const object of this.#cache.values()) this.#tell(handler, { type: 'added', object });
    return () => void this.#handlers.delete(handler);
  }

  /** How it is doing. */
  health(): InformerHealth {
    return {
      synced: this.#isSynced,
      silentMs: this.#contactMs === undefined ? undefined : this.#clock.monotonicMs() - this.#contactMs,
      lastError: this.#lastError,
      objects: this.#cache.size,
    };
  }

  /**
   * Resolves once the cache held everything.
   *
   * @throws the signal's reason when it aborts before.
   */
  async synced(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    let forget: () => void = () => undefined;
    const aborted = new Promise<never>((_resolve, reject) => {
      forget = onAbort(signal, () => reject(toError(signal.reason)));
    });
    try {
      await Promise.race([this.#synced, aborted]);
    } finally {
      forget();
    }
  }

  /** Follows the server until the signal aborts; never throws for anything the server does. Call it once. */
  async run(signal: AbortSignal): Promise<void> {
    const { source, namespace, labelSelector, fieldSelector, logger, resyncMs = 0 } = this.#options;
    const { pageSize, watchSeconds, idleTimeoutMs, backoff } = this.#options;
    const resync = resyncMs > 0 ? setInterval(() => this.#resync(), resyncMs) : undefined;
    try {
      await runReflector<T>({
        source,
        selection: { namespace, labelSelector, fieldSelector },
        store: { replace: (items) => this.#replace(items), apply: (event) => this.#apply(event) },
        clock: this.#clock,
        random: this.#options.random ?? Math.random,
        signal,
        onContact: () => {
          this.#contactMs = this.#clock.monotonicMs();
          this.#lastError = undefined;
        },
        onError: (error, waitMs) => {
          this.#lastError = error;
          logger.warn('lost the API server, trying again', { error, waitMs: Math.round(waitMs) });
        },
        pageSize,
        watchSeconds,
        idleTimeoutMs,
        backoff,
      });
    } finally {
      clearInterval(resync);
    }
  }

  #replace(items: readonly T[]): void {
    const keys = new Set(items.map(objectKey));
    for (const key of [...this.#cache.keys()]) {
      if (keys.has(key)) continue;
      const object = this.#cache.delete(key);
      if (object !== undefined) this.#tellAll({ type: 'deleted', object });
    }
    for (const item of items) this.#put(item);
    this.#isSynced = true;
    this.#resolveSynced();
  }

  #apply(event: ObjectEvent<T>): void {
    if (event.type !== 'DELETED') this.#put(event.object);
    else if (this.#cache.delete(objectKey(event.object)) !== undefined) {
      this.#tellAll({ type: 'deleted', object: this.#transform(event.object) });
    }
  }

  #put(fresh: T): void {
    const known = this.#cache.get(objectKey(fresh));
    // A relist brings mostly what is known.
    if (
      known?.metadata.resourceVersion !== undefined &&
      known.metadata.resourceVersion === fresh.metadata.resourceVersion &&
      known.metadata.uid === fresh.metadata.uid
    ) {
      return;
    }
    const object = this.#transform(fresh);
    const before = this.#cache.set(object);
    if (before === undefined) this.#tellAll({ type: 'added', object });
    else if (before.metadata.uid === object.metadata.uid) this.#tellAll({ type: 'updated', object, before });
    else {
      // Deleted and made anew while nobody watched: two objects, not one that changed.
      this.#tellAll({ type: 'deleted', object: before });
      this.#tellAll({ type: 'added', object });
    }
  }

  #resync(): void {
    for (const object of [...this.#cache.values()]) this.#tellAll({ type: 'resync', object });
  }

  #transform(object: T): T {
    if (this.#options.transform !== undefined) return this.#options.transform(object);
    if (object.metadata.managedFields === undefined) return object;
    const { managedFields: _dropped, ...metadata } = object.metadata;
    return { ...object, metadata };
  }

  #tellAll(change: CacheChange<T>): void {
    for (const handler of [...this.#handlers]) this.#tell(handler, change);
  }

  #tell(handler: CacheHandler<T>, change: CacheChange<T>): void {
    try {
      handler(change);
    } catch (error) {
      // A mistake in one handler must not keep the change from the others.
      this.#options.logger.error('a handler of a change failed', { key: objectKey(change.object), error });
    }
  }
}
