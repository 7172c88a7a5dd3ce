import { once } from 'node:events';
import type { Context } from './context.ts';

/** Writes to stdout and waits while its reader is behind, so that memory stays bounded however much is printed. */
export async function writeResult(context: Context, text: string): Promise<void> {
  context.signal.throwIfAborted();
  if (context.stdout.write(text) || context.stdout.destroyed) return;
  await once(context.stdout, 'drain', { signal: context.signal });
}
