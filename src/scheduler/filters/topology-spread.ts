import { availability } from './availability.ts';
import { nodeAffinity } from './node-affinity.ts';
import { taints } from './taints.ts';
import { matchesSelector } from '../label-match.ts';
import { machineGroup, type MachineInfo } from '../machine-info.ts';
import type { NodeInfo } from '../node-info.ts';
import type { Filter } from '../plugin.ts';
import type { Snapshot } from '../snapshot.ts';
import type { TopologySpreadConstraint } from '../../api/scheduling.ts';

/** Constraints with DoNotSchedule: after placing, no topology domain has over maxSkew machines more than the least one. */
export const topologySpread: Filter = (machine, snapshot) => {
  const constraints = (machine.spec.topologySpreadConstraints ?? []).filter(
    ({ whenUnsatisfiable }) => whenUnsatisfiable === 'DoNotSchedule',
  );
  if (constraints.length === 0) return undefined;
  const keys = constraints.map(({ topologyKey }) => topologyKey);
  const rules = constraints.map((constraint) => ({ constraint, ...domainCounts(constraint, keys, machine, snapshot) }));
  return ({ traits }) => {
    for (const { constraint, counts, least, self } of rules) {
      const { topologyKey, maxSkew } = constraint;
      const value = traits.labels[topologyKey];
      if (value === undefined) return { reason: `without the label ${topologyKey}` };
      if ((counts.get(value) ?? 0) + self - least > maxSkew) {
        return { reason: `where ${topologyKey}=${value} has too many of its kind`, crowded: true };
      }
    }
    return undefined;
  };
};

/**
 * How many machines of a constraint each topology domain has, over the nodes that its policies let count.
 *
 * @param keys The labels that all of its constraints ask for: a node without one of them cannot be chosen, and must not be
 * what the others are compared with (kube-scheduler's rule).
 */
export function domainCounts(
  constraint: TopologySpreadConstraint,
  keys: readonly string[],
  machine: MachineInfo,
  snapshot: Snapshot,
): { readonly counts: ReadonlyMap<string, number>; readonly least: number; readonly self: 0 | 1 } {
  const { topologyKey, minDomains = 1 } = constraint;
  const group = machineGroup(constraint, machine);
  const placed = snapshot.countsOf(group);
  const counts = new Map<string, number>();
  const eligible = isCounted(constraint, machine, snapshot);
  for (const node of snapshot.nodes.values()) {
    const value = node.traits.labels[topologyKey];
    if (value === undefined || keys.some((key) => node.traits.labels[key] === undefined) || !eligible(node)) continue;
    counts.set(value, (counts.get(value) ?? 0) + (placed.get(node.name) ?? 0));
  }
  let least = Infinity;
  for (const count of counts.values()) least = Math.min(least, count);
  return {
    counts,
    // With too few domains, one more that has none is thought of.
    least: counts.size < minDomains ? 0 : least,
    self: matchesSelector(group.selector, machine.labels) ? 1 : 0,
  };
}

/** Whether a node counts: by default where the machine asks to be, whatever keeps machines off it. */
function isCounted(
  { nodeAffinityPolicy, nodeTaintsPolicy }: TopologySpreadConstraint,
  machine: MachineInfo,
  snapshot: Snapshot,
): (node: NodeInfo) => boolean {
  const filters: Filter[] = [];
  if (nodeAffinityPolicy !== 'Ignore') filters.push(nodeAffinity);
  // Kubernetes' nodes have taints when they are cordoned or not ready.
  if (nodeTaintsPolicy === 'Honor') filters.push(availability, taints);
  const tests = filters.flatMap((filter) => filter(machine, snapshot) ?? []);
  return (node) => tests.every((test) => test(node) === undefined);
}
