import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { StorageFailedError } from './storage-error.ts';

/**
 * Makes sure that one process uses a data folder. The lock is a file with the process's number: one that is left by a
 * crash names a process that is no more, or one that was started later.
 *
 * @returns How to release it.
 * @throws StorageFailedError when another process has it.
 */
export function lockFolder(folder: string): () => void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, 'lock');
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      const file = openSync(path, 'wx', 0o600);
      writeSync(file, `${process.pid} ${startOf(process.pid) ?? ''}\n`);
      closeSync(file);
      return () => rmSync(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
        throw new StorageFailedError(`cannot lock ${folder}`, { cause: error });
      }
    }
    const owner = ownerOf(path);
    if (owner !== undefined) {
      throw new StorageFailedError(`process ${owner} uses ${folder} already`, {
        hint: 'stop it, or choose another folder with --data-dir',
      });
    }
    rmSync(path, { force: true });
  }
  throw new StorageFailedError(`cannot lock ${folder}`);
}

function ownerOf(path: string): number | undefined {
  const [pid = '', start = ''] = readFileSync(path, 'utf8').trim().split(' ');
  const found = Number(pid) > 0 ? startOf(Number(pid)) : undefined;
  return found !== undefined && (start === '' || found === start) ? Number(pid) : undefined;
}

/** When a process started, in ticks since boot, from /proc; undefined when it does not run. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // After the program's name, which may hold anything, the twentieth field.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
