/** What libvirt says of volumes: looked up, and read. */
import { readChain } from '../virtual-machine-snapshot/image-files.ts';
import { memberAt, textOf, type DataObject } from '../virtual-machine/same-value.ts';
import { analyse } from '../../analyser/analyse.ts';
import { formatBytes } from '../../api/quantity.ts';
import { isNotFound } from '../../libvirt/errors.ts';
import type { Pool } from '../../libvirt/objects/pools.ts';
import type { Volume } from '../../libvirt/objects/volume.ts';

/** A volume of a pool by its name; undefined when there is none. */
export async function findVolume(pool: Pool, name: string, signal: AbortSignal): Promise<Volume | undefined> {
  try {
    return await pool.volume(name, { signal });
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** What libvirt says of a volume. */
export async function describeVolume(volume: Volume, signal: AbortSignal) {
  const info = await volume.info({ signal });
  const xml = analyse(await volume.xml({ signal })).value as DataObject;
  const backing = textOf(memberAt(xml, 'backingStore', 'path'));
  const format = imageFormat(textOf(memberAt(xml, 'target', 'format', 'type')));
  const path = await volume.path({ signal });
  return {
    bytes: info.capacityBytes,
    path,
    key: volume.key,
    format,
    isBlock: info.type === 'block',
    capacity: formatBytes(info.capacityBytes),
    allocation: formatBytes(info.allocationBytes),
    backingChain: backing === '' ? [] : await filesBelow(path, format, backing, signal),
  };
}

/** What libvirt says of a partition or a folder is the kind of its content, not the format of an image. */
export function imageFormat(format: string): string {
  return /^(qcow2?|qed|vmdk|vdi|vpc|vhdx?|cow|ploop|luks|bochs|cloop|dmg)$/.test(format) ? format : 'raw';
}

/** All that lies below a volume, nearest first: libvirt tells the nearest only, and no more of a volume that is no file. */
async function filesBelow(path: string, format: string, backing: string, signal: AbortSignal): Promise<string[]> {
  if (!path.startsWith('/')) return [backing];
  return (await readChain(path, format, signal)).slice(1).map((header) => header.path);
}
