/** Whether libvirt has made a snapshot that was begun: by its own notes, or by the files that the domain has now. */
import { fileExists, isInUse } from './image-files.ts';
import { definedPath, devicesWithFiles, liveChain } from './machine-disks.ts';
import { snapshotXml } from './snapshot-xml.ts';
import type { DomainView } from '../virtual-machine/domain-view.ts';
import type { VirtualMachineSnapshot } from '../../api/virtual-machine-snapshot.ts';
import { isNotFound } from '../../libvirt/errors.ts';
import type { Domain } from '../../libvirt/objects/domain.ts';
import type { Snapshot } from '../../libvirt/objects/domain-snapshots.ts';

/** The snapshot at libvirt, if it was made. */
export async function findMade(
  snapshot: VirtualMachineSnapshot,
  view: DomainView,
  signal: AbortSignal,
): Promise<Snapshot | undefined> {
  const { name = '', disks = [] } = snapshot.status ?? {};
  try {
    return await view.domain.snapshots.byName(name, { signal });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
  const external = disks.filter(({ mode }) => mode === 'External');
  const isSwitched = await Promise.all(
    external.map(async ({ target, overlay = '' }) => {
      if (liveChain(view.live, target)[0] === overlay || definedPath(view.inactive, target) === overlay) return true;
      return view.live !== undefined && (await fileExists(overlay)) && (await isInUse(overlay, 'qcow2', signal));
    }),
  );
  if (external.length === 0 || !isSwitched.some(Boolean)) return undefined;
  // libvirtd died between the guest's going over to the new files and its own notes.
  const { id: _id, ...inactive } = view.inactive;
  const domain = { ...inactive, devices: devicesWithFiles(inactive['devices'], external) };
  return view.domain.snapshots.create(snapshotXml(snapshot, domain), { redefine: true, current: true, signal });
}

/** Whether libvirt has a snapshot of that name. */
export async function isTaken(domain: Domain, name: string, signal: AbortSignal): Promise<boolean> {
  try {
    await domain.snapshots.byName(name, { signal });
    return true;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}
