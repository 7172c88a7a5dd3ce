import type { KubeObject, ObjectRef } from './object.ts';
import { refOf } from './object.ts';
import { apiVersionOf, collectionPath, objectPath } from './resource-type.ts';
import type { ResourceType } from './resource-type.ts';
import { isExpired, isNotFound } from './status-error.ts';
import type { Transport } from './transport.ts';
import { readWatch } from './watch-stream.ts';
import type { WatchEvent } from './watch-stream.ts';
import { FailedError } from '../base/errors.ts';

/** Options of every request. */
export interface RequestOptions {
  readonly signal?: AbortSignal | undefined;
  /** Until the whole answer is there, retries included. */
  readonly timeoutMs?: number | undefined;
}

/** Options of every request that changes something. */
export interface WriteOptions extends RequestOptions {
  /** The server checks everything and stores nothing. */
  readonly dryRun?: boolean | undefined;
  /** Whom `managedFields` names; the client's by default. */
  readonly fieldManager?: string | undefined;
  /** What becomes of unknown fields (servers from 1.25 on; older ones ignore it). */
  readonly fieldValidation?: 'Ignore' | 'Warn' | 'Strict' | undefined;
}

/** Which objects: of one namespace (all when left out), by labels and fields. */
export interface Selection {
  readonly namespace?: string | undefined;
  /** As in kubectl's `-l`. */
  readonly labelSelector?: string | undefined;
  /** As in `metadata.name=web`. */
  readonly fieldSelector?: string | undefined;
}

/** Options of a list. */
export interface ListOptions extends Selection, RequestOptions {
  /** At most this many objects in one answer. */
  readonly limit?: number | undefined;
  /** The `continue` of the page before. */
  readonly continue?: string | undefined;
  readonly resourceVersion?: string | undefined;
}

/** One page of a list. */
export interface ListPage<T extends KubeObject> {
  readonly items: readonly T[];
  /** Where a watch starts that misses nothing. */
  readonly resourceVersion: string;
  /** Asks for the next page; undefined on the last one. */
  readonly continue: string | undefined;
}

/** Options of a watch. */
export interface WatchOptions extends Selection {
  readonly signal?: AbortSignal | undefined;
  /** Changes after this one; all present objects first when left out. */
  readonly resourceVersion?: string | undefined;
  /** The server ends the watch after this long. */
  readonly timeoutSeconds?: number | undefined;
  /** A watch that brings nothing for this long, not even a bookmark, is dead; 90 s by default. */
  readonly idleTimeoutMs?: number | undefined;
}

/** Options of a deletion. */
export interface DeleteOptions extends RequestOptions {
  readonly dryRun?: boolean | undefined;
  readonly propagationPolicy?: 'Foreground' | 'Background' | 'Orphan' | undefined;
  readonly gracePeriodSeconds?: number | undefined;
  /** It is a conflict when the object is another or was changed meanwhile. */
  readonly preconditions?:
    { readonly uid?: string | undefined; readonly resourceVersion?: string | undefined } | undefined;
}

/** One step of a JSON patch (RFC 6902). */
export interface JsonPatchStep {
  readonly op: 'add' | 'remove' | 'replace' | 'move' | 'copy' | 'test';
  readonly path: string;
  readonly from?: string | undefined;
  readonly value?: unknown;
}

/** Options of a patch. */
export interface PatchOptions extends WriteOptions {
  /** Such as `status`; the object itself when left out. */
  readonly subresource?: string | undefined;
}

/** Options of server-side apply. */
export interface ApplyOptions extends PatchOptions {
  /** Takes fields over that another manager owns, instead of a conflict. */
  readonly force?: boolean | undefined;
}

/** What a list may answer in one go. Events of a watch are bounded by it as well. */
const maxEventBytes = 16 * 1024 * 1024;
const defaultPageSize = 500;
const defaultIdleTimeoutMs = 90_000;

/**
 * The objects of one resource on one API server. Every method throws a StatusError when the server refuses
 * (status-error.ts), and as Transport does when it cannot be reached or does not answer in time.
 */
export class ResourceClient<T extends KubeObject> {
  readonly type: ResourceType;
  readonly #transport: Transport;
  readonly #fieldManager: string;

  constructor(type: ResourceType, transport: Transport, fieldManager: string) {
    this.type = type;
    this.#transport = transport;
    this.#fieldManager = fieldManager;
  }

  /** Reads one object. */
  async get(ref: ObjectRef, options: RequestOptions = {}): Promise<T> {
    return this.#object(await this.#transport.request({ method: 'GET', path: objectPath(this.type, ref), ...options }));
  }

  /** Reads one object; undefined when it does not exist. */
  async find(ref: ObjectRef, options: RequestOptions = {}): Promise<T | undefined> {
    try {
      return await this.get(ref, options);
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  /** Reads one page of a list; everything when no limit is given. */
  async list(options: ListOptions = {}): Promise<ListPage<T>> {
    const query = queryOf({
      ...selection(options),
      limit: options.limit,
      continue: options.continue,
      resourceVersion: options.resourceVersion,
    });
    const path = `${collectionPath(this.type, options.namespace)}${query}`;
    const { signal, timeoutMs } = options;
    const body = await this.#transport.request({ method: 'GET', path, signal, timeoutMs });
    const list = body as { items?: unknown; metadata?: { resourceVersion?: unknown; continue?: unknown } } | undefined;
    if (typeof list !== 'object' || !Array.isArray(list.items)) {
      throw new FailedError(`the answer to GET ${path} is not a list`);
    }
    const more = list.metadata?.continue;
    const version = list.metadata?.resourceVersion;
    return {
      // The items of a list carry neither kind nor apiVersion on a real API server for built-in types.
      items: (list.items as T[]).map((item) => ({ ...this.#typeMeta(), ...item })),
      resourceVersion: typeof version === 'string' ? version : '',
      continue: typeof more === 'string' && more !== '' ? more : undefined,
    };
  }

  /**
   * Reads a whole list page by page, as of one moment. A continue token that grew too old on the way makes it read
   * everything again at once.
   */
  async listAll(options: Omit<ListOptions, 'continue'> = {}): Promise<ListPage<T>> {
    const limit = options.limit ?? defaultPageSize;
    const items: T[] = [];
    let next: string | undefined;
    try {
      for (;;) {
        const page: ListPage<T> = await this.list({ ...options, limit, continue: next });
        items.push(...page.items);
        if (page.continue === undefined) return { ...page, items };
        next = page.continue;
      }
    } catch (error) {
      if (next === undefined || !isExpired(error)) throw error;
      return this.list({ ...options, limit: undefined });
    }
  }

  /** Creates an object in its `metadata.namespace`. */
  async create(object: T, options: WriteOptions = {}): Promise<T> {
    const path = collectionPath(this.type, object.metadata.namespace);
    if (this.type.namespaced && (object.metadata.namespace ?? '') === '') {
      throw new FailedError(`${this.type.kind} "${object.metadata.name ?? ''}" needs a namespace`);
    }
    return this.#write('POST', `${path}${this.#writeQuery(options)}`, object, 'application/json', options);
  }

  /** Replaces an object; a conflict when its `metadata.resourceVersion` is not the server's. */
  async update(object: T, options: WriteOptions = {}): Promise<T> {
    const path = objectPath(this.type, refOf(object));
    return this.#write('PUT', `${path}${this.#writeQuery(options)}`, object, 'application/json', options);
  }

  /** Replaces an object's status only. */
  async updateStatus(object: T, options: WriteOptions = {}): Promise<T> {
    const path = objectPath(this.type, refOf(object), 'status');
    return this.#write('PUT', `${path}${this.#writeQuery(options)}`, object, 'application/json', options);
  }

  /** Merges fields into an object (RFC 7386); `null` removes one, a list is replaced whole. */
  async mergePatch(ref: ObjectRef, patch: object, options: PatchOptions = {}): Promise<T> {
    return this.#patch(ref, patch, 'application/merge-patch+json', options);
  }

  /** Applies steps to an object (RFC 6902). */
  async jsonPatch(ref: ObjectRef, steps: readonly JsonPatchStep[], options: PatchOptions = {}): Promise<T> {
    return this.#patch(ref, steps, 'application/json-patch+json', options);
  }

  /** Creates an object or sets the fields it gives (server-side apply), as the field manager. */
  async apply(object: KubeObject, options: ApplyOptions = {}): Promise<T> {
    const path = objectPath(this.type, refOf(object), options.subresource);
    const query = this.#writeQuery(options, { force: options.force === true ? 'true' : undefined });
    return this.#write('PATCH', `${path}${query}`, object, 'application/apply-patch+yaml', options);
  }

  /**
   * Deletes an object. It may stay for a while, with a `deletionTimestamp`, for the sake of its finalizers.
   *
   * @returns The object when it stays, else undefined.
   */
  async delete(ref: ObjectRef, options: DeleteOptions = {}): Promise<T | undefined> {
    const { propagationPolicy, gracePeriodSeconds, preconditions, dryRun, signal, timeoutMs } = options;
    const body = JSON.stringify({
      kind: 'DeleteOptions',
      apiVersion: 'v1',
      propagationPolicy,
      gracePeriodSeconds,
      preconditions,
      dryRun: dryRun === true ? ['All'] : undefined,
    });
    const headers = { 'content-type': 'application/json' };
    const path = objectPath(this.type, ref);
    const answer = await this.#transport.request({ method: 'DELETE', path, body, headers, signal, timeoutMs });
    return (answer as Partial<KubeObject> | undefined)?.kind === this.type.kind ? this.#object(answer) : undefined;
  }

  /**
   * Watches for changes until the server or the signal ends it, or something goes wrong; an informer (informer.ts)
   * goes on for ever.
   *
   * @throws as readWatch.
   */
  async *watch(options: WatchOptions = {}): AsyncGenerator<WatchEvent<T>, void, undefined> {
    const query = queryOf({
      watch: 'true',
      allowWatchBookmarks: 'true',
      ...selection(options),
      resourceVersion: options.resourceVersion,
      timeoutSeconds: options.timeoutSeconds,
    });
    const path = `${collectionPath(this.type, options.namespace)}${query}`;
    const idleTimeoutMs = options.idleTimeoutMs ?? defaultIdleTimeoutMs;
    const { signal } = options;
    // The head comes with the first event on some servers, so it gets as long as an event.
    const response = await this.#transport.stream({ method: 'GET', path, signal, timeoutMs: idleTimeoutMs });
    yield* readWatch<T>(response, `the watch of ${this.type.plural}`, { idleTimeoutMs, maxEventBytes, signal });
  }

  async #patch(ref: ObjectRef, patch: object, contentType: string, options: PatchOptions): Promise<T> {
    const path = objectPath(this.type, ref, options.subresource);
    return this.#write('PATCH', `${path}${this.#writeQuery(options)}`, patch, contentType, options);
  }

  async #write(
    method: 'POST' | 'PUT' | 'PATCH',
    path: string,
    body: object,
    contentType: string,
    options: RequestOptions,
  ): Promise<T> {
    const { signal, timeoutMs } = options;
    const headers = { 'content-type': contentType };
    return this.#object(
      await this.#transport.request({ method, path, body: JSON.stringify(body), headers, signal, timeoutMs }),
    );
  }

  #writeQuery(options: WriteOptions, more: Readonly<Record<string, string | undefined>> = {}): string {
    return queryOf({
      fieldManager: options.fieldManager ?? this.#fieldManager,
      dryRun: options.dryRun === true ? 'All' : undefined,
      fieldValidation: options.fieldValidation,
      ...more,
    });
  }

  #object(body: unknown): T {
    const object = body as Partial<KubeObject> | null | undefined;
    if (typeof object !== 'object' || object?.kind !== this.type.kind || typeof object.metadata !== 'object') {
      throw new FailedError(`the API server's answer is not a ${this.type.kind}`);
    }
    return body as T;
  }

  #typeMeta(): { apiVersion: string; kind: string } {
    return { apiVersion: apiVersionOf(this.type), kind: this.type.kind };
  }
}

function selection(options: Selection): Readonly<Record<string, string | undefined>> {
  return { labelSelector: options.labelSelector, fieldSelector: options.fieldSelector };
}

function queryOf(values: Readonly<Record<string, string | number | undefined>>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) if (value !== undefined) query.set(name, String(value));
  return query.size === 0 ? '' : `?${query.toString()}`;
}
