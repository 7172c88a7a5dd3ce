import { objectKey } from './object.ts';
import type { KubeObject } from './object.ts';
import { FailedError } from '../base/errors.ts';

/** Functions that give an object's values in an index; an object may have none or several. */
export type Indexers<T, Name extends string> = Readonly<Record<Name, (object: T) => readonly string[]>>;

/** Objects by `namespace/name`, and by the values of indices. Bounded: one object too many is an error, not a loss. */
export class IndexedCache<T extends KubeObject, Name extends string = never> {
  readonly #objects = new Map<string, T>();
  readonly #indexers: Indexers<T, Name>;
  readonly #indices = new Map<Name, Map<string, Set<string>>>();
  readonly #maxObjects: number;

  constructor(indexers: Indexers<T, Name>, maxObjects: number) {
    this.#indexers = indexers;
    this.#maxObjects = maxObjects;
    for (const name of this.#names()) this.#indices.set(name, new Map());
  }

  get size(): number {
    return this.#objects.size;
  }

  get(key: string): T | undefined {
    return this.#objects.get(key);
  }

  keys(): IterableIterator<string> {
    return this.#objects.keys();
  }

  values(): IterableIterator<T> {
    return this.#objects.values();
  }

  /** The objects that have `value` in the index `name`. */
  byIndex(name: Name, value: string): T[] {
    const keys = this.#indices.get(name)?.get(value) ?? [];
    return [...keys].map((key) => this.#objects.get(key)).filter((object) => object !== undefined);
  }

  /**
   * Puts an object in or replaces it.
   *
   * @returns The one that was there before.
   * @throws FailedError when there are as many objects as there may be.
   */
  set(object: T): T | undefined {
    const key = objectKey(object);
    const before = this.#objects.get(key);
    if (before === undefined && this.#objects.size >= this.#maxObjects) {
      throw new FailedError(`there are more than ${this.#maxObjects} objects of kind ${object.kind}`);
    }
    if (before !== undefined) this.#unindex(key, before);
    this.#objects.set(key, object);
    for (const name of this.#names()) {
      const index = this.#indices.get(name);
      for (const value of this.#indexers[name](object)) {
        const keys = index?.get(value);
        if (keys === undefined) index?.set(value, new Set([key]));
        else keys.add(key);
      }
    }
    return before;
  }

  /** Takes an object out; returns it when it was there. */
  delete(key: string): T | undefined {
    const before = this.#objects.get(key);
    if (before === undefined) return undefined;
    this.#objects.delete(key);
    this.#unindex(key, before);
    return before;
  }

  #unindex(key: string, object: T): void {
    for (const name of this.#names()) {
      const index = this.#indices.get(name);
      for (const value of this.#indexers[name](object)) {
        const keys = index?.get(value);
        keys?.delete(key);
        if (keys?.size === 0) index?.delete(value);
      }
    }
  }

  #names(): Name[] {
    return Object.keys(this.#indexers) as Name[];
  }
}
