/** A pool as libvirt is given it, and whether what libvirt has is that. */
import { defaultPoolName } from './storage-context.ts';
import { isList, isObject, textOf, type Data, type DataObject } from '../virtual-machine/same-value.ts';
import { analyse } from '../../analyser/analyse.ts';
import type { VirtualPool } from '../../api/virtual-pool.ts';
import { render } from '../../convertor/render.ts';

/** The name of a pool at libvirt. */
export function poolName(pool: VirtualPool): string {
  return pool.spec.pool?.name ?? pool.metadata.name ?? '';
}

/**
 * The XML that defines a pool.
 *
 * @param uuid Of the pool that exists already under this name.
 * @throws InvalidInputError when spec is not libvirt's.
 */
export function poolXml(pool: VirtualPool, uuid: string | undefined): string {
  const value = { ...(uuid === undefined ? {} : { uuid }), ...pool.spec.pool, name: poolName(pool) };
  return render('storagepool', value, pool.spec.overlay as Parameters<typeof render>[2], {
    path: 'spec.pool',
    overlayPath: 'spec.overlay',
  });
}

/** What libvirt says of a pool. */
export function readPool(xml: string): DataObject {
  return analyse(xml).value as DataObject;
}

/** What libvirt measures, whatever a definition says. */
const measured: readonly string[] = ['capacity', 'allocation', 'available', 'name'];

/** The paths of spec.pool that are otherwise at libvirt; what spec does not set belongs to libvirt. */
export function poolDrift(pool: VirtualPool, actual: DataObject): string[] {
  const found: string[] = [];
  for (const [key, value] of Object.entries((pool.spec.pool ?? {}) as DataObject)) {
    if (!measured.includes(key)) compare(value, actual[key], `spec.pool.${key}`, found);
  }
  return found;
}

function compare(wanted: Data | undefined, is: Data | undefined, path: string, found: string[]): void {
  if (wanted === undefined || wanted === null) return;
  if (isList(wanted)) {
    wanted.forEach((one, index) => compare(one, isList(is) ? is[index] : undefined, `${path}[${index}]`, found));
  } else if (isObject(wanted)) {
    const inner = isObject(is) ? is : {};
    for (const [key, value] of Object.entries(wanted)) compare(value, inner[key], `${path}.${key}`, found);
  } else if (normal(textOf(wanted)) !== normal(textOf(is))) found.push(path);
}

/** libvirt drops the slash at the end of a folder, and writes modes with four digits. */
function normal(text: string): string {
  if (/^0?[0-7]{3}$/.test(text)) return text.padStart(4, '0');
  return text.length > 1 ? text.replace(/\/+$/, '') : text;
}

/**
 * The pool that every node has. Where libvirt has one of this name already, its own folder is taken; it is not enforced
 * upon nodes that have it elsewhere.
 */
export function defaultPool(path: string): VirtualPool {
  return {
    apiVersion: 'virtctl.dev/v1alpha1',
    kind: 'VirtualPool',
    metadata: { name: defaultPoolName },
    spec: { reclaimPolicy: 'Retain', driftPolicy: 'Report', pool: { type: 'dir', target: { path } } },
  };
}
