/** Clusters and machines for tests of the scheduler's pure parts. */
import type { Hypervisor, HypervisorStatus } from '../../src/api/hypervisor.ts';
import type { VirtualDisk } from '../../src/api/virtual-disk.ts';
import type { VirtualImage } from '../../src/api/virtual-image.ts';
import type { VirtualMachine, VirtualMachineSpec } from '../../src/api/virtual-machine.ts';
import type { VirtualNetwork } from '../../src/api/virtual-network.ts';
import type { VirtualPool } from '../../src/api/virtual-pool.ts';
import { machineInfo, type MachineInfo } from '../../src/scheduler/machine-info.ts';
import { selectNode } from '../../src/scheduler/select-node.ts';
import { Snapshot } from '../../src/scheduler/snapshot.ts';
import { unschedulableMessage } from '../../src/scheduler/unschedulable.ts';

const apiVersion = 'virtctl.dev/v1alpha1';

/** What a node is, where it differs from a ready one with 1000 CPUs and 64 GiB. */
export interface NodeOptions {
  readonly spec?: Hypervisor['spec'];
  readonly labels?: Readonly<Record<string, string>>;
  readonly status?: HypervisorStatus;
}

/** A node. */
export function node(name: string, { spec = {}, labels = {}, status = {} }: NodeOptions = {}): Hypervisor {
  return {
    apiVersion,
    kind: 'Hypervisor',
    metadata: { name, resourceVersion: '1', labels: { 'kubernetes.io/hostname': name, ...labels } },
    spec,
    status: {
      allocatable: { cpu: '1000', memory: '64Gi' },
      conditions: [
        { type: 'Ready', status: 'True' },
        { type: 'KVMUsable', status: 'True' },
      ],
      ...status,
    },
  };
}

/** A machine of 1 GiB in the namespace `shop`. */
export function machine(
  name: string,
  spec: VirtualMachineSpec = {},
  labels: Readonly<Record<string, string>> = { app: 'web' },
): MachineInfo {
  const domain = { memory: { unit: 'GiB', value: 1 }, ...spec.domain } as VirtualMachineSpec['domain'];
  const object: VirtualMachine = {
    apiVersion,
    kind: 'VirtualMachine',
    metadata: { name, namespace: 'shop', uid: name, resourceVersion: '1', labels },
    spec: { ...spec, domain },
  };
  return machineInfo(object);
}

/** Disks, images, pools and networks that there are, by name. */
export interface Things {
  readonly disks?: Readonly<Record<string, VirtualDisk['spec'] & { readonly on?: string; readonly takes?: string }>>;
  readonly images?: Readonly<Record<string, VirtualImage['spec'] & { readonly on?: readonly string[] }>>;
  readonly pools?: Readonly<
    Record<
      string,
      VirtualPool['spec'] & {
        readonly states?: Readonly<Record<string, string>>;
        /** What is free, by node. */
        readonly free?: Readonly<Record<string, string>>;
      }
    >
  >;
  readonly networks?: Readonly<Record<string, VirtualNetwork['spec']>>;
  /** Snapshots of machines; `on` is left out for one that is not taken yet. */
  readonly machineSnapshots?: Readonly<Record<string, { readonly on?: string }>>;
}

/** What the scheduler knows of a cluster. */
export function cluster(nodes: readonly Hypervisor[], things: Things = {}): Snapshot {
  const made = (kind: string, name: string, spec: object | undefined, status: object): never =>
    (spec === undefined ? undefined : { apiVersion, kind, metadata: { name }, spec, status }) as never;
  const snapshot = new Snapshot({
    disk: (_namespace, name) => {
      const { on, takes, ...spec } = things.disks?.[name] ?? {};
      return made('VirtualDisk', name, things.disks?.[name] && spec, { nodeName: on, allocation: takes });
    },
    image: (_namespace, name) => {
      const { on = [], ...spec } = things.images?.[name] ?? {};
      const status = { nodes: on.map((nodeName) => ({ nodeName, phase: 'Ready' })) };
      return made('VirtualImage', name, things.images?.[name] && spec, status);
    },
    machineSnapshot: (_namespace, name) => {
      const one = things.machineSnapshots?.[name];
      return made('VirtualMachineSnapshot', name, one && { virtualMachine: 'web' }, { nodeName: one?.on });
    },
    pool: (name) => {
      const { states = {}, free = {}, ...spec } = things.pools?.[name] ?? {};
      const lines = Object.entries(states).map(([nodeName, state]) => ({ nodeName, state, available: free[nodeName] }));
      const status = { nodes: lines };
      return made('VirtualPool', name, things.pools?.[name] && spec, status);
    },
    network: (_namespace, name) => made('VirtualNetwork', name, things.networks?.[name], {}),
  });
  for (const one of nodes) snapshot.setNode(one);
  return snapshot;
}

/** The node that is chosen, or why there is none. */
export function choose(snapshot: Snapshot, one: MachineInfo): string {
  const selection = selectNode(one, snapshot);
  return selection.node === undefined ? unschedulableMessage(selection.failures) : selection.node.name;
}

/** Chooses a node and takes it. */
export function place(snapshot: Snapshot, one: MachineInfo): string {
  const { node: chosen } = selectNode(one, snapshot);
  if (chosen !== undefined) snapshot.place(one, chosen.name);
  return chosen?.name ?? '';
}
