import { open, type FileHandle } from 'node:fs/promises';
import type { LibvirtStream } from '../stream.ts';

/** Where an upload reads: the path of a file of this machine, or data in order. */
export type VolumeSource = string | AsyncIterable<Uint8Array>;

/** Where a download goes: the path of a file of this machine, or a function that takes the pieces in order. */
export type VolumeSink = string | ((piece: VolumePiece) => Promise<void>);

/** A piece of a volume: data, or a hole where nothing was ever written. */
export type VolumePiece =
  | { readonly type: 'data'; readonly position: number; readonly data: Buffer }
  | { readonly type: 'hole'; readonly position: number; readonly length: number };

/** Options of transfers. */
export interface TransferOptions {
  /** Called after each piece with all bytes so far. Must not throw. */
  readonly onProgress?: (bytes: number) => void;
  readonly signal?: AbortSignal | undefined;
}

const chunkBytes = 1 << 20;
/** A run of zeros as long as this becomes a hole: smaller ones cost more than they save. */
const holeBytes = 1 << 16;
const zeros = Buffer.alloc(holeBytes);

/** Sends a source through an upload stream and finishes it; aborts it when the source fails. */
export async function upload(
  stream: LibvirtStream,
  source: VolumeSource,
  options: TransferOptions & { readonly sparse: boolean },
): Promise<number> {
  const { signal, onProgress } = options;
  let bytes = 0;
  let hole = 0;
  const flushHole = async (): Promise<void> => {
    if (hole > 0) await stream.writeHole(BigInt(hole));
    hole = 0;
  };
  const onAbort = (): void => stream.abort(signal?.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    signal?.throwIfAborted();
    for await (const chunk of typeof source === 'string' ? fileChunks(source) : source) {
      for (const part of options.sparse ? partsOf(chunk) : [chunk]) {
        if (options.sparse && isZero(part)) hole += part.length;
        else {
          await flushHole();
          await stream.write(part);
        }
      }
      bytes += chunk.length;
      onProgress?.(bytes);
    }
    await flushHole();
    await stream.finish(signal);
    return bytes;
  } catch (error) {
    stream.abort(error);
    throw error;
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}

/** Takes all of a download stream and checks that the daemon ended it well. */
export async function download(stream: LibvirtStream, sink: VolumeSink, options: TransferOptions): Promise<number> {
  if (typeof sink === 'string') {
    const file = await open(sink, 'w');
    try {
      const bytes = await download(stream, (piece) => writePiece(file, piece), options);
      // A hole at the end has written nothing.
      await file.truncate(bytes);
      return bytes;
    } finally {
      await file.close();
    }
  }
  const { signal, onProgress } = options;
  let position = 0;
  const onAbort = (): void => stream.abort(signal?.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    signal?.throwIfAborted();
    for await (const piece of stream.pieces()) {
      if (piece.type === 'data') {
        await sink({ type: 'data', position, data: piece.data });
        position += piece.data.length;
      } else {
        const length = Number(piece.length);
        await sink({ type: 'hole', position, length });
        position += length;
      }
      onProgress?.(position);
    }
    await stream.finish(signal);
    return position;
  } catch (error) {
    stream.abort(error);
    throw error;
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}

async function writePiece(file: FileHandle, piece: VolumePiece): Promise<void> {
  if (piece.type === 'hole') return;
  for (let at = 0; at < piece.data.length;) {
    at += (await file.write(piece.data, at, piece.data.length - at, piece.position + at)).bytesWritten;
  }
}

async function* fileChunks(path: string): AsyncGenerator<Buffer> {
  const file = await open(path, 'r');
  try {
    for (;;) {
      const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(chunkBytes), 0, chunkBytes, null);
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}

function* partsOf(chunk: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < chunk.length;) {
    // As long a run of one kind as there is, or every 64 KiB of data would be a message of its own.
    const start = at;
    const kind = isZero(chunk.subarray(at, at + holeBytes));
    do at += holeBytes;
    while (at < chunk.length && isZero(chunk.subarray(at, at + holeBytes)) === kind);
    yield chunk.subarray(start, at);
  }
}

function isZero(part: Uint8Array): boolean {
  for (let at = 0; at < part.length; at += holeBytes) {
    const block = part.subarray(at, at + holeBytes);
    if (Buffer.compare(block, zeros.subarray(0, block.length)) !== 0) return false;
  }
  return true;
}
