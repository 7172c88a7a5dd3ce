import { matchesSelector, type Labels } from './label-match.ts';
import type { MachineGroup } from './machine-info.ts';

/**
 * Finds the groups that a machine belongs to without asking each: a group that demands a label is kept under that label,
 * so that ten thousand applications with a selector each cost a machine no more than one.
 */
export class LabelIndex<T> {
  readonly #buckets = new Map<string, Map<string, { readonly group: MachineGroup; readonly value: T }>>();
  readonly #values = new Map<string, { readonly group: MachineGroup; readonly value: T }>();

  get size(): number {
    return this.#values.size;
  }

  get(id: string): T | undefined {
    return this.#values.get(id)?.value;
  }

  /** Adds or replaces. */
  set(id: string, group: MachineGroup, value: T): void {
    this.delete(id);
    const entry = { group, value };
    this.#values.set(id, entry);
    for (const bucket of bucketsOf(group)) {
      const entries = this.#buckets.get(bucket);
      if (entries === undefined) this.#buckets.set(bucket, new Map([[id, entry]]));
      else entries.set(id, entry);
    }
  }

  delete(id: string): void {
    const entry = this.#values.get(id);
    if (entry === undefined) return;
    this.#values.delete(id);
    for (const bucket of bucketsOf(entry.group)) {
      const entries = this.#buckets.get(bucket);
      entries?.delete(id);
      if (entries?.size === 0) this.#buckets.delete(bucket);
    }
  }

  clear(): void {
    this.#buckets.clear();
    this.#values.clear();
  }

  /** Those whose group a machine is in. */
  matching(namespace: string, labels: Labels): T[] {
    const found: T[] = [];
    for (const bucket of machineBuckets(namespace, labels)) {
      for (const { group, value } of this.#buckets.get(bucket)?.values() ?? []) {
        if (matchesSelector(group.selector, labels)) found.push(value);
      }
    }
    return found;
  }
}

/** Where a group is kept: under one label that it demands, else under its namespaces. */
export function bucketsOf({ namespaces, selector }: MachineGroup): string[] {
  const first = Object.entries(selector?.matchLabels ?? {})[0];
  const suffix = first === undefined ? '' : `\n${first[0]}=${first[1]}`;
  return namespaces.map((namespace) => `${namespace}${suffix}`);
}

/** Where groups are to be looked for that a machine may be in. */
export function machineBuckets(namespace: string, labels: Labels): string[] {
  return [namespace, ...Object.entries(labels).map(([key, value]) => `${namespace}\n${key}=${value}`)];
}
