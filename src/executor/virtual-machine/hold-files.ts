import type { Round } from './round.ts';
import { filesOf, type FileHold } from '../virtual-disk/file-holds.ts';

/** Keeps others from the files of a machine's disks until it is started and QEMU has its own locks; see FileHolds. */
export function holdFiles(round: Round): FileHold {
  const { namespace = '', name = '' } = round.status.machine.metadata;
  const domain = round.wanted ?? round.view?.mark?.applied;
  return round.parts.fileHolds.take(filesOf(domain), `VirtualMachine ${namespace}/${name} is being started`);
}
