/**
 * VirtualDisk on the node that has it: made, grown, and deleted.
 *
 *   no node yet ─▶ first machine's node ─▶ Creating (the name is in status before the volume is made) ─▶ Ready
 *
 * A volume that status names as being made is ours and incomplete: it is removed and made again. A volume of that name
 * that status does not know is somebody's data: it is never touched. A volume that was ready and is missing is told, and
 * never made anew.
 */
import { deleteDisk, diskFinalizer } from './delete-disk.ts';
import { dropEmptyDisk } from './drop-empty-disk.ts';
import { homeOf, isFirstNode, poolHere, poolProblem } from './disk-places.ts';
import { keepVolume } from './keep-volume.ts';
import { LostSecondVolumes } from './lost-second-volume.ts';
import { makeVolume } from './make-volume.ts';
import { reportDisk } from './report-disk.ts';
import { dropSecondVolume } from './second-volume.ts';
import { selectedNodes } from '../virtual-pool/selected-nodes.ts';
import {
  defaultPoolName,
  isPassing,
  lookAfterMs,
  problemOf,
  StorageProblem,
  waitMs,
  type StorageContext,
} from '../virtual-pool/storage-context.ts';
import type { VirtualDisk } from '../../api/virtual-disk.ts';
import type { VirtualPool } from '../../api/virtual-pool.ts';
import { parseObjectKey } from '../../kube/object.ts';
import type { ReconcileContext, ReconcileResult } from '../../reconcile/controller.ts';
import { addFinalizer, hasFinalizer, isBeingDeleted, removeFinalizer } from '../../reconcile/finalizers.ts';
import { TerminalError } from '../../reconcile/terminal-error.ts';

/** Reconciles the disks of a node. */
export class DiskReconciler {
  readonly #context: StorageContext;
  readonly #lost: LostSecondVolumes;

  constructor(context: StorageContext) {
    this.#context = context;
    this.#lost = new LostSecondVolumes(context);
  }

  /** Does what is next for a disk, named by its key. */
  async reconcile(key: string, { signal }: ReconcileContext): Promise<ReconcileResult | undefined> {
    const { disks, pools } = this.#context;
    let disk = await disks.find(parseObjectKey(key), { signal });
    if (disk === undefined) return undefined;
    const pool = await pools.find({ name: disk.spec.pool ?? defaultPoolName }, { signal });
    const home = homeOf(this.#context, disk, pool);
    if (home !== this.#context.nodeName) {
      await leaveKey(this.#context, disk, signal);
      const isOurs = home === undefined && isFirstNode(this.#context);
      const waits = isOurs ? await tellWaiting(this.#context, disk, pool, signal) : undefined;
      return waits ?? dropSecondVolume(this.#context, disk, signal);
    }
    if (isBeingDeleted(disk)) return deleteDisk(this.#context, disk, signal);
    if (await dropEmptyDisk(this.#context, disk, signal)) return undefined;
    try {
      const there = await poolHere(this.#context, disk, pool, signal);
      if (there === undefined) throw new StorageProblem('PoolNotReady', poolProblem(this.#context, disk, pool));
      if (disk.status?.path === undefined) {
        disk = await addFinalizer(disks, disk, diskFinalizer, signal);
        await makeVolume(this.#context, disk, pool, there, signal);
        return { requeueAfterMs: 0 };
      }
      const kept = await keepVolume(this.#context, disk, there, signal);
      const lostMs = await this.#lost.forget(disk, signal);
      return lostMs === undefined ? kept : { requeueAfterMs: Math.min(kept.requeueAfterMs ?? Infinity, lostMs) };
    } catch (error) {
      if (isPassing(error, signal)) throw error;
      const problem = problemOf(error, 'CreateFailed', `pool ${disk.spec.pool ?? defaultPoolName}`);
      await reportDisk(
        this.#context,
        disk,
        { ready: problem, ...(problem.isFinal ? { phase: 'Failed' } : {}) },
        signal,
      );
      if (problem.isFinal) throw new TerminalError(problem.message, { cause: problem });
      const afterMs = lookAfterMs(problem);
      if (afterMs !== undefined) return { requeueAfterMs: afterMs };
      throw problem;
    }
  }
}

/** The key of an encrypted disk of a shared pool is on the nodes only that have a machine with it. */
async function leaveKey(context: StorageContext, disk: VirtualDisk, signal: AbortSignal): Promise<void> {
  if (disk.spec.encryption === undefined || context.libvirt() === undefined) return;
  const { namespace = '', name = '' } = disk.metadata;
  const isHere = context.usersOf('VirtualDisk', namespace, name).some(({ nodeName }) => nodeName === context.nodeName);
  if (!isHere) await context.diskSecrets.leave(disk, signal);
}

async function tellWaiting(
  context: StorageContext,
  disk: VirtualDisk,
  pool: VirtualPool | undefined,
  signal: AbortSignal,
): Promise<ReconcileResult | undefined> {
  if (await dropEmptyDisk(context, disk, signal)) return undefined;
  if (isBeingDeleted(disk)) return letGo(context, disk, pool, signal);
  const [phase, ready] =
    pool === undefined
      ? (['Pending', new StorageProblem('PoolNotReady', poolProblem(context, disk, pool))] as const)
      : disk.spec.bindingMode === 'Immediate'
        ? (['Pending', new StorageProblem('WaitingForConsumer', 'spec.nodeName has to say on which node')] as const)
        : ([
            'WaitForFirstConsumer',
            new StorageProblem('WaitingForConsumer', 'it is made where the first machine that uses it is placed'),
          ] as const);
  await reportDisk(context, disk, { phase, ready }, signal);
  return undefined;
}

/** A deleted disk that no node has: of a shared pool, unless it was never made. */
async function letGo(
  context: StorageContext,
  disk: VirtualDisk,
  pool: VirtualPool | undefined,
  signal: AbortSignal,
): Promise<ReconcileResult | undefined> {
  if (!hasFinalizer(disk, diskFinalizer)) return undefined;
  const { path } = disk.status ?? {};
  const name = disk.spec.pool ?? defaultPoolName;
  if (path !== undefined && disk.spec.reclaimPolicy !== 'Retain') {
    if (pool !== undefined) {
      const isNowhere = selectedNodes(pool.spec.nodeSelector, context.nodes()).length === 0;
      const why = isNowhere ? `VirtualPool "${name}" is on no node` : 'status does not say which node has its volume';
      const ready = new StorageProblem('PoolNotReady', `deletion waits: ${why}`);
      await reportDisk(context, disk, { phase: 'Deleting', ready }, signal);
      return { requeueAfterMs: waitMs };
    }
    const note = `${path} is left: there is no VirtualPool "${name}" any more`;
    context.record({ regarding: disk, type: 'Warning', reason: 'VolumeLeft', action: 'Delete', note });
  }
  await removeFinalizer(context.disks, disk, diskFinalizer, signal);
  return undefined;
}
