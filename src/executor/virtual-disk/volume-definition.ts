/** A disk's volume as libvirt is given it. */
import { encryptionOf } from './disk-secrets.ts';
import type { Origin } from './origin.ts';
import { isObject, type Data, type DataObject } from '../virtual-machine/same-value.ts';
import { parseQuantity } from '../../api/quantity.ts';
import type { VirtualDisk } from '../../api/virtual-disk.ts';
import { render } from '../../convertor/render.ts';

/** Types of pools whose volumes are files, and so have a format of their own. */
const filePools: ReadonlySet<string> = new Set(['dir', 'fs', 'netfs', 'gluster', 'vstorage']);

/** What a volume lies over. */
export interface BackingFile {
  readonly path: string;
  readonly format: string;
}

/** The format that a disk is made in. */
export function formatOf(disk: VirtualDisk, poolType: string): string {
  return disk.spec.volume?.target?.format?.type ?? disk.spec.format ?? (filePools.has(poolType) ? 'qcow2' : 'raw');
}

/** The volume's name at libvirt. */
export function volumeName(disk: VirtualDisk, poolType: string): string {
  const { namespace = 'default', name = '' } = disk.metadata;
  const suffix = filePools.has(poolType) ? `.${formatOf(disk, poolType)}` : '';
  return disk.spec.volume?.name ?? `${namespace}.${name}${suffix}`;
}

/**
 * The name of the next partition of a pool of type disk: libvirt takes no other, and leaves the partition behind when it
 * refuses one.
 *
 * @param device That the pool partitions, as `/dev/sdb`.
 * @param taken The names of its volumes.
 */
export function partitionName(device: string, taken: readonly string[]): string {
  const base = device.slice(device.lastIndexOf('/') + 1);
  const prefix = /\d$/.test(base) ? `${base}p` : base;
  let number = 1;
  while (taken.includes(`${prefix}${number}`)) number += 1;
  return `${prefix}${number}`;
}

/** The capacity that spec asks for in bytes, in whole sectors. */
export function wantedBytes(disk: VirtualDisk): number | undefined {
  const bytes = parseQuantity(disk.spec.capacity ?? '');
  return bytes === undefined ? undefined : Math.ceil(bytes / 512) * 512;
}

/**
 * The XML of a new volume.
 *
 * @param bytes Its capacity.
 * @throws InvalidInputError when spec.volume is not libvirt's.
 */
export function volumeXml(
  disk: VirtualDisk,
  name: string,
  format: string,
  bytes: number,
  poolType: string,
  { backing, copyOf }: Pick<Origin, 'backing' | 'copyOf'>,
): string {
  const isCopy = copyOf !== undefined;
  const { preallocation = 'None' } = disk.spec;
  const encryption = disk.spec.encryption === undefined ? undefined : encryptionOf(disk);
  const isFull = preallocation === 'Falloc' || preallocation === 'Full';
  const own: DataObject = {
    name,
    capacity: { unit: 'bytes', value: bytes },
    allocation: { unit: 'bytes', value: isFull ? bytes : 0 },
    target: {
      // A partition's format is what its table says of it.
      ...(poolType === 'disk' ? {} : { format: { type: format } }),
      // A copy would have the mode of what it is copied from, which everybody may be able to read.
      ...(isCopy ? { permissions: { mode: '0600' } } : {}),
      ...(encryption === undefined ? {} : { encryption }),
    },
    ...(backing === undefined ? {} : { backingStore: { path: backing.path, format: { type: backing.format } } }),
  };
  const value = merged(own, { ...(disk.spec.volume as DataObject | undefined), name });
  return render('storagevol', value, disk.spec.overlay as Parameters<typeof render>[2], {
    path: 'spec.volume',
    overlayPath: 'spec.overlay',
  });
}

function merged(under: DataObject, over: DataObject): DataObject {
  const result: Record<string, Data | undefined> = { ...under };
  for (const [key, value] of Object.entries(over)) {
    const below = result[key];
    result[key] = isObject(value) && isObject(below) ? merged(below, value) : value;
  }
  return result;
}
