import { parseAllocation, type Allocation } from './allocation.ts';
import { bucketsOf, isInGroup, LabelIndex, machineBuckets } from './label-index.ts';
import { matchesSelector, type Labels } from './label-match.ts';
import type { MachineGroup, MachineInfo, MachineTerm } from './machine-info.ts';
import { NodeInfo } from './node-info.ts';
import type { Amounts } from './amounts.ts';
import type { Hypervisor } from '../api/hypervisor.ts';
import { disksOf } from '../api/lookup.ts';
import type { VirtualDisk } from '../api/virtual-disk.ts';
import type { VirtualImage } from '../api/virtual-image.ts';
import type { VirtualMachineSnapshot } from '../api/virtual-machine-snapshot.ts';
import type { VirtualNetwork } from '../api/virtual-network.ts';
import type { VirtualPool } from '../api/virtual-pool.ts';

/** The storage and networks that placing depends on: the informers' caches. */
export interface Surroundings {
  readonly disk: (namespace: string, name: string) => VirtualDisk | undefined;
  readonly image: (namespace: string, name: string) => VirtualImage | undefined;
  readonly pool: (name: string) => VirtualPool | undefined;
  readonly network: (namespace: string, name: string) => VirtualNetwork | undefined;
  readonly machineSnapshot: (namespace: string, name: string) => VirtualMachineSnapshot | undefined;
}

/** Placed machines that keep others away, by the nodes they are on. */
interface FarHolders {
  readonly term: MachineTerm;
  readonly nodes: Map<string, number>;
}

/** How much of a node is new: nothing but its allocation, what it is, or also where it is among others. */
export type NodeChange = 'allocation' | 'traits' | 'place';

/** Of more nodes than this that are gone nobody remembers what was reserved there. */
const maxRemembered = 1_000;
/** More counted groups than this are forgotten, and counted again when asked for. */
const maxGroups = 20_000;

/**
 * What is placed where, kept up to date change by change: placing a machine costs the groups it belongs to, not a walk
 * over the cluster. Filters and scores only read it.
 */
export class Snapshot {
  readonly nodes = new Map<string, NodeInfo>();
  readonly surroundings: Surroundings;
  /** The nodes in an order that does not change while none comes or goes. */
  #order: readonly NodeInfo[] | undefined;
  /** Each placed machine, with the name of its node, which may not exist (any more). */
  readonly #placed = new Map<string, { readonly machine: MachineInfo; readonly node: string }>();
  readonly #byBucket = new Map<string, Set<string>>();
  readonly #counts = new LabelIndex<Map<string, number>>();
  readonly #far = new LabelIndex<FarHolders>();
  readonly #disks = new Map<string, Map<string, number>>();
  readonly #reservedOn = new Map<string, Set<string>>();
  /** Machines that are gone for good, while an allocation still names them. */
  readonly #gone = new Set<string>();
  readonly #pods = new Map<string, Amounts>();
  /** What was reserved on nodes that are gone: a bind that was on its way then may still come, also after one is made anew. */
  readonly #remembered = new Map<string, Allocation>();
  /** The labels of namespaces, also of those that only machines tell of. */
  readonly #namespaces = new Map<string, Labels>();
  /** Whether namespaces are known by their labels; where not, what selects them by labels cannot be decided. */
  seesNamespaces = true;
  /** Whether a rule ever selected namespaces by labels. */
  #selectsNamespaces = false;
  #version = 0;

  constructor(surroundings: Surroundings) {
    this.surroundings = surroundings;
  }

  /** All nodes. */
  list(): readonly NodeInfo[] {
    this.#order ??= [...this.nodes.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    return this.#order;
  }

  /** Differs after every change of what is known. */
  get version(): number {
    return this.#version;
  }

  /** Adds or updates a node; says how much of it changed. */
  setNode(hypervisor: Hypervisor): NodeChange {
    this.#version += 1;
    const { name = '', uid } = hypervisor.metadata;
    if (this.nodes.has(name) && this.nodes.get(name)?.hypervisor.metadata.uid !== uid) this.deleteNode(name);
    const known = this.nodes.get(name);
    if (known !== undefined) {
      if (known.hypervisor.metadata.resourceVersion === hypervisor.metadata.resourceVersion) return 'allocation';
      const before = new Set(known.allocation.keys());
      const { labels } = known.traits;
      const changed = known.update(hypervisor);
      this.#noteReservations(known);
      for (const uid of known.allocation.keys()) before.delete(uid);
      this.#forgetReservations(known, before);
      if (!changed) return 'allocation';
      return JSON.stringify(labels) === JSON.stringify(known.traits.labels) ? 'traits' : 'place';
    }
    const node = new NodeInfo(hypervisor, (uid) => this.#gone.has(uid));
    node.pods = this.#pods.get(name) ?? {};
    node.inherit(this.#remembered.get(name) ?? new Map());
    this.#remembered.delete(name);
    this.nodes.set(name, node);
    this.#order = undefined;
    this.#noteReservations(node);
    for (const { machine, node: on } of this.#placed.values()) if (on === name) node.machines.set(machine.uid, machine);
    return 'place';
  }

  /**
   * Takes a node out. Its machines stay where they are, and what is reserved there is remembered.
   *
   * @param last Its last state, where that is known better.
   */
  deleteNode(name: string, last?: Hypervisor): void {
    const node = this.nodes.get(name);
    if (node === undefined) return;
    this.#version += 1;
    this.#forgetReservations(node);
    this.nodes.delete(name);
    this.#order = undefined;
    this.inherit(name, new Map([...node.allocation, ...parseAllocation(last?.metadata.annotations)]));
  }

  /** Counts what was reserved on a node's object that is gone, on the one that takes its place, now or later. */
  inherit(name: string, entries: Allocation): void {
    if (entries.size === 0) return;
    const node = this.nodes.get(name);
    if (node !== undefined) {
      this.#version += 1;
      node.inherit(entries);
      this.#noteReservations(node);
      return;
    }
    this.#remembered.set(name, new Map([...(this.#remembered.get(name) ?? []), ...entries]));
    const [oldest] = this.#remembered.keys();
    if (this.#remembered.size > maxRemembered && oldest !== undefined) this.#remembered.delete(oldest);
  }

  /** A machine was deleted: its UID never comes back, so what is reserved for it is free. */
  forget(uid: string): void {
    this.remove(uid);
    if (!this.#reservedOn.has(uid)) return;
    this.#version += 1;
    this.#gone.add(uid);
    for (const name of this.#reservedOn.get(uid) ?? []) this.nodes.get(name)?.touch();
  }

  /** Whether a machine that an allocation names was deleted. */
  isGone(uid: string): boolean {
    return this.#gone.has(uid);
  }

  /** The machines that are placed on a node, also on one that does not exist. */
  machinesOn(name: string): readonly MachineInfo[] {
    const node = this.nodes.get(name);
    if (node !== undefined) return [...node.machines.values()];
    return [...this.#placed.values()].filter(({ node: on }) => on === name).map(({ machine }) => machine);
  }

  /** What pods of a kubelet on a node request. */
  setPods(name: string, requests: Amounts): void {
    if (Object.keys(requests).length === 0) this.#pods.delete(name);
    else this.#pods.set(name, requests);
    const node = this.nodes.get(name);
    if (node === undefined) return;
    this.#version += 1;
    node.pods = requests;
    node.touch();
  }

  /** Adds or updates a namespace; says whether that may matter to a machine. */
  setNamespace(name: string, labels: Labels): boolean {
    const next = namespaceLabels(name, labels);
    if (JSON.stringify(next) === JSON.stringify(this.#namespaces.get(name))) return false;
    this.#namespaces.set(name, next);
    return this.#onNamespaces();
  }

  /** Takes a namespace out; says whether that may matter to a machine. */
  deleteNamespace(name: string): boolean {
    // The last of its machines may still be there.
    if (this.#byBucket.has(name)) return this.setNamespace(name, {});
    return this.#namespaces.delete(name) && this.#onNamespaces();
  }

  /** Whether a machine is one of a group. */
  isIn(group: MachineGroup, { namespace, labels }: MachineInfo): boolean {
    return isInGroup(group, namespace, labels, this.#labelsOf(namespace));
  }

  #labelsOf(namespace: string): Labels {
    return this.#namespaces.get(namespace) ?? namespaceLabels(namespace, {});
  }

  #onNamespaces(): boolean {
    if (!this.#selectsNamespaces) return false;
    this.#version += 1;
    this.#counts.deleteSelecting();
    return true;
  }

  /** Placed machines whose node does not exist. */
  homeless(): readonly MachineInfo[] {
    return [...this.#placed.values()].filter(({ node }) => !this.nodes.has(node)).map(({ machine }) => machine);
  }

  /** A placed machine. */
  machine(uid: string): MachineInfo | undefined {
    return this.#placed.get(uid)?.machine;
  }

  /** Where a machine is placed. */
  nodeOf(uid: string): string | undefined {
    return this.#placed.get(uid)?.node;
  }

  /** The nodes whose allocation names a machine. */
  reservationsOf(uid: string): readonly string[] {
    return [...(this.#reservedOn.get(uid) ?? [])];
  }

  /** Places a machine, or takes over its newer version. */
  place(machine: MachineInfo, nodeName: string): void {
    const { uid } = machine;
    const before = this.#placed.get(uid);
    if (before !== undefined) {
      if (before.node === nodeName && before.machine.version === machine.version) {
        this.#placed.set(uid, { machine, node: nodeName });
        this.nodes.get(nodeName)?.machines.set(uid, machine);
        return;
      }
      this.remove(uid);
    }
    this.#version += 1;
    this.#placed.set(uid, { machine, node: nodeName });
    this.nodes.get(nodeName)?.machines.set(uid, machine);
    this.#touch(uid, nodeName);
    const { namespace, labels } = machine;
    if (!this.#namespaces.has(namespace)) this.#namespaces.set(namespace, namespaceLabels(namespace, {}));
    for (const bucket of machineBuckets(namespace, labels)) {
      const members = this.#byBucket.get(bucket);
      if (members === undefined) this.#byBucket.set(bucket, new Set([uid]));
      else members.add(uid);
    }
    for (const counts of this.#counts.matching(namespace, labels, this.#labelsOf(namespace))) add(counts, nodeName, 1);
    for (const term of machine.far) {
      this.#selectsNamespaces ||= term.group.namespaceSelector !== undefined;
      const id = `${term.topologyKey}\n${term.group.id}`;
      let holders = this.#far.get(id);
      if (holders === undefined) {
        holders = { term, nodes: new Map() };
        this.#far.set(id, term.group, holders);
      }
      add(holders.nodes, nodeName, 1);
    }
    for (const { disk } of disksOf(machine)) {
      const id = `${machine.namespace}/${disk}`;
      const nodes = this.#disks.get(id);
      if (nodes === undefined) this.#disks.set(id, new Map([[nodeName, 1]]));
      else add(nodes, nodeName, 1);
    }
  }

  /** Takes a machine away from its node. */
  remove(uid: string): void {
    const placed = this.#placed.get(uid);
    if (placed === undefined) return;
    const { machine, node } = placed;
    this.#version += 1;
    this.#placed.delete(uid);
    this.nodes.get(node)?.machines.delete(uid);
    this.#touch(uid, node);
    for (const bucket of machineBuckets(machine.namespace, machine.labels)) {
      const members = this.#byBucket.get(bucket);
      members?.delete(uid);
      if (members?.size === 0) this.#byBucket.delete(bucket);
    }
    const { namespace, labels } = machine;
    for (const counts of this.#counts.matching(namespace, labels, this.#labelsOf(namespace))) add(counts, node, -1);
    for (const term of machine.far) {
      const id = `${term.topologyKey}\n${term.group.id}`;
      const holders = this.#far.get(id);
      if (holders === undefined) continue;
      add(holders.nodes, node, -1);
      if (holders.nodes.size === 0) this.#far.delete(id);
    }
    for (const { disk } of disksOf(machine)) {
      const id = `${machine.namespace}/${disk}`;
      const nodes = this.#disks.get(id);
      if (nodes === undefined) continue;
      add(nodes, node, -1);
      if (nodes.size === 0) this.#disks.delete(id);
    }
  }

  /**
   * Takes a machine away with what is reserved for it, to see what would be then.
   *
   * @returns Puts both back.
   */
  lift(machine: MachineInfo, nodeName: string): () => void {
    const { uid } = machine;
    const wasGone = this.#gone.has(uid);
    this.remove(uid);
    this.#gone.add(uid);
    return () => {
      if (!wasGone) this.#gone.delete(uid);
      this.place(machine, nodeName);
    };
  }

  /** How many placed machines of a group each node has; nodes with none are left out. */
  countsOf(group: MachineGroup): ReadonlyMap<string, number> {
    const known = this.#counts.get(group.id);
    if (known !== undefined) return known;
    const counts = new Map<string, number>();
    for (const bucket of bucketsOf({ ...group, namespaces: this.#namespacesOf(group) })) {
      for (const uid of this.#byBucket.get(bucket) ?? []) {
        const placed = this.#placed.get(uid);
        if (placed !== undefined && matchesSelector(group.selector, placed.machine.labels)) add(counts, placed.node, 1);
      }
    }
    if (this.#counts.size >= maxGroups) this.#counts.clear();
    this.#counts.set(group.id, group, counts);
    return counts;
  }

  /** The anti-affinity of placed machines that keeps a machine away. */
  farFrom(machine: MachineInfo): readonly FarHolders[] {
    return this.#far.matching(machine.namespace, machine.labels, this.#labelsOf(machine.namespace));
  }

  #namespacesOf({ namespaces, namespaceSelector }: MachineGroup): readonly string[] {
    if (namespaceSelector === undefined) return namespaces;
    this.#selectsNamespaces = true;
    const all = new Set(namespaces);
    for (const [name, labels] of this.#namespaces) if (matchesSelector(namespaceSelector, labels)) all.add(name);
    return [...all];
  }

  /** The nodes on which placed machines use a disk. */
  diskUsers(namespace: string, disk: string): readonly string[] {
    return [...(this.#disks.get(`${namespace}/${disk}`)?.keys() ?? [])];
  }

  #touch(uid: string, nodeName: string): void {
    this.nodes.get(nodeName)?.touch();
    for (const name of this.#reservedOn.get(uid) ?? []) this.nodes.get(name)?.touch();
  }

  #noteReservations(node: NodeInfo): void {
    for (const uid of node.allocation.keys()) {
      const nodes = this.#reservedOn.get(uid);
      if (nodes === undefined) this.#reservedOn.set(uid, new Set([node.name]));
      else nodes.add(node.name);
    }
  }

  #forgetReservations(node: NodeInfo, uids: Iterable<string> = node.allocation.keys()): void {
    for (const uid of uids) {
      const nodes = this.#reservedOn.get(uid);
      nodes?.delete(node.name);
      if (nodes?.size !== 0) continue;
      this.#reservedOn.delete(uid);
      this.#gone.delete(uid);
    }
  }
}

function add(counts: Map<string, number>, name: string, delta: 1 | -1): void {
  const next = (counts.get(name) ?? 0) + delta;
  if (next > 0) counts.set(name, next);
  else counts.delete(name);
}

/** Every namespace has its name for a label, whatever else it has. */
function namespaceLabels(name: string, labels: Labels): Labels {
  return { ...labels, 'kubernetes.io/metadata.name': name };
}
