/** Brings an image's file to the node: from a web server, resumable, or from a file; and checks it. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { constants, copyFile, mkdir, open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { dirname } from 'node:path';
import type { WebCredentials } from './web-credentials.ts';
import { requestFile } from './web-request.ts';
import { StorageProblem } from '../virtual-pool/storage-context.ts';
import { toError } from '../../base/errors.ts';

/** Bytes so far, and in all where that is known. */
export type OnBytes = (done: number, total: number | undefined) => Promise<void>;

/** A server that says nothing for this long is given up; the next attempt goes on where it was. */
const silentMs = 60_000;

/**
 * Downloads a file. What came before is kept beside it, with the server's ETag or date: a later call goes on there if the
 * server still has the same.
 *
 * @param path Where it is to be; there when this returns.
 * @param maxBytes More than this is not taken.
 * @param credentials What the server is to be told and trusted with.
 */
export async function download(
  url: string,
  path: string,
  maxBytes: number,
  onBytes: OnBytes,
  credentials: WebCredentials,
  signal: AbortSignal,
): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  if ((await sizeOf(path)) !== undefined) return;
  const part = `${path}.part`;
  const note = `${path}.validator`;
  const validator = await readNote(note);
  let done = validator === '' ? 0 : ((await sizeOf(part)) ?? 0);
  const silence = new AbortController();
  const timer = setTimeout(() => silence.abort(), silentMs);
  let response: IncomingMessage | undefined;
  try {
    const inner = AbortSignal.any([signal, silence.signal]);
    response = await requestFile(
      url,
      {
        'accept-encoding': 'identity',
        ...(done > 0 ? { range: `bytes=${done}-`, 'if-range': validator } : {}),
      },
      credentials,
      inner,
    );
    const { statusCode = 0, statusMessage = '' } = response;
    if (statusCode === 200) done = 0;
    const isPart = statusCode === 206 && response.headers['content-range']?.startsWith(`bytes ${done}-`);
    if (statusCode !== 200 && isPart !== true) {
      if (statusCode === 416 || statusCode === 206) await rm(part, { force: true });
      throw new StorageProblem('DownloadFailed', `the server answers ${statusCode} ${statusMessage}`);
    }
    const length = response.headers['content-length'];
    const total = length === undefined ? undefined : done + Number(length);
    const file = await open(part, done > 0 ? 'r+' : 'w', 0o600);
    try {
      // A weak ETag does not promise the same bytes (RFC 9110, 13.1.5).
      const etag = response.headers.etag ?? '';
      const strong = etag.startsWith('W/') ? '' : etag;
      await writeFile(note, strong === '' ? (response.headers['last-modified'] ?? '') : strong);
      for await (const chunk of response) {
        timer.refresh();
        const bytes = chunk as Buffer;
        if (done + bytes.length > maxBytes) {
          throw new StorageProblem('UnsafeImage', 'the server sends more than spec.maxVirtualSize', { isFinal: true });
        }
        // A disk that is nearly full takes a part, and says so with the next.
        for (let at = 0; at < bytes.length;) {
          const { bytesWritten } = await file.write(bytes, at, bytes.length - at, done);
          at += bytesWritten;
          done += bytesWritten;
        }
        await onBytes(done, total);
      }
      await file.sync();
    } finally {
      await file.close();
    }
    if (total !== undefined && done !== total) {
      throw new StorageProblem('DownloadFailed', `the server ended after ${done} of ${total} bytes`);
    }
  } catch (thrown) {
    if (thrown instanceof StorageProblem || signal.aborted) throw thrown;
    const cause = toError(thrown);
    const why = silence.signal.aborted ? 'the server went silent' : cause.message;
    if ((cause as NodeJS.ErrnoException).code === 'ENOSPC') throw cause;
    throw new StorageProblem('DownloadFailed', `cut off after ${done} bytes: ${why}`, { cause });
  } finally {
    clearTimeout(timer);
    response?.destroy();
  }
  await rename(part, path);
  await rm(note, { force: true });
}

/**
 * Copies a file of the node, so that nobody changes it between its inspection and its use.
 *
 * @param maxBytes A larger file is refused.
 */
export async function copyIn(from: string, path: string, maxBytes: number): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  if ((await sizeOf(path)) !== undefined) return;
  try {
    const found = await stat(from);
    // A device or a pipe could go on for ever.
    if (!found.isFile()) throw new StorageProblem('UnsafeImage', `${from} is no file`, { isFinal: true });
    if (found.size > maxBytes) {
      throw new StorageProblem('UnsafeImage', `${from} is larger than spec.maxVirtualSize`, { isFinal: true });
    }
    await copyFile(from, `${path}.part`, constants.COPYFILE_FICLONE);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new StorageProblem('SourceNotReady', `there is no file ${from} on the node`, { cause: error });
  }
  await rename(`${path}.part`, path);
}

/**
 * Checks a file.
 *
 * @param wanted As `sha256:…`; `none` and undefined: only computed.
 * @param bytes How much of the file counts.
 * @returns What was computed, as `sha256:…`.
 * @throws StorageProblem ChecksumMismatch.
 */
export async function verify(
  path: string,
  wanted: string | undefined,
  signal: AbortSignal,
  bytes = Infinity,
): Promise<string> {
  const algorithm = wanted?.startsWith('sha512:') === true ? 'sha512' : 'sha256';
  const hash = createHash(algorithm);
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20, signal, end: bytes - 1 }))
    hash.update(chunk as Buffer);
  const found = `${algorithm}:${hash.digest('hex')}`;
  if (wanted !== undefined && wanted !== 'none' && wanted.toLowerCase() !== found) {
    const message = `the file's checksum is ${found}, not ${wanted}`;
    throw new StorageProblem('ChecksumMismatch', message, { isFinal: true });
  }
  return found;
}

/** The size of a file in bytes; undefined when there is none. */
export async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

async function readNote(path: string): Promise<string> {
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
