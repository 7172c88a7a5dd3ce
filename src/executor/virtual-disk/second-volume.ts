/**
 * A disk's second volume: the one on another node that a migration copies the disk to, or that the disk was before. It is
 * noted in the disk's status before libvirt is asked to make it, by the node that makes it:
 *
 *   target: move = Copying here ─▶ makes it ─▶ the source's libvirt fills it ─▶ source: the disk is there, move = Left here
 *                     └── the migration failed: the target removes it                    └── it is over: the source removes it
 *
 * Whoever has it removes it, and takes the note away after: killed anywhere in between, an executor finds the note when it is
 * back (src/executor/migration has the rest). Where that node is no more, see lost-second-volume.ts.
 */
import { rawFiles } from './disk-places.ts';
import { domainsWith } from './disk-users.ts';
import { removeVolume } from './remove-volume.ts';
import { filesOver, lookAgainMs } from './unknown-overlays.ts';
import { libvirtOf, StorageProblem, waitMs, type StorageContext } from '../virtual-pool/storage-context.ts';
import type { DiskMove, VirtualDisk } from '../../api/virtual-disk.ts';
import { refOf } from '../../kube/object.ts';
import { isConflict, isNotFound } from '../../kube/status-error.ts';
import type { ReconcileResult } from '../../reconcile/controller.ts';

/** A domain that has it still, or work on it, is soon over; in milliseconds. */
const soonMs = 1_000;

/**
 * Removes the second volume of a disk, where this node has it and nobody needs it any more.
 *
 * @returns When to look again, while it is needed.
 * @throws what libvirt says when it does not remove it; it is tried again.
 */
export async function dropSecondVolume(
  context: StorageContext,
  seen: VirtualDisk,
  signal: AbortSignal,
): Promise<ReconcileResult | undefined> {
  const noted = seen.status?.move;
  if (noted?.nodeName !== context.nodeName) return undefined;
  const { namespace } = seen.metadata;
  const operation = await context.operations.find({ namespace, name: noted.operation }, { signal });
  const { phase } = operation?.metadata.uid === noted.operationUid ? (operation.status ?? {}) : { phase: 'Failed' };
  if (phase !== 'Succeeded' && phase !== 'Failed') return { requeueAfterMs: waitMs };
  // Read once more, now that the migration is known to be over: no note changes after that but by this node.
  const disk = await context.disks.find(refOf(seen), { signal });
  const move = disk?.status?.move;
  if (disk === undefined || move?.nodeName !== context.nodeName) return undefined;
  if (move.operationUid !== noted.operationUid) return { requeueAfterMs: soonMs };
  // Never what the disk is now, and nothing that a migration which succeeded has copied.
  const isNeeded = disk.status?.nodeName === context.nodeName || (move.state === 'Copying' && phase === 'Succeeded');
  if (isNeeded) return { requeueAfterMs: waitMs };
  return remove(context, disk, move, signal);
}

async function remove(
  context: StorageContext,
  disk: VirtualDisk,
  move: DiskMove,
  signal: AbortSignal,
): Promise<ReconcileResult | undefined> {
  const { namespace = '', name = '', uid, resourceVersion } = disk.metadata;
  const libvirt = libvirtOf(context);
  const hold = context.fileHolds.take(
    new Map([[move.path, 'write']]),
    `what a migration left of VirtualDisk ${namespace}/${name} is being removed`,
  );
  if (hold.busy !== undefined) return { requeueAfterMs: soonMs };
  try {
    const users = await domainsWith(libvirt, move.path, false, signal);
    if (users.length > 0) return { requeueAfterMs: soonMs };
    const pool = await libvirt.pools.byName(move.pool, { signal });
    // It is looked for by this too: a libvirtd that was killed has not seen it yet.
    const over = await filesOver(pool, move.path, signal, rawFiles(context));
    if (over.length > 0) {
      const note = `${move.path} on node ${context.nodeName}, which a migration left, stays while ${over.join(', ')} lies over it`;
      context.record({ regarding: disk, type: 'Warning', reason: 'DeletionWaits', action: 'Delete', note });
      return { requeueAfterMs: waitMs };
    }
    await removeVolume(pool, move.volume, disk.spec.wipe, signal);
    // Overwriting takes long: the note that is taken away is the one that was read before, and no later one.
    await context.disks.mergePatch(
      refOf(disk),
      { metadata: { uid, resourceVersion }, status: { move: null } },
      { subresource: 'status', signal },
    );
  } catch (error) {
    if (isNotFound(error)) return undefined;
    if (isConflict(error)) return { requeueAfterMs: soonMs };
    if (error instanceof StorageProblem && error.reason === 'RefreshFailed') return { requeueAfterMs: lookAgainMs };
    throw error;
  } finally {
    hold.release();
  }
  return undefined;
}

/** Who has to remove a second volume before its disk can go; undefined when there is none, or its node is no more. */
export function secondVolumeHolder(context: StorageContext, { status }: VirtualDisk): string | undefined {
  const node = status?.move?.nodeName;
  return context.nodes().some(({ name }) => name === node) ? node : undefined;
}
