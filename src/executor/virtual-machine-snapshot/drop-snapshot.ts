/** A snapshot that is to go: what it keeps is merged and freed, then libvirt forgets it, then the object may go. */
import { removeFile } from './image-files.ts';
import { mergeDisk, mergeRetryMs } from './merge-layers.ts';
import { isMade, reportSnapshot, type SnapshotContext } from './snapshot-context.ts';
import { hasJob } from './domain-job.ts';
import { forgetAtLibvirt } from './snapshot-at-libvirt.ts';
import type { StepResult } from './take-snapshot.ts';
import type { DomainView } from '../virtual-machine/domain-view.ts';
import { isOutOfSpace, StorageProblem } from '../virtual-pool/storage-context.ts';
import type { VirtualMachineSnapshot } from '../../api/virtual-machine-snapshot.ts';
import { LibvirtError } from '../../libvirt/errors.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';
import { hasFinalizer, removeFinalizer } from '../../reconcile/finalizers.ts';

/** Keeps the object until its data is merged. */
export const snapshotFinalizer = 'virtctl.dev/snapshot';

/** What a deletion works with. */
export interface DropInput {
  readonly libvirt: Libvirt;
  /** The domain; undefined when the machine has none any more. */
  readonly view: DomainView | undefined;
  readonly signal: AbortSignal;
}

/** Does the next steps of a deletion. */
export async function dropSnapshot(
  context: SnapshotContext,
  snapshot: VirtualMachineSnapshot,
  input: DropInput,
): Promise<StepResult> {
  if (!hasFinalizer(snapshot, snapshotFinalizer)) return { hold: false };
  const { signal, view } = input;
  const wasMade = snapshot.status?.creationTime !== undefined;
  if (!wasMade || snapshot.spec.retainPolicy === 'Retain') return forget(context, snapshot, signal);
  try {
    let current = snapshot;
    if (current.status?.phase !== 'Deleting') {
      current = await reportSnapshot(
        context,
        current,
        { status: { phase: 'Deleting' }, ready: { status: false, reason: 'Merging' } },
        signal,
      );
    }
    if (view !== undefined && (await hasJob(view.domain, signal))) return { hold: true, requeueAfterMs: 500 };
    for (const disk of current.status?.disks ?? []) {
      if (disk.mode !== 'External') continue;
      const { namespace = '', uid } = current.metadata;
      const { items: disks } = await context.disks.listAll({ namespace, signal });
      // Of all machines: a disk may have been another one's when a snapshot was taken.
      const { items: all } = await context.snapshots.listAll({ namespace, signal });
      const others = all.filter((one) => one.metadata.uid !== uid && isMade(one));
      const progress = await mergeDisk(context, current, disk, { ...input, others, disks });
      if (!progress.isDone) return progress;
      const { disks: kept = [], merges = [] } = current.status ?? {};
      const status = {
        disks: kept.filter(({ target }) => target !== disk.target),
        merges: merges.filter(({ target }) => target !== disk.target),
        step: undefined,
        percent: undefined,
      };
      current = await reportSnapshot(context, current, { status }, signal);
      // What others have has changed with it.
      return { hold: false, requeueAfterMs: 0 };
    }
    if (current.status?.memoryFile !== undefined) await removeFile(current.status.memoryFile);
    if (view !== undefined) await forgetAtLibvirt(current, view, signal);
    return await forget(context, current, signal);
  } catch (error) {
    const problem = error instanceof LibvirtError ? libvirtProblem(error) : error;
    if (!(problem instanceof StorageProblem)) throw error;
    const isNew = snapshot.status.message !== problem.message;
    await reportSnapshot(
      context,
      snapshot,
      {
        ready: { status: false, reason: problem.reason, message: problem.message },
        progressing: { status: false, reason: problem.reason, message: problem.message },
      },
      signal,
    );
    if (isNew) {
      const { reason, message: note } = problem;
      context.record({ regarding: snapshot, type: 'Warning', reason, action: 'DeleteSnapshot', note });
    }
    return { hold: false, requeueAfterMs: problem.reason === 'InUse' ? 5_000 : mergeRetryMs };
  }
}

async function forget(
  context: SnapshotContext,
  snapshot: VirtualMachineSnapshot,
  signal: AbortSignal,
): Promise<StepResult> {
  context.record({
    regarding: snapshot,
    type: 'Normal',
    reason: 'SnapshotDeleted',
    action: 'DeleteSnapshot',
    note: `the snapshot of ${snapshot.spec.virtualMachine} is gone`,
  });
  await removeFinalizer(context.snapshots, snapshot, snapshotFinalizer, signal);
  return { hold: false };
}

function libvirtProblem(error: LibvirtError): StorageProblem {
  const reason = isOutOfSpace(error) ? 'OutOfSpace' : 'LibvirtError';
  return new StorageProblem(reason, error.message, { cause: error });
}
