/**
 * Files of disks that nobody runs on: their headers read, overlays made, merged and repointed, by qemu-img with an argument
 * array. qemu-img takes QEMU's own locks, so that it refuses a file that some QEMU writes to.
 */
import { spawn } from 'node:child_process';
import { access, rm } from 'node:fs/promises';
import { runLimited } from '../virtual-image/inspect-image.ts';
import { isList, isObject, textOf, type Data, type DataObject } from '../virtual-machine/same-value.ts';
import { FailedError, TimedOutError } from '../../base/errors.ts';

/** The header of a file. */
export interface ImageHeader {
  readonly path: string;
  readonly format: string;
  /** What it lies over. */
  readonly backing: string | undefined;
  readonly backingFormat: string | undefined;
  readonly virtualBytes: number;
  /** Nobody reads what is in it without its key. */
  readonly isEncrypted: boolean;
}

const shortMs = 60_000;
/** Merging takes as long as disks are large. */
const longMs = 24 * 60 * 60_000;

/** Whether a file is there. */
export async function fileExists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

/**
 * The headers of a file and of all below it, it first. It may be in use.
 *
 * @param format What it was made as: a guest can write any header into a raw disk.
 */
export async function readChain(path: string, format: string, signal: AbortSignal): Promise<readonly ImageHeader[]> {
  const args = ['info', '-U', '--output=json', '-f', format, '--backing-chain', path];
  const told = JSON.parse(await runLimited('qemu-img', args, shortMs, signal)) as Data;
  return (isList(told) ? told : [told]).filter(isObject).map(headerOf);
}

/** The header of one file. */
export async function readHeader(path: string, format: string, signal: AbortSignal): Promise<ImageHeader> {
  const args = ['info', '-U', '--output=json', '-f', format, path];
  return headerOf(JSON.parse(await runLimited('qemu-img', args, shortMs, signal)) as DataObject);
}

/** The names of the snapshots inside of a file, whoever took them. It may be in use. */
export async function snapshotsInside(path: string, format: string, signal: AbortSignal): Promise<readonly string[]> {
  const args = ['info', '-U', '--output=json', '-f', format, path];
  const told = JSON.parse(await runLimited('qemu-img', args, shortMs, signal)) as DataObject;
  const list = told['snapshots'];
  return (isList(list) ? list : []).map((one) => (isObject(one) ? textOf(one['name']) || textOf(one['id']) : ''));
}

/**
 * What the memory of a running guest takes in one of its disks, in bytes.
 *
 * @returns undefined where that internal snapshot has none.
 */
export async function memoryInside(
  path: string,
  format: string,
  snapshot: string,
  signal: AbortSignal,
): Promise<number | undefined> {
  const args = ['info', '-U', '--output=json', '-f', format, path];
  const told = JSON.parse(await runLimited('qemu-img', args, shortMs, signal)) as DataObject;
  const list = told['snapshots'];
  const own = (isList(list) ? list : []).find((one) => isObject(one) && textOf(one['name']) === snapshot);
  const bytes = isObject(own) ? Number(own['vm-state-size']) : 0;
  return bytes > 0 ? bytes : undefined;
}

/** Whether some QEMU writes to a file: then its lock is taken. */
export async function isInUse(path: string, format: string, signal: AbortSignal): Promise<boolean> {
  try {
    await runLimited('qemu-img', ['info', '--output=json', '-f', format, path], shortMs, signal);
    return false;
  } catch (error) {
    if (error instanceof FailedError && /lock/i.test(error.message)) return true;
    throw error;
  }
}

/** Makes an overlay over a file; one that was begun before is made anew. */
export async function createOverlay(
  path: string,
  backing: { readonly path: string; readonly format: string },
  signal: AbortSignal,
): Promise<void> {
  const args = ['create', '-q', '-f', 'qcow2', '-b', backing.path, '-F', backing.format, path];
  await runLimited('qemu-img', args, shortMs, signal);
}

/**
 * Writes what a file has into the file below it. The file stays as it is, so that what is seen through it never changes,
 * wherever this ends.
 *
 * @param onPercent Is told how far it is.
 */
export async function commitImage(
  path: string,
  into: string,
  onPercent: (percent: number) => void,
  signal: AbortSignal,
): Promise<void> {
  await runWithProgress(['commit', '-p', '-d', '-f', 'qcow2', '-b', into, path], onPercent, signal);
}

/**
 * Copies what a file sees of the one below it into itself, and lets it lie over what is below that, or nothing. Until the
 * last moment it lies over the old one.
 */
export async function pullImage(
  path: string,
  below: { readonly path: string; readonly format: string } | undefined,
  onPercent: (percent: number) => void,
  signal: AbortSignal,
): Promise<void> {
  const over = below === undefined ? ['-b', ''] : ['-b', below.path, '-F', below.format];
  await runWithProgress(['rebase', '-p', '-f', 'qcow2', ...over, path], onPercent, signal);
}

/** Lets a file lie over another one that has the same content as the one before: only its header changes. */
export async function repointImage(
  path: string,
  below: { readonly path: string; readonly format: string },
  signal: AbortSignal,
): Promise<void> {
  const args = ['rebase', '-u', '-f', 'qcow2', '-b', below.path, '-F', below.format, path];
  await runLimited('qemu-img', args, shortMs, signal);
}

/** Copies an internal snapshot of a file into a volume that is there already. */
export async function exportInternal(
  path: string,
  snapshot: string,
  to: { readonly path: string; readonly format: string },
  signal: AbortSignal,
): Promise<void> {
  const args = [
    'convert',
    '-p',
    '-n',
    '-f',
    'qcow2',
    '-l',
    `snapshot.name=${snapshot}`,
    '-O',
    to.format,
    path,
    to.path,
  ];
  await runWithProgress(args, () => undefined, signal);
}

/** Removes a file; whether it was there does not matter. */
export async function removeFile(path: string): Promise<void> {
  await rm(path, { force: true });
}

function headerOf(told: DataObject): ImageHeader {
  const backing = textOf(told['full-backing-filename']) || textOf(told['backing-filename']);
  const backingFormat = textOf(told['backing-filename-format']);
  return {
    path: textOf(told['filename']),
    format: textOf(told['format']),
    backing: backing === '' ? undefined : backing,
    backingFormat: backingFormat === '' ? undefined : backingFormat,
    virtualBytes: Number(told['virtual-size']),
    isEncrypted: told['encrypted'] === true,
  };
}

async function runWithProgress(
  args: readonly string[],
  onPercent: (percent: number) => void,
  signal: AbortSignal,
): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const child = spawn('qemu-img', args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: longMs, signal });
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      const found = [...text.matchAll(/\(([0-9]+)(?:\.[0-9]+)?\/100%\)/g)].at(-1)?.[1];
      if (found !== undefined) onPercent(Number(found));
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-4096)));
    child.on('error', (cause) => {
      reject(new FailedError(`cannot run qemu-img: ${cause.message}`, { cause }));
    });
    child.on('close', (code, killed) => {
      if (code === 0) resolve();
      else if (killed !== null) reject(new TimedOutError(`qemu-img ${args[0] ?? ''} was ended (${killed})`));
      else reject(new FailedError(said.trim() === '' ? `qemu-img ended with ${String(code)}` : said.trim()));
    });
  });
}
