import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import { CorruptStoreError } from './record.ts';

/** The number that LMDB writes into its first two pages, and where: MDB_MAGIC after the page's header. */
const magic = 0xbeefc0de;
const magicAt = [16, 24] as const;

/**
 * Looks whether a file begins as LMDB's do, before LMDB is given it: a damaged one can end the process.
 *
 * @throws CorruptStoreError.
 */
export function checkHeader(path: string): void {
  if (!existsSync(path)) return;
  const head = Buffer.alloc(64);
  const file = openSync(path, 'r');
  const length = readSync(file, head, 0, head.length, 0);
  closeSync(file);
  if (length === 0) return;
  if (length === head.length && magicAt.some((at) => head.readUInt32LE(at) === magic)) return;
  throw new CorruptStoreError(`${path} is not a store, or is damaged`, {
    hint: 'restore the last backup with: virtctl standalone restore',
  });
}
