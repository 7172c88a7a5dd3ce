/** The files of a revert: new ones over the frozen ones; those that were active before go at the very end. */
import { createOverlay, fileExists, isInUse, removeFile } from './image-files.ts';
import { setActiveFile } from './machine-disks.ts';
import { layersOf, snapshotOf, type RevertContext } from './revert-context.ts';
import type { DomainView } from '../virtual-machine/domain-view.ts';
import {
  OperationFailedError,
  type OperationRun,
  type StepProgress,
} from '../virtual-machine-operation/operation-run.ts';
import { lookAgainMs, unknownOverlays } from '../virtual-disk/unknown-overlays.ts';
import { isOutOfSpace, StorageProblem } from '../virtual-pool/storage-context.ts';
import type { VirtualMachineSnapshot } from '../../api/virtual-machine-snapshot.ts';

/**
 * Makes the new files over the frozen ones. Until a machine is started, making them again loses nothing.
 *
 * @throws OperationFailedError OutOfSpace; those that were made are gone again.
 */
export async function makeFiles(run: OperationRun): Promise<void> {
  const { signal } = run.context;
  try {
    for (const { to, base, format } of layersOf(run)) await createOverlay(to, { path: base, format }, signal);
  } catch (error) {
    if (signal.aborted || !isOutOfSpace(error)) throw error;
    for (const { to } of layersOf(run)) await removeFile(to);
    const message = `there is no space left for the files that it would go on with; nothing was changed: ${(error as Error).message}`;
    throw new OperationFailedError('OutOfSpace', message);
  }
}

/** The new files become the active ones. */
export async function switchFiles(run: OperationRun, context: RevertContext): Promise<StepProgress> {
  const { signal } = run.context;
  const { namespace } = run.operation.metadata;
  for (const layer of layersOf(run)) {
    const disk = await context.snapshots.disks.find({ namespace, name: layer.virtualDisk }, { signal });
    if (disk === undefined) {
      throw new OperationFailedError('SnapshotNotReady', `VirtualDisk "${layer.virtualDisk}" is not there any more`);
    }
    if (disk.status?.path === layer.to) continue;
    await setActiveFile(context.snapshots, context.libvirt, disk, { path: layer.to, format: 'qcow2' }, signal);
  }
  await run.goTo('Starting');
  // The next reconcile defines the domain with the new files.
  return 20;
}

/** The last step. */
export async function clean(run: OperationRun, context: RevertContext): Promise<StepProgress> {
  const { signal } = run.context;
  const { namespace } = run.operation.metadata;
  const snapshot = await snapshotOf(run, context);
  if (run.notes['mode'] === 'External' && run.view !== undefined) await makeCurrent(run.view, snapshot, signal);
  const kept = new Set<string | undefined>();
  const { items: all } = await context.snapshots.snapshots.listAll({ namespace: namespace ?? '', signal });
  for (const { status } of all) for (const { path } of status?.disks ?? []) kept.add(path);
  const covered: string[] = [];
  for (const { from, fromFormat, to } of layersOf(run)) {
    if (from === to || kept.has(from) || !(await fileExists(from)) || (await isInUse(from, fromFormat, signal)))
      continue;
    const over = await filesAbove(context, from, signal);
    if (over === undefined) return lookAgainMs;
    if (over.length === 0) await removeFile(from);
    else covered.push(`; ${from} stays, since ${over.join(', ')} lies over it`);
  }
  const { after, memory } = run.notes;
  const how =
    after === 'Stopped'
      ? 'it is off'
      : memory === 'yes'
        ? 'it goes on from the memory that was kept'
        : 'it was started';
  const restored = run.notes['restore'] === 'yes' ? ', its spec is that of the snapshot' : '';
  const { notKept = [] } = snapshot.status ?? {};
  const left = notKept.length === 0 ? '' : `; ${notKept.join(' and ')} stayed as it was, since no snapshot keeps that`;
  const gone = run.notes['left'];
  const others = gone === undefined ? '' : `; ${gone} is not the machine's any more, and was left alone`;
  return run.done(`back to ${snapshot.metadata.name ?? ''}; ${how}${restored}${others}${left}${covered.join('')}`);
}

/** @returns undefined while it cannot be known. */
async function filesAbove(
  { libvirt }: RevertContext,
  path: string,
  signal: AbortSignal,
): Promise<readonly string[] | undefined> {
  try {
    return await unknownOverlays(libvirt, path, new Set(), signal);
  } catch (error) {
    if (error instanceof StorageProblem && error.reason === 'RefreshFailed') return undefined;
    throw error;
  }
}

/** libvirt goes on from this snapshot: what is taken next has it as its parent. */
async function makeCurrent(view: DomainView, snapshot: VirtualMachineSnapshot, signal: AbortSignal): Promise<void> {
  const { snapshots } = view.domain;
  const name = snapshot.status?.name ?? '';
  if ((await snapshots.current({ signal }))?.name === name) return;
  const there = await snapshots.byName(name, { signal });
  await snapshots.create(await there.xml({ secure: true, signal }), { redefine: true, current: true, signal });
}
