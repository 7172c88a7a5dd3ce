import { matchesSelector, type Labels } from './label-match.ts';
import type { MachineGroup } from './machine-info.ts';

/**
 * Finds the groups that a machine belongs to without asking each: a group that demands a label is kept under that label,
 * so that ten thousand applications with a selector each cost a machine no more than one.
 */
export class LabelIndex<T> {
  readonly #buckets = new Map<string, Map<string, { readonly group: MachineGroup; readonly value: T }>>();
  readonly #values = new Map<string, { readonly group: MachineGroup; readonly value: T }>();
  /** Those whose groups select namespaces by labels. */
  readonly #selecting = new Set<string>();

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
    if (group.namespaceSelector !== undefined) this.#selecting.add(id);
    for (const bucket of indexBuckets(group)) {
      const entries = this.#buckets.get(bucket);
      if (entries === undefined) this.#buckets.set(bucket, new Map([[id, entry]]));
      else entries.set(id, entry);
    }
  }

  delete(id: string): void {
    const entry = this.#values.get(id);
    if (entry === undefined) return;
    this.#values.delete(id);
    this.#selecting.delete(id);
    for (const bucket of indexBuckets(entry.group)) {
      const entries = this.#buckets.get(bucket);
      entries?.delete(id);
      if (entries?.size === 0) this.#buckets.delete(bucket);
    }
  }

  clear(): void {
    this.#buckets.clear();
    this.#values.clear();
    this.#selecting.clear();
  }

  /** Takes out what namespaces' labels decide on. */
  deleteSelecting(): void {
    for (const id of [...this.#selecting]) this.delete(id);
  }

  /** Those whose group a machine is in. */
  matching(namespace: string, labels: Labels, namespaceLabels: Labels): T[] {
    const found: T[] = [];
    const find = (buckets: readonly string[]): void => {
      for (const bucket of buckets) {
        for (const { group, value } of this.#buckets.get(bucket)?.values() ?? []) {
          if (isInGroup(group, namespace, labels, namespaceLabels)) found.push(value);
        }
      }
    };
    find(machineBuckets(namespace, labels));
    if (this.#selecting.size > 0) find(machineBuckets(anyNamespace, labels));
    return found;
  }
}

/** Whether a machine is one of a group. */
export function isInGroup(
  { namespaces, namespaceSelector, selector }: MachineGroup,
  namespace: string,
  labels: Labels,
  namespaceLabels: Labels,
): boolean {
  return (
    (namespaces.includes(namespace) || matchesSelector(namespaceSelector, namespaceLabels)) &&
    matchesSelector(selector, labels)
  );
}

/** Stands for namespaces that a group selects by labels; no namespace has this name. */
const anyNamespace = '*';

/** Each group is found in one bucket at most for a machine: one that selects namespaces is only kept for all of them. */
function indexBuckets(group: MachineGroup): string[] {
  return group.namespaceSelector === undefined ? bucketsOf(group) : bucketsOf({ ...group, namespaces: [anyNamespace] });
}

/** Where machines of a group are found: under one label that it demands, else under its namespaces. */
export function bucketsOf({ namespaces, selector }: Pick<MachineGroup, 'namespaces' | 'selector'>): string[] {
  const first = Object.entries(selector?.matchLabels ?? {})[0];
  const suffix = first === undefined ? '' : `\n${first[0]}=${first[1]}`;
  return namespaces.map((namespace) => `${namespace}${suffix}`);
}

/** Where groups are to be looked for that a machine may be in. */
export function machineBuckets(namespace: string, labels: Labels): string[] {
  return [namespace, ...Object.entries(labels).map(([key, value]) => `${namespace}\n${key}=${value}`)];
}
