/**
 * How far an upload is, in parts that libvirt has confirmed: each part is a stream of its own, whose end libvirt answers.
 * How much it has of a stream that was cut off it does not say, so it is sent again from the last part's end on.
 */
import { createHash, type Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import type { ImageUpload } from '../../api/image-upload.ts';
import { FailedError } from '../../base/errors.ts';

const MiB = 1 << 20;
const chunkBytes = MiB;
/** A part that costs little to send again, and much more to send than to confirm. */
const minPartBytes = 16 * MiB;
const maxPartBytes = 128 * MiB;
const parts = 32;

/** A file's beginning. */
export interface Prefix {
  readonly bytes: number;
  /** As `sha256:…`. */
  readonly checksum: string;
  /** What the checksum is of; takes what follows. */
  readonly hash: Hash;
}

/**
 * Where the part ends that begins at `at`: every so many bytes from the first on, a 32nd of the file each, but at least
 * 16 MiB and at most 128; or the file's end. A part that begins between two ends is a shorter one.
 *
 * @param losses How often the connection was lost: each halves the parts, down to 1 MiB, so that some part is confirmed
 *   however soon it is lost again.
 */
export function nextCheckpoint(at: number, bytes: number, losses = 0): number {
  const wanted = Math.ceil(bytes / parts / MiB) * MiB;
  const whole = Math.min(maxPartBytes, Math.max(minPartBytes, wanted));
  const part = Math.max(MiB, Math.floor(whole / 2 ** losses));
  return Math.min(bytes, (Math.floor(at / part) + 1) * part);
}

/** What libvirt has confirmed of an upload; undefined when that is nothing. All of it once it was complete. */
export function keptOf(upload: ImageUpload): Pick<Prefix, 'bytes' | 'checksum'> | undefined {
  const { state, bytes, checksum, sent, sentChecksum } = upload;
  if (state === 'Complete') return checksum === undefined || bytes === 0 ? undefined : { bytes, checksum };
  return sent === undefined || sentChecksum === undefined ? undefined : { bytes: sent, checksum: sentChecksum };
}

/**
 * Reads a file's first bytes.
 *
 * @throws FailedError when it is shorter.
 */
export async function readPrefix(file: FileHandle, bytes: number, signal: AbortSignal): Promise<Prefix> {
  const hash = createHash('sha256');
  const chunks = chunksOf(file, 0, bytes, hash);
  while ((await chunks.next()).done !== true) signal.throwIfAborted();
  return { bytes, checksum: sumOf(hash), hash };
}

/**
 * A file's bytes from `from` up to `to`, however it grows meanwhile.
 *
 * @param hash Gets them too.
 * @throws FailedError when it is shorter.
 */
export async function* chunksOf(file: FileHandle, from: number, to: number, hash: Hash): AsyncGenerator<Buffer> {
  for (let at = from; at < to;) {
    const wanted = Math.min(chunkBytes, to - at);
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(wanted), 0, wanted, at);
    if (bytesRead === 0) throw new FailedError('the file became shorter while it was read');
    const chunk = buffer.subarray(0, bytesRead);
    hash.update(chunk);
    at += bytesRead;
    yield chunk;
  }
}

/** What a hash has come to, as `sha256:…`; it can take more afterwards. */
export function sumOf(hash: Hash): string {
  return `sha256:${hash.copy().digest('hex')}`;
}
