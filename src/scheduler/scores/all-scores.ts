/** Every score: which of the nodes that will do is the best. Each rates from 0 to 100 and is multiplied by its weight. */
import { domainCounts } from '../filters/topology-spread.ts';
import { occupied } from '../filters/machine-affinity.ts';
import { isTolerated, matchesNodeTerm } from '../label-match.ts';
import { machineGroup } from '../machine-info.ts';
import type { NodeInfo } from '../node-info.ts';
import type { Score } from '../plugin.ts';

/** A place that is kept for the machine already is taken up: the bind that was to follow did not come. */
export const reservation: Score = {
  weight: 1000,
  prepare({ uid }, snapshot) {
    const reserved = new Set(snapshot.reservationsOf(uid));
    return reserved.size === 0 ? undefined : ({ name }) => (reserved.has(name) ? 100 : 0);
  },
};

/** KVM before emulation. */
export const native: Score = {
  weight: 10,
  prepare: ({ spec }) =>
    (spec.domain?.type ?? 'kvm') === 'kvm' ? ({ traits }) => (traits.kvmUsable ? 100 : 0) : undefined,
};

/** The emptier the better: what is free after placing, as a part of all. */
export const leastAllocated: Score = {
  weight: 1,
  prepare: ({ requests, uid }) => {
    return (node) => (freePart(node, 'cpu', requests, uid) + freePart(node, 'memory', requests, uid)) * 50;
  },
};

/** CPUs and memory used to a like part, so that neither is left over. */
export const balanced: Score = {
  weight: 1,
  prepare: ({ requests, uid }) => {
    return (node) =>
      100 * (1 - Math.abs(freePart(node, 'cpu', requests, uid) - freePart(node, 'memory', requests, uid)));
  },
};

/** The preferred node affinity. */
export const preferredNodes: Score = {
  weight: 2,
  prepare({ spec }) {
    const preferences = spec.affinity?.nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
    const total = preferences.reduce((sum, { weight }) => sum + weight, 0);
    if (total === 0) return undefined;
    return ({ traits, name }) => {
      let sum = 0;
      for (const { weight, preference } of preferences) {
        if (matchesNodeTerm(preference, traits.labels, name)) sum += weight;
      }
      return (100 * sum) / total;
    };
  },
};

/** The preferred affinity and anti-affinity between machines. */
export const preferredMachines: Score = {
  weight: 2,
  prepare({ spec, namespace, labels }, snapshot) {
    const { vmAffinity, vmAntiAffinity } = spec.affinity ?? {};
    const terms = [
      ...(vmAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []).map((one) => ({ ...one, near: true })),
      ...(vmAntiAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []).map((one) => ({
        ...one,
        near: false,
      })),
    ].map(({ weight, vmAffinityTerm, near }) => {
      const term = {
        group: machineGroup(vmAffinityTerm, { namespace, labels }),
        topologyKey: vmAffinityTerm.topologyKey,
      };
      return { weight, near, key: term.topologyKey, values: occupied(term, snapshot) };
    });
    const total = terms.reduce((sum, { weight }) => sum + weight, 0);
    if (total === 0) return undefined;
    return ({ traits }) => {
      let sum = 0;
      for (const { weight, near, key, values } of terms) {
        const value = traits.labels[key];
        if ((value !== undefined && values.has(value)) === near) sum += weight;
      }
      return (100 * sum) / total;
    };
  },
};

/** Spreading constraints with ScheduleAnyway: the fewer of its kind, the better. */
export const preferredSpread: Score = {
  weight: 2,
  prepare(machine, snapshot) {
    const rules = (machine.spec.topologySpreadConstraints ?? [])
      .filter(({ whenUnsatisfiable }) => whenUnsatisfiable === 'ScheduleAnyway')
      .map((constraint) => ({ key: constraint.topologyKey, ...domainCounts(constraint, [], machine, snapshot) }));
    if (rules.length === 0) return undefined;
    return ({ traits }) => {
      let sum = 0;
      for (const { key, counts, least } of rules) {
        const value = traits.labels[key];
        if (value !== undefined) sum += 100 / (1 + (counts.get(value) ?? 0) - least);
      }
      return sum / rules.length;
    };
  },
};

/** Taints with PreferNoSchedule that are not tolerated. */
export const preferredTaints: Score = {
  weight: 3,
  prepare:
    ({ spec }) =>
    ({ traits }) => {
      const against = traits.taints.filter(
        (taint) => taint.effect === 'PreferNoSchedule' && !isTolerated(taint, spec.tolerations),
      );
      return 100 / (1 + against.length);
    },
};

/** Images that are on the node already need not be fetched. */
export const imageLocality: Score = {
  weight: 1,
  prepare({ spec, namespace }, { surroundings }) {
    const names = (spec.volumes ?? []).flatMap(({ virtualImage, virtualDisk }) => {
      if (virtualImage !== undefined) return [virtualImage];
      const disk = virtualDisk === undefined ? undefined : surroundings.disk(namespace, virtualDisk);
      const source = disk?.status?.phase === 'Ready' ? undefined : disk?.spec.source?.image?.name;
      return source === undefined ? [] : [source];
    });
    if (names.length === 0) return undefined;
    const places = names.map(
      (name) =>
        new Set(
          (surroundings.image(namespace, name)?.status?.nodes ?? [])
            .filter(({ phase }) => phase === 'Ready')
            .map(({ nodeName }) => nodeName),
        ),
    );
    return ({ name }) => (100 * places.filter((place) => place.has(name) || place.has('')).length) / places.length;
  },
};

/** Every score. */
export const allScores: readonly Score[] = [
  reservation,
  native,
  leastAllocated,
  balanced,
  preferredNodes,
  preferredMachines,
  preferredSpread,
  preferredTaints,
  imageLocality,
];

function freePart(node: NodeInfo, resource: string, requests: Readonly<Record<string, number>>, uid: string): number {
  const capacity = node.capacity(resource);
  if (capacity <= 0) return 0;
  return Math.max(0, Math.min(1, (node.free(resource, uid) - (requests[resource] ?? 0)) / capacity));
}
