import { Option, type Command } from 'commander';
import { uploadImage, type UploadFlags } from './image/upload-image.ts';
import { downloadVolume, type DownloadFlags } from './image/download-volume.ts';
import { addBooleanFlag } from '../cli/boolean-flags.ts';
import type { Context } from '../cli/context.ts';
import { parseDuration } from '../cli/duration.ts';
import { addExamples } from '../cli/examples.ts';
import { addLocalOptions } from '../cli/local-domain.ts';

/** `virtctl image upload|download`: the content of images, through the libvirt of the node that this runs on. */
export function configure(command: Command, context: Context): void {
  command.usage('upload|download NAME FILE [options]');
  const upload = command
    .command('upload')
    .summary('send a file as an image')
    .description(
      'Send a file as an image, which is made when there is none of that name. Run it on the node. A lost connection is ' +
        'made again; after an interruption the same command goes on where it was, and begins anew with another file.',
    )
    .argument('<name>', 'the VirtualImage, as NAME or vimg/NAME')
    .argument('<file>', 'qcow2, raw, vmdk, vdi or vhdx; also as gz, xz or zst')
    .option('--pool <name>', 'the VirtualPool of a new image; default when left out')
    .addOption(new Option('--format <format>', 'the format that a new image is stored in').choices(['qcow2', 'raw']))
    .option('--source-format <format>', 'the format that the file has; found out when left out')
    .option('--checksum <checksum>', 'of the file, as sha256:…; a new image is refused when it differs')
    .addOption(
      new Option('--timeout <duration>', 'how long to wait for the executor, or for a lost connection, as 30s')
        .argParser(parseDuration)
        .default(600_000, '10m'),
    );
  addBooleanFlag(upload, 'wait', 'wait until it is ready', true);
  addLocalOptions(upload);
  addExamples(upload, [
    ['An image for the disks of machines', 'virtctl image upload debian-12 debian-12-genericcloud-amd64.qcow2'],
    ['Go on with one that was cut off', 'virtctl image upload debian-12 debian-12-genericcloud-amd64.qcow2'],
    ['Refuse it when it is not that', 'virtctl image upload debian-12 disk.qcow2 --checksum sha256:0123…'],
  ]);
  upload.action((name: string, file: string, flags: UploadFlags) => uploadImage(context, name, file, flags));

  const download = command
    .command('download')
    .summary('write an image or a disk to a file')
    .description('Write an image, or with disk/NAME a disk, to a file. Run it on the node.')
    .argument('<name>', 'the VirtualImage, or disk/NAME')
    .argument('<file>', 'where it is to be; - for stdout, holes as zeros')
    .option('--force', 'overwrite a file that exists');
  addLocalOptions(download);
  addExamples(download, [
    ['An image', 'virtctl image download debian-12 debian-12.qcow2'],
    ['A disk of a machine that is off', 'virtctl image download disk/web-root web-root.qcow2'],
  ]);
  download.action((name: string, file: string, flags: DownloadFlags) =>
    downloadVolume(context, 'image', name, file, flags),
  );
}
