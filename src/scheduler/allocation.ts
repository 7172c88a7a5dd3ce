import type { Amounts } from './amounts.ts';

/**
 * The annotation of a Hypervisor that carries its allocation: what every machine has that a scheduler placed there, or
 * is about to. It is written with the Hypervisor's resourceVersion before a machine is bound, so that of two schedulers
 * that want the same room one has a conflict; and an entry stays as long as its machine, so that a scheduler whose view
 * of the machines is old counts it all the same.
 */
export const allocationAnnotation = 'scheduler.virtctl.dev/allocation';

/**
 * A longer allocation takes no further entry, in characters: Kubernetes allows an object 256 KiB of annotations, and one
 * entry has at most 1 KiB. That is over a thousand machines on one node.
 */
export const maxAllocationLength = 200 * 1024;

/** One machine of an allocation. */
export interface AllocationEntry {
  readonly namespace: string;
  readonly name: string;
  readonly requests: Amounts;
  /** New at each reservation: only who made it, or who knows that its bind cannot come any more, takes it away. */
  readonly token: string;
  /** The VirtualMachineOperation, of the machine's namespace, by which it is to move here. */
  readonly operation?: string | undefined;
}

/** An allocation by the machines' UIDs. */
export type Allocation = ReadonlyMap<string, AllocationEntry>;

/** Reads the annotation. What cannot be read counts as nothing: the machines' own spec.nodeName counts anyway. */
export function parseAllocation(annotations: Readonly<Record<string, string>> | undefined): Allocation {
  const text = annotations?.[allocationAnnotation];
  const allocation = new Map<string, AllocationEntry>();
  if (text === undefined) return allocation;
  for (const [uid, entry] of Object.entries(parse(text))) {
    const { m, r, t, o } = entry as Readonly<Record<'m' | 'r' | 't' | 'o', unknown>>;
    if (typeof m !== 'string' || typeof r !== 'object' || r === null) continue;
    const slash = m.indexOf('/');
    const requests = Object.fromEntries(
      Object.entries(r).filter((pair): pair is [string, number] => typeof pair[1] === 'number'),
    );
    const token = typeof t === 'string' ? t : '';
    const operation = typeof o === 'string' ? { operation: o } : {};
    allocation.set(uid, { namespace: m.slice(0, slash), name: m.slice(slash + 1), requests, token, ...operation });
  }
  return allocation;
}

/** Writes the annotation's value; null, which removes it, when it is empty. */
export function formatAllocation(allocation: Allocation): string | null {
  if (allocation.size === 0) return null;
  const entries = [...allocation].map(([uid, { namespace, name, requests, token, operation }]) => [
    uid,
    { m: `${namespace}/${name}`, r: requests, t: token, ...(operation === undefined ? {} : { o: operation }) },
  ]);
  return JSON.stringify(Object.fromEntries(entries));
}

function parse(text: string): object {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : {};
  } catch (error) {
    if (error instanceof SyntaxError) return {};
    throw error;
  }
}
