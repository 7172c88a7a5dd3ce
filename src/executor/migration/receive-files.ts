/**
 * The target's files for disks that are files of the host (`hostPath`, or given in `spec.domain`). Each that is to be copied to
 * is noted in the operation before it is made: a repeat makes it anew, and where the migration fails it is removed. What
 * stands there and is not noted is somebody's, and never touched.
 */
import { execFile } from 'node:child_process';
import { open, rm, stat } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { MovedDisk } from './migration-notes.ts';
import { RefusedError } from './refused-error.ts';
import { toError } from '../../base/errors.ts';

/** Making one takes no longer, in milliseconds. */
const makeMs = 60_000;

/**
 * Looks for the files that are not copied, and makes those that are copied to.
 *
 * @param made The files that were noted before; becomes those that are this migration's, also when it throws.
 * @param note Notes the files that are about to be made.
 * @throws RefusedError when a file is missing, in the way, or cannot be made; what `note` throws.
 */
export async function prepareFiles(
  disks: readonly MovedDisk[],
  made: Set<string>,
  note: (paths: readonly string[]) => Promise<void>,
): Promise<void> {
  const files = disks.filter(({ isMade, disk }) => !isMade && disk === undefined);
  for (const { path, copy } of files) {
    const isThere = await exists(path);
    if (!copy && !isThere) throw new RefusedError(`${path} is not there`);
    if (copy && isThere && !made.has(path)) throw inTheWay(path);
  }
  const copied = files.filter(({ copy }) => copy);
  if (copied.length === 0) return;
  const paths = copied.map(({ path }) => path);
  await note([...new Set([...made, ...paths])]);
  for (const path of made) {
    await rm(path, { force: true });
    made.delete(path);
  }
  for (const disk of copied) await makeFile(disk, made);
}

async function makeFile({ path, format, bytes }: MovedDisk, made: Set<string>): Promise<void> {
  // Only what was not there can be ours: qemu-img would overwrite what somebody made since it was looked for.
  made.delete(path);
  try {
    await (await open(path, 'wx')).close();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw inTheWay(path);
    throw new RefusedError(`${path} cannot be made there: ${toError(error).message}`, { cause: error });
  }
  made.add(path);
  try {
    await promisify(execFile)('qemu-img', ['create', '-q', '-f', format, path, String(bytes ?? 0)], {
      timeout: makeMs,
    });
  } catch (error) {
    throw new RefusedError(`${path} cannot be made there: ${toError(error).message}`, { cause: error });
  }
}

function inTheWay(path: string): RefusedError {
  return new RefusedError(
    `${path} exists there and would be overwritten; copyStorage None says that it is shared storage`,
  );
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return false;
    throw error;
  }
}
