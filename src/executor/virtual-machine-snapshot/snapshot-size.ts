/** What a snapshot takes in bytes, as far as files tell it. */
import { stat } from 'node:fs/promises';
import { memoryInside } from './image-files.ts';
import type { SnapshotDiskStatus } from './snapshot-context.ts';
import type { VirtualMachineSnapshotStatus } from '../../api/virtual-machine-snapshot.ts';
import { formatBytes } from '../../api/quantity.ts';

/**
 * The members of status that say what a snapshot takes: of an external one the frozen files and that of its memory; of an
 * internal one its memory, since what it shares with the disk is the disk's.
 */
export async function sizesOf(
  status: VirtualMachineSnapshotStatus,
  signal: AbortSignal,
): Promise<Pick<VirtualMachineSnapshotStatus, 'disks' | 'size'>> {
  let total = 0;
  const disks: SnapshotDiskStatus[] = [];
  for (const disk of status.disks ?? []) {
    const bytes = await bytesOf(disk, status.name ?? '', signal);
    const { size: _before, ...rest } = disk;
    disks.push(bytes === undefined ? rest : { ...rest, size: formatBytes(bytes) });
    total += bytes ?? 0;
  }
  if (status.memoryFile !== undefined) total += (await allocated(status.memoryFile)) ?? 0;
  return { disks, ...(total === 0 ? {} : { size: formatBytes(total) }) };
}

async function bytesOf(disk: SnapshotDiskStatus, name: string, signal: AbortSignal): Promise<number | undefined> {
  const { mode, path = '', format = '' } = disk;
  if (path === '' || mode === 'None') return undefined;
  return mode === 'External' ? allocated(path) : memoryInside(path, format, name, signal);
}

/** What a file takes of its file system; undefined where this process does not see it. */
async function allocated(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).blocks * 512;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return undefined;
  }
}
