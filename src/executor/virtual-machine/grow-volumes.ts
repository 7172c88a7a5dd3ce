import { devicesOf } from './domain-view.ts';
import { holdFiles } from './hold-files.ts';
import { lookAgain, retryMs, tellEvent, type Round } from './round.ts';
import { memberAt, textOf } from './same-value.ts';
import type { ResolvedVolume, VolumeGrowth } from './volumes.ts';
import { FailedError } from '../../base/errors.ts';
import { formatBytesRounded } from '../../api/quantity.ts';
import { LibvirtError } from '../../libvirt/errors.ts';

/** A start of the machine is soon over, in milliseconds. */
const busyMs = 1_000;

/**
 * Makes the files larger that are smaller than spec says (empty disks without a pool; VirtualDisks see to themselves): in the
 * running guest, or before the next start. A saved guest keeps the size that its memory knows until it runs. What fails is
 * told, and tried again; a smaller disk keeps no machine from running.
 */
export async function growVolumes(round: Round): Promise<void> {
  for (const volume of round.volumes) {
    if (volume.grow !== undefined && volume.path !== undefined) await grow(round, volume, volume.path, volume.grow);
  }
}

async function grow(round: Round, { name }: ResolvedVolume, path: string, size: VolumeGrowth): Promise<void> {
  const { view, status, parts, signal } = round;
  const change = `from ${formatBytesRounded(size.is)} to ${formatBytesRounded(size.wanted)}`;
  try {
    const device = devicesOf(view?.live, 'disk').find((one) => textOf(memberAt(one, 'source', 'file')) === path);
    if (device !== undefined) {
      if (status.power.bootStep !== undefined) return;
      const target = textOf(memberAt(device, 'target', 'dev'));
      await view?.domain.blocks.resize(target, size.wanted, round.options);
    } else {
      if (view?.hasManagedSave === true) return;
      const hold = holdFiles(round);
      if (hold.busy !== undefined) {
        lookAgain(round, busyMs);
        return;
      }
      try {
        await parts.media.growEmptyDisk(path, size.format, size.wanted, signal);
      } finally {
        hold.release();
      }
    }
  } catch (error) {
    if (signal.aborted || !(error instanceof LibvirtError || error instanceof FailedError)) throw error;
    lookAgain(round, retryMs);
    tellEvent(round, 'Warning', 'ResizeFailed', 'Resize', `volume ${name} was not grown ${change}: ${error.message}`);
    const path = `spec.volumes[${name}].emptyDisk.capacity`;
    const pending = { path, from: formatBytesRounded(size.is), to: formatBytesRounded(size.wanted) };
    if (view?.live === undefined) return;
    const refused = [...round.plugged.refused, { ...pending, message: error.message }];
    round.plugged = { ...round.plugged, refused };
    return;
  }
  tellEvent(round, 'Normal', 'Resized', 'Resize', `volume ${name} was grown ${change}`);
}
