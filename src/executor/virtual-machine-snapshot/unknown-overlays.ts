/** Files that lie over another one and that nobody here knows: made by hand, or of a disk whose object was lost. */
import { analyse } from '../../analyser/analyse.ts';
import { isInvalidState, isNotFound } from '../../libvirt/errors.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';
import type { Volume } from '../../libvirt/objects/volume.ts';
import { memberAt, textOf, type DataObject } from '../virtual-machine/same-value.ts';

/**
 * The files of a path's pool that have it as their backing file, by what libvirt saw when it last refreshed the pool; sorted.
 * A path that is in no running pool has none that libvirt knows of.
 *
 * @param known Files that are not meant.
 */
export async function unknownOverlays(
  libvirt: Libvirt,
  path: string,
  known: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<string[]> {
  const found: string[] = [];
  for (const volume of await volumesBeside(libvirt, path, signal)) {
    const xml = await xmlOf(volume, signal);
    if (xml === undefined || textOf(memberAt(xml, 'backingStore', 'path')) !== path) continue;
    const at = textOf(memberAt(xml, 'target', 'path'));
    if (!known.has(at)) found.push(at);
  }
  return found.sort();
}

async function volumesBeside(libvirt: Libvirt, path: string, signal: AbortSignal): Promise<readonly Volume[]> {
  try {
    const volume = await libvirt.pools.volumeByPath(path, { signal });
    return await (await libvirt.pools.byName(volume.pool, { signal })).volumes({ signal });
  } catch (error) {
    if (isNotFound(error) || isInvalidState(error)) return [];
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
