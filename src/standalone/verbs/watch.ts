/**
 * Watches: every change of a resource after a resource version, in order, each exactly once. One hub listens to the
 * store and hands each event to the watchers of its resource; an event is encoded once for all watchers that show it
 * the same way.
 */
import type { ResourceDefinition } from '../kinds/resource-definition.ts';
import { apiVersionOf, resourceKey } from '../kinds/resource-definition.ts';
import type { JsonObject } from '../schema/json-schema.ts';
import type { ChangeEvent, StoredObject } from '../storage/change.ts';
import type { ApiState } from './api-state.ts';
import { decode, metadataOf } from './api-state.ts';
import type { Selection } from './list.ts';
import { isSelected } from './list.ts';

export type WatchEventType = 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';

/** How objects are shown in a stream: as they are, as tables, as metadata, in another version. */
export interface EventEncoder {
  /** Encoders with the same key encode alike, and share what they encoded. Undefined: this stream's own. */
  readonly sharedKey: string | undefined;
  readonly encode: (type: WatchEventType, object: JsonObject) => Buffer;
  /** A quick way for an object as it is stored. */
  readonly encodeStored?: (type: WatchEventType, stored: StoredObject) => Buffer;
}

/** Where a stream's bytes go. */
export interface WatchSink {
  readonly write: (chunk: Buffer) => void;
  readonly end: () => void;
}

/** What is watched, and from when. */
export interface WatchRequest {
  readonly definition: ResourceDefinition;
  readonly namespace: string;
  readonly selection: Selection;
  /** Undefined or 0: begin with what is there. */
  readonly resourceVersion: number | undefined;
  readonly allowBookmarks: boolean;
  /** Whether the objects that are there are followed by a bookmark which says so. */
  readonly sendInitialEvents: boolean;
  readonly timeoutMs: number;
  readonly encoder: EventEncoder;
}

const bookmarkEveryMs = 60_000;
/** The last bookmark comes this long before a watch ends, so that its client resumes from near the end. */
const lastBookmarkMs = 2_000;

interface Watcher {
  readonly request: WatchRequest;
  readonly sink: WatchSink;
  /** Changes up to here are sent, or were before the watch. */
  sentRevision: number;
}

export class WatchHub {
  readonly #state: ApiState;
  readonly #watchers = new Map<string, Set<Watcher>>();
  readonly #stopListening: () => void;

  constructor(state: ApiState) {
    this.#state = state;
    this.#stopListening = state.store.listen((events) => this.#dispatch(events));
  }

  /** The number of open streams. */
  get size(): number {
    return [...this.#watchers.values()].reduce((sum, watchers) => sum + watchers.size, 0);
  }

  /** Begins a stream. Returns how to stop it from outside. */
  start(request: WatchRequest, sink: WatchSink): () => void {
    const { store } = this.#state;
    const resource = resourceKey(request.definition);
    const watcher: Watcher = { request, sink, sentRevision: store.revision };
    const from = request.resourceVersion;
    if (from === undefined || from === 0 || request.sendInitialEvents) this.#sendExisting(watcher);
    else {
      const missed = store.since(from, resource);
      if (missed === undefined) {
        sink.write(this.#tooOld(request, from));
        sink.end();
        return () => undefined;
      }
      for (const event of missed) this.#send(watcher, event, new Map());
      watcher.sentRevision = Math.max(from, store.revision);
    }
    const watchers = this.#watchers.get(resource) ?? new Set();
    this.#watchers.set(resource, watchers.add(watcher));
    const timers = this.#schedule(watcher);
    const stop = (): void => {
      for (const timer of timers) clearTimeout(timer);
      watchers.delete(watcher);
    };
    timers.push(
      setTimeout(() => {
        stop();
        sink.end();
      }, request.timeoutMs),
    );
    return stop;
  }

  /** Ends every stream. */
  close(): void {
    this.#stopListening();
    for (const watchers of this.#watchers.values()) {
      for (const { sink } of [...watchers]) sink.end();
      watchers.clear();
    }
  }

  #schedule(watcher: Watcher): NodeJS.Timeout[] {
    const { allowBookmarks, timeoutMs } = watcher.request;
    if (!allowBookmarks) return [];
    const bookmark = (): void => watcher.sink.write(this.#bookmark(watcher.request, {}));
    const timers = [setInterval(bookmark, bookmarkEveryMs)];
    if (timeoutMs > lastBookmarkMs) timers.push(setTimeout(bookmark, timeoutMs - lastBookmarkMs));
    return timers;
  }

  #sendExisting({ request, sink }: Watcher): void {
    const { definition, namespace, selection, encoder } = request;
    const prefix = namespace === '' ? '' : `${namespace}/`;
    for (const stored of this.#state.store.range(resourceKey(definition), prefix)) {
      if (!isSelected(selection, stored)) continue;
      sink.write(encoder.encodeStored?.('ADDED', stored) ?? encoder.encode('ADDED', decode(stored)));
    }
    if (request.sendInitialEvents && request.allowBookmarks) {
      sink.write(this.#bookmark(request, { annotations: { 'k8s.io/initial-events-end': 'true' } }));
    }
  }

  #dispatch(events: readonly ChangeEvent[]): void {
    for (const event of events) {
      const watchers = this.#watchers.get(event.resource);
      if (watchers === undefined) continue;
      const encoded = new Map<string, Buffer>();
      for (const watcher of watchers) this.#send(watcher, event, encoded);
    }
  }

  /** Sends an event as this watcher sees it: an object that begins or ceases to be selected comes or goes. */
  #send(watcher: Watcher, event: ChangeEvent, encoded: Map<string, Buffer>): void {
    const { request, sink } = watcher;
    if (request.resourceVersion !== undefined && event.resourceVersion <= request.resourceVersion) return;
    if (request.namespace !== '' && event.object.namespace !== request.namespace) return;
    const was = event.previous !== undefined && isSelected(request.selection, event.previous);
    const is = event.type !== 'DELETED' && isSelected(request.selection, event.object);
    if (!was && !is) return;
    const type = !was ? 'ADDED' : is ? 'MODIFIED' : 'DELETED';
    const { encoder } = request;
    const key = encoder.sharedKey === undefined ? undefined : `${encoder.sharedKey} ${type}`;
    let chunk = key === undefined ? undefined : encoded.get(key);
    if (chunk === undefined) {
      chunk = encodeEvent(encoder, type, event);
      if (key !== undefined) encoded.set(key, chunk);
    }
    sink.write(chunk);
  }

  #bookmark({ definition, encoder }: WatchRequest, metadata: JsonObject): Buffer {
    return encoder.encode('BOOKMARK', {
      kind: definition.kind,
      apiVersion: apiVersionOf(definition),
      metadata: { resourceVersion: String(this.#state.store.revision), creationTimestamp: null, ...metadata },
    });
  }

  #tooOld({ encoder }: WatchRequest, from: number): Buffer {
    return encoder.encode('ERROR', {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message: `too old resource version: ${from} (${this.#state.store.oldestRevision})`,
      reason: 'Expired',
      code: 410,
    });
  }
}

/** The object of a deletion is the last one that was seen, with the resource version of the deletion. */
function encodeEvent(encoder: EventEncoder, type: WatchEventType, event: ChangeEvent): Buffer {
  if (type !== 'DELETED') {
    return encoder.encodeStored?.(type, event.object) ?? encoder.encode(type, decode(event.object));
  }
  const object = decode(event.previous ?? event.object);
  metadataOf(object)['resourceVersion'] = String(event.resourceVersion);
  return encoder.encode(type, object);
}
