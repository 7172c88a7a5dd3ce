/** Hypervisor: a node. Its executor creates it and keeps status fresh; spec is for the administrator. */
import type { Resource } from './meta.ts';
import { conditions, observedGeneration } from './meta.ts';
import { taints } from './scheduling.ts';
import { boolean, integer, list, map, object, quantity, string, time, words, type Value } from './schema.ts';

/** The schema of a Hypervisor's spec. */
export const hypervisorSpec = object(
  'What is wanted.',
  {},
  {
    unschedulable: boolean('Whether no new machines are placed on it (cordon). false when left out.'),
    taints,
    allowEmulation: boolean(
      'Whether machines of the domain type kvm run under emulation (TCG), slowly, where KVM cannot be used. false when ' +
        'left out: they are not started.',
    ),
    overcommit: object(
      'How much more is given to machines than there is.',
      {},
      {
        cpuPercent: integer('Virtual CPUs, in percent of the CPUs; 400 when left out.', { min: 1, max: 10000 }),
        memoryPercent: integer('Memory, in percent of the memory; 100 when left out.', { min: 1, max: 1000 }),
      },
    ),
    reserved: object(
      'What is kept for the node itself.',
      {},
      {
        cpu: quantity('CPUs, as 500m or 2; 0 when left out.'),
        memory: quantity('Memory in bytes, as 2Gi; 1Gi when left out.'),
      },
    ),
  },
);

const resources = map(
  'Amounts by resource: cpu (CPUs), memory (bytes), hugepages-2Mi and hugepages-1Gi (bytes), domains (count).',
  quantity('The amount.'),
);

function resourcesOf(description: string): typeof resources {
  return { node: { ...resources.node, description: `${description} ${resources.node.description}` } };
}

/** The schema of a Hypervisor's status. */
export const hypervisorStatus = object(
  'What is; written by its executor.',
  {},
  {
    observedGeneration,
    capacity: resourcesOf('What the node has.'),
    allocatable: resourcesOf('What machines may have in all: with overcommit, less what is reserved.'),
    allocated: resourcesOf('What machines that are placed here have.'),
    addresses: list(
      'Where the node can be reached.',
      object('An address.', {
        type: words('What it is.', ['Hostname', 'InternalIP', 'ExternalIP', 'InternalDNS', 'ExternalDNS']),
        address: string('The address.'),
      }),
    ),
    nodeInfo: object(
      'What it is.',
      {},
      {
        hostname: string('Its host name.'),
        machineID: string('As in /etc/machine-id.'),
        systemUUID: string("The firmware's UUID."),
        bootID: string('Differs after each boot.'),
        architecture: string('As x86_64.'),
        osImage: string('The operating system in words.'),
        kernelVersion: string('Its kernel.'),
        libvirtVersion: string("libvirt's version, as 9.0.0."),
        qemuVersion: string("QEMU's version, as 7.2.0."),
        executorVersion: string("The executor's version."),
        libvirtURI: string('Where the executor reaches libvirt.'),
      },
    ),
    cpu: object(
      "The node's CPU.",
      {},
      {
        model: string("libvirt's name of its model."),
        vendor: string('Its vendor.'),
        sockets: integer('Sockets.', { min: 0 }),
        cores: integer('Cores of a socket.', { min: 0 }),
        threads: integer('Threads of a core.', { min: 0 }),
        mhz: integer('Its clock in MHz.', { min: 0 }),
        features: list("What it can, by libvirt's names.", string('A feature.'), { maxItems: 2048 }),
      },
    ),
    numa: list(
      'The NUMA cells.',
      object(
        'A cell.',
        { id: integer('Its number.', { min: 0 }) },
        {
          cpus: string('Its CPUs, as 0-7,16-23.'),
          memory: quantity('Its memory in bytes.'),
          pages: map('Huge pages by their size, as 2Mi.', integer('How many.', { min: 0 })),
        },
      ),
    ),
    domainCapabilities: list(
      'What its QEMU can.',
      object(
        'An emulated architecture.',
        {
          arch: string('The architecture, as x86_64.'),
          domainType: words('With KVM or without.', ['kvm', 'qemu', 'hvf', 'xen', 'lxc', 'test', 'vz', 'bhyve']),
        },
        {
          emulator: string('The path of the emulator.'),
          machineTypes: list('The machine types, with their aliases.', string('A machine type.'), { maxItems: 4096 }),
          maxVcpus: integer('The most virtual CPUs.', { min: 0 }),
          cpuModels: list('CPU models that can be used here.', string('A model.'), { maxItems: 4096 }),
          cpuFeatures: list(
            "What a machine's CPU can have here, by libvirt's names; not known when left out.",
            string('A feature.'),
            { maxItems: 2048 },
          ),
          firmware: list('Firmware that is installed.', string('bios or efi.')),
          secureBoot: boolean('Whether there is firmware with Secure Boot.'),
          devices: map(
            'Values that devices support, by element and attribute as disk.bus.',
            list('The values.', string('A value.')),
          ),
          features: list('Features that are supported, as sev or vmcoreinfo.', string('A feature.')),
        },
      ),
    ),
    pools: list(
      "libvirt's storage pools.",
      object(
        'A pool.',
        { name: string('Its name.') },
        {
          active: boolean('Whether it runs.'),
          type: string('Its type, as dir.'),
          capacity: quantity('Its size in bytes.'),
          available: quantity('What is free in bytes.'),
        },
      ),
      { keys: ['name'] },
    ),
    networks: list(
      "libvirt's networks.",
      object(
        'A network.',
        { name: string('Its name.') },
        { active: boolean('Whether it runs.'), bridge: string('Its bridge.') },
      ),
      { keys: ['name'] },
    ),
    bridges: list('Bridges that are not of a network.', string('A bridge.')),
    hostDevices: list(
      'Devices that can be given to machines.',
      object(
        'A device.',
        { name: string("libvirt's name of the node device, as pci_0000_01_00_0.") },
        {
          capability: string('pci, usb_device, mdev …'),
          product: string('What it is, in words.'),
          vendorID: string("The vendor's number, as 0x10de."),
          productID: string("The product's number."),
          iommuGroup: integer('Its IOMMU group.', { min: 0 }),
          usedBy: string('The machine that has it, as namespace/name.'),
        },
      ),
      { keys: ['name'], maxItems: 4096 },
    ),
    domains: object(
      "libvirt's domains.",
      {},
      {
        total: integer('All.', { min: 0 }),
        running: integer('Those that run.', { min: 0 }),
        foreign: integer('Those that are not ours.', { min: 0 }),
        orphaned: integer('Those that were made for a VirtualMachine that is gone.', { min: 0 }),
      },
    ),
    orphans: list(
      'Domains that were made for a VirtualMachine that is gone. They are left alone; `virtctl recover` brings their ' +
        'objects back.',
      object(
        'A domain.',
        { domain: string('Its name at libvirt.') },
        {
          uuid: string('Its UUID.'),
          namespace: string('The namespace of the machine that is gone.'),
          name: string('The name of the machine that is gone.'),
          running: boolean('Whether it runs.'),
        },
      ),
      { maxItems: 256 },
    ),
    lastHeartbeatTime: time('When the executor last wrote this; its Lease is fresher.'),
    conditions,
  },
);

/** What is wanted of a node. */
export type HypervisorSpec = Value<typeof hypervisorSpec>;
/** What is known of a node. */
export type HypervisorStatus = Value<typeof hypervisorStatus>;
/** A node. */
export type Hypervisor = Resource<'Hypervisor', HypervisorSpec, HypervisorStatus>;

/** spec.overcommit where it says nothing, in percent. */
export const overcommitDefaults = { cpuPercent: 400, memoryPercent: 100 } as const;

/** The namespace of the executors' leases; a Lease has its Hypervisor's name. */
export const leaseNamespace = 'virtctl-node-lease';

/** The types of a Hypervisor's conditions. */
export const hypervisorConditions = {
  /** Machines can run here. Unknown when its lease ran out. */
  Ready: 'Ready',
  /** libvirt answers. */
  LibvirtConnected: 'LibvirtConnected',
  /** KVM was tried and works. */
  KVMUsable: 'KVMUsable',
  /** There are domains whose VirtualMachine is gone. */
  OrphanedDomains: 'OrphanedDomains',
  /** A pool is nearly full. */
  DiskPressure: 'DiskPressure',
} as const;

/** The reasons of a Hypervisor's conditions. */
export const hypervisorReasons = {
  Ready: 'Ready',
  LeaseExpired: 'LeaseExpired',
  Connected: 'Connected',
  Disconnected: 'Disconnected',
  Usable: 'Usable',
  NoDevice: 'NoDevice',
  NotPermitted: 'NotPermitted',
  GuestHung: 'GuestHung',
  ProbeFailed: 'ProbeFailed',
  EmulationAllowed: 'EmulationAllowed',
  OrphansFound: 'OrphansFound',
  NoOrphans: 'NoOrphans',
  DiskSpaceLow: 'DiskSpaceLow',
  DiskSpaceFine: 'DiskSpaceFine',
} as const;
