/** The files of a snapshot: how they are named, and what is left of a try that did not come to its end. */
import { createHash } from 'node:crypto';
import { basename, dirname, extname, join } from 'node:path';
import { fileExists, isInUse, removeFile } from './image-files.ts';
import type { VirtualMachineSnapshot } from '../../api/virtual-machine-snapshot.ts';

/** Names the files of a snapshot: short, and never those of another one of the same name. */
export function fileKey({ metadata }: VirtualMachineSnapshot): string {
  const digest = createHash('sha256')
    .update(metadata.uid ?? '')
    .digest('hex')
    .slice(0, 8);
  return `${(metadata.name ?? '').slice(0, 60)}.${digest}`;
}

/** Beside the file that is frozen. */
export function overlayPath(path: string, key: string): string {
  const stem = basename(path, extname(path)).replace(/\.snap-.*$/, '');
  return join(dirname(path), `${stem}.snap-${key}.qcow2`);
}

/** Beside the file that was frozen; another one for each revert. */
export function revertedPath(path: string, uid: string): string {
  const digest = createHash('sha256').update(uid).digest('hex').slice(0, 8);
  const stem = basename(path, extname(path)).replace(/\.(snap|rev)-.*$/, '');
  return join(dirname(path), `${stem}.rev-${digest}.qcow2`);
}

/** Removes what a try left that did not come to its end. */
export async function removeBegun(snapshot: VirtualMachineSnapshot, signal: AbortSignal): Promise<void> {
  const { disks = [], memoryFile } = snapshot.status ?? {};
  for (const { mode, overlay } of disks) {
    if (mode !== 'External' || overlay === undefined || !(await fileExists(overlay))) continue;
    if (await isLocked(overlay, signal)) continue;
    await removeFile(overlay);
  }
  if (memoryFile !== undefined) await removeFile(memoryFile);
}

/** A header that was not written whole is nobody's file. */
async function isLocked(path: string, signal: AbortSignal): Promise<boolean> {
  try {
    return await isInUse(path, 'qcow2', signal);
  } catch (error) {
    if (signal.aborted) throw error;
    return false;
  }
}
