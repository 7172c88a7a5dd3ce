import { spawn } from 'node:child_process';
import { open, rename, rm, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isOutOfSpace, StorageProblem } from '../virtual-pool/storage-context.ts';
import { formatBytesRounded } from '../../api/quantity.ts';
import { FailedError } from '../../base/errors.ts';

/** The program that unpacks says that the file is broken: trying again with the same file leads nowhere. */
export class BrokenFileError extends FailedError {}

/** A shell's and prlimit's codes for a program that cannot be run. */
const firstRunnerCode = 126;

/** The part of a file system that stays free. */
const reservedPart = 0.05;

/** Programs by what compressed files begin with. */
const compressions = [
  { name: 'gz', magic: Buffer.from([0x1f, 0x8b]), program: ['gzip', '-dc'] },
  { name: 'xz', magic: Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]), program: ['xz', '-dc'] },
  { name: 'zst', magic: Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), program: ['zstd', '-dcq'] },
] as const;

/**
 * Unpacks a file where it is compressed.
 *
 * @param unpacked Where what comes out is to be.
 * @param given `auto`, or what it is said to be.
 * @param maxBytes More than this is not written.
 * @returns The path of what is to be used: the same where nothing is compressed.
 * @throws BrokenFileError when it cannot be unpacked for what is in it.
 * @throws StorageProblem when it unpacks to too much, or is not compressed as it is said to be.
 */
export async function decompress(
  path: string,
  unpacked: string,
  given: string,
  maxBytes: number,
  signal: AbortSignal,
): Promise<string> {
  if (given === 'none') return path;
  const file = await open(path, 'r');
  const { buffer } = await file.read(Buffer.alloc(6), 0, 6, 0).finally(() => file.close());
  const found = compressions.find(({ magic }) => buffer.subarray(0, magic.length).equals(magic));
  if (found === undefined && given === 'auto') return path;
  if (found === undefined || (given !== 'auto' && given !== found.name)) {
    throw new StorageProblem('UnknownFormat', `it is not compressed as ${given}`, { isFinal: true });
  }
  // Never so much that the node has nothing left: a few bytes can unpack to any size.
  const { bavail, bsize, blocks } = await statfs(dirname(unpacked));
  const roomBytes = Math.max(0, Math.floor((bavail - blocks * reservedPart) * bsize));
  const limitBytes = Math.min(maxBytes, roomBytes);
  const target = await open(`${unpacked}.part`, 'w', 0o600);
  try {
    const args = [`--fsize=${limitBytes}`, ...found.program, path];
    await new Promise<void>((resolve, reject) => {
      const child = spawn('prlimit', args, { stdio: ['ignore', target.fd, 'pipe'], signal });
      let said = '';
      child.stderr?.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-4096)));
      child.on('error', (cause) => reject(new FailedError(`cannot unpack it: ${cause.message}`, { cause })));
      child.on('close', (code, killed) => {
        if (code === 0) resolve();
        else if (killed === 'SIGXFSZ' || said.includes('File too large')) {
          const message = 'it unpacks to more than spec.maxVirtualSize';
          if (limitBytes === maxBytes) reject(new StorageProblem('UnsafeImage', message, { isFinal: true }));
          else {
            const room = formatBytesRounded(roomBytes);
            const where = `${dirname(unpacked)}, where ${room} may be taken`;
            reject(new StorageProblem('OutOfSpace', `it unpacks to more than there is room for in ${where}`));
          }
        } else {
          const failed = new FailedError(`cannot unpack it: ${said.trim()}`);
          const isBroken = code !== null && code < firstRunnerCode && !isOutOfSpace(failed);
          reject(isBroken ? new BrokenFileError(failed.message) : failed);
        }
      });
    });
  } catch (error) {
    // What it has taken is needed by others.
    await rm(`${unpacked}.part`, { force: true });
    throw error;
  } finally {
    await target.close();
  }
  await rename(`${unpacked}.part`, unpacked);
  return unpacked;
}
