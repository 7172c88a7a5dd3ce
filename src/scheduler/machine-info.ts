import type { Amounts } from './amounts.ts';
import type { Labels } from './label-match.ts';
import { machineRequests } from './machine-requests.ts';
import type { Affinity, LabelSelector } from '../api/scheduling.ts';
import { findCondition, type Condition } from '../api/meta.ts';
import type { VirtualMachine, VirtualMachineSpec } from '../api/virtual-machine.ts';

/** Machines of some namespaces that a selector matches: what affinity, anti-affinity and spreading speak of. */
export interface MachineGroup {
  /** Equal for equal groups. */
  readonly id: string;
  /** By name. */
  readonly namespaces: readonly string[];
  /** By labels, beside those. */
  readonly namespaceSelector: LabelSelector | undefined;
  readonly selector: LabelSelector | undefined;
}

/** A term of machine affinity or anti-affinity. */
export interface MachineTerm {
  readonly group: MachineGroup;
  readonly topologyKey: string;
}

/** What the scheduler knows of a machine. */
export interface MachineInfo {
  /** `namespace/name`. */
  readonly key: string;
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly resourceVersion: string;
  readonly labels: Labels;
  readonly priority: number;
  /** Milliseconds since 1970. */
  readonly createdAtMs: number;
  readonly deleting: boolean;
  /** The node it is on; empty when it has none. */
  readonly nodeName: string;
  readonly requests: Amounts;
  readonly spec: VirtualMachineSpec;
  readonly near: readonly MachineTerm[];
  readonly far: readonly MachineTerm[];
  /** The condition Scheduled, as stored. */
  readonly scheduled: Condition | undefined;
  /** Where status says that its domain is. */
  readonly domainNode: string;
  /** Differs when anything does that placing it depends on. */
  readonly version: string;
  /** Whether placing it depends on where other machines are. */
  readonly relational: boolean;
  /** Equal for machines for which the same nodes will do. */
  readonly shape: string;
  readonly object: VirtualMachine;
}

/** What speaks of a group: a term of affinity, or a rule of spreading. */
interface GroupRule {
  readonly labelSelector?: LabelSelector | undefined;
  readonly namespaces?: readonly string[] | undefined;
  readonly namespaceSelector?: LabelSelector | undefined;
  readonly matchLabelKeys?: readonly string[] | undefined;
  readonly mismatchLabelKeys?: readonly string[] | undefined;
}

/** The group that a rule of a machine speaks of. */
export function machineGroup(
  rule: GroupRule,
  { namespace, labels }: { readonly namespace: string; readonly labels: Labels },
): MachineGroup {
  const given = [...new Set(rule.namespaces ?? [])].sort();
  const { namespaceSelector } = rule;
  const namespaces = given.length === 0 && namespaceSelector === undefined ? [namespace] : given;
  const selector = withOwnLabels(rule, labels);
  return { id: JSON.stringify([namespaces, selector, namespaceSelector]), namespaces, namespaceSelector, selector };
}

/**
 * The selector with the machine's own values of the keys that a rule names; those that it does not have do not count. As
 * for pods, but with the labels of now: the API server merges those of a pod when that is made.
 */
function withOwnLabels(
  { labelSelector, matchLabelKeys = [], mismatchLabelKeys = [] }: GroupRule,
  labels: Labels,
): LabelSelector | undefined {
  if (labelSelector === undefined || matchLabelKeys.length + mismatchLabelKeys.length === 0) return labelSelector;
  const own = (keys: readonly string[], operator: 'In' | 'NotIn') =>
    keys.flatMap((key) => {
      const value = labels[key];
      return value === undefined ? [] : [{ key, operator, values: [value] }];
    });
  const added = [...own(matchLabelKeys, 'In'), ...own(mismatchLabelKeys, 'NotIn')];
  return { ...labelSelector, matchExpressions: [...(labelSelector.matchExpressions ?? []), ...added] };
}

type Terms = NonNullable<Affinity['vmAffinity']>['requiredDuringSchedulingIgnoredDuringExecution'];

/** Reads an object. */
export function machineInfo(object: VirtualMachine): MachineInfo {
  const { metadata, status } = object;
  // The executor of another version may have left a status without a spec to speak of.
  const spec = (object.spec as VirtualMachineSpec | undefined) ?? {};
  const namespace = metadata.namespace ?? 'default';
  const name = metadata.name ?? '';
  const labels = metadata.labels ?? {};
  const terms = (list: Terms): MachineTerm[] =>
    (list ?? []).map((term) => ({ group: machineGroup(term, { namespace, labels }), topologyKey: term.topologyKey }));
  const near = terms(spec.affinity?.vmAffinity?.requiredDuringSchedulingIgnoredDuringExecution);
  const far = terms(spec.affinity?.vmAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution);
  const disks = (spec.volumes ?? []).some(({ virtualDisk }) => virtualDisk !== undefined);
  return {
    key: `${namespace}/${name}`,
    uid: metadata.uid ?? '',
    namespace,
    name,
    resourceVersion: metadata.resourceVersion ?? '',
    labels,
    priority: spec.priority ?? 0,
    createdAtMs: Date.parse(metadata.creationTimestamp ?? '') || 0,
    deleting: (metadata.deletionTimestamp ?? null) !== null,
    nodeName: spec.nodeName ?? '',
    requests: machineRequests(spec),
    spec,
    near,
    far,
    relational: disks || near.length + far.length + (spec.topologySpreadConstraints ?? []).length > 0,
    scheduled: findCondition(status, 'Scheduled'),
    domainNode: status?.nodeName ?? '',
    version: `${metadata.uid ?? ''}/${metadata.generation ?? 0}/${JSON.stringify(labels)}`,
    shape: shapeOf(namespace, labels, spec),
    object,
  };
}

function shapeOf(namespace: string, labels: Labels, spec: VirtualMachineSpec): string {
  const { runStrategy: _when, terminationGracePeriodSeconds: _grace, ...rest } = spec;
  return JSON.stringify([namespace, labels, rest]);
}
