/**
 * What may help which machine that waits: the only way in which one is looked at again. Pure.
 *
 * A machine waits because of nodes, of other machines, or of its volumes and networks; each change is held against
 * what it waits for, and a change of room on one node only counts when the machine would fit there now.
 */
import { accumulate } from './amounts.ts';
import type { MachineInfo } from './machine-info.ts';
import { machineGroup } from './machine-info.ts';
import type { NodeInfo } from './node-info.ts';
import { isBefore } from './scheduling-queue.ts';
import { prepareTest } from './select-node.ts';
import type { NodeChange, Snapshot } from './snapshot.ts';

/** Kinds of objects that machines name. */
export type NamedKind = 'VirtualDisk' | 'VirtualImage' | 'VirtualPool' | 'VirtualNetwork' | 'VirtualMachineSnapshot';

/** More changed machines than this are not told apart. */
const maxMachines = 256;
/**
 * Of up to this many machines each is told anew why it waits when a node is cordoned, or ready again. Of more, those are
 * looked at that the change may help.
 */
const maxRetold = 1_000;

/** Changes since machines that wait were last looked over. */
export class Changes {
  /** A node came or went, or has other labels, or a namespace did: that can matter to anyone. */
  #places = false;
  /** A node became another one in more than its allocation. */
  #traits = false;
  /** Nodes on which there may be room now that was not before. */
  readonly room = new Set<string>();
  /** Machines that were placed, went, or have other labels: in each version. */
  readonly machines: MachineInfo[] = [];
  /** As `VirtualDisk/namespace/name`, or `VirtualPool//name`. */
  readonly named = new Set<string>();
  /** Whether one of the machines keeps others away. */
  #keepAway = false;

  get any(): boolean {
    return this.#places || this.#traits || this.room.size > 0 || this.machines.length > 0 || this.named.size > 0;
  }

  addNode(name: string, change: NodeChange): void {
    this.#places ||= change === 'place';
    this.#traits ||= change === 'traits';
    this.room.add(name);
  }

  /** Namespaces that rules select came, went or have other labels. */
  addNamespaces(): void {
    this.#places = true;
  }

  addMachine(machine: MachineInfo): void {
    this.#keepAway ||= machine.far.length > 0;
    if (this.machines.length <= maxMachines) this.machines.push(machine);
  }

  addNamed(kind: NamedKind, namespace: string, name: string): void {
    this.named.add(nameOf(kind, namespace, name));
  }

  clear(): void {
    this.#places = false;
    this.#traits = false;
    this.room.clear();
    this.machines.length = 0;
    this.#keepAway = false;
    this.named.clear();
  }

  /**
   * Which of the machines for which no node would do should be looked at again. Of those that only wait for room as many
   * as there is room for, the most important first: the others would look in vain.
   *
   * @param claim Is told where room was found for a machine; should it come to be elsewhere, there is room for another.
   */
  helped(
    waiting: Iterable<MachineInfo>,
    snapshot: Snapshot,
    claim: (machine: MachineInfo, node: string) => void,
  ): MachineInfo[] {
    const all = [...waiting];
    if (this.#places || (this.#traits && all.length <= maxRetold)) return all;
    const helped: MachineInfo[] = [];
    const others: MachineInfo[] = [];
    for (const machine of all) (this.#concerns(machine, snapshot) ? helped : others).push(machine);
    const rooms = [...this.room].flatMap((name) => {
      const node = snapshot.nodes.get(name);
      return node === undefined ? [] : [{ node, claimed: {} }];
    });
    if (rooms.length === 0) return helped;
    for (const machine of others.sort((a, b) => (isBefore(a, b) ? -1 : 1))) {
      // Most are still too large: that is seen without asking every filter.
      const roomy = rooms.filter((room) => hasRoom(room, machine));
      if (roomy.length === 0) continue;
      const test = prepareTest(machine, snapshot);
      const room = roomy.find(({ node }) => test(node) === undefined);
      if (room === undefined) continue;
      accumulate(room.claimed, machine.requests);
      claim(machine, room.node.name);
      helped.push(machine);
    }
    return helped;
  }

  /** Whether what happened to other machines or to the objects that it names may help a machine. */
  #concerns(machine: MachineInfo, snapshot: Snapshot): boolean {
    if (this.#traits && machine.relational) return true;
    if (this.named.size > 0 && isNamed(machine, this.named, snapshot)) return true;
    if (!machine.relational && !this.#keepAway) return false;
    return this.machines.length > maxMachines || this.machines.some((other) => isRelated(machine, other, snapshot));
  }
}

interface Room {
  readonly node: NodeInfo;
  /** By machines that were found to fit just now. */
  readonly claimed: Record<string, number>;
}

function hasRoom({ node, claimed }: Room, { requests, uid }: MachineInfo): boolean {
  for (const name in requests) {
    if ((requests[name] ?? 0) + (claimed[name] ?? 0) > node.free(name, uid)) return false;
  }
  return true;
}

/** Whether one of two machines is among those that the other's rules speak of, or both use a disk. */
function isRelated(machine: MachineInfo, other: MachineInfo, snapshot: Snapshot): boolean {
  if ([...machine.near, ...machine.far].some(({ group }) => snapshot.isIn(group, other))) return true;
  if (other.far.some(({ group }) => snapshot.isIn(group, machine))) return true;
  const rules = machine.spec.topologySpreadConstraints ?? [];
  if (rules.some((rule) => snapshot.isIn(machineGroup(rule, machine), other))) return true;
  if (machine.namespace !== other.namespace) return false;
  const disks = new Set((other.spec.volumes ?? []).flatMap(({ virtualDisk }) => virtualDisk ?? []));
  // A disk that is not made yet will be where its first machine is, and a clone where its source is.
  return disks.size > 0 && (machine.spec.volumes ?? []).some(({ virtualDisk }) => virtualDisk !== undefined);
}

/** Whether a machine depends on one of the objects, what its disks are made from and pools included. */
function isNamed({ namespace, spec }: MachineInfo, named: ReadonlySet<string>, { surroundings }: Snapshot): boolean {
  const is = (kind: NamedKind, name: string | undefined): boolean =>
    name !== undefined && named.has(nameOf(kind, kind === 'VirtualPool' ? '' : namespace, name));
  const isDisk = (name: string | undefined, depth: number): boolean => {
    if (name === undefined || depth > 5) return false;
    if (is('VirtualDisk', name)) return true;
    const disk = surroundings.disk(namespace, name);
    return (
      is('VirtualPool', disk?.spec.pool ?? 'default') ||
      is('VirtualImage', disk?.spec.source?.image?.name) ||
      is('VirtualMachineSnapshot', disk?.spec.source?.snapshot?.name) ||
      isDisk(disk?.spec.source?.clone?.name, depth + 1)
    );
  };
  return (
    (spec.volumes ?? []).some(
      ({ virtualDisk, virtualImage, emptyDisk }) =>
        isDisk(virtualDisk, 0) ||
        is('VirtualImage', virtualImage) ||
        (emptyDisk !== undefined && is('VirtualPool', emptyDisk.pool ?? 'default')),
    ) || (spec.interfaces ?? []).some(({ virtualNetwork }) => is('VirtualNetwork', virtualNetwork))
  );
}

const nameOf = (kind: NamedKind, namespace: string, name: string): string => `${kind}/${namespace}/${name}`;
