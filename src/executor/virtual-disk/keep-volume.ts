/** A volume that is there: its size as spec says, its facts in status. */
import { encryptionOf } from './disk-secrets.ts';
import { overlaysOf } from './disk-places.ts';
import { domainsWith } from './disk-users.ts';
import { resizeEncrypted } from './resize-encrypted.ts';
import { reportDisk } from './report-disk.ts';
import { wantedBytes } from './volume-definition.ts';
import { describeVolume, findVolume } from './volume-facts.ts';
import { namesOf } from '../virtual-pool/names-of.ts';
import {
  isPassing,
  libvirtOf,
  longMs,
  problemOf,
  StorageProblem,
  waitMs,
  type StorageContext,
} from '../virtual-pool/storage-context.ts';
import { ConflictError } from '../../base/errors.ts';
import { formatBytesRounded } from '../../api/quantity.ts';
import type { VirtualDisk } from '../../api/virtual-disk.ts';
import type { Pool } from '../../libvirt/objects/pools.ts';
import type { Volume } from '../../libvirt/objects/volume.ts';
import type { ReconcileResult } from '../../reconcile/controller.ts';

/** How often sizes are looked at. */
const lookMs = 5 * 60_000;

/** LVM's extents, unless a volume group was made with others (vgcreate(8)). */
const extentBytes = 4 * 1024 * 1024;

/** Keeps a volume that is there as spec says. */
export async function keepVolume(
  context: StorageContext,
  disk: VirtualDisk,
  there: Pool,
  signal: AbortSignal,
): Promise<ReconcileResult> {
  const name = disk.status?.volume ?? '';
  let volume = await findVolume(there, name, signal);
  if (volume === undefined) {
    await there.refresh({ signal });
    volume = await findVolume(there, name, signal);
  }
  if (volume === undefined) {
    const message = `volume "${name}" is no longer in pool ${there.name}; it is not made anew, since its data is lost`;
    await reportDisk(context, disk, { phase: 'Failed', ready: new StorageProblem('VolumeMissing', message) }, signal);
    return { requeueAfterMs: waitMs };
  }
  let status = await describeVolume(volume, signal);
  const recorded = disk.status?.format;
  if (recorded !== undefined && recorded !== status.format) {
    // A guest can write another format's header into a raw disk, to have the host follow its backing file.
    const message = `the volume claims to be ${status.format}, but was made as ${recorded}: its size is left as it is`;
    const refusal = new StorageProblem('ResizeFailed', message);
    await reportDisk(context, disk, { phase: 'Ready', status: { allocation: status.allocation }, refusal }, signal);
    return { requeueAfterMs: lookMs };
  }
  const is = status.bytes;
  const wanted = wantedBytes(disk);
  let refusal: StorageProblem | undefined;
  // A logical volume has whole extents, a partition whole cylinders: what is more than was asked for is no news.
  const isRounded = status.isBlock && wanted !== undefined && is > wanted && is - wanted < extentBytes;
  if (wanted !== undefined && wanted !== is && !isRounded) {
    refusal = await resizeVolume(context, disk, volume, status.path, is, wanted, signal);
    status = await describeVolume(volume, signal);
  }
  await reportDisk(context, disk, { phase: 'Ready', status, refusal }, signal);
  return { requeueAfterMs: refusal === undefined ? lookMs : waitMs };
}

/** @returns Why it was not done. */
async function resizeVolume(
  context: StorageContext,
  disk: VirtualDisk,
  volume: Volume,
  path: string,
  is: number,
  wanted: number,
  signal: AbortSignal,
): Promise<StorageProblem | undefined> {
  const isShrink = wanted < is;
  const change = `from ${formatBytesRounded(is)} to ${formatBytesRounded(wanted)}`;
  if (isShrink && disk.spec.allowShrink !== true) {
    return new StorageProblem(
      'ShrinkRefused',
      `shrinking ${change} destroys what is stored behind the new end; set allowShrink: true to do it nevertheless`,
    );
  }
  const { namespace = '', name = '' } = disk.metadata;
  const hold = context.fileHolds.take(
    new Map([[path, 'write']]),
    `VirtualDisk ${namespace}/${name} is being resized ${change}`,
  );
  // Soon over, and then there is somebody else to be asked, or nobody.
  if (hold.busy !== undefined) throw new ConflictError(hold.busy);
  try {
    return await resizeHeld(context, disk, volume, path, { wanted, isShrink, change }, signal);
  } finally {
    hold.release();
  }
}

/** What {@link resizeVolume} does while nobody starts a machine with the disk. */
async function resizeHeld(
  context: StorageContext,
  disk: VirtualDisk,
  volume: Volume,
  path: string,
  { wanted, isShrink, change }: { readonly wanted: number; readonly isShrink: boolean; readonly change: string },
  signal: AbortSignal,
): Promise<StorageProblem | undefined> {
  const [running] = await domainsWith(libvirtOf(context), path, true, signal);
  if (running !== undefined && isShrink) {
    return new StorageProblem('ShrinkRefused', `shrinking ${change} has to wait until ${running.domain.name} is off`);
  }
  const overlays = overlaysOf(context, disk, path);
  if (overlays.length > 0 && isShrink) {
    return new StorageProblem(
      'ShrinkRefused',
      `shrinking ${change} would harm ${namesOf(overlays)}, which lie over it`,
    );
  }
  try {
    if (running?.target !== undefined) await running.domain.blocks.resize(running.target, wanted, { signal });
    else if (running === undefined && encryptionOf(disk) !== undefined) {
      await resizeLuks(context, disk, { path, format: disk.status?.format ?? 'raw' }, wanted, isShrink, signal);
      await (await libvirtOf(context).pools.byName(volume.pool, { signal })).refresh({ signal });
    } else if (running === undefined) {
      await volume.resize(wanted, { ...(isShrink ? { shrink: true } : {}), signal, timeoutMs: longMs });
    }
    return undefined;
  } catch (error) {
    if (isPassing(error, signal)) throw error;
    return problemOf(error, 'ResizeFailed', `pool ${volume.pool}`);
  }
}

/** Resizes an encrypted volume that nobody runs on. */
export async function resizeLuks(
  context: StorageContext,
  disk: VirtualDisk,
  volume: { readonly path: string; readonly format: string },
  bytes: number,
  shrink: boolean,
  signal: AbortSignal,
): Promise<void> {
  if (disk.spec.encryption === undefined) {
    const message =
      'its key is a secret of libvirt, which gives it to guests only: it is resized while a machine runs on it';
    throw new StorageProblem('ResizeFailed', message);
  }
  const passphrase = await context.diskSecrets.passphrase(disk, signal);
  await resizeEncrypted(volume, { bytes, shrink, passphrase, folder: context.spoolFolder }, signal);
}
