/** What an executor knows of the cluster: informers over the kinds that it acts on, and what it looks up in them. */
import type { DomainOwner } from './hypervisor/find-orphans.ts';
import type { Allocation } from './hypervisor/hypervisor-keeper.ts';
import {
  isFinished,
  isOwnerOf,
  openOperations,
  slimMachine,
  slimOperation,
  type SlimMachine,
  type SlimOperation,
} from './machine-index.ts';
import type { DiskUser } from './virtual-machine/disk-claims.ts';
import { machineKeyOf } from './virtual-machine-snapshot/snapshot-context.ts';
import type { NetworkUser } from './virtual-network/reservations.ts';
import type { StorageUser } from './virtual-pool/storage-context.ts';
import type { Hypervisor } from '../api/hypervisor.ts';
import { resourceOfKind } from '../api/kinds.ts';
import type { VirtualMachineSnapshot } from '../api/virtual-machine-snapshot.ts';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import { Informer } from '../kube/informer.ts';
import type { KubeClient } from '../kube/kube-client.ts';

/** Informers of one node's executor that run together. */
export class ExecutorCaches {
  /** The machines of all nodes: a network has users elsewhere, and a domain here may be a machine's of another node. */
  readonly machines: Informer<SlimMachine, 'domain' | 'node' | 'reference' | 'uuid'>;
  readonly operations: Informer<SlimOperation, 'machine'>;
  readonly snapshots: Informer<VirtualMachineSnapshot, 'machine'>;
  /** The node's own. */
  readonly hypervisors: Informer<Hypervisor>;
  readonly #nodeName: string;
  readonly #clock: Clock;

  constructor(client: KubeClient, nodeName: string, options: { readonly logger: Logger; readonly clock: Clock }) {
    this.#nodeName = nodeName;
    this.#clock = options.clock;
    this.machines = new Informer<SlimMachine, 'domain' | 'node' | 'reference' | 'uuid'>({
      source: client.resource<SlimMachine>(resourceOfKind('VirtualMachine')),
      transform: slimMachine,
      indexers: {
        domain: ({ spec }) => [spec.domain],
        uuid: ({ spec }) => [spec.uuid],
        node: ({ spec }) => [spec.nodeName],
        reference: ({ metadata, spec }) => spec.references.map((one) => `${metadata.namespace ?? ''}/${one}`),
      },
      ...options,
    });
    this.operations = new Informer<SlimOperation, 'machine'>({
      source: client.resource<SlimOperation>(resourceOfKind('VirtualMachineOperation')),
      transform: slimOperation,
      indexers: { machine: ({ metadata, spec }) => [`${metadata.namespace ?? ''}/${spec.virtualMachine}`] },
      ...options,
    });
    this.snapshots = new Informer<VirtualMachineSnapshot, 'machine'>({
      source: client.resource<VirtualMachineSnapshot>(resourceOfKind('VirtualMachineSnapshot')),
      indexers: { machine: (snapshot) => [machineKeyOf(snapshot)] },
      ...options,
    });
    this.hypervisors = new Informer<Hypervisor>({
      source: client.resource<Hypervisor>(resourceOfKind('Hypervisor')),
      fieldSelector: `metadata.name=${nodeName}`,
      ...options,
    });
  }

  /** Follows the server until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const all = [this.machines, this.operations, this.snapshots, this.hypervisors];
    await Promise.all(all.map((one) => one.run(signal)));
  }

  /**
   * Resolves once all that a reconcile decides by is known.
   *
   * @throws the signal's reason when it aborts before.
   */
  async synced(signal: AbortSignal): Promise<void> {
    await Promise.all([this.machines, this.operations, this.snapshots].map((one) => one.synced(signal)));
  }

  /** The machines that are on this node. */
  ownMachines(): readonly SlimMachine[] {
    return this.machines.byIndex('node', this.#nodeName);
  }

  /** The machine of this node that a domain is, by the domain's name. */
  ownMachineOf(domain: string): SlimMachine | undefined {
    return this.machines.byIndex('domain', domain).find(({ spec }) => spec.nodeName === this.#nodeName);
  }

  /** The machine of this node that a domain is, by the domain's UUID. */
  ownMachineWith(uuid: string): SlimMachine | undefined {
    return this.machines.byIndex('uuid', uuid).find(({ spec }) => spec.nodeName === this.#nodeName);
  }

  /** The machines, of all nodes, that a domain is or stands in the way of: somebody may have renamed it. */
  machinesOfDomain({ name, uuid }: { readonly name: string; readonly uuid: string }): ReadonlySet<SlimMachine> {
    return new Set([...this.machines.byIndex('uuid', uuid), ...this.machines.byIndex('domain', name)]);
  }

  /** Whether it is known which machines there are. */
  get knowsMachines(): boolean {
    return this.machines.health().synced;
  }

  /** Whether there is the machine that a domain was made for. */
  isOwned(owner: DomainOwner): boolean {
    const machine = this.machines.get(`${owner.namespace}/${owner.name}`);
    return machine !== undefined && isOwnerOf(machine, owner);
  }

  /** What this node's machines take of it. */
  allocation(): Allocation {
    const machines = this.ownMachines();
    return {
      machines: machines.length,
      cpus: machines.reduce((sum, { spec }) => sum + spec.cpus, 0),
      memoryBytes: machines.reduce((sum, { spec }) => sum + spec.memoryBytes, 0),
    };
  }

  /** The machines that name a disk or an image. */
  usersOf(kind: string, namespace: string, name: string): (StorageUser & DiskUser)[] {
    return this.machines
      .byIndex('reference', `${namespace}/${kind}/${name}`)
      .map(({ metadata, spec: { nodeName, domain, uuid } }) => ({ name: metadata.name ?? '', nodeName, domain, uuid }));
  }

  /** The machines that name a network, each with its interfaces in it. */
  networkUsers(namespace: string, name: string): NetworkUser[] {
    return this.machines.byIndex('reference', `${namespace}/VirtualNetwork/${name}`).map(({ metadata, spec }) => ({
      namespace,
      name: metadata.name ?? '',
      nodeName: spec.nodeName,
      domain: spec.domain,
      createdAt: metadata.creationTimestamp ?? '',
      plugs: spec.plugs.filter(({ network }) => network === name),
    }));
  }

  /** The names of a machine's operations that are not over, in the order in which they are done. */
  openOperations(machineKey: string): string[] {
    return openOperations(this.operations.byIndex('machine', machineKey));
  }

  /** The names of a machine's snapshots. */
  snapshotsOf(machineKey: string): string[] {
    return this.snapshots.byIndex('machine', machineKey).map(({ metadata }) => metadata.name ?? '');
  }

  /** How long a finished operation is kept yet, in milliseconds; undefined when it is not this node's to delete. */
  ttlLeftMs(key: string): number | undefined {
    const operation = this.operations.get(key);
    if (operation === undefined || !isFinished(operation)) return undefined;
    const machine = `${operation.metadata.namespace ?? ''}/${operation.spec.virtualMachine}`;
    if (this.machines.get(machine)?.spec.nodeName !== this.#nodeName) return undefined;
    const finishedAt = Date.parse(operation.status.completionTime ?? '') || this.#clock.now();
    return finishedAt + operation.spec.ttlSeconds * 1000 - this.#clock.now();
  }
}
