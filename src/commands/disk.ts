import type { Command } from 'commander';
import { Option } from 'commander';
import { downloadVolume, type DownloadFlags } from './image/download-volume.ts';
import { resizeDisk, type ResizeFlags } from './disk/resize-disk.ts';
import { addBooleanFlag } from '../cli/boolean-flags.ts';
import type { Context } from '../cli/context.ts';
import { parseDuration } from '../cli/duration.ts';
import { addExamples } from '../cli/examples.ts';
import { addKubeOptions } from '../cli/kube-options.ts';
import { addLocalOptions } from '../cli/local-domain.ts';

/** `virtctl disk resize|download`: the size and the content of disks. */
export function configure(command: Command, context: Context): void {
  command.usage('resize NAME SIZE | download NAME FILE [options]');
  const resize = command
    .command('resize')
    .summary('change the size of a disk')
    .description('Change the size of a disk. It grows while a machine uses it; what the guest makes of it is its own.')
    .argument('<name>', 'the VirtualDisk')
    .argument('<size>', 'its new size, as 20Gi; +5Gi adds to what it has')
    .option('--shrink', 'also cut it off, with what is stored behind the new end')
    .addOption(
      new Option('--timeout <duration>', 'how long to wait, as 30s').argParser(parseDuration).default(300_000, '5m'),
    );
  addBooleanFlag(resize, 'wait', 'wait until it has that size', true);
  addKubeOptions(resize);
  addExamples(resize, [
    ['Twenty GiB', 'virtctl disk resize web-data 20Gi'],
    ['Five more', 'virtctl disk resize web-data +5Gi'],
  ]);
  resize.action((name: string, size: string, flags: ResizeFlags) => resizeDisk(context, name, size, flags));

  const download = command
    .command('download')
    .summary('write a disk to a file')
    .description('Write a disk that no running machine writes to, to a file. Run it on the node.')
    .argument('<name>', 'the VirtualDisk')
    .argument('<file>', 'where it is to be')
    .option('--force', 'overwrite a file that exists');
  addLocalOptions(download);
  addExamples(download, [['Keep a copy', 'virtctl disk download web-root web-root.qcow2']]);
  download.action((name: string, file: string, flags: DownloadFlags) =>
    downloadVolume(context, 'disk', name, file, flags),
  );
}
