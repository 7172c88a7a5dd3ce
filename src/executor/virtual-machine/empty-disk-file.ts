/** An empty disk without a pool: a file of the machine's own in the executor's data folder. */
import type { Media } from './media.ts';
import { NotReadyError } from './not-ready-error.ts';
import type { VolumeSource } from './volumes.ts';
import { machineUuid } from '../../api/machine-uuid.ts';
import { formatBytesRounded, parseQuantity } from '../../api/quantity.ts';
import type { VirtualMachine, Volume } from '../../api/virtual-machine.ts';

/** What `qemu-img create` rounds sizes up to. */
const sectorBytes = 512;

/**
 * The file of an empty disk, made where it is not there yet. One that is too small is told in `grow`; it is not touched
 * here, since a guest may have it.
 *
 * @throws NotReadyError when the file that is there cannot become what spec asks for: what the guest wrote is its until the
 * entry or the machine goes, so that neither its end is cut off nor another format puts an empty one in its place.
 */
export async function emptyDiskFile(
  machine: VirtualMachine,
  volume: Volume,
  media: Media,
  signal: AbortSignal,
): Promise<VolumeSource> {
  const { capacity = '1Gi', format = 'qcow2' } = volume.emptyDisk ?? {};
  const uid = machineUuid(machine);
  const wanted = Math.ceil(Number(parseQuantity(String(capacity))) / sectorBytes) * sectorBytes;
  const there = media.isDry ? undefined : await media.findEmptyDisk(uid, volume.name);
  // A file of an entry that was taken out of the list may still be there, and is nobody's.
  const isKnown = machine.status?.volumes?.some(({ name, source }) => name === volume.name && source === there?.path);
  if (there !== undefined && there.format !== format && isKnown === true) {
    throw refusal(
      volume,
      `its empty disk was made ${there.format}, not ${format}, which cannot be changed; ` +
        'take the entry out of the list and put it in again, which throws away what is on it',
    );
  }
  if (there?.format !== format) {
    return { path: await media.emptyDisk(uid, volume.name, format, BigInt(wanted), signal), format };
  }
  if (there.bytes > wanted) {
    throw refusal(
      volume,
      `its empty disk has ${formatBytesRounded(there.bytes)}, and is not made smaller: ` +
        `that would destroy what is stored behind the new end; give it that capacity, or take the entry out of the list ` +
        'and put it in again, which throws away what is on it',
    );
  }
  const { path, bytes: is } = there;
  return is === wanted ? { path, format } : { path, format, grow: { format, is, wanted } };
}

function refusal(volume: Volume, message: string): NotReadyError {
  return new NotReadyError('VolumeNotReady', 'Provisioning', `volume ${volume.name}: ${message}`);
}
