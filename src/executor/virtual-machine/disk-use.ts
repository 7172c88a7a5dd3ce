/** How a domain of this node has a disk open. */
import { findDomain } from './domain-view.ts';
import { isList, memberAt, textOf, type Data, type DataObject } from './same-value.ts';
import { analyse } from '../../analyser/analyse.ts';
import { isNotFound } from '../../libvirt/errors.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';
import { maxReportedBytes } from '../../xml/reader.ts';

/** How a disk is open. */
export interface DiskUse {
  readonly readOnly: boolean;
  readonly shareable: boolean;
}

/**
 * Looks at one domain.
 *
 * @param user Its UUID, and its name where none has that.
 * @returns undefined when it is off (and has no saved memory, which expects the disk as it is), or does not have the path.
 */
export async function diskUseOf(
  libvirt: Libvirt,
  user: { readonly domain: string; readonly uuid: string },
  path: string,
  options: { readonly signal?: AbortSignal | undefined; readonly timeoutMs?: number | undefined },
): Promise<DiskUse | undefined> {
  try {
    const domain = await findDomain(libvirt, user.domain, user.uuid, options);
    if (domain === undefined) return undefined;
    const { state } = await domain.state(options);
    const isOff = state === 'shutoff';
    if (isOff && !(await domain.hasManagedSave(options))) return undefined;
    const xml = analyse(await domain.xml(options), { maxBytes: maxReportedBytes }).value as DataObject;
    return useIn(xml, path);
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** How a domain's document has a path open; undefined when it does not. */
export function useIn(domain: DataObject, path: string): DiskUse | undefined {
  const disks = memberAt(domain, 'devices', 'disk');
  for (const disk of isList(disks) ? disks : []) {
    if (!sourcesOf(disk).includes(path)) continue;
    return {
      readOnly: memberAt(disk, 'readonly') !== undefined,
      shareable: memberAt(disk, 'shareable') !== undefined,
    };
  }
  return undefined;
}

function sourcesOf(disk: Data): string[] {
  return ['file', 'dev'].map((key) => textOf(memberAt(disk, 'source', key)));
}
