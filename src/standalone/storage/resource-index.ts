import type { ChangeEvent, StoredObject } from './change.ts';

/** The committed objects of one resource, by key and in key order. */
export class ResourceIndex {
  readonly #byKey = new Map<string, StoredObject>();
  #keys: string[] = [];

  get size(): number {
    return this.#byKey.size;
  }

  get(key: string): StoredObject | undefined {
    return this.#byKey.get(key);
  }

  set(object: StoredObject): void {
    if (!this.#byKey.has(object.key)) this.#keys.splice(lowerBound(this.#keys, object.key), 0, object.key);
    this.#byKey.set(object.key, object);
  }

  delete(key: string): void {
    if (!this.#byKey.delete(key)) return;
    this.#keys.splice(lowerBound(this.#keys, key), 1);
  }

  /** Objects in key order from the first whose key is at least `from` and starts with `prefix`. */
  *range(prefix: string, from: string): Generator<StoredObject> {
    for (let at = lowerBound(this.#keys, from > prefix ? from : prefix); at < this.#keys.length; at++) {
      const key = this.#keys[at] ?? '';
      if (!key.startsWith(prefix)) return;
      const object = this.#byKey.get(key);
      if (object !== undefined) yield object;
    }
  }

  /**
   * As {@link range}, of the state before `later`, the changes of this resource since then in order: how a list that
   * is read in pages stays one snapshot.
   */
  rangeBefore(prefix: string, from: string, later: readonly ChangeEvent[]): StoredObject[] {
    const before = new Map<string, StoredObject | undefined>();
    for (const event of later) if (!before.has(event.key)) before.set(event.key, event.previous);
    const kept = [...this.range(prefix, from)].filter(({ key }) => !before.has(key));
    const revived = [...before.values()].filter(
      (object): object is StoredObject => object !== undefined && object.key >= from && object.key.startsWith(prefix),
    );
    if (revived.length === 0) return kept;
    return [...kept, ...revived].sort((a, b) => (a.key < b.key ? -1 : 1));
  }
}

function lowerBound(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((keys[middle] ?? '') < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
