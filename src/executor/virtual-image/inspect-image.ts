/** What is in an image of unknown origin, found out without trusting it. */
import { spawn } from 'node:child_process';
import { memberAt, textOf, type Data, type DataObject } from '../virtual-machine/same-value.ts';
import { formatBytesRounded } from '../../api/quantity.ts';
import { FailedError } from '../../base/errors.ts';
import { StorageProblem } from '../virtual-pool/storage-context.ts';

/** What qemu-img may take to look at a header: a crafted one can cost any amount of memory and time. */
const limits = ['--as=1073741824', '--cpu=30'];
const inspectMs = 60_000;
const maxOutputBytes = 1024 * 1024;

/** Formats that are converted; qemu-img knows more, which are no disks of machines. */
const knownFormats: ReadonlySet<string> = new Set(['qcow2', 'raw', 'vmdk', 'vdi', 'vhdx', 'vpc']);

/** An image that is harmless. */
export interface InspectedImage {
  readonly format: string;
  readonly virtualBytes: number;
}

/**
 * Looks at an image.
 *
 * @param format What it is said to be; found out when undefined.
 * @param maxBytes The largest disk that is taken.
 * @throws StorageProblem UnsafeImage when it names other files or is too large, UnknownFormat.
 */
export async function inspectImage(
  path: string,
  format: string | undefined,
  maxBytes: number,
  signal: AbortSignal,
): Promise<InspectedImage> {
  const known = format === 'iso' ? 'raw' : format;
  const args = ['info', '--output=json', ...(known === undefined ? [] : ['-f', known]), path];
  let told: string;
  try {
    told = await runLimited('prlimit', [...limits, 'qemu-img', ...args], inspectMs, signal);
  } catch (error) {
    if (signal.aborted) throw error;
    const cause = error as Error;
    throw new StorageProblem('UnknownFormat', `it cannot be read: ${cause.message}`, { cause, isFinal: true });
  }
  return judgeImage(JSON.parse(told) as DataObject, path, maxBytes);
}

/** Judges what `qemu-img info` says; see {@link inspectImage}. */
export function judgeImage(info: DataObject, path: string, maxBytes: number): InspectedImage {
  const refuse = (message: string): StorageProblem => new StorageProblem('UnsafeImage', message, { isFinal: true });
  const format = textOf(info['format']);
  const virtualBytes = Number(info['virtual-size']);
  if (!knownFormats.has(format)) {
    throw new StorageProblem('UnknownFormat', `"${format}" is no format of disks`, { isFinal: true });
  }
  const backing = textOf(info['backing-filename']);
  if (backing !== '') throw refuse(`it lies over another file, "${backing}", which may be any file of the host`);
  const outside = textOf(memberAt(info, 'format-specific', 'data', 'data-file'));
  if (outside !== '') throw refuse(`its data is in another file, "${outside}", which may be any file of the host`);
  const extents = memberAt(info, 'format-specific', 'data', 'extents');
  for (const extent of (Array.isArray(extents) ? extents : []) as readonly Data[]) {
    const file = textOf(memberAt(extent, 'filename'));
    if (file !== path) throw refuse(`a part of it is in another file, "${file}", which may be any file of the host`);
  }
  if (!Number.isSafeInteger(virtualBytes) || virtualBytes > maxBytes) {
    const size = Number.isFinite(virtualBytes) ? formatBytesRounded(virtualBytes) : 'unknown';
    throw refuse(`its disk is ${size} large, and spec.maxVirtualSize is ${formatBytesRounded(maxBytes)}`);
  }
  return { format, virtualBytes };
}

/**
 * Runs a program with an argument array; no shell.
 *
 * @returns What it prints, at most {@link maxOutputBytes}.
 * @throws FailedError with its own words.
 */
export async function runLimited(
  program: string,
  args: readonly string[],
  timeoutMs: number,
  signal: AbortSignal,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: timeoutMs, signal });
    let printed = '';
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      printed += text;
      if (printed.length > maxOutputBytes) child.kill('SIGKILL');
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-4096)));
    child.on('error', (cause) => reject(new FailedError(`cannot run ${program}: ${cause.message}`, { cause })));
    child.on('close', (code, killed) => {
      if (code === 0) resolve(printed);
      else
        reject(new FailedError(said.trim() === '' ? `${program} ended with ${killed ?? String(code)}` : said.trim()));
    });
  });
}
