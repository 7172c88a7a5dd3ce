/** The VirtualDisk behind an empty disk in a pool: made when a machine first needs it, and refused when it is another's. */
import { NotReadyError } from './not-ready-error.ts';
import { emptyDiskObject, ownerOfEmptyDisk } from '../../api/empty-disk.ts';
import { parseQuantity } from '../../api/quantity.ts';
import type { VirtualDisk } from '../../api/virtual-disk.ts';
import type { VirtualMachine, Volume } from '../../api/virtual-machine.ts';
import type { ResourceClient } from '../../kube/resource-client.ts';
import { isAlreadyExists } from '../../kube/status-error.ts';

/**
 * Sees to it that the VirtualDisk of an empty disk is there.
 *
 * @returns The disk; it may have no volume yet.
 * @throws NotReadyError when a disk of that name is somebody else's, or is not as the volume says.
 */
export async function ensureEmptyDisk(
  machine: VirtualMachine,
  volume: Volume,
  disks: Pick<ResourceClient<VirtualDisk>, 'find' | 'get' | 'create'>,
  signal: AbortSignal,
): Promise<VirtualDisk> {
  const wanted = emptyDiskObject(machine, volume);
  const { namespace, name = '' } = wanted.metadata;
  const refuse = (message: string): NotReadyError =>
    new NotReadyError('VolumeNotReady', 'Provisioning', `volume ${volume.name}: ${message}`);
  let disk = await disks.find({ namespace, name }, { signal });
  if (disk === undefined) {
    try {
      return await disks.create(wanted, { signal });
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
      disk = await disks.get({ namespace, name }, { signal });
    }
  }
  const owner = ownerOfEmptyDisk(disk);
  if (owner?.uid !== machine.metadata.uid) {
    throw refuse(
      `its empty disk is to be VirtualDisk "${name}", which is there already and not this machine's; give the volume another name`,
    );
  }
  const { pool = '', capacity = '', format } = disk.spec;
  const asked = volume.emptyDisk;
  if (pool !== asked?.pool || (asked.format !== undefined && asked.format !== format)) {
    throw refuse(
      `VirtualDisk "${name}" was made ${format ?? 'qcow2'} in pool "${pool}", which cannot be changed; ` +
        'take the entry out of the list and put it in again, which throws away what is on it',
    );
  }
  if (parseQuantity(asked.capacity) !== parseQuantity(capacity)) {
    throw refuse(
      `VirtualDisk "${name}" has the capacity ${capacity}, not ${asked.capacity}; ` +
        `\`virtctl disk resize ${name} ${asked.capacity}\` changes it`,
    );
  }
  return disk;
}
