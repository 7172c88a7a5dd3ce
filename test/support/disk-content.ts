/** What is on a disk as its guest sees it, whatever files it is in: for comparing it before and after. */
import { createHash, randomUUID } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runProgram } from './run-program.ts';

/** Runs a program; that of a node sees the files that are in its mounts only. */
type Exec = (program: string, ...args: string[]) => Promise<string>;

const here: Exec = (program, ...args) => runProgram(program, args);

/**
 * The checksum of what is seen through a file and those that it lies over.
 *
 * @param inside The name of an internal snapshot, to see what it has.
 */
export async function diskContent(path: string, format: string, inside?: string, exec = here): Promise<string> {
  const raw = join(tmpdir(), `virtctl-content-${randomUUID()}.raw`);
  const of = inside === undefined ? [] : ['-l', `snapshot.name=${inside}`];
  try {
    await exec('qemu-img', ...['convert', '-U', '-f', format, ...of, '-O', 'raw', path, raw]);
    return createHash('sha256')
      .update(await readFile(raw))
      .digest('hex');
  } finally {
    await rm(raw, { force: true });
  }
}

/** Writes into the disk of a machine that is off: one byte again and again. */
export async function writeDisk(
  path: string,
  format: string,
  { byte, offsetBytes, bytes }: { readonly byte: number; readonly offsetBytes: number; readonly bytes: number },
  exec = here,
): Promise<void> {
  await exec('qemu-io', '-f', format, '-c', `write -P ${byte} ${offsetBytes} ${bytes}`, path);
}
