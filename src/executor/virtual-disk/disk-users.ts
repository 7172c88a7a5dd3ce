/** Who uses a volume: objects by their specs, and libvirt's domains by their devices. */
import type { Libvirt } from '../../libvirt/libvirt.ts';
import { isNotFound } from '../../libvirt/errors.ts';
import type { Domain } from '../../libvirt/objects/domain.ts';
import { isList, isObject, memberAt, textOf, type Data, type DataObject } from '../virtual-machine/same-value.ts';
import { analyse } from '../../analyser/analyse.ts';

/** A domain that has a volume. */
export interface VolumeUser {
  readonly domain: Domain;
  /** The device it is, as `vda`; undefined where it is only in the chain below a device. */
  readonly target: string | undefined;
}

/**
 * The domains of the node that have a path as a disk, or below one as its backing file.
 *
 * @param active Those that run, by their live devices; else all, by their definitions too.
 */
export async function domainsWith(
  libvirt: Libvirt,
  path: string,
  active: boolean,
  signal: AbortSignal,
): Promise<VolumeUser[]> {
  const found: VolumeUser[] = [];
  for (const domain of await libvirt.domains.list(active ? { active: true, signal } : { signal })) {
    try {
      const xmls = [await domain.xml({ signal })];
      if (!active) xmls.push(await domain.xml({ inactive: true, signal }));
      const user = xmls.map((xml) => targetOf(xml, path)).find((one) => one !== undefined);
      if (user !== undefined) found.push({ domain, target: user === '' ? undefined : user });
    } catch (error) {
      // It is gone meanwhile.
      if (!isNotFound(error)) throw error;
    }
  }
  return found;
}

/** @returns The device, empty where the path is below one only; undefined where it is not there. */
function targetOf(xml: string, path: string): string | undefined {
  const disks = memberAt(analyse(xml).value as DataObject, 'devices', 'disk');
  for (const disk of isList(disks) ? disks : []) {
    if (isAt(memberAt(disk, 'source'), path)) return textOf(memberAt(disk, 'target', 'dev'));
    for (let below = memberAt(disk, 'backingStore'); isObject(below); below = below['backingStore']) {
      if (isAt(below['source'], path)) return '';
    }
  }
  return undefined;
}

function isAt(source: Data | undefined, path: string): boolean {
  return ['file', 'dev'].some((key) => textOf(memberAt(source, key)) === path);
}
