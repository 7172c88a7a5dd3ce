import type { StorageContext } from '../virtual-pool/storage-context.ts';
import { diskOfVolume, ownerOfEmptyDisk } from '../../api/empty-disk.ts';
import type { VirtualDisk } from '../../api/virtual-disk.ts';
import { isNotFound } from '../../kube/status-error.ts';
import { isBeingDeleted } from '../../reconcile/finalizers.ts';

/**
 * Deletes the object of a disk that was made for a machine's empty disk, once the machine or its entry is gone. Its volume
 * goes when no domain has it any more, as with every disk.
 *
 * @returns Whether it was deleted.
 */
export async function dropEmptyDisk(context: StorageContext, disk: VirtualDisk, signal: AbortSignal): Promise<boolean> {
  const owner = ownerOfEmptyDisk(disk);
  const { namespace = '', name = '', uid } = disk.metadata;
  if (owner === undefined || isBeingDeleted(disk)) return false;
  if (context.usersOf('VirtualDisk', namespace, name).length > 0) return false;
  // What is remembered of machines may be older than the disk: the machine itself is asked.
  const machine = await context.machines.find({ namespace, name: owner.name }, { signal });
  const isNamed =
    machine?.metadata.uid === owner.uid &&
    machine.spec.volumes?.some((volume) => volume.virtualDisk === undefined && diskOfVolume(machine, volume) === name);
  if (isNamed === true) return false;
  try {
    await context.disks.delete({ namespace, name }, { preconditions: { uid }, signal });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
  return true;
}
