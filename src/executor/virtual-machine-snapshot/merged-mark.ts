/**
 * The mark that a file has all of the one over it: it is the younger one of the two. It outlasts the executor. Between a merge
 * and the disk's going over to the file below, somebody may start a guest on the file above, by hand or of another machine, or
 * a host may start again: what it writes there is in no other file.
 */
import { stat, utimes } from 'node:fs/promises';
import { fileExists, isInUse } from './image-files.ts';

/** Times of files are kept in seconds with a fraction, which is rounded on its way. */
const apartMs = 10;

/** Marks a file as having all that the one over it has now. */
export async function markMerged(from: string, into: string, nowMs: number): Promise<void> {
  if (!(await fileExists(from))) return;
  // The clock of a file server may be ahead of ours.
  const { mtimeMs } = await stat(from);
  const time = Math.max(nowMs, mtimeMs + apartMs) / 1000;
  await utimes(into, time, time);
}

/** Whether a file was written to since the one below it was marked. */
export async function isWrittenSince(from: string, into: string): Promise<boolean> {
  const [above, below] = await Promise.all([stat(from), stat(into)]);
  return above.mtimeMs > below.mtimeMs;
}

/** Whether a file that is to go may have something that the one below it does not have, or get it. */
export async function isLeftBehind(from: string, into: string, signal: AbortSignal): Promise<boolean> {
  if (!(await fileExists(from))) return false;
  return (await isInUse(from, 'qcow2', signal)) || (await isWrittenSince(from, into));
}
