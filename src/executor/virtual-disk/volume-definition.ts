/** A disk's volume as libvirt is given it. */
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
  backing: BackingFile | undefined,
): string {
  const { preallocation = 'None' } = disk.spec;
  const isFull = preallocation === 'Falloc' || preallocation === 'Full';
  const own: DataObject = {
    name,
    capacity: { unit: 'bytes', value: bytes },
    allocation: { unit: 'bytes', value: isFull ? bytes : 0 },
    target: { format: { type: format } },
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
