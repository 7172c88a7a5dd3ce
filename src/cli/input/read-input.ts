import { createReadStream, readFileSync, statSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { decodeText } from './decode-text.ts';
import type { Input } from './list-inputs.ts';
import { readError } from './list-inputs.ts';
import { InvalidInputError, VirtctlError } from '../../base/errors.ts';

/** No file is larger: thousands of virtual machines fit, and memory is bounded. */
const maxBytes = 256 * 1024 * 1024;

/** What {@link readInput} reads from. */
export interface InputStreams {
  readonly stdin: Readable;
  readonly signal: AbortSignal;
}

/**
 * The text of a file or of standard input, at most 256 MiB.
 *
 * @throws NotFoundError, FailedError when it cannot be read; InvalidInputError when it is too large or not text.
 */
export async function readInput(input: Input, streams: InputStreams): Promise<string> {
  try {
    return decodeText(input.name, await readBytes(input, streams));
  } catch (error) {
    streams.signal.throwIfAborted();
    throw error instanceof VirtctlError ? error : readError(input.name, error);
  }
}

function readBytes({ name, path }: Input, { stdin, signal }: InputStreams): Uint8Array | Promise<Uint8Array> {
  if (path === undefined) return readStream(name, stdin, signal);
  const stat = statSync(path);
  // A pipe (`<(virsh dumpxml web)`) has no size and may take its time.
  if (!stat.isFile()) return readStream(name, createReadStream(path), signal);
  if (stat.size > maxBytes) throw tooLarge(name);
  return readFileSync(path);
}

async function readStream(name: string, stream: Readable, signal: AbortSignal): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let size = 0;
  const onAbort = (): void => void stream.destroy();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    for await (const chunk of stream as AsyncIterable<Buffer | string>) {
      const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
      size += bytes.length;
      if (size > maxBytes) throw tooLarge(name);
      chunks.push(bytes);
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
  return Buffer.concat(chunks);
}

function tooLarge(name: string): InvalidInputError {
  const message = `larger than ${maxBytes / 1024 / 1024} MiB`;
  return new InvalidInputError([{ file: name, path: '', message }]);
}
