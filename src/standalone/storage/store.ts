/**
 * The durable store of the embedded API server: objects and the history of their changes in one LMDB file.
 *
 *     write() ──▶ pending (seen by the next write, by no reader) ──▶ one LMDB transaction, synced ──▶ index, history
 *                                                                                         └──▶ promises, listeners
 *
 * Everything written in one turn of the event loop shares a transaction, so that many clients share one sync of the
 * disk. Readers and watchers only ever see what is on the disk. A transaction that fails rejects every write in it
 * and leaves the store as it was before.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Database, RootDatabase } from 'lmdb';
import type { Change, ChangeEvent, StoredObject } from './change.ts';
import type { HistoryLimits } from './history.ts';
import { storeFile } from './backup.ts';
import { checkHeader } from './check-header.ts';
import { History } from './history.ts';
import { loadHistory, loadObjects } from './load.ts';
import { ResourceIndex } from './resource-index.ts';
import { openRecord, sealRecord } from './record.ts';
import { StorageFailedError, StoreFullError } from './storage-error.ts';

/** How a stored object's JSON becomes a {@link StoredObject}: labels, selectable fields and owners are read from it. */
export type IndexObject = (resource: string, key: string, json: Buffer) => StoredObject;

/** Where and how to store. */
export interface StoreOptions {
  /** The folder of the LMDB file; made when missing. */
  readonly folder: string;
  readonly history: HistoryLimits;
  /** Writes are refused when all objects' JSON would grow beyond this, in bytes; the history has bounds of its own. */
  readonly maxBytes: number;
  readonly indexObject: IndexObject;
}

interface Waiting {
  readonly change: Change;
  readonly event: ChangeEvent;
  readonly resolve: (event: ChangeEvent) => void;
  readonly reject: (error: Error) => void;
}

/** Between a resource and its key in the LMDB file; in neither of them. */
const separator = '\u0001';

export class Store {
  readonly #root: RootDatabase<Buffer, string>;
  readonly #objects: Database<Buffer, string>;
  readonly #changes: Database<Buffer, number>;
  readonly #meta: Database<Buffer, string>;
  readonly #maxBytes: number;
  readonly #indices = new Map<string, ResourceIndex>();
  readonly #history: History;
  readonly #listeners = new Set<(events: readonly ChangeEvent[]) => void>();
  readonly #pending = new Map<string, StoredObject | undefined>();
  #queue: Waiting[] = [];
  #scheduled = false;
  #assigned: number;
  #committed: number;
  /** Of the JSON of all objects. */
  #bytes = 0;
  #closed = false;
  /** Changes that the history has forgotten and the file not yet: they leave it with the next write. */
  #forgotten: number[] = [];

  private constructor(root: RootDatabase<Buffer, string>, options: StoreOptions) {
    this.#root = root;
    this.#maxBytes = options.maxBytes;
    this.#objects = root.openDB('objects', { encoding: 'binary' });
    this.#changes = root.openDB<Buffer, number>('changes', { encoding: 'binary' });
    this.#meta = root.openDB('meta', { encoding: 'binary' });
    const revision = this.#meta.get('revision');
    this.#committed = revision === undefined ? 1 : Number(openRecord(revision, 'the revision').toString());
    this.#assigned = this.#committed;
    for (const object of loadObjects(this.#objects, separator, options.indexObject)) {
      this.#index(object.resource).set(object);
      this.#bytes += object.json.length;
    }
    const oldest = this.#meta.get('oldest');
    this.#history = new History(
      options.history,
      oldest === undefined ? 1 : Number(openRecord(oldest, 'the oldest revision').toString()),
    );
    const live = (resource: string, key: string): StoredObject | undefined => this.#indices.get(resource)?.get(key);
    for (const event of loadHistory(this.#changes, live, options.indexObject)) this.#history.append(event);
    this.#forgotten = this.#history.trim();
  }

  /**
   * Opens or makes the store.
   *
   * @throws StorageFailedError when the file cannot be opened or is damaged.
   */
  static async open(options: StoreOptions): Promise<Store> {
    const { open } = await import('lmdb');
    try {
      mkdirSync(options.folder, { recursive: true, mode: 0o700 });
      checkHeader(join(options.folder, storeFile));
      const root = open<Buffer, string>({
        path: join(options.folder, storeFile),
        noSubdir: true,
        encoding: 'binary',
        overlappingSync: false,
        maxDbs: 4,
      });
      return new Store(root, options);
    } catch (error) {
      throw new StorageFailedError(`cannot open the store in ${options.folder}`, { cause: error });
    }
  }

  /** The resource version of the last write that is on the disk. */
  get revision(): number {
    return this.#committed;
  }

  /** The earliest resource version that a watch can start from. */
  get oldestRevision(): number {
    return this.#history.oldest;
  }

  /** The committed object. */
  get(resource: string, key: string): StoredObject | undefined {
    return this.#indices.get(resource)?.get(key);
  }

  /** The object that the next write will meet: committed, or about to be. */
  latest(resource: string, key: string): StoredObject | undefined {
    const id = `${resource}${separator}${key}`;
    return this.#pending.has(id) ? this.#pending.get(id) : this.get(resource, key);
  }

  /** The number of objects of a resource. */
  count(resource: string): number {
    return this.#indices.get(resource)?.size ?? 0;
  }

  /** Committed objects whose key starts with `prefix`, in key order from `from` on. */
  range(resource: string, prefix = '', from = ''): Iterable<StoredObject> {
    return this.#indices.get(resource)?.range(prefix, from) ?? [];
  }

  /** As {@link range}, at an earlier resource version; undefined when the history does not reach back that far. */
  rangeAt(resource: string, revision: number, prefix = '', from = ''): Iterable<StoredObject> | undefined {
    if (revision >= this.#committed) return this.range(resource, prefix, from);
    const later = this.#history.since(revision, resource);
    return later === undefined ? undefined : this.#index(resource).rangeBefore(prefix, from, later);
  }

  /** The changes of a resource after `revision`; undefined when some of them are forgotten. */
  since(revision: number, resource: string): ChangeEvent[] | undefined {
    return this.#history.since(revision, resource);
  }

  /** Calls `listener` with each transaction's changes, after it is on the disk. Returns how to stop. */
  listen(listener: (events: readonly ChangeEvent[]) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /**
   * Writes one change. What {@link latest} said may be relied on as long as nothing was awaited since.
   *
   * @returns What happened, once it is on the disk.
   * @throws StoreFullError, StorageFailedError when nothing of it was written.
   */
  write(change: Change): Promise<ChangeEvent> {
    if (this.#closed) return Promise.reject(new StorageFailedError('the store is closed'));
    const id = `${change.resource}${separator}${change.key}`;
    const previous = this.latest(change.resource, change.key);
    const revision = this.#assigned + 1;
    const object = change.object?.(revision);
    if (object === undefined && previous === undefined) {
      return Promise.reject(new StorageFailedError(`${change.resource} ${change.key} is not in the store`));
    }
    this.#assigned = revision;
    this.#pending.set(id, object);
    const event: ChangeEvent = {
      type: object === undefined ? 'DELETED' : previous === undefined ? 'ADDED' : 'MODIFIED',
      resource: change.resource,
      key: change.key,
      resourceVersion: revision,
      object: object ?? (previous as StoredObject),
      previous,
    };
    return new Promise((resolve, reject) => {
      this.#queue.push({ change, event, resolve, reject });
      if (this.#scheduled) return;
      this.#scheduled = true;
      setImmediate(() => this.#commit());
    });
  }

  /** Writes a consistent copy of the store to the file `path`. */
  async backup(path: string): Promise<void> {
    await this.#root.backup(path, true);
  }

  /** Commits what is waiting and closes the file. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#commit();
    this.#closed = true;
    await this.#root.close();
  }

  #commit(): void {
    this.#scheduled = false;
    const batch = this.#queue;
    if (batch.length === 0) return;
    this.#queue = [];
    this.#pending.clear();
    try {
      this.#checkSize(batch);
      this.#root.transactionSync(() => this.#put(batch));
    } catch (error) {
      this.#assigned = this.#committed;
      const failure =
        error instanceof StoreFullError ? error : new StorageFailedError('cannot write to the store', { cause: error });
      for (const { reject } of batch) reject(failure);
      return;
    }
    this.#committed = this.#assigned;
    this.#forgotten = [];
    const events = batch.map(({ event }) => event);
    for (const event of events) this.#apply(event);
    this.#forgotten.push(...this.#history.trim());
    for (const listener of this.#listeners) listener(events);
    for (const { event, resolve } of batch) resolve(event);
  }

  #put(batch: readonly Waiting[]): void {
    for (const { event } of batch) {
      const id = `${event.resource}${separator}${event.key}`;
      if (event.type === 'DELETED') this.#objects.removeSync(id);
      else this.#objects.putSync(id, sealRecord(event.object.json));
      this.#changes.putSync(event.resourceVersion, sealRecord(encodeChange(event)));
    }
    for (const revision of this.#forgotten) this.#changes.removeSync(revision);
    if (this.#forgotten.length > 0) this.#meta.putSync('oldest', sealRecord(Buffer.from(String(this.#history.oldest))));
    this.#meta.putSync('revision', sealRecord(Buffer.from(String(this.#assigned))));
  }

  #apply(event: ChangeEvent): void {
    this.#bytes += growthOf(event);
    const index = this.#index(event.resource);
    if (event.type === 'DELETED') index.delete(event.key);
    else index.set(event.object);
    this.#history.append(event);
  }

  #checkSize(batch: readonly Waiting[]): void {
    const growth = batch.reduce((sum, { event }) => sum + growthOf(event), 0);
    if (growth > 0 && this.#bytes + growth > this.#maxBytes) throw new StoreFullError(this.#maxBytes);
  }

  #index(resource: string): ResourceIndex {
    let index = this.#indices.get(resource);
    if (index === undefined) this.#indices.set(resource, (index = new ResourceIndex()));
    return index;
  }
}

/** By how much a change lets the objects grow, in bytes of JSON. */
function growthOf({ type, object, previous }: ChangeEvent): number {
  return (type === 'DELETED' ? 0 : object.json.length) - (previous?.json.length ?? 0);
}

/** A change as it lies in the history: what it was of, and the object before it. The one after it is found from later. */
function encodeChange(event: ChangeEvent): Buffer {
  const head = Buffer.from(JSON.stringify([event.type, event.resource, event.key]));
  const previous = event.previous?.json ?? Buffer.alloc(0);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(head.length);
  return Buffer.concat([length, head, previous]);
}
