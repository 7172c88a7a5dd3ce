/** Files that lie over another one and that nobody here knows: made by hand, or of a disk whose object was lost. */
import { realpath } from 'node:fs/promises';
import { analyse } from '../../analyser/analyse.ts';
import { toError } from '../../base/errors.ts';
import { isInvalidState, isNotFound } from '../../libvirt/errors.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';
import type { Pool } from '../../libvirt/objects/pools.ts';
import type { Volume } from '../../libvirt/objects/volume.ts';
import { memberAt, textOf, type DataObject } from '../virtual-machine/same-value.ts';
import { isPassing, StorageProblem } from '../virtual-pool/storage-context.ts';

/** Each file of a pool is opened by a refresh; a pool that is wiped in or copied to lets nobody look for longer. */
const refreshMs = 10 * 60_000;

/** A pool in which a volume is being made cannot be looked at; it is asked again this soon, in milliseconds. */
export const lookAgainMs = 1_000;

/**
 * The files of a path's pool that have it as their backing file, after a look at the pool; sorted. A path that is in no running
 * pool has none that libvirt knows of.
 *
 * @param known Files that are not meant.
 * @throws StorageProblem `RefreshFailed` when the pool cannot be looked at: what lies over it is not known then.
 */
export async function unknownOverlays(
  libvirt: Libvirt,
  path: string,
  known: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<string[]> {
  const pool = await poolWith(libvirt, path, signal);
  if (pool === undefined) return [];
  return (await filesOver(pool, path, signal)).filter((file) => !known.has(file));
}

/**
 * The files of a pool that have a path as their backing file, after a look at the pool: libvirt knows what others made since its
 * last one by that only. Sorted.
 *
 * @param raw Files that lie over nothing, whatever libvirt says: a guest can write the header of an overlay into its disk.
 * @throws StorageProblem `RefreshFailed` when the pool cannot be looked at.
 */
export async function filesOver(
  pool: Pool,
  path: string,
  signal: AbortSignal,
  raw: ReadonlySet<string> = new Set(),
): Promise<string[]> {
  try {
    await pool.refresh({ signal, timeoutMs: refreshMs });
  } catch (error) {
    if (isPassing(error, signal)) throw error;
    const { message } = toError(error);
    const told = `pool ${pool.name} cannot be looked through for files that lie over ${path}: ${message}`;
    throw new StorageProblem('RefreshFailed', told, { cause: error });
  }
  const real = await realOf(path);
  const found: string[] = [];
  for (const volume of await pool.volumes({ signal })) {
    const xml = await xmlOf(volume, signal);
    const below = textOf(memberAt(xml, 'backingStore', 'path'));
    if (below === '' || (below !== path && (await realOf(below)) !== real)) continue;
    const at = textOf(memberAt(xml, 'target', 'path'));
    if (!raw.has(at)) found.push(at);
  }
  return found.sort();
}

/** A backing file may be written as it is seen from the file over it, or over links. */
async function realOf(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch {
    // It is gone, or not to be seen from here.
    return path;
  }
}

async function poolWith(libvirt: Libvirt, path: string, signal: AbortSignal): Promise<Pool | undefined> {
  try {
    const volume = await libvirt.pools.volumeByPath(path, { signal });
    return await libvirt.pools.byName(volume.pool, { signal });
  } catch (error) {
    if (isNotFound(error) || isInvalidState(error)) return undefined;
    throw error;
  }
}

/** undefined where it is gone meanwhile. */
async function xmlOf(volume: Volume, signal: AbortSignal): Promise<DataObject | undefined> {
  try {
    return analyse(await volume.xml({ signal })).value as DataObject;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}
