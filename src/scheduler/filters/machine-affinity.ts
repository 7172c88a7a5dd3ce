import type { MachineTerm } from '../machine-info.ts';
import type { Filter } from '../plugin.ts';
import type { Snapshot } from '../snapshot.ts';

/**
 * Required affinity and anti-affinity between machines, in both directions, as between pods: a machine is not placed
 * where one is that it must be far from, nor where one is that must be far from it.
 */
export const machineAffinity: Filter = (machine, snapshot) => {
  if (!snapshot.seesNamespaces && [...machine.near, ...machine.far].some(asksForLabels)) {
    return () => ({ reason: 'that would do if the scheduler might list namespaces, as namespaceSelector asks for' });
  }
  const near = machine.near.map((term) => {
    const values = occupied(term, snapshot);
    // The first machine of a group that is to be together may go anywhere; those on nodes without the key are no company.
    return { key: term.topologyKey, values, isFirst: values.size === 0 && snapshot.isIn(term.group, machine) };
  });
  const far = machine.far.map((term) => ({ key: term.topologyKey, values: occupied(term, snapshot) }));
  for (const { term, nodes } of snapshot.farFrom(machine)) {
    far.push({ key: term.topologyKey, values: topologyValues(nodes.keys(), term.topologyKey, snapshot) });
  }
  if (near.length + far.length === 0) return undefined;
  return ({ traits }) => {
    for (const { key, values, isFirst } of near) {
      const value = traits.labels[key];
      if (value === undefined) return { reason: `without the label ${key}` };
      if (!values.has(value) && !isFirst) return { reason: 'without a machine that it must be near' };
    }
    for (const { key, values } of far) {
      const value = traits.labels[key];
      if (value !== undefined && values.has(value)) {
        return { reason: 'with a machine that it must be far from', crowded: true };
      }
    }
    return undefined;
  };
};

/** Whether a term selects namespaces by labels; an empty selector stands for all. */
function asksForLabels({ group: { namespaceSelector } }: MachineTerm): boolean {
  const { matchLabels = {}, matchExpressions = [] } = namespaceSelector ?? {};
  return Object.keys(matchLabels).length + matchExpressions.length > 0;
}

/** The topology domains in which a machine of a term's group is. */
export function occupied({ group, topologyKey }: MachineTerm, snapshot: Snapshot): ReadonlySet<string> {
  return topologyValues(snapshot.countsOf(group).keys(), topologyKey, snapshot);
}

function topologyValues(names: Iterable<string>, key: string, { nodes }: Snapshot): ReadonlySet<string> {
  const values = new Set<string>();
  for (const name of names) {
    // A node that is gone was called by its name at least.
    const value = nodes.get(name)?.traits.labels[key] ?? (key === 'kubernetes.io/hostname' ? name : undefined);
    if (value !== undefined) values.add(value);
  }
  return values;
}
