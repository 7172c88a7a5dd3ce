/**
 * A disk that is to go: when nobody uses it any more, with its volume unless that is to stay. Before a file is removed its pool
 * is looked through: what others laid over it since libvirt's last look is known to nobody.
 */
import { snapshotsOfDisk } from './snapshot-origin.ts';
import { overlaysOf, poolHere, rawFiles } from './disk-places.ts';
import { domainsWith } from './disk-users.ts';
import { removeVolume } from './remove-volume.ts';
import { reportDisk } from './report-disk.ts';
import { secondVolumeHolder } from './second-volume.ts';
import { filesOver, lookAgainMs } from './unknown-overlays.ts';
import {
  isPassing,
  libvirtOf,
  problemOf,
  StorageProblem,
  waitMs,
  type StorageContext,
} from '../virtual-pool/storage-context.ts';
import type { VirtualDisk } from '../../api/virtual-disk.ts';
import type { ReconcileResult } from '../../reconcile/controller.ts';
import { hasFinalizer, removeFinalizer } from '../../reconcile/finalizers.ts';

/** Keeps the object until its volume is gone. */
export const diskFinalizer = 'virtctl.dev/disk';

/**
 * Lets a disk go.
 *
 * @returns When to look again, while somebody uses it.
 * @throws StorageProblem when its pool does not run, or libvirt does not remove the volume.
 */
export async function deleteDisk(
  context: StorageContext,
  disk: VirtualDisk,
  signal: AbortSignal,
): Promise<ReconcileResult | undefined> {
  if (!hasFinalizer(disk, diskFinalizer)) return undefined;
  const { namespace = '', name = '' } = disk.metadata;
  const { path } = disk.status ?? {};
  const libvirt = libvirtOf(context);
  const machines = context.usersOf('VirtualDisk', namespace, name).map((one) => `VirtualMachine ${one.name}`);
  const domains =
    path === undefined || machines.length > 0
      ? []
      : (await domainsWith(libvirt, path, false, signal)).map(({ domain }) => `domain ${domain.name}`);
  const snapshots = await snapshotsOfDisk(context, disk, signal);
  const holder = secondVolumeHolder(context, disk);
  const others = holder === undefined ? [] : [`node ${holder}, which has a second volume of it`];
  const users = [...machines, ...domains, ...overlaysOf(context, disk, path), ...snapshots, ...others];
  const waitFor = async (whom: readonly string[]): Promise<ReconcileResult> => {
    await reportDisk(context, disk, { phase: 'Deleting', waitsFor: whom }, signal);
    return { requeueAfterMs: waitMs };
  };
  if (users.length > 0) return waitFor(users);
  const isKept = disk.spec.reclaimPolicy === 'Retain' && path !== undefined;
  const { pool: poolAt, volume: volumeAt } = disk.status ?? {};
  let current = disk;
  if (!isKept && poolAt !== undefined && volumeAt !== undefined) {
    try {
      const there = await poolHere(context, disk, undefined, signal);
      if (there === undefined) throw new StorageProblem('PoolNotReady', `pool ${poolAt} does not run`);
      const over = path === undefined ? [] : await filesOver(there, path, signal, rawFiles(context));
      if (over.length > 0) return await waitFor(over.map((file) => `file ${file}`));
      await removeVolume(there, volumeAt, disk.spec.wipe, signal, async () => {
        current = await reportDisk(context, disk, { phase: 'Wiping' }, signal);
      });
    } catch (error) {
      if (isPassing(error, signal)) throw error;
      const problem = problemOf(error, 'CreateFailed', `pool ${poolAt}`);
      await reportDisk(context, current, { phase: 'Deleting', ready: problem }, signal);
      if (problem.reason === 'RefreshFailed') return { requeueAfterMs: lookAgainMs };
      throw problem;
    }
  }
  if (disk.spec.encryption !== undefined) await context.diskSecrets.remove(namespace, name, signal);
  await removeFinalizer(context.disks, current, diskFinalizer, signal);
  const note = isKept ? 'the disk is gone; its volume is kept' : 'the disk is gone';
  context.record({ regarding: disk, type: 'Normal', reason: 'Deleted', action: 'Delete', note });
  return undefined;
}
