/**
 * What kube-controller-manager does for a cluster, as far as one machine needs it: objects whose owners are gone are
 * deleted, the finalizers `orphan` and `foregroundDeletion` are worked off, and a namespace that is being deleted
 * is emptied and then goes.
 *
 * Level-triggered: every change only says which object to look at again. The work is done between requests; what a
 * crash interrupts is found again by the scan at start.
 */
import { metadataOf, decode, show } from '../verbs/api-state.ts';
import type { ApiState, WriteOptions } from '../verbs/api-state.ts';
import { deleteObject } from '../verbs/delete.ts';
import type { Target } from '../verbs/update.ts';
import { writeUpdate } from '../verbs/update.ts';
import { toError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import { ApiError } from '../http/api-error.ts';
import { resourceKey } from '../kinds/resource-definition.ts';
import type { JsonObject } from '../schema/json-schema.ts';
import { isJsonObject } from '../schema/json-schema.ts';
import type { ChangeEvent, StoredObject } from '../storage/change.ts';

const retryMs = 1_000;
const foreground = 'foregroundDeletion';
const orphan = 'orphan';

export class GarbageCollector {
  readonly #state: ApiState;
  readonly #logger: Logger;
  /** Objects by UID, and the UIDs of dependents by the owner's UID. */
  readonly #byUid = new Map<string, StoredObject>();
  readonly #dependents = new Map<string, Set<string>>();
  /** UIDs to look at; a set, so that it is bounded by the number of objects. */
  readonly #queue = new Set<string>();
  readonly #stopListening: () => void;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(state: ApiState, logger: Logger) {
    this.#state = state;
    this.#logger = logger;
    for (const definition of state.registry.definitions) {
      if (definition.conversion !== undefined) continue;
      for (const stored of state.store.range(resourceKey(definition))) this.#remember(stored);
    }
    for (const stored of this.#byUid.values()) if (this.#mayNeedWork(stored)) this.#queue.add(stored.uid);
    this.#stopListening = state.store.listen((events) => this.#onEvents(events));
    this.#wake(0);
  }

  /** Stops looking; waits for the step that is under way. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#stopListening();
    clearTimeout(this.#timer);
    await this.#running;
  }

  #onEvents(events: readonly ChangeEvent[]): void {
    for (const event of events) {
      const { object, previous } = event;
      if (event.type === 'DELETED') this.#forget(previous ?? object);
      else {
        if (previous !== undefined) this.#forgetOwners(previous);
        this.#remember(object);
        if (this.#mayNeedWork(object)) this.#queue.add(object.uid);
      }
      if (event.type === 'DELETED') this.#queueNeighbours(previous ?? object);
      // A dependent that no longer blocks, or an owner that no longer owns it.
      else
        for (const owner of new Set([...(previous?.owners ?? []), ...object.owners]))
          if (this.#isDeleting(owner)) this.#queue.add(owner);
    }
    if (this.#queue.size > 0) this.#wake(0);
  }

  #queueNeighbours(gone: StoredObject): void {
    for (const dependent of this.#dependents.get(gone.uid) ?? []) this.#queue.add(dependent);
    for (const owner of gone.owners) this.#queue.add(owner);
    const namespace = gone.namespace === '' ? undefined : this.#state.store.get('namespaces', gone.namespace);
    if (namespace !== undefined && this.#isDeleting(namespace.uid)) this.#queue.add(namespace.uid);
  }

  #mayNeedWork(stored: StoredObject): boolean {
    return stored.owners.length > 0 || isMarked(stored);
  }

  #isDeleting(uid: string): boolean {
    const stored = this.#byUid.get(uid);
    return stored !== undefined && isMarked(stored);
  }

  #remember(stored: StoredObject): void {
    this.#byUid.set(stored.uid, stored);
    for (const owner of stored.owners) {
      const dependents = this.#dependents.get(owner) ?? new Set();
      this.#dependents.set(owner, dependents.add(stored.uid));
    }
  }

  #forget(stored: StoredObject): void {
    this.#byUid.delete(stored.uid);
    this.#queue.delete(stored.uid);
    this.#forgetOwners(stored);
  }

  #forgetOwners(stored: StoredObject): void {
    for (const owner of stored.owners) {
      const dependents = this.#dependents.get(owner);
      dependents?.delete(stored.uid);
      if (dependents?.size === 0) this.#dependents.delete(owner);
    }
  }

  #wake(ms: number): void {
    if (this.#closed || this.#timer !== undefined || this.#running !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#running = this.#work().finally(() => {
        this.#running = undefined;
        if (this.#queue.size > 0) this.#wake(retryMs);
      });
    }, ms);
  }

  async #work(): Promise<void> {
    const failed: string[] = [];
    for (let batch = [...this.#queue]; batch.length > 0 && !this.#closed; batch = [...this.#queue]) {
      this.#queue.clear();
      await Promise.all(batch.map(async (uid) => (await this.#tryLookAt(uid)) || failed.push(uid)));
    }
    for (const uid of failed) this.#queue.add(uid);
  }

  async #tryLookAt(uid: string): Promise<boolean> {
    try {
      await this.#lookAt(uid);
      return true;
    } catch (error) {
      // Gone or changed meanwhile: its change brings it back here.
      if (error instanceof ApiError && (error.code === 404 || error.code === 409)) return true;
      this.#logger.error('garbage collection failed', { uid, error: toError(error) });
      return false;
    }
  }

  async #lookAt(uid: string): Promise<void> {
    const stored = this.#byUid.get(uid);
    if (stored === undefined) return;
    const definition = this.#state.registry.storing(stored.resource);
    if (definition === undefined) return;
    const target: Target = { definition, namespace: stored.namespace, name: stored.name, subresource: '' };
    const object = show(definition, decode(stored));
    const metadata = metadataOf(object);
    const finalizers = Array.isArray(metadata['finalizers']) ? (metadata['finalizers'] as string[]) : [];
    if (metadata['deletionTimestamp'] !== undefined) {
      if (finalizers.includes(orphan)) {
        await this.#orphan(target, stored);
        return;
      }
      if (finalizers.includes(foreground)) {
        await this.#deleteForeground(target, stored);
        return;
      }
      if (stored.resource === 'namespaces') {
        await this.#empty(target, stored);
        return;
      }
      return;
    }
    if (stored.owners.length > 0) await this.#checkOwners(target, stored, metadata);
  }

  /** Deletes an object whose owners are all gone; takes the names of lost owners from one that has others. */
  async #checkOwners(target: Target, stored: StoredObject, metadata: JsonObject): Promise<void> {
    const references = (metadata['ownerReferences'] as unknown[]).filter(isJsonObject);
    const lost = references.filter(
      (reference) => !this.#byUid.has(String(reference['uid'])) && this.#isOurs(reference),
    );
    const waiting = references.filter((reference) => this.#isWaitingFor(reference));
    if (lost.length + waiting.length < references.length || references.length === 0) {
      if (lost.length > 0 && lost.length < references.length)
        await this.#dropOwners(target, stored, new Set(lost.map((one) => String(one['uid']))));
      return;
    }
    const policy = waiting.length > 0 && this.#dependents.has(stored.uid) ? 'Foreground' : 'Background';
    await deleteObject(this.#state, target, { dryRun: false, propagationPolicy: policy, uid: stored.uid });
  }

  /** Only of kinds that are served here can it be known that an owner is gone. */
  #isOurs(reference: JsonObject): boolean {
    return this.#state.registry.findKind(String(reference['apiVersion']), String(reference['kind'])) !== undefined;
  }

  #isWaitingFor(reference: JsonObject): boolean {
    const owner = this.#byUid.get(String(reference['uid']));
    if (owner === undefined || !isMarked(owner)) return false;
    const finalizers = metadataOf(decode(owner))['finalizers'];
    return Array.isArray(finalizers) && finalizers.includes(foreground);
  }

  async #orphan(target: Target, stored: StoredObject): Promise<void> {
    const dependents = [...(this.#dependents.get(stored.uid) ?? [])].flatMap((uid) => this.#byUid.get(uid) ?? []);
    for (const dependent of dependents) {
      const definition = this.#state.registry.storing(dependent.resource);
      if (definition === undefined) continue;
      const of: Target = { definition, namespace: dependent.namespace, name: dependent.name, subresource: '' };
      await this.#dropOwners(of, dependent, new Set([stored.uid]));
    }
    await this.#dropFinalizer(target, stored, orphan);
  }

  async #deleteForeground(target: Target, stored: StoredObject): Promise<void> {
    const dependents = [...(this.#dependents.get(stored.uid) ?? [])].flatMap((uid) => this.#byUid.get(uid) ?? []);
    const blocking = dependents.filter((dependent) => {
      const references = metadataOf(decode(dependent))['ownerReferences'];
      const mine = Array.isArray(references) ? (references as unknown[]).filter(isJsonObject) : [];
      return mine.some((one) => one['uid'] === stored.uid && one['blockOwnerDeletion'] === true);
    });
    for (const dependent of dependents) if (!isMarked(dependent)) this.#queue.add(dependent.uid);
    if (blocking.length === 0) await this.#dropFinalizer(target, stored, foreground);
  }

  /** Deletes what is in a namespace; takes the namespace's own finalizer away when nothing is left. */
  async #empty(target: Target, stored: StoredObject): Promise<void> {
    let left = 0;
    for (const definition of this.#state.registry.definitions) {
      if (definition.scope !== 'Namespaced' || definition.conversion !== undefined) continue;
      for (const inside of [...this.#state.store.range(resourceKey(definition), `${stored.name}/`)]) {
        left++;
        if (isMarked(inside)) continue;
        const of: Target = { definition, namespace: inside.namespace, name: inside.name, subresource: '' };
        await deleteObject(this.#state, of, { dryRun: false, propagationPolicy: 'Background', uid: inside.uid });
        // One with finalizers is only marked, and is still there.
        if (this.#state.store.latest(inside.resource, inside.key) === undefined) left--;
      }
    }
    if (left > 0) return;
    const old = decode(stored);
    const finalize = { ...target, subresource: 'finalize' };
    await writeUpdate(this.#state, finalize, old, { ...structuredClone(old), spec: {} }, this.#options(), false);
  }

  async #dropOwners(target: Target, stored: StoredObject, uids: ReadonlySet<string>): Promise<void> {
    await this.#change(target, stored, (metadata) => {
      const references = (metadata['ownerReferences'] as unknown[]).filter(isJsonObject);
      metadata['ownerReferences'] = references.filter((reference) => !uids.has(String(reference['uid'])));
    });
  }

  async #dropFinalizer(target: Target, stored: StoredObject, finalizer: string): Promise<void> {
    await this.#change(target, stored, (metadata) => {
      metadata['finalizers'] = (metadata['finalizers'] as string[]).filter((one) => one !== finalizer);
    });
  }

  async #change(target: Target, stored: StoredObject, change: (metadata: JsonObject) => void): Promise<void> {
    const current = this.#state.store.latest(stored.resource, stored.key);
    if (current?.uid !== stored.uid) return;
    const old = decode(current);
    const next = structuredClone(old);
    change(metadataOf(next));
    await writeUpdate(this.#state, target, old, next, this.#options(), false);
  }

  #options(): WriteOptions {
    return { dryRun: false, fieldManager: 'virtctl-garbage-collector', fieldValidation: 'Ignore', warnings: [] };
  }
}

const deletionMark = Buffer.from('"deletionTimestamp":"');

/** Whether an object is being deleted. Looks for the word first: most objects are not, and need not be decoded. */
function isMarked(stored: StoredObject): boolean {
  return stored.json.includes(deletionMark) && metadataOf(decode(stored))['deletionTimestamp'] !== undefined;
}
