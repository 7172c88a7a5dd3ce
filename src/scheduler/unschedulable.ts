import type { MachineInfo } from './machine-info.ts';
import type { NodeInfo } from './node-info.ts';
import type { Failure } from './plugin.ts';
import { prepareTest } from './select-node.ts';
import type { Snapshot } from './snapshot.ts';

/** Values of single nodes that one line shows. */
const maxValues = 5;
/** Nodes that are looked at for machines that could make room. */
const maxCandidates = 50;

/** Why no node will do, in one line: `3 nodes: 1 cordoned, 2 too little memory (needs 4 GiB, free 1.5 GiB, 0.9 GiB)`. */
export function unschedulableMessage(failures: ReadonlyMap<NodeInfo, Failure>): string {
  if (failures.size === 0) return 'there are no nodes';
  const groups = new Map<string, Failure[]>();
  for (const failure of failures.values()) {
    const key = `${failure.reason}\n${failure.need ?? ''}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [failure]);
    else group.push(failure);
  }
  const parts = [...groups.values()]
    .sort((a, b) => a.length - b.length || ((a[0]?.reason ?? '') < (b[0]?.reason ?? '') ? -1 : 1))
    .map((group) => {
      const first = group[0];
      const values = group.flatMap(({ has }) => has?.value ?? []);
      const shown = values.slice(0, maxValues).join(', ') + (values.length > maxValues ? ', …' : '');
      const label = first?.has === undefined ? [] : [`${first.has.label} ${shown}`];
      const details = [...(first?.need === undefined ? [] : [first.need]), ...label].join(', ');
      return `${group.length} ${first?.reason ?? ''}${details === '' ? '' : ` (${details})`}`;
    });
  return `${failures.size} ${failures.size === 1 ? 'node' : 'nodes'}: ${parts.join(', ')}`;
}

/** Why one node will not do: `too little memory (needs 4 GiB, free 1.5 GiB)`. */
export function failureText({ reason, need, has }: Failure): string {
  const details = [...(need === undefined ? [] : [need]), ...(has === undefined ? [] : [`${has.label} ${has.value}`])];
  return `${reason}${details.length === 0 ? '' : ` (${details.join(', ')})`}`;
}

/** Machines whose move would make room. */
export interface Preemption {
  readonly node: string;
  /** Least important first. */
  readonly machines: readonly MachineInfo[];
}

/**
 * The node on which the fewest machines of lower priority would have to go. It is only reported: a machine is never
 * killed for another, and moving it is for whoever runs the cluster to decide.
 */
export function findPreemption(
  machine: MachineInfo,
  snapshot: Snapshot,
  failures: ReadonlyMap<NodeInfo, Failure>,
): Preemption | undefined {
  let best: Preemption | undefined;
  const candidates = [...failures].filter(([, { crowded }]) => crowded === true).slice(0, maxCandidates);
  for (const [node] of candidates) {
    const lower = [...node.machines.values()]
      .filter(({ priority }) => priority < machine.priority)
      .sort((a, b) => a.priority - b.priority || b.createdAtMs - a.createdAtMs);
    const gone: MachineInfo[] = [];
    const undo: (() => void)[] = [];
    let fits = false;
    try {
      for (const victim of lower) {
        undo.push(snapshot.lift(victim, node.name));
        gone.push(victim);
        fits = prepareTest(machine, snapshot)(node) === undefined;
        if (fits || (best !== undefined && gone.length >= best.machines.length)) break;
      }
    } finally {
      for (const back of undo) back();
    }
    if (fits && (best === undefined || gone.length < best.machines.length)) best = { node: node.name, machines: gone };
  }
  return best;
}
