import type { ChangeEvent } from './change.ts';

/** How many changes are kept for watches that resume. Whichever bound is reached first counts. */
export interface HistoryLimits {
  readonly maxEvents: number;
  /** Of the objects' JSON before and after each change. */
  readonly maxBytes: number;
}

/** Twenty thousand changes or 64 MiB: minutes of a busy machine, days of a quiet one. */
export const defaultHistoryLimits: HistoryLimits = { maxEvents: 20_000, maxBytes: 64 * 1024 * 1024 };

/** The last changes of all resources in order of their resource version, bounded. */
export class History {
  readonly #limits: HistoryLimits;
  #events: ChangeEvent[] = [];
  /** Index of the oldest event in #events: trimming moves it, and the array is cut now and then. */
  #start = 0;
  #bytes = 0;
  /** A watch may start from this resource version or any later one. */
  #oldest: number;

  constructor(limits: HistoryLimits, oldest: number) {
    this.#limits = limits;
    this.#oldest = oldest;
  }

  /** The earliest resource version that a watch can start from. */
  get oldest(): number {
    return this.#oldest;
  }

  get length(): number {
    return this.#events.length - this.#start;
  }

  append(event: ChangeEvent): void {
    this.#events.push(event);
    this.#bytes += sizeOf(event);
  }

  /** Forgets what is beyond the bounds; returns the resource versions of the forgotten changes. */
  trim(): number[] {
    const forgotten: number[] = [];
    while (this.length > this.#limits.maxEvents || (this.#bytes > this.#limits.maxBytes && this.length > 1)) {
      const event = this.#events[this.#start];
      if (event === undefined) break;
      this.#start++;
      this.#bytes -= sizeOf(event);
      this.#oldest = event.resourceVersion;
      forgotten.push(event.resourceVersion);
    }
    if (this.#start > 1024 && this.#start * 2 > this.#events.length) {
      this.#events = this.#events.slice(this.#start);
      this.#start = 0;
    }
    return forgotten;
  }

  /** The changes after `resourceVersion` of one resource, or undefined when some of them are forgotten. */
  since(resourceVersion: number, resource: string): ChangeEvent[] | undefined {
    if (resourceVersion < this.#oldest) return undefined;
    let low = this.#start;
    let high = this.#events.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#events[middle]?.resourceVersion ?? 0) <= resourceVersion) low = middle + 1;
      else high = middle;
    }
    const found: ChangeEvent[] = [];
    for (let at = low; at < this.#events.length; at++) {
      const event = this.#events[at];
      if (event?.resource === resource) found.push(event);
    }
    return found;
  }
}

function sizeOf(event: ChangeEvent): number {
  return event.object.json.length + 200;
}
