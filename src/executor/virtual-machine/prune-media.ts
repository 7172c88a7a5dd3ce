import { devicesOf } from './domain-view.ts';
import type { Round } from './round.ts';
import { liveChain } from '../virtual-machine-snapshot/machine-disks.ts';
import { memberAt, textOf } from './same-value.ts';
import { machineUuid } from '../../api/machine-uuid.ts';

/**
 * Removes what was made for a machine's volumes (images, overlays, empty disks) and that nothing of it has any more: neither
 * its list of volumes nor its domain. A guest that runs goes on with
 * the one that it was started with, and saved memory and snapshots name those of their time: without them they would not
 * come back.
 */
export async function pruneMedia({ key, parts, status, view, volumes, wanted }: Round): Promise<void> {
  // Without it not all volumes may be known.
  if (wanted === undefined) return;
  if (view?.hasManagedSave === true || parts.snapshots.context.namesOf(key).length > 0) return;
  const used = volumes.flatMap(({ path }) => (path === undefined ? [] : [path]));
  for (const domain of [view?.live, view?.inactive]) {
    for (const disk of devicesOf(domain, 'disk')) {
      used.push(...liveChain(domain, textOf(memberAt(disk, 'target', 'dev'))));
      used.push(textOf(memberAt(disk, 'mirror', 'source', 'file')));
    }
  }
  await parts.media.prune(machineUuid(status.machine), new Set(used));
}
