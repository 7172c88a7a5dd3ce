import type { Command } from 'commander';
import { Option } from 'commander';
import { configureDevice } from './attach/device.ts';
import { diskBuses } from '../api/virtual-machine.ts';
import type { NetworkInterface, Volume } from '../api/virtual-machine.ts';
import { ConflictError, UsageError } from '../base/errors.ts';
import type { Context } from '../cli/context.ts';
import { addExamples } from '../cli/examples.ts';
import { addEditOptions, editMachine } from '../cli/machine-edit.ts';
import type { EditFlags, MutableSpec } from '../cli/machine-edit.ts';

interface AttachDiskFlags extends EditFlags {
  readonly name?: string;
  readonly disk?: string;
  readonly image?: string;
  readonly path?: string;
  readonly format?: string;
  readonly empty?: string;
  readonly dev?: string;
  readonly bus?: (typeof diskBuses)[number];
  readonly cache?: NonNullable<Volume['cache']>;
  readonly serial?: string;
  readonly readOnly?: boolean;
  readonly shareable?: boolean;
}

interface AttachInterfaceFlags extends EditFlags {
  readonly name?: string;
  readonly network?: string;
  readonly bridge?: string;
  readonly direct?: string;
  readonly user?: boolean;
  readonly model?: string;
  readonly mac?: string;
}

/** `virtctl attach disk|interface|device`: a new entry in the machine's spec, plugged in while it runs. */
export function configure(command: Command, context: Context): void {
  command.usage('disk|interface|device NAME [options]');
  configureDisk(command.command('disk').summary('attach a disk').description('Attach a disk.'), context);
  configureInterface(
    command.command('interface').alias('nic').summary('attach an interface').description('Attach an interface.'),
    context,
  );
  const device = command.command('device').summary('attach any device').description('Attach devices of a file.');
  configureDevice(device, context, 'attach');
}

function configureDisk(command: Command, context: Context): void {
  command
    .argument('<vm>', 'the machine')
    .option('--name <name>', 'its name among the volumes; that of the disk when left out')
    .option('--disk <vdisk>', 'a VirtualDisk')
    .option('--image <vimg>', 'a VirtualImage; what the guest writes is thrown away')
    .option('--path <file>', 'a file or block device of the node')
    .option('--format <format>', 'with --path: its format, as qcow2; raw when left out')
    .option('--empty <size>', 'an empty disk that goes with the machine, as 10Gi')
    .option('--dev <name>', 'the device name, as vdb; the next free one when left out')
    .addOption(new Option('--bus <bus>', 'the bus; virtio when left out').choices(diskBuses))
    .addOption(
      new Option('--cache <mode>', "QEMU's cache mode").choices([
        'default',
        'none',
        'writethrough',
        'writeback',
        'directsync',
        'unsafe',
      ]),
    )
    .option('--serial <text>', 'the serial number that the guest sees')
    .option('--read-only', 'the guest may only read it')
    .option('--shareable', 'other machines may write to it at the same time');
  addEditOptions(command);
  addExamples(command, [
    ['A VirtualDisk', 'virtctl attach disk web --disk web-data'],
    ['A file of the node', 'virtctl attach disk web --name data --path /srv/data.qcow2 --format qcow2'],
  ]);
  command.action(async (name: string, flags: AttachDiskFlags) => {
    const volume = volumeFrom(flags);
    await editMachine(context, name, flags, `disk "${volume.name}" attached`, (spec) => addVolume(spec, volume));
  });
}

/** The volume that the flags describe. */
function volumeFrom(flags: AttachDiskFlags): Volume {
  const sources = [flags.disk, flags.image, flags.path, flags.empty].filter((flag) => flag !== undefined);
  if (sources.length !== 1) throw new UsageError('give one of --disk, --image, --path and --empty');
  const name = flags.name ?? flags.disk ?? flags.image;
  if (name === undefined) throw new UsageError('give --name');
  if (flags.format !== undefined && flags.path === undefined) throw new UsageError('--format goes with --path');
  const target = {
    ...(flags.dev === undefined ? {} : { dev: flags.dev }),
    ...(flags.bus === undefined ? {} : { bus: flags.bus }),
  };
  return {
    name,
    ...(flags.disk === undefined ? {} : { virtualDisk: flags.disk }),
    ...(flags.image === undefined ? {} : { virtualImage: flags.image }),
    ...(flags.path === undefined ? {} : { hostPath: { path: flags.path, ...optional('format', flags.format) } }),
    ...(flags.empty === undefined ? {} : { emptyDisk: { capacity: flags.empty } }),
    ...(Object.keys(target).length === 0 ? {} : { target }),
    ...optional('cache', flags.cache),
    ...optional('serial', flags.serial),
    ...optional('readOnly', flags.readOnly),
    ...optional('shareable', flags.shareable),
  };
}

function addVolume(spec: MutableSpec, volume: Volume): void {
  const volumes = (spec.volumes ??= []);
  if (volumes.some(({ name }) => name === volume.name)) {
    throw new ConflictError(`there is a volume "${volume.name}" already`, { hint: 'give another --name' });
  }
  volumes.push(structuredClone(volume));
}

function configureInterface(command: Command, context: Context): void {
  command
    .argument('<vm>', 'the machine')
    .option('--name <name>', 'its name among the interfaces; that of the network when left out')
    .option('--network <vnet>', 'a VirtualNetwork')
    .option('--bridge <device>', 'a bridge of the node')
    .option('--direct <device>', 'a macvtap on a device of the node')
    .option('--user', 'a user-mode network of its own')
    .option('--model <model>', 'the device model; virtio when left out')
    .option('--mac <address>', 'the MAC address; made from its names when left out');
  addEditOptions(command);
  addExamples(command, [['A VirtualNetwork', 'virtctl attach interface web --network back']]);
  command.action(async (vm: string, flags: AttachInterfaceFlags) => {
    const sources = [flags.network, flags.bridge, flags.direct, flags.user].filter((flag) => flag !== undefined);
    if (sources.length !== 1) throw new UsageError('give one of --network, --bridge, --direct and --user');
    const name = flags.name ?? flags.network;
    if (name === undefined) throw new UsageError('give --name');
    const nic: NetworkInterface = {
      name,
      ...optional('virtualNetwork', flags.network),
      ...optional('bridge', flags.bridge),
      ...(flags.direct === undefined ? {} : { direct: { dev: flags.direct } }),
      ...(flags.user === undefined ? {} : { user: {} }),
      ...optional('model', flags.model),
      ...optional('mac', flags.mac),
    };
    await editMachine(context, vm, flags, `interface "${name}" attached`, (spec) => {
      const interfaces = (spec.interfaces ??= []);
      if (interfaces.some((one) => one.name === name)) {
        throw new ConflictError(`there is an interface "${name}" already`, { hint: 'give another --name' });
      }
      interfaces.push(structuredClone(nic) as (typeof interfaces)[number]);
    });
  });
}

/** `{ [key]: value }`, or nothing when there is no value. */
function optional<Key extends string, Value>(key: Key, value: Value | undefined): { [K in Key]?: Value } {
  return value === undefined ? {} : ({ [key]: value } as { [K in Key]?: Value });
}
