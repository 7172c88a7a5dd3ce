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
  readonly namespaces: readonly string[];
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

/** The group of a term in a machine of `namespace`. */
export function machineGroup(
  term: { readonly labelSelector?: LabelSelector | undefined; readonly namespaces?: readonly string[] | undefined },
  namespace: string,
): MachineGroup {
  const given = [...new Set(term.namespaces ?? [])].sort();
  const namespaces = given.length === 0 ? [namespace] : given;
  return { id: JSON.stringify([namespaces, term.labelSelector]), namespaces, selector: term.labelSelector };
}

type Terms = NonNullable<Affinity['vmAffinity']>['requiredDuringSchedulingIgnoredDuringExecution'];

/** Reads an object. */
export function machineInfo(object: VirtualMachine): MachineInfo {
  const { metadata, status } = object;
  // The executor of another version may have left a status without a spec to speak of.
  const spec = (object.spec as VirtualMachineSpec | undefined) ?? {};
  const namespace = metadata.namespace ?? 'default';
  const name = metadata.name ?? '';
  const terms = (list: Terms): MachineTerm[] =>
    (list ?? []).map((term) => ({ group: machineGroup(term, namespace), topologyKey: term.topologyKey }));
  const labels = metadata.labels ?? {};
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
