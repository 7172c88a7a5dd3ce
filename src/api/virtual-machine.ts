/**
 * VirtualMachine: the desired power policy and the libvirt domain. What the user wants is in spec; what is, the
 * executor of `spec.nodeName` writes to status.
 */
import type { Resource } from './meta.ts';
import { conditions, observedGeneration, overlay } from './meta.ts';
import { affinity, nodeSelector, tolerations, topologySpreadConstraints } from './scheduling.ts';
import {
  boolean,
  document,
  integer,
  list,
  longInteger,
  map,
  object,
  objectName,
  quantity,
  string,
  time,
  words,
  type Value,
} from './schema.ts';
import type { Disk, Domain, Interface } from '../model/types.gen.ts';

/** What spec.runStrategy can be. */
export const runStrategies = ['Always', 'RerunOnFailure', 'Once', 'Manual', 'Halted'] as const;

/** The buses a volume's disk can be on: libvirt's `<target bus>`. */
export const diskBuses = ['virtio', 'scsi', 'sata', 'ide', 'usb', 'fdc', 'sd', 'xen', 'uml', 'nvme'] as const;

/** The members of a volume of which exactly one is set. */
export const volumeSources = [
  'virtualDisk',
  'virtualImage',
  'cloudInit',
  'configMap',
  'secret',
  'hostPath',
  'emptyDisk',
] as const;

/** The members of an interface of which exactly one is set. */
export const interfaceSources = ['virtualNetwork', 'bridge', 'direct', 'user'] as const;

const entryName = {
  minLength: 1,
  maxLength: 63,
  pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$',
  expected: 'at most 63 lower-case letters, digits and "-", with a letter or digit at both ends',
};

const projectedLabel = string('The volume label of the file system in the guest.', { minLength: 1, maxLength: 32 });

const volume = object(
  'A disk made from an object of Kubernetes. Exactly one of ' + volumeSources.join(', ') + ' is set.',
  { name: string('Its name within this machine.', entryName) },
  {
    virtualDisk: objectName('The VirtualDisk of this namespace that it is.'),
    virtualImage: objectName(
      'The VirtualImage of this namespace that it shows: what the guest writes goes to an overlay that is thrown away ' +
        'when the machine stops; with readOnly or cdrom the image itself is shown.',
    ),
    cloudInit: object(
      "A small disk from which cloud-init in the guest reads its configuration. What is given here wins over the Secret's.",
      {},
      {
        type: words("cloud-init's data source. NoCloud when left out.", ['NoCloud', 'ConfigDrive']),
        userData: string('The user data, as #cloud-config or a script.', { maxLength: 131072 }),
        networkData: string('The network configuration, version 1 or 2.', { maxLength: 131072 }),
        metaData: string('Further meta data in YAML; instance-id and local-hostname are set if it does not.', {
          maxLength: 131072,
        }),
        secretRef: object('A Secret of this namespace with any of the keys userData, networkData and metaData.', {
          name: objectName("The Secret's name."),
        }),
      },
    ),
    configMap: object(
      'A read-only disk with the keys of a ConfigMap as files.',
      { name: objectName('The ConfigMap of this namespace.') },
      { label: projectedLabel, optional: boolean('Whether the machine also starts without it. false when left out.') },
    ),
    secret: object(
      'A read-only disk with the keys of a Secret as files.',
      { name: objectName('The Secret of this namespace.') },
      { label: projectedLabel, optional: boolean('Whether the machine also starts without it. false when left out.') },
    ),
    hostPath: object(
      'A file or block device of the node.',
      { path: string('Its absolute path on the node.', { pattern: '^/', expected: 'an absolute path' }) },
      { format: string("The image's format, as qcow2; raw when left out.", { minLength: 1, maxLength: 32 }) },
    ),
    emptyDisk: object(
      'An empty disk that is thrown away when the machine is deleted.',
      { capacity: quantity('Its size in bytes, as 10Gi.') },
      {
        format: words('The format of its file. qcow2 when left out.', ['qcow2', 'raw']),
        pool: objectName(
          "The VirtualPool it is made in, as a VirtualDisk MACHINE-VOLUME that is the machine's own; a file of the " +
            "executor's data folder when left out.",
        ),
      },
    ),
    target: object(
      'Where the guest sees it.',
      {},
      {
        dev: string('The device name, as vda; the next free one of the bus when left out.', {
          pattern: '^[a-z]{1,8}[a-z0-9]{1,8}$',
          expected: 'a device name such as vda',
        }),
        bus: words('The bus. virtio when left out, sata for a cdrom.', diskBuses),
      },
    ),
    bootOrder: integer('Its place among the devices the firmware boots from, from 1.', { min: 1 }),
    cache: words("QEMU's cache mode; QEMU's default when left out.", [
      'default',
      'none',
      'writethrough',
      'writeback',
      'directsync',
      'unsafe',
    ]),
    serial: string('The serial number that the guest sees.', { minLength: 1, maxLength: 247 }),
    cdrom: boolean('Whether it is a CD-ROM drive with this medium. false when left out.'),
    shareable: boolean('Whether other machines may write to it at the same time. false when left out.'),
    readOnly: boolean('Whether the guest may only read it. false when left out.'),
    device: document<Disk>(
      "Anything else of libvirt's disk element, merged over what the other fields say.",
      'domain',
      ['devices', 'disk'],
    ),
  },
);

const bandwidthLimit = object(
  'A limit of the traffic in one direction.',
  { average: longInteger('KiB per second on average.', { min: 1 }) },
  {
    peak: longInteger('KiB per second at most.', { min: 1 }),
    burst: longInteger('KiB that may be sent at the peak rate.', { min: 1 }),
    floor: longInteger('KiB per second that are guaranteed; inbound on a VirtualNetwork only.', { min: 1 }),
  },
);

const interfaceSchema = object(
  'A network interface. Exactly one of ' + interfaceSources.join(', ') + ' is set.',
  { name: string('Its name within this machine.', entryName) },
  {
    virtualNetwork: objectName('The VirtualNetwork of this namespace that it is plugged into.'),
    portgroup: string("The network's port group, with virtualNetwork.", { minLength: 1 }),
    bridge: string('The bridge of the node that it is plugged into (Linux or Open vSwitch).', {
      minLength: 1,
      maxLength: 15,
      pattern: '^[^/\\s]+$',
      expected: 'the name of a network device',
    }),
    direct: object(
      'A macvtap on a network device of the node.',
      {
        dev: string("The node's device, as eth0.", {
          minLength: 1,
          maxLength: 15,
          pattern: '^[^/\\s]+$',
          expected: 'the name of a network device',
        }),
      },
      { mode: words('How it shares the device. bridge when left out.', ['vepa', 'bridge', 'private', 'passthrough']) },
    ),
    user: object(
      'A user-mode network of its own: out through the node, in by forwarded ports only.',
      {},
      {
        backend: words('What forwards. slirp when left out.', ['slirp', 'passt']),
        portForwards: list(
          'Ports of the node that lead to the guest; passt only.',
          object(
            'A forwarded port.',
            {
              hostPort: integer("The node's port.", { min: 1, max: 65535 }),
              guestPort: integer("The guest's port.", { min: 1, max: 65535 }),
            },
            {
              protocol: words('The protocol. tcp when left out.', ['tcp', 'udp']),
              hostAddress: string("The node's address it listens on; 127.0.0.1 when left out."),
            },
          ),
        ),
      },
    ),
    model: string('The device model, as virtio or e1000e. virtio when left out.', {
      minLength: 1,
      pattern: '^[a-zA-Z0-9_-]+$',
      expected: 'a device model such as virtio',
    }),
    mac: string('The MAC address; derived from the machine and this name, and so stable, when left out.', {
      pattern: '^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$',
      expected: 'a MAC address such as 52:54:00:6b:3c:58',
    }),
    ip: string('The IPv4 or IPv6 address that the DHCP server of the VirtualNetwork always gives it.', {
      pattern: '^([0-9]{1,3}(\\.[0-9]{1,3}){3}|[0-9a-fA-F:]*:[0-9a-fA-F:.]*)$',
      expected: 'an IPv4 or IPv6 address',
    }),
    mtu: integer('The MTU in bytes.', { min: 68, max: 65535 }),
    linkState: words('Whether the cable is plugged in. up when left out.', ['up', 'down']),
    bandwidth: object(
      'Limits of its traffic, as the guest sees directions.',
      {},
      { inbound: bandwidthLimit, outbound: bandwidthLimit },
    ),
    vlan: object(
      'VLANs, where bridge or network support it (Open vSwitch, SR-IOV).',
      {
        tags: list('The VLAN ids; several make a trunk.', integer('A VLAN id.', { min: 0, max: 4095 }), {
          minItems: 1,
          maxItems: 4096,
        }),
      },
      {
        trunk: boolean('Whether it is a trunk even with one tag.'),
        nativeMode: words('How the first tag is treated on a trunk.', ['tagged', 'untagged']),
      },
    ),
    nwfilter: object(
      "A filter of libvirt's nwfilter that its traffic passes.",
      { name: string("The filter's name on the node.", { minLength: 1 }) },
      { parameters: map("The filter's variables.", string("The variable's value.")) },
    ),
    bootOrder: integer('Its place among the devices the firmware boots from, from 1.', { min: 1 }),
    device: document<Interface>(
      "Anything else of libvirt's interface element, merged over what the other fields say.",
      'domain',
      ['devices', 'interface'],
    ),
  },
);

/** The schema of a VirtualMachine's spec. */
export const virtualMachineSpec = object(
  'What is wanted.',
  {},
  {
    runStrategy: words(
      'When it runs. Always: start it whenever it is off. RerunOnFailure: start it once, and again when it crashed. ' +
        'Once: start it once. Manual: only by operations. Halted: shut it down.',
      runStrategies,
      { default: 'Always' },
    ),
    terminationGracePeriodSeconds: longInteger(
      'Seconds that the guest has for shutting down before it is powered off; 0 powers it off at once.',
      { min: 0, max: 31536000, default: 60 },
    ),
    startPaused: boolean('Whether it waits with paused CPUs after each start. false when left out.'),
    driftPolicy: words(
      'What happens when somebody changes the domain behind our back. Enforce: what spec sets is restored. Report: it is ' +
        'only told in status.',
      ['Enforce', 'Report'],
      { default: 'Enforce' },
    ),
    deletionProtection: boolean('Whether deleting the object is refused. false when left out.'),
    evictionStrategy: words(
      'What a drain of its node does. Migrate: move it live, or refuse. MigrateIfPossible: move it live, else shut it ' +
        'down. Stop: shut it down. None: refuse. MigrateIfPossible when left out.',
      ['Migrate', 'MigrateIfPossible', 'Stop', 'None'],
    ),
    nodeName: string(
      'The Hypervisor it runs on. Written once, by the scheduler or by the user; it cannot be changed while a domain ' +
        'may exist there (migrate instead).',
      { maxLength: 253 },
    ),
    nodeSelector,
    affinity,
    tolerations,
    topologySpreadConstraints,
    priority: integer('Machines of a higher number are placed first. 0 when left out.'),
    volumes: list('Disks made from objects of Kubernetes, beside those in domain.devices.disk.', volume, {
      keys: ['name'],
      maxItems: 512,
    }),
    interfaces: list('Network interfaces, beside those in domain.devices.interface.', interfaceSchema, {
      keys: ['name'],
      maxItems: 128,
    }),
    domain: document<Domain>(
      "libvirt's domain, all of it: keys are the names of the XML (https://libvirt.org/formatdomain.html).",
      'domain',
    ),
    overlay,
  },
);

const change = object(
  'A field that differs.',
  { path: string('Its path below spec.domain.') },
  {
    from: string('The value now, as JSON; left out when there is none.'),
    to: string('The value of spec, as JSON; left out when it is taken away.'),
    message: string("Why, in libvirt's words."),
  },
);

/** The schema of a VirtualMachine's status. */
export const virtualMachineStatus = object(
  'What is; written by the executor.',
  {},
  {
    observedGeneration,
    printableStatus: string('The state in one word, for people.'),
    nodeName: string('The node on which the domain is defined; empty when there is none anywhere.'),
    domain: object(
      'The libvirt domain.',
      {},
      {
        name: string('Its name at libvirt.'),
        uuid: string('Its UUID.'),
        id: integer('Its id while it runs.'),
        state: string("libvirt's state: running, paused, shutoff, crashed, …"),
        reason: string("libvirt's reason of the state."),
        bootedAt: time('When it was started last.'),
        boots: longInteger('How often it was started by us.'),
        savedState: boolean('Whether its memory is saved on disk (managed save), and the next start continues it.'),
      },
    ),
    lastStop: object(
      'How it ended last.',
      { reason: string('Shutdown, Destroyed, Crashed, Saved, Migrated, Failed or FromSnapshot.') },
      { at: time('When.'), message: string('More, in words.') },
    ),
    failures: object(
      'Starts that failed and crashes, one after the other; forgotten when it has run for a while.',
      { count: integer('How many.', { min: 0 }) },
      {
        lastAt: time('When the last one was.'),
        nextAttemptAt: time('Not started again before.'),
        message: string('The last one, in words.'),
      },
    ),
    power: object(
      'What the executor notes between the steps of starting and stopping, so that a crash of it repeats none.',
      {},
      {
        startedFor: words('The run strategy for which it was started; another one may start it anew.', runStrategies),
        boot: string('The mark of the last boot; the running domain carries the same in its metadata.'),
        bootStep: words(
          'What is being done of a start. Starting: the domain is started with paused CPUs. Resuming: its CPUs are set ' +
            'going.',
          ['Starting', 'Resuming'],
        ),
        stoppingSince: time('When the guest was first asked to shut down, while it does.'),
        held: boolean('Whether an operation saved it: it is not started until asked.'),
        generation: longInteger('The metadata.generation for which failures were counted.', { min: 0 }),
      },
    ),
    conditions,
    volumes: list(
      'The volumes of spec.',
      object(
        'A volume.',
        { name: string('Its name in spec.volumes.') },
        {
          target: string('The device name in the domain, as vda.'),
          source: string('The path or URL behind it on the node.'),
          phase: words('Whether it is there.', ['Pending', 'Attached', 'Detaching', 'Failed']),
          message: string('Why not.'),
        },
      ),
      { keys: ['name'] },
    ),
    interfaces: list(
      'The network interfaces of the domain.',
      object(
        'A network interface.',
        { mac: string('Its MAC address.') },
        {
          name: string(
            'Its name in spec.interfaces; left out for those in spec.domain and those only the guest knows.',
          ),
          ips: list('The addresses found for it, without prefix length.', string('An IP address.')),
          source: words('Who told the addresses.', ['agent', 'lease', 'arp']),
          device: string("The node's end, as vnet0."),
          guestDevice: string("The guest's name of it, as enp1s0, told by its agent."),
          model: string('The device model.'),
          linkState: words('Whether the cable is plugged in.', ['up', 'down']),
        },
      ),
    ),
    graphics: list(
      'The graphical consoles.',
      object(
        'A graphical console.',
        { type: string('vnc, spice, …') },
        {
          listen: string("The node's address."),
          port: integer('The TCP port.'),
          tlsPort: integer('The TCP port with TLS.'),
          websocket: integer('The TCP port of the WebSocket.'),
          socket: string('The path of the unix socket.'),
        },
      ),
    ),
    guest: object(
      'What the guest agent told.',
      {},
      {
        agentVersion: string("The agent's version."),
        hostname: string("The guest's host name."),
        osId: string('As in os-release, as debian.'),
        osName: string('The operating system in words.'),
        osVersion: string('Its version.'),
        kernelRelease: string('Its kernel.'),
        timezone: string('Its time zone.'),
      },
    ),
    restartRequired: list('Fields that take effect at the next start.', change),
    ignored: list('What libvirt did not keep of what it was given.', change),
    drift: list('What somebody changed behind our back.', change),
    migration: object(
      'The move to another node, while it goes on and after the last one.',
      { phase: words('How far it is.', ['Pending', 'Running', 'Succeeded', 'Failed', 'Unknown']) },
      {
        operation: string('The VirtualMachineOperation that asked for it.'),
        operationUid: string("That operation's metadata.uid."),
        sourceNode: string('From.'),
        targetNode: string('To.'),
        startTime: time('When it began.'),
        completionTime: time('When it ended.'),
        percent: integer('Part of the memory that is there, in percent.', { min: 0, max: 100 }),
        message: string('More, in words.'),
        asked: string(
          'A question of the source to the target, when the operation was removed by force: whether the guest is there.',
        ),
        answer: string("The target's answer: the question, then running, off or none."),
      },
    ),
    currentSnapshot: string('The VirtualMachineSnapshot that its disks are based on.'),
  },
);

/** A volume of a VirtualMachine. */
export type Volume = Value<typeof volume>;
/** A network interface of a VirtualMachine. */
export type NetworkInterface = Value<typeof interfaceSchema>;
/** A cloud-init volume. */
export type CloudInit = NonNullable<Volume['cloudInit']>;
/** A field that differs between spec and domain. */
export type FieldChange = Value<typeof change>;
/** When a machine runs. */
export type RunStrategy = (typeof runStrategies)[number];
/** What is wanted of a machine. */
export type VirtualMachineSpec = Value<typeof virtualMachineSpec>;
/** What is known of a machine. */
export type VirtualMachineStatus = Value<typeof virtualMachineStatus>;
/** A machine. */
export type VirtualMachine = Resource<'VirtualMachine', VirtualMachineSpec, VirtualMachineStatus>;

/** The types of a VirtualMachine's conditions. */
export const virtualMachineConditions = {
  /** It has a node. */
  Scheduled: 'Scheduled',
  /** It is as its power policy wants it. */
  Ready: 'Ready',
  /** The domain is as spec says, as far as it can be now. */
  Synchronized: 'Synchronized',
  /** Some fields wait for the next start (status.restartRequired). */
  RestartRequired: 'RestartRequired',
  /** Its CPUs are paused. */
  Paused: 'Paused',
  /** The guest agent answers. */
  AgentConnected: 'AgentConnected',
  /** It runs, but not all that was asked for holds. */
  Degraded: 'Degraded',
} as const;

/** The reasons of a VirtualMachine's conditions. */
export const virtualMachineReasons = {
  // Scheduled
  Bound: 'Bound',
  Unschedulable: 'Unschedulable',
  NodeReleased: 'NodeReleased',
  NodeUnknown: 'NodeUnknown',
  // Ready
  Running: 'Running',
  Stopped: 'Stopped',
  Starting: 'Starting',
  Stopping: 'Stopping',
  Paused: 'Paused',
  Completed: 'Completed',
  CrashLoopBackOff: 'CrashLoopBackOff',
  StartFailed: 'StartFailed',
  StartNotEnding: 'StartNotEnding',
  VolumeNotReady: 'VolumeNotReady',
  NetworkNotReady: 'NetworkNotReady',
  SecretNotFound: 'SecretNotFound',
  KVMUnusable: 'KVMUnusable',
  NodeLost: 'NodeLost',
  MigrationUnclear: 'MigrationUnclear',
  Terminating: 'Terminating',
  // Synchronized
  InSync: 'InSync',
  Drifted: 'Drifted',
  DriftCorrected: 'DriftCorrected',
  InvalidSpec: 'InvalidSpec',
  DefineFailed: 'DefineFailed',
  LiveChangePending: 'LiveChangePending',
  ForeignDomain: 'ForeignDomain',
  // RestartRequired
  FieldsPending: 'FieldsPending',
  NothingPending: 'NothingPending',
  // AgentConnected
  AgentAnswers: 'AgentAnswers',
  AgentSilent: 'AgentSilent',
  NoAgentChannel: 'NoAgentChannel',
  // Degraded
  IgnoredByLibvirt: 'IgnoredByLibvirt',
  LiveChangeFailed: 'LiveChangeFailed',
  AsExpected: 'AsExpected',
} as const;

/** The words of status.printableStatus: KubeVirt's wherever they fit. */
export const printableStatuses = [
  'Stopped',
  'Pending',
  'Provisioning',
  'WaitingForVolumeBinding',
  'ErrorUnschedulable',
  'ErrorVolume',
  'ErrorNetwork',
  'Starting',
  'Running',
  'Paused',
  'Suspended',
  'Saved',
  'Stopping',
  'Terminating',
  'Migrating',
  'CrashLoopBackOff',
  'Crashed',
  'Completed',
  'Error',
  'Unknown',
] as const;

/** One of {@link printableStatuses}. */
export type PrintableStatus = (typeof printableStatuses)[number];

/** The name of the libvirt domain of a machine: spec.domain.name, else `<namespace>.<name>`. */
export function domainName(machine: {
  readonly metadata: { readonly name?: string | undefined; readonly namespace?: string | undefined };
  readonly spec?: { readonly domain?: { readonly name?: unknown } | undefined };
}): string {
  const given = machine.spec?.domain?.name;
  if (typeof given === 'string' && given !== '') return given;
  return `${machine.metadata.namespace ?? 'default'}.${machine.metadata.name ?? ''}`;
}
