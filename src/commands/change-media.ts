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
    .option('--image <vimg>', 'a VirtualImage; for a volume')
    .option('--disk <vdisk>', 'a VirtualDisk; for a volume')
    .option('--eject', 'take the medium out; for a drive of spec.domain');
  addEditOptions(command);
  addExamples(command, [
    ['Insert an image', 'virtctl change-media web installer --image debian-12-netinst'],
    ['Take the medium out', 'virtctl change-media web sda --eject'],
  ]);
  command.action(async (name: string, drive: string, flags: ChangeMediaFlags) => {
    const given = [flags.path, flags.image, flags.disk, flags.eject].filter((flag) => flag !== undefined);
    if (given.length !== 1) throw new UsageError('give one of --path, --image, --disk and --eject');
    await editMachine(context, name, flags, flags.eject === true ? 'ejected' : 'medium changed', (spec) => {
      changeMedia(spec, drive, flags);
    });
  });
}

/** Changes the medium of a drive; throws NotFoundError and FailedError when that cannot be. */
export function changeMedia(spec: MutableSpec, drive: string, flags: ChangeMediaFlags): void {
  const volumes = spec.volumes ?? [];
  const index = volumes.findIndex((volume) => volume.name === drive || volume.target?.dev === drive);
  const volume = volumes[index];
  if (volume !== undefined) {
    if (volume.cdrom !== true) throw new FailedError(`volume "${drive}" is no CD-ROM drive`);
    if (flags.eject === true) {
      throw new FailedError(`volume "${drive}" always has a medium`, {
        hint: 'a drive that can be empty stands in spec.domain.devices.disk, without a source',
      });
    }
    const { virtualDisk: _disk, virtualImage: _image, hostPath: _path, cloudInit: _cloud, ...rest } = volume;
    volumes[index] = {
      ...rest,
      ...(flags.path === undefined ? {} : { hostPath: { path: flags.path } }),
      ...(flags.image === undefined ? {} : { virtualImage: flags.image }),
      ...(flags.disk === undefined ? {} : { virtualDisk: flags.disk }),
    };
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
  if (flags.image !== undefined || flags.disk !== undefined) {
    throw new FailedError(`"${drive}" stands in spec.domain, which knows only paths`, { hint: 'give --path' });
  }
  const { source: _source, ...empty } = disk;
  disks[at] = flags.path === undefined ? empty : { ...empty, type: 'file', source: { file: flags.path } };
}
