/** What a step found out about a disk, written into its status. */
import { overlaysOf } from './disk-places.ts';
import { mergePatchOf } from '../status-patch.ts';
import { namesOf } from '../virtual-pool/names-of.ts';
import { tellChange } from '../virtual-pool/tell-change.ts';
import type { StorageContext, StorageProblem } from '../virtual-pool/storage-context.ts';
import type { VirtualDisk, VirtualDiskStatus } from '../../api/virtual-disk.ts';
import { refOf } from '../../kube/object.ts';
import { isNotFound as isObjectGone } from '../../kube/status-error.ts';
import { setCondition } from '../../reconcile/conditions.ts';

/** What a step found out. */
export interface News {
  readonly phase?: VirtualDiskStatus['phase'];
  /** Why it is not ready. */
  readonly ready?: StorageProblem | undefined;
  /** Why its size is not as spec says, though it can be used. */
  readonly refusal?: StorageProblem | undefined;
  /** What deleting it waits for. */
  readonly waitsFor?: readonly string[];
  readonly status?: Partial<VirtualDiskStatus> & { readonly bytes?: number; readonly isBlock?: boolean };
}

/** Writes status; @returns the object as it is now. */
export async function reportDisk(
  context: StorageContext,
  disk: VirtualDisk,
  news: News,
  signal: AbortSignal,
): Promise<VirtualDisk> {
  const nowMs = context.clock.now();
  const { generation, namespace = '', name = '', resourceVersion, uid } = disk.metadata;
  const before = disk.status ?? {};
  const fields = { ...news.status, bytes: undefined, isBlock: undefined };
  const phase = news.phase ?? before.phase ?? 'Pending';
  const machines = context
    .usersOf('VirtualDisk', namespace, name)
    .map((one) => ({ kind: 'VirtualMachine', name: one.name }));
  const overlays = overlaysOf(context, disk, fields.path ?? before.path).map((one) => ({
    kind: 'VirtualDisk',
    name: one.slice(one.indexOf('/') + 1),
    readOnly: true,
  }));
  const usedBy = [...machines, ...overlays];
  const isReady = phase === 'Ready' && news.ready === undefined;
  const problem = news.ready ?? news.refusal;
  const observed = { observedGeneration: generation };
  let conditions = setCondition(
    before.conditions,
    isReady
      ? { type: 'Ready', status: true, reason: 'Available', ...observed }
      : {
          type: 'Ready',
          status: false,
          reason: news.ready?.reason ?? phase,
          message: news.ready?.message,
          ...observed,
        },
    nowMs,
  );
  const waits = news.waitsFor ?? [];
  const message = waits.length > 0 ? `deletion waits for ${namesOf(waits)}` : '';
  const isUsed = usedBy.length > 0 || waits.length > 0;
  const reason = isUsed ? 'InUse' : 'NotInUse';
  conditions = setCondition(conditions, { type: 'InUse', status: isUsed, reason, message, ...observed }, nowMs);
  if (news.refusal !== undefined || conditions.some(({ type }) => type === 'Resizing')) {
    conditions = setCondition(
      conditions,
      {
        type: 'Resizing',
        status: false,
        reason: news.refusal?.reason ?? 'Available',
        message: news.refusal?.message,
        ...observed,
      },
      nowMs,
    );
  }
  const told = waits.length > 0 ? message : problem?.message;
  const after = {
    ...before,
    ...fields,
    ...(generation === undefined ? {} : observed),
    phase,
    usedBy,
    message: told === '' ? undefined : told,
    conditions,
  };
  const patch = mergePatchOf(disk.status, after);
  if (patch === undefined) return disk;
  try {
    const written = await context.disks.mergePatch(
      refOf(disk),
      { metadata: { resourceVersion, uid }, status: patch },
      { subresource: 'status', signal },
    );
    const isResized = before.capacity !== undefined && before.capacity !== after.capacity;
    const note = `its size changed from ${before.capacity ?? ''} to ${after.capacity ?? ''}`;
    const resized = isResized ? [{ type: 'Normal', reason: 'Resized', note } as const] : [];
    tellChange(context, disk, before.conditions, after.conditions, resized);
    return written;
  } catch (error) {
    if (isObjectGone(error)) return disk;
    throw error;
  }
}
