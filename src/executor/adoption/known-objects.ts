/** The objects that there are, and those that are about to be made: so that names stay unique, and nothing is made twice. */
import { poolName } from '../virtual-pool/pool-definition.ts';
import { matchesLabels } from '../virtual-pool/selected-nodes.ts';
import { kubernetesName } from '../../analyser/kubernetes-name.ts';
import { disksOfMachineSpec, isUnownedEmptyDisk } from '../../api/empty-disk.ts';
import type { VirtualDisk } from '../../api/virtual-disk.ts';
import type { VirtualMachineSnapshot } from '../../api/virtual-machine-snapshot.ts';
import { domainName, type VirtualMachine } from '../../api/virtual-machine.ts';
import { networkName, type VirtualNetwork } from '../../api/virtual-network.ts';
import type { VirtualPool } from '../../api/virtual-pool.ts';

/** The node that objects are made of. */
export interface AdoptingNode {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** An object that is to be made. */
export type NewObject = VirtualMachine | VirtualDisk | VirtualPool | VirtualNetwork;

/** See the head of this file. */
export class KnownObjects {
  readonly #machines: VirtualMachine[];
  readonly #disks: VirtualDisk[];
  readonly #pools: VirtualPool[];
  readonly #networks: VirtualNetwork[];
  readonly #snapshots: VirtualMachineSnapshot[];

  constructor(
    machines: readonly VirtualMachine[],
    disks: readonly VirtualDisk[],
    pools: readonly VirtualPool[],
    networks: readonly VirtualNetwork[],
    snapshots: readonly VirtualMachineSnapshot[],
  ) {
    this.#machines = [...machines];
    this.#disks = [...disks];
    this.#pools = [...pools];
    this.#networks = [...networks];
    this.#snapshots = [...snapshots];
  }

  /** Takes note of an object that will be there. */
  add(object: NewObject | VirtualMachineSnapshot): void {
    switch (object.kind) {
      case 'VirtualMachine':
        this.#machines.push(object);
        break;
      case 'VirtualDisk':
        this.#disks.push(object);
        break;
      case 'VirtualPool':
        this.#pools.push(object);
        break;
      case 'VirtualNetwork':
        this.#networks.push(object);
        break;
      case 'VirtualMachineSnapshot':
        this.#snapshots.push(object);
        break;
    }
  }

  /** Forgets an object that was not made after all. */
  remove(object: NewObject): void {
    const list: NewObject[] = {
      VirtualMachine: this.#machines,
      VirtualDisk: this.#disks,
      VirtualPool: this.#pools,
      VirtualNetwork: this.#networks,
    }[object.kind];
    const index = list.indexOf(object);
    if (index >= 0) list.splice(index, 1);
  }

  /** The machine that a domain of a node belongs to, by its UUID or its name there. */
  machineOf(node: string, name: string, uuid: string): VirtualMachine | undefined {
    return this.#machines.find((machine) => {
      if (hasUuid(machine, uuid)) return true;
      return machine.spec.nodeName === node && domainName(machine) === name;
    });
  }

  machine(namespace: string, name: string): VirtualMachine | undefined {
    return this.#machines.find(({ metadata }) => metadata.namespace === namespace && metadata.name === name);
  }

  disk(namespace: string, name: string): VirtualDisk | undefined {
    return this.#disks.find(({ metadata }) => metadata.namespace === namespace && metadata.name === name);
  }

  network(namespace: string, name: string): VirtualNetwork | undefined {
    return this.#networks.find(({ metadata }) => metadata.namespace === namespace && metadata.name === name);
  }

  /**
   * The snapshots of a machine that were made again, and are not its own yet: the executor notes the machine's uid before
   * it takes one.
   */
  unclaimedSnapshots({ metadata: { namespace, name } }: VirtualMachine): VirtualMachineSnapshot[] {
    return this.#snapshots.filter(
      ({ metadata, spec, status }) =>
        metadata.namespace === namespace &&
        spec.virtualMachine === name &&
        status?.creationTime !== undefined &&
        status.virtualMachineUID === undefined,
    );
  }

  /** The disks that were made again for empty disks of a machine, and are not its own yet. */
  unclaimedEmptyDisks(machine: VirtualMachine): VirtualDisk[] {
    const names = new Set(disksOfMachineSpec(machine));
    return this.#disks.filter(
      (disk) =>
        disk.metadata.namespace === machine.metadata.namespace && names.has(nameOf(disk)) && isUnownedEmptyDisk(disk),
    );
  }

  /** The disk that is a volume of a pool on a node, in any namespace. */
  diskOf(node: string, pool: string, volume: string): VirtualDisk | undefined {
    return this.#disks.find(({ spec, status }) => {
      const where = status?.nodeName ?? spec.nodeName ?? '';
      if (where !== '' && where !== node) return false;
      if (status?.volume !== undefined) return status.pool === pool && status.volume === volume;
      const own = this.#pools.find(({ metadata }) => metadata.name === (spec.pool ?? 'default'));
      const at = own === undefined ? (spec.pool ?? 'default') : poolName(own);
      return at === pool && spec.source?.import?.volume === volume;
    });
  }

  /** Machines that have a disk, by spec. */
  usersOf(disk: VirtualDisk): VirtualMachine[] {
    return this.#machines.filter(
      ({ metadata, spec }) =>
        metadata.namespace === disk.metadata.namespace &&
        spec.volumes?.some(({ virtualDisk }) => virtualDisk === disk.metadata.name) === true,
    );
  }

  /** The VirtualPool that is a pool of a node. */
  poolOf(node: AdoptingNode, name: string): VirtualPool | undefined {
    return this.#pools.find((pool) => poolName(pool) === name && matchesLabels(pool.spec.nodeSelector, node.labels));
  }

  /** The VirtualNetwork of a namespace that is a network of a node. */
  networkOf(node: AdoptingNode, namespace: string, name: string): VirtualNetwork | undefined {
    return this.#networks.find(
      (network) =>
        network.metadata.namespace === namespace &&
        networkName(network) === name &&
        matchesLabels(network.spec.nodeSelector, node.labels),
    );
  }

  /**
   * The name of the object of a snapshot: of the one that there is for it, else one that no other has. libvirt's names are
   * unique in a domain only, objects' in a namespace.
   *
   * @param uuid The domain's.
   * @param name The snapshot's at libvirt.
   */
  snapshotName(machine: { readonly namespace: string; readonly name: string }, uuid: string, name: string): string {
    const there = this.#snapshots.filter(({ metadata }) => metadata.namespace === machine.namespace);
    const own = there.filter(({ spec }) => spec.virtualMachine === machine.name && spec.schedule === undefined);
    const made = own.find(({ status }) => status?.name === name);
    if (made !== undefined) return nameOf(made);
    const wanted = kubernetesName(name, 'snapshot');
    const withMachine = withSuffix(`${machine.name}-${wanted}`, '');
    const withDomain = withSuffix(withMachine, `-${uuid.slice(0, 8)}`);
    const candidates = [wanted, withMachine, withDomain];
    // One that was made, and not written to any more: it was interrupted there.
    const begun = new Set(own.filter(({ status }) => status?.name === undefined).map(nameOf));
    const taken = new Set(there.map(nameOf));
    const found = candidates.find((one) => begun.has(one)) ?? candidates.find((one) => !taken.has(one));
    if (found !== undefined) return found;
    for (let number = 2; ; number += 1) {
      const numbered = withSuffix(withDomain, `-${String(number)}`);
      if (!taken.has(numbered)) return numbered;
    }
  }

  /** A name that no object of the kind has: the wanted one, else with the node's, else with a number. */
  freeName(kind: NewObject['kind'], namespace: string | undefined, wanted: string, node: string): string {
    const list: readonly NewObject[] = {
      VirtualMachine: this.#machines,
      VirtualDisk: this.#disks,
      VirtualPool: this.#pools,
      VirtualNetwork: this.#networks,
    }[kind];
    const taken = new Set(
      list.filter(({ metadata }) => namespace === undefined || metadata.namespace === namespace).map(nameOf),
    );
    const fits = (suffix: string): string => withSuffix(wanted, suffix);
    if (!taken.has(wanted)) return wanted;
    const withNode = fits(`-${node}`);
    if (!taken.has(withNode)) return withNode;
    for (let number = 2; ; number += 1) {
      const name = fits(`-${String(number)}`);
      if (!taken.has(name)) return name;
    }
  }
}

/** Whether a domain's UUID is that of a machine's. */
export function hasUuid({ metadata, spec, status }: VirtualMachine, uuid: string): boolean {
  const own = spec.domain?.uuid ?? metadata.uid;
  return [own, status?.domain?.uuid].some((one) => one?.toLowerCase() === uuid);
}

/** Cut where the two together were too long for an object's name. */
function withSuffix(name: string, suffix: string): string {
  return `${name.slice(0, 253 - suffix.length).replace(/[-.]+$/, '')}${suffix}`;
}

function nameOf({ metadata }: NewObject | VirtualMachineSnapshot): string {
  return metadata.name ?? '';
}
