import type { MachineInfo } from './machine-info.ts';

/** Machines that wait for their turn: higher priority first, then older. Each once, in its newest version. */
export class SchedulingQueue {
  readonly #waiting = new Map<string, MachineInfo>();
  readonly #uids = new Set<string>();
  #heap: MachineInfo[] = [];

  get size(): number {
    return this.#waiting.size;
  }

  has(key: string): boolean {
    return this.#waiting.has(key);
  }

  hasUid(uid: string): boolean {
    return this.#uids.has(uid);
  }

  /** Adds a machine, or takes over its newer version. */
  add(machine: MachineInfo): void {
    this.delete(machine.key);
    this.#waiting.set(machine.key, machine);
    this.#uids.add(machine.uid);
    this.#heap.push(machine);
    this.#up(this.#heap.length - 1);
    // Replaced versions stay in the heap until their turn; they must not outnumber the rest.
    if (this.#heap.length > 2 * this.#waiting.size + 64) this.#rebuild();
  }

  delete(key: string): void {
    const known = this.#waiting.get(key);
    if (known === undefined) return;
    this.#waiting.delete(key);
    this.#uids.delete(known.uid);
  }

  /** Takes the next one out. */
  pop(): MachineInfo | undefined {
    for (;;) {
      const first = this.#heap[0];
      const last = this.#heap.pop();
      if (first === undefined || last === undefined) return undefined;
      if (this.#heap.length > 0) {
        this.#heap[0] = last;
        this.#down(0);
      }
      if (this.#waiting.get(first.key) !== first) continue;
      this.delete(first.key);
      return first;
    }
  }

  #rebuild(): void {
    this.#heap = [...this.#waiting.values()].sort((a, b) => (isBefore(a, b) ? -1 : 1));
  }

  #up(start: number): void {
    for (let at = start; at > 0;) {
      const parent = (at - 1) >> 1;
      if (!this.#swapIfBefore(at, parent)) return;
      at = parent;
    }
  }

  #down(start: number): void {
    for (let at = start; ;) {
      const [left, right] = [2 * at + 1, 2 * at + 2];
      const [one, two] = [this.#heap[left], this.#heap[right]];
      if (one === undefined) return;
      const child = two !== undefined && isBefore(two, one) ? right : left;
      if (!this.#swapIfBefore(child, at)) return;
      at = child;
    }
  }

  #swapIfBefore(child: number, parent: number): boolean {
    const [lower, upper] = [this.#heap[child], this.#heap[parent]];
    if (lower === undefined || upper === undefined || !isBefore(lower, upper)) return false;
    this.#heap[child] = upper;
    this.#heap[parent] = lower;
    return true;
  }
}

/** Whose turn comes first: the more important, then the older. */
export function isBefore(a: MachineInfo, b: MachineInfo): boolean {
  if (a.priority !== b.priority) return a.priority > b.priority;
  if (a.createdAtMs !== b.createdAtMs) return a.createdAtMs < b.createdAtMs;
  return a.key < b.key;
}
