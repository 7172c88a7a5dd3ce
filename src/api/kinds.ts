/**
 * Our eight kinds, for whoever needs their names, scope and columns but not their schemas (which cost time to build:
 * schemas.ts). Nothing here imports anything heavy: `virtctl get` starts with this file.
 *
 * src/api is pure: no input or output. A kind's file has its types, its schema, its conditions and reasons; crd.ts
 * makes the CustomResourceDefinitions, validate.ts says what is wrong with an object, defaults.ts what `create` adds,
 * review-admission.ts answers an admission webhook's review.
 */
import { group, version } from './meta.ts';
import { FailedError } from '../base/errors.ts';

/** A column of `kubectl get` and `virtctl get`. */
export interface PrinterColumn {
  /** As it stands above the column; upper case there. */
  readonly name: string;
  /** An OpenAPI type; `date` is shown as an age. */
  readonly type: 'string' | 'integer' | 'boolean' | 'date';
  /** What kubectl's JSONPath finds it by, with the leading dot. */
  readonly jsonPath: string;
  readonly description: string;
  /** 0: always shown; 1: with `-o wide` only. */
  readonly priority?: 0 | 1;
}

/** A kind of ours. */
export interface KindInfo {
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly namespaced: boolean;
  /** One sentence for explain and documentation. */
  readonly description: string;
  readonly columns: readonly PrinterColumn[];
}

/** The category that all are in: `kubectl get virt`. */
export const category = 'virt';

const age: PrinterColumn = {
  name: 'Age',
  type: 'date',
  jsonPath: '.metadata.creationTimestamp',
  description: 'How long ago it was created.',
};

function condition(name: string, type: string, description: string, priority: 0 | 1 = 0): PrinterColumn {
  return {
    name,
    type: 'string',
    jsonPath: `.status.conditions[?(@.type=="${type}")].status`,
    description,
    priority,
  };
}

function column(name: string, jsonPath: string, description: string, priority: 0 | 1 = 0): PrinterColumn {
  return { name, type: 'string', jsonPath, description, priority };
}

/** VirtualMachine. */
export const virtualMachineKind: KindInfo = {
  kind: 'VirtualMachine',
  plural: 'virtualmachines',
  singular: 'virtualmachine',
  shortNames: ['vm', 'vms'],
  namespaced: true,
  description: 'A virtual machine: its desired power policy and its libvirt domain.',
  columns: [
    column('Status', '.status.printableStatus', 'The state in one word.'),
    condition('Ready', 'Ready', 'Whether it is as its power policy wants it.'),
    column('Node', '.status.nodeName', 'The node its domain is on.'),
    age,
    column('Strategy', '.spec.runStrategy', 'When it runs.', 1),
    column('IP', '.status.interfaces[*].ips[0]', 'Its addresses.', 1),
    condition('Restart', 'RestartRequired', 'Whether changes wait for the next start.', 1),
    column('Drift', '.status.drift[*].path', 'What somebody changed behind its back.', 1),
    column('Domain', '.status.domain.name', 'The name of its domain.', 1),
  ],
};

/** VirtualDisk. */
export const virtualDiskKind: KindInfo = {
  kind: 'VirtualDisk',
  plural: 'virtualdisks',
  singular: 'virtualdisk',
  shortNames: ['vdisk', 'vdisks'],
  namespaced: true,
  description: 'A disk: a libvirt volume, blank, from an image, a clone or an import.',
  columns: [
    column('Phase', '.status.phase', 'How far it is.'),
    column('Capacity', '.status.capacity', 'Its size for the guest.'),
    column('Pool', '.spec.pool', 'The pool it is in.'),
    column('Node', '.status.nodeName', 'The node it is on.'),
    column('Used-By', '.status.usedBy[*].name', 'Who uses it.'),
    age,
    column('Format', '.status.format', 'Its format.', 1),
    column('Allocation', '.status.allocation', 'What it takes in the pool.', 1),
    column('Path', '.status.path', 'Where it is on the node.', 1),
  ],
};

/** VirtualImage. */
export const virtualImageKind: KindInfo = {
  kind: 'VirtualImage',
  plural: 'virtualimages',
  singular: 'virtualimage',
  shortNames: ['vimg', 'vimgs'],
  namespaced: true,
  description: 'A base image in a pool: from a URL with its checksum, a file, an upload or a disk.',
  columns: [
    column('Phase', '.status.phase', 'How far it is.'),
    { name: 'Done', type: 'integer', jsonPath: '.status.progress.percent', description: 'Part that is there, in %.' },
    column('Size', '.status.virtualSize', 'The size of the disk in it.'),
    column('Pool', '.spec.pool', 'The pool it is in.'),
    age,
    column('Format', '.status.format', 'Its format.', 1),
    column('Nodes', '.status.nodes[*].nodeName', 'The nodes it is on.', 1),
    column('Message', '.status.message', 'Why it is not ready.', 1),
  ],
};

/** VirtualPool. */
export const virtualPoolKind: KindInfo = {
  kind: 'VirtualPool',
  plural: 'virtualpools',
  singular: 'virtualpool',
  shortNames: ['vpool', 'vpools'],
  namespaced: false,
  description: 'A libvirt storage pool, on the nodes it selects.',
  columns: [
    condition('Ready', 'Ready', 'Whether it runs on every node that is selected.'),
    column('Nodes', '.status.summary', 'On how many nodes it is ready.'),
    column('Type', '.spec.pool.type', "libvirt's type of the pool."),
    column('Capacity', '.status.capacity', 'Its size.'),
    column('Available', '.status.available', 'What is free.'),
    age,
    { name: 'Shared', type: 'boolean', jsonPath: '.spec.shared', description: 'Whether nodes share it.', priority: 1 },
    { name: 'Used', type: 'integer', jsonPath: '.status.usedBy', description: 'Disks and images in it.', priority: 1 },
  ],
};

/** VirtualNetwork. */
export const virtualNetworkKind: KindInfo = {
  kind: 'VirtualNetwork',
  plural: 'virtualnetworks',
  singular: 'virtualnetwork',
  shortNames: ['vnet', 'vnets'],
  namespaced: true,
  description: 'A libvirt network, on the nodes it selects.',
  columns: [
    condition('Ready', 'Ready', 'Whether it runs on every node that is selected.'),
    column('Nodes', '.status.summary', 'On how many nodes it is ready.'),
    column('Mode', '.spec.network.forward.mode', 'How it reaches the world; isolated when empty.'),
    age,
    column('Bridge', '.status.nodes[*].bridge', 'Its bridges.', 1),
    condition('Restart', 'RestartRequired', 'Whether changes wait for its next start.', 1),
  ],
};

/** VirtualMachineSnapshot. */
export const virtualMachineSnapshotKind: KindInfo = {
  kind: 'VirtualMachineSnapshot',
  plural: 'virtualmachinesnapshots',
  singular: 'virtualmachinesnapshot',
  shortNames: ['vmsnap', 'vmsnaps'],
  namespaced: true,
  description: 'A point in time of a machine: its disks, optionally its memory.',
  columns: [
    column('VM', '.spec.virtualMachine', 'The machine.'),
    column('Phase', '.status.phase', 'How far it is.'),
    {
      name: 'Current',
      type: 'boolean',
      jsonPath: '.status.current',
      description: 'Whether the machine is based on it.',
    },
    column('Mode', '.status.mode', 'Where the old state is.'),
    age,
    {
      name: 'Memory',
      type: 'boolean',
      jsonPath: '.status.memory',
      description: 'Whether memory is kept.',
      priority: 1,
    },
    {
      name: 'Quiesced',
      type: 'boolean',
      jsonPath: '.status.quiesced',
      description: "Whether the guest's file systems were frozen.",
      priority: 1,
    },
    column('Parent', '.status.parent', 'The snapshot before it.', 1),
    column('Message', '.status.message', 'Why it is not ready.', 1),
  ],
};

/** VirtualMachineOperation. */
export const virtualMachineOperationKind: KindInfo = {
  kind: 'VirtualMachineOperation',
  plural: 'virtualmachineoperations',
  singular: 'virtualmachineoperation',
  shortNames: ['vmop', 'vmops'],
  namespaced: true,
  description: 'One verb on one machine, once: Restart, Pause, Save, Revert, Migrate and so on.',
  columns: [
    column('VM', '.spec.virtualMachine', 'The machine.'),
    column('Verb', '.spec.verb', 'What to do.'),
    column('Phase', '.status.phase', 'How far it is.'),
    age,
    column('Step', '.status.step', 'The step that goes on.', 1),
    column('Message', '.status.message', 'What happened.', 1),
  ],
};

/** Hypervisor. */
export const hypervisorKind: KindInfo = {
  kind: 'Hypervisor',
  plural: 'hypervisors',
  singular: 'hypervisor',
  shortNames: ['hv', 'hvs'],
  namespaced: false,
  description: 'A node: capacity, allocation, versions, pools and networks.',
  columns: [
    condition('Ready', 'Ready', 'Whether machines can run here.'),
    {
      name: 'Cordoned',
      type: 'boolean',
      jsonPath: '.spec.unschedulable',
      description: 'Whether no new machines come.',
    },
    { name: 'VMs', type: 'integer', jsonPath: '.status.domains.running', description: 'Domains that run.' },
    column('CPU', '.status.capacity.cpu', 'CPUs.'),
    column('Memory', '.status.capacity.memory', 'Memory.'),
    column('Libvirt', '.status.nodeInfo.libvirtVersion', "libvirt's version."),
    age,
    column('QEMU', '.status.nodeInfo.qemuVersion', "QEMU's version.", 1),
    condition('KVM', 'KVMUsable', 'Whether KVM works.', 1),
    column('Arch', '.status.nodeInfo.architecture', 'The architecture.', 1),
  ],
};

/** All eight, in the order of the documentation. */
export const kinds: readonly KindInfo[] = [
  virtualMachineKind,
  virtualMachineOperationKind,
  virtualDiskKind,
  virtualImageKind,
  virtualPoolKind,
  virtualNetworkKind,
  virtualMachineSnapshotKind,
  hypervisorKind,
];

/**
 * The kind that a word means, in any of the forms kubectl takes: plural, singular, short name or kind, with or without
 * `.virtctl.dev`, in any case.
 */
export function findKind(word: string): KindInfo | undefined {
  const name = word.toLowerCase().replace(/(\.v1alpha1)?\.virtctl\.dev$/, '');
  return kinds.find(
    (one) =>
      one.plural === name || one.singular === name || one.kind.toLowerCase() === name || one.shortNames.includes(name),
  );
}

/**
 * Where the API has one of our kinds, as src/kube asks for it.
 *
 * @throws FailedError when there is no such kind.
 */
export function resourceOfKind(kind: string): {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly namespaced: boolean;
} {
  const info = kinds.find((one) => one.kind === kind);
  if (info === undefined) throw new FailedError(`there is no kind ${kind}`);
  return { group, version, kind, plural: info.plural, namespaced: info.namespaced };
}
