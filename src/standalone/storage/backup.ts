import { chmodSync, constants, copyFileSync, cpSync, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { FailedError, NotFoundError } from '../../base/errors.ts';
import { checkHeader } from './check-header.ts';
import { lockFolder } from './lock-folder.ts';
import { openRecord, sealRecord } from './record.ts';
import { StorageFailedError } from './storage-error.ts';

/** The store's file in its folder. */
export const storeFile = 'store.mdb';
/** A restored store goes on this far after the last revision that anybody may have seen. */
const revisionGap = 1_000;

/**
 * Copies the store of a data folder to a file, consistently, also while a server runs.
 *
 * @throws NotFoundError when there is no store, FailedError when the file is there already.
 */
export async function backupStore(folder: string, file: string): Promise<void> {
  const path = join(folder, 'store', storeFile);
  if (!existsSync(path)) throw new NotFoundError(`there is no store in ${folder}`);
  if (existsSync(file)) throw new FailedError(`${file} exists already`, { hint: 'name another file, or remove it' });
  const { open } = await import('lmdb');
  try {
    const root = open<Buffer, string>({ path, noSubdir: true, encoding: 'binary', readOnly: true, maxDbs: 4 });
    // A store holds Secrets: the copy is made where only its owner can look, and keeps that mode.
    const copy = `${path}.${process.pid}.backup`;
    await root.backup(copy, true);
    await root.close();
    chmodSync(copy, 0o600);
    mkdirSync(dirname(file), { recursive: true });
    copyFileSync(copy, file, constants.COPYFILE_EXCL);
    rmSync(copy);
  } catch (error) {
    throw new StorageFailedError(`cannot back up ${path} to ${file}`, { cause: error });
  }
}

/**
 * Replaces the store of a data folder by a backup, after every record of it was checked. Resource versions go on after
 * the replaced store's, and the history is emptied, so that every watcher lists afresh.
 *
 * @throws NotFoundError, StorageFailedError; the store is as it was then.
 */
export async function restoreStore(folder: string, file: string): Promise<void> {
  if (!existsSync(file)) throw new NotFoundError(`there is no file ${file}`);
  const unlock = lockFolder(folder);
  const path = join(folder, 'store', storeFile);
  const next = `${path}.restore`;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    rmSync(next, { force: true });
    checkHeader(file);
    cpSync(file, next);
    const lastSeen = existsSync(path) ? await revisionOf(path) : 0;
    await prepare(next, lastSeen);
    rmSync(`${next}-lock`, { force: true });
    renameSync(next, path);
    rmSync(`${path}-lock`, { force: true });
  } catch (error) {
    rmSync(next, { force: true });
    throw new StorageFailedError(`cannot restore ${file} into ${folder}`, { cause: error });
  } finally {
    unlock();
  }
}

async function revisionOf(path: string): Promise<number> {
  const { open } = await import('lmdb');
  const root = open<Buffer, string>({ path, noSubdir: true, encoding: 'binary', maxDbs: 4 });
  const revision = root.openDB<Buffer, string>('meta', { encoding: 'binary' }).get('revision');
  await root.close();
  return revision === undefined ? 0 : Number(openRecord(revision, 'the revision').toString());
}

async function prepare(path: string, lastSeen: number): Promise<void> {
  const { open } = await import('lmdb');
  const root = open<Buffer, string>({ path, noSubdir: true, encoding: 'binary', maxDbs: 4, overlappingSync: false });
  const objects = root.openDB<Buffer, string>('objects', { encoding: 'binary' });
  for (const { key, value } of objects.getRange({})) openRecord(value, key.replace('\u0001', ' '));
  const changes = root.openDB<Buffer, number>('changes', { encoding: 'binary' });
  const meta = root.openDB<Buffer, string>('meta', { encoding: 'binary' });
  const stored = meta.get('revision');
  if (stored === undefined) throw new FailedError(`${path} is not a backup of a store`);
  const revision = Math.max(Number(openRecord(stored, 'the revision').toString()), lastSeen) + revisionGap;
  root.transactionSync(() => {
    changes.clearSync();
    meta.putSync('revision', sealRecord(Buffer.from(String(revision))));
    meta.putSync('oldest', sealRecord(Buffer.from(String(revision))));
  });
  await root.close();
}
