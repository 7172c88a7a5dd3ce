import type { Command } from 'commander';
import { FailedError, NotFoundError, UsageError } from '../base/errors.ts';
import type { Context } from '../cli/context.ts';
import { addExamples } from '../cli/examples.ts';
import { addEditOptions, editMachine } from '../cli/machine-edit.ts';
import type { EditFlags, MutableSpec } from '../cli/machine-edit.ts';

/** The flags of `virtctl change-media`. */
export interface ChangeMediaFlags extends EditFlags {
  readonly path?: string;
  readonly image?: string;
  readonly disk?: string;
  readonly eject?: boolean;
}

/** `virtctl change-media`: another medium in a CD-ROM or floppy drive, while the guest runs. */
export function configure(command: Command, context: Context): void {
  command
    .argument('<name>', 'the machine')
    .argument('<drive>', 'the drive: the name of a volume, or a target device as sda')
    .option('--path <file>', 'a file of the node')
    .option('--image <vimg>', 'a VirtualImage')
    .option('--disk <vdisk>', 'a VirtualDisk')
    .option('--eject', 'take the medium out; the drive stays, and is named by its device then');
  addEditOptions(command);
  addExamples(command, [
    ['Insert an image', 'virtctl change-media web installer --image debian-12-netinst'],
    ['Take the medium out', 'virtctl change-media web sda --eject'],
  ]);
  command.action(async (name: string, drive: string, flags: ChangeMediaFlags) => {
    const given = [flags.path, flags.image, flags.disk, flags.eject].filter((flag) => flag !== undefined);
    if (given.length !== 1) throw new UsageError('give one of --path, --image, --disk and --eject');
    await editMachine(context, name, flags, flags.eject === true ? 'ejected' : 'medium changed', (spec, machine) => {
      const places = (machine.status?.volumes ?? []).map(({ name, target = '' }) => [name, target] as const);
      changeMedia(spec, drive, flags, new Map(places));
    });
  });
}

/**
 * Changes the medium of a drive. A volume always has a medium: a drive that is emptied goes from `volumes` to `domain`, at
 * the same place in the guest, and comes back when a VirtualImage or VirtualDisk is put into it.
 *
 * @param places Where volumes are that do not say so themselves, by their names (`status.volumes`).
 * @throws NotFoundError and FailedError when that cannot be.
 */
export function changeMedia(
  spec: MutableSpec,
  drive: string,
  flags: ChangeMediaFlags,
  places: ReadonlyMap<string, string> = new Map(),
): void {
  const volumes = (spec.volumes ??= []);
  const placeOf = (volume: Volume): string | undefined => volume.target?.dev ?? places.get(volume.name);
  const volume = volumes.find(({ name }) => name === drive) ?? volumes.find((one) => placeOf(one) === drive);
  if (volume !== undefined) {
    if (volume.cdrom !== true) throw new FailedError(`volume "${drive}" is no CD-ROM drive`);
    if (flags.eject === true) {
      volumes.splice(volumes.indexOf(volume), 1);
      disksOf(spec).push(emptyDrive(volume, placeOf(volume)));
    } else volumes[volumes.indexOf(volume)] = { ...withoutSource(volume), ...sourceOf(flags) };
    return;
  }
  const disks = spec.domain?.devices?.disk ?? [];
  const at = disks.findIndex((disk) => disk.target?.dev === drive);
  const disk = disks[at];
  if (disk === undefined) {
    const known = [
      ...volumes.filter(({ cdrom }) => cdrom === true).map((one) => one.name),
      ...disks.filter(({ device }) => device === 'cdrom' || device === 'floppy').map((one) => one.target?.dev ?? ''),
    ];
    throw new NotFoundError(`there is no drive "${drive}"`, {
      hint: known.length === 0 ? 'the machine has no drive for media' : `it has ${known.join(', ')}`,
    });
  }
  if (disk.device !== 'cdrom' && disk.device !== 'floppy') throw new FailedError(`"${drive}" takes no media`);
  const { source: _source, ...empty } = disk;
  if (flags.image === undefined && flags.disk === undefined) {
    disks[at] = flags.path === undefined ? empty : { ...empty, type: 'file', source: { file: flags.path } };
    return;
  }
  if (disk.device === 'floppy' || volumes.some(({ name }) => name === drive)) {
    throw new FailedError(`"${drive}" stands in spec.domain, which knows only paths`, { hint: 'give --path' });
  }
  disks.splice(at, 1);
  const { type: _type, device: _device, driver: _driver, target, boot, serial, readonly: _readonly, ...device } = empty;
  volumes.push({
    name: drive,
    ...sourceOf(flags),
    cdrom: true,
    target: { dev: drive, ...(target?.bus === undefined ? {} : { bus: target.bus }) },
    ...(boot?.order === undefined ? {} : { bootOrder: Number(boot.order) }),
    ...(serial === undefined ? {} : { serial }),
    ...(Object.keys(device).length === 0 ? {} : { device }),
  });
}

type Volume = NonNullable<MutableSpec['volumes']>[number];
type Drive = NonNullable<NonNullable<NonNullable<MutableSpec['domain']>['devices']>['disk']>[number];

function disksOf(spec: MutableSpec): Drive[] {
  const devices = ((spec.domain ??= {}).devices ??= {});
  return (devices.disk ??= []);
}

/** The element that a volume's drive is without its medium. */
function emptyDrive(volume: Volume, dev: string | undefined): Drive {
  if (dev === undefined) {
    throw new FailedError(`volume "${volume.name}" has no place in the guest yet`, {
      hint: 'wait until the machine is defined, or give the volume a target.dev',
    });
  }
  // NVMe has no drives with media, as admission says.
  const bus = volume.target?.bus ?? 'sata';
  return {
    type: 'file',
    device: 'cdrom',
    target: { dev, bus: bus === 'nvme' ? 'sata' : bus },
    ...(volume.bootOrder === undefined ? {} : { boot: { order: volume.bootOrder } }),
    ...(volume.serial === undefined ? {} : { serial: volume.serial }),
    readonly: {},
    ...volume.device,
  };
}

function withoutSource(volume: Volume): Volume {
  const { virtualDisk: _disk, virtualImage: _image, hostPath: _path, cloudInit: _cloud, ...rest } = volume;
  return rest;
}

function sourceOf({ path, image, disk }: ChangeMediaFlags): Partial<Volume> {
  return {
    ...(path === undefined ? {} : { hostPath: { path } }),
    ...(image === undefined ? {} : { virtualImage: image }),
    ...(disk === undefined ? {} : { virtualDisk: disk }),
  };
}
