import type { Clock } from '../base/clock.ts';

interface Entry {
  readonly key: string;
  readonly atMs: number;
  /** Keys of the same time come in the order in which they were added. */
  readonly order: number;
}

/** A longer timer is taken for one of a millisecond by Node; what is later is slept for in parts. */
const maxSleepMs = 2 ** 31 - 1;

/** Keys that become ready later: a binary heap by time, and one sleep for the earliest. */
export class DelayedKeys {
  readonly #clock: Clock;
  readonly #ready: (key: string) => void;
  readonly #heap: Entry[] = [];
  /** The time that counts; an entry of the heap with another one was overtaken. */
  readonly #times = new Map<string, number>();
  #order = 0;
  #sleeping: { readonly atMs: number; readonly stop: AbortController } | undefined;

  /** @param ready Takes a key when its time has come. */
  constructor(clock: Clock, ready: (key: string) => void) {
    this.#clock = clock;
    this.#ready = ready;
  }

  get size(): number {
    return this.#times.size;
  }

  /** Adds a key that becomes ready after `ms`, or moves it there when it was to be ready later. */
  add(key: string, ms: number): void {
    const atMs = this.#clock.monotonicMs() + ms;
    const known = this.#times.get(key);
    if (known !== undefined && known <= atMs) return;
    this.#times.set(key, atMs);
    this.#push({ key, atMs, order: this.#order++ });
    this.#schedule();
  }

  clear(): void {
    this.#heap.length = 0;
    this.#times.clear();
    this.#sleeping?.stop.abort();
    this.#sleeping = undefined;
  }

  #schedule(): void {
    const first = this.#heap[0];
    if (first === undefined || (this.#sleeping !== undefined && this.#sleeping.atMs <= first.atMs)) return;
    this.#sleeping?.stop.abort();
    const sleeping = { atMs: first.atMs, stop: new AbortController() };
    this.#sleeping = sleeping;
    const waitMs = Math.min(maxSleepMs, Math.max(0, first.atMs - this.#clock.monotonicMs()));
    this.#clock.sleep(waitMs, sleeping.stop.signal).then(
      () => this.#wake(sleeping),
      (error: unknown) => {
        // Aborted for an earlier key, or for good; a clock that fails otherwise must not lose keys.
        if (!sleeping.stop.signal.aborted) throw error;
      },
    );
  }

  #wake(sleeping: object): void {
    if (this.#sleeping !== sleeping) return;
    this.#sleeping = undefined;
    const now = this.#clock.monotonicMs();
    for (let first = this.#heap[0]; first !== undefined && first.atMs <= now; first = this.#heap[0]) {
      this.#pop();
      if (this.#times.get(first.key) !== first.atMs) continue;
      this.#times.delete(first.key);
      this.#ready(first.key);
    }
    this.#schedule();
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(entry);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || !isBefore(entry, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      const right = heap[left + 1];
      const smaller = right !== undefined && isBefore(right, heap[left] ?? right) ? left + 1 : left;
      const below = heap[smaller];
      if (below === undefined || !isBefore(below, last)) break;
      heap[at] = below;
      at = smaller;
    }
    heap[at] = last;
  }
}

function isBefore(one: Entry, other: Entry): boolean {
  return one.atMs < other.atMs || (one.atMs === other.atMs && one.order < other.order);
}
