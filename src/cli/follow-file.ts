import { open } from 'node:fs/promises';
import { systemClock } from '../base/clock.ts';

/** Options of {@link followFile}. */
export interface FollowOptions {
  /** Only this many lines from the end at first; all when left out. */
  readonly tail?: number | undefined;
  /** Goes on with what is added, until the signal. */
  readonly follow: boolean;
  readonly signal: AbortSignal;
}

const chunkBytes = 64 * 1024;
/** inotify does not work on every file system that logs are on. */
const pollMs = 200;

/**
 * Reads a log file, and goes on as it grows; from its start again when it was truncated.
 *
 * @throws the system's error when it cannot be read (ENOENT, EACCES).
 */
export async function* followFile(path: string, options: FollowOptions): AsyncGenerator<Buffer, void, undefined> {
  const file = await open(path, 'r');
  try {
    let at = options.tail === undefined ? 0 : await tailOffset(file, options.tail);
    for (;;) {
      options.signal.throwIfAborted();
      const { bytesRead, buffer } = await file.read(Buffer.alloc(chunkBytes), 0, chunkBytes, at);
      at += bytesRead;
      if (bytesRead > 0) yield buffer.subarray(0, bytesRead);
      else if (!options.follow) return;
      else {
        if ((await file.stat()).size < at) at = 0;
        await systemClock.sleep(pollMs, options.signal);
      }
    }
  } finally {
    await file.close();
  }
}

/** Where the last `lines` lines begin. */
async function tailOffset(file: Awaited<ReturnType<typeof open>>, lines: number): Promise<number> {
  const { size } = await file.stat();
  let found = 0;
  for (let end = size; end > 0;) {
    const start = Math.max(0, end - chunkBytes);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(end - start), 0, end - start, start);
    for (let index = bytesRead - 1; index >= 0; index -= 1) {
      // The line break that ends the file ends a line, and begins none.
      if (buffer[index] !== 0x0a || start + index === size - 1) continue;
      found += 1;
      if (found === lines) return start + index + 1;
    }
    end = start;
  }
  return lines === 0 ? size : 0;
}
