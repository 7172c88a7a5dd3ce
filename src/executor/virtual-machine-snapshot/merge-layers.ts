/**
 * Taking one external snapshot out of a disk's tree of files without losing what lies over it.
 *
 *        F        the file that the snapshot froze            F is to go as a point in time; what lies over it needs what
 *       / \                                                   is in it.
 *      C   D      files over it, of later snapshots or active
 *
 *   no file over F        F is removed
 *   one, C                C is committed into F; what lay over C lies over F; whoever had C has F; C is removed
 *   more                  all but one pull what they see of F into themselves, until there is one
 *
 * Where a running guest has C, libvirt commits it live (and the guest goes over to F: pivot), else qemu-img does. C is not
 * changed by either, so that what is seen through it stays right wherever this is cut off; it is then done again. What
 * cannot be done again is noted before: after the pivot, F is written to by the guest, and C must not go into it any more.
 */
import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import {
  commitImage,
  fileExists,
  isInUse,
  pullImage,
  readChain,
  readHeader,
  removeFile,
  repointImage,
} from './image-files.ts';
import { definedPath, liveChain, setActiveFile } from './machine-disks.ts';
import { isLeftBehind, isWrittenSince, markMerged } from './merged-mark.ts';
import { machineKeyOf, reportSnapshot, type SnapshotContext, type SnapshotDiskStatus } from './snapshot-context.ts';
import { forgetAtLibvirt, tellFilesToLibvirt } from './snapshot-at-libvirt.ts';
import { sizesOf } from './snapshot-size.ts';
import type { StepResult } from './take-snapshot.ts';
import { unknownOverlays } from '../virtual-disk/unknown-overlays.ts';
import { devicesOf, type DomainView } from '../virtual-machine/domain-view.ts';
import { memberAt, textOf } from '../virtual-machine/same-value.ts';
import { isOutOfSpace, StorageProblem } from '../virtual-pool/storage-context.ts';
import { formatBytesRounded } from '../../api/quantity.ts';
import type { VirtualDisk } from '../../api/virtual-disk.ts';
import type { VirtualMachineSnapshot } from '../../api/virtual-machine-snapshot.ts';
import { LibvirtError } from '../../libvirt/errors.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';

/** What a merge works with. */
export interface MergeInput {
  readonly libvirt: Libvirt;
  readonly view: DomainView | undefined;
  /** The other snapshots of the namespace that were made. */
  readonly others: readonly VirtualMachineSnapshot[];
  /** All VirtualDisks of the namespace. */
  readonly disks: readonly VirtualDisk[];
  readonly signal: AbortSignal;
}

/** A merge that goes on, or is over. */
export type MergeProgress = { readonly isDone: true } | ({ readonly isDone: false } & StepResult);

type Merge = NonNullable<NonNullable<VirtualMachineSnapshot['status']>['merges']>[number];

interface File {
  readonly path: string;
  readonly format: string;
}

const pollMs = 500;
/** A live commit of little is over at once. */
const shortestPollMs = 50;
const retryMs = 5_000;
/** Less than this is no space for anything. */
const fullBytes = 1024 * 1024;

/**
 * Does the next step for one disk of a snapshot that is to go.
 *
 * @throws StorageProblem when it has to wait, or there is no space; everything is whole, and can be done again.
 */
export async function mergeDisk(
  context: SnapshotContext,
  snapshot: VirtualMachineSnapshot,
  disk: SnapshotDiskStatus,
  input: MergeInput,
): Promise<MergeProgress> {
  const frozen = { path: disk.path ?? '', format: disk.format ?? 'raw' };
  const own = input.disks.find(({ metadata }) => metadata.name === disk.virtualDisk);
  // Whose it was is gone: nobody knows what else lies over it, so it is left alone.
  if (own === undefined || frozen.path === '') return { isDone: true };
  const merge = snapshot.status?.merges?.find(({ target }) => target === disk.target);
  const members = filesOf(disk, own, input.others);
  if (merge === undefined) return plan(context, snapshot, disk, frozen, members, own, input);
  switch (merge.stage ?? 'Committing') {
    case 'Committing':
      return commit(context, snapshot, merge, frozen, input);
    case 'Pivoting':
      return pivot(context, snapshot, merge, input);
    case 'Committed':
      return settle(context, snapshot, disk, merge, frozen, members, own, input);
  }
}

/** The files of a disk's tree that somebody has: its active one, and those of other snapshots. */
function filesOf(disk: SnapshotDiskStatus, own: VirtualDisk, others: readonly VirtualMachineSnapshot[]): File[] {
  const found = new Map<string, File>();
  const { path, format = 'raw' } = own.status ?? {};
  if (path !== undefined) found.set(path, { path, format });
  for (const other of others) {
    for (const one of other.status?.disks ?? []) {
      if (one.mode !== 'External' || one.virtualDisk !== disk.virtualDisk || one.path === undefined) continue;
      found.set(one.path, { path: one.path, format: one.format ?? 'raw' });
    }
  }
  return [...found.values()];
}

async function plan(
  context: SnapshotContext,
  snapshot: VirtualMachineSnapshot,
  disk: SnapshotDiskStatus,
  frozen: File,
  members: readonly File[],
  own: VirtualDisk,
  input: MergeInput,
): Promise<MergeProgress> {
  const { signal, view } = input;
  // It was merged before: the file is somebody else's now.
  if (members.some(({ path }) => path === frozen.path)) return { isDone: true };
  refuseWhileUsed(snapshot, frozen, own, input.disks);
  if (!(await fileExists(frozen.path))) return { isDone: true };
  const over = await filesOver(frozen.path, members, signal);
  const active = own.status?.path === undefined ? [] : await chainOf(own.status.path, own.status.format, signal);
  if (over.length === 0) {
    if (active.includes(frozen.path)) {
      const message = `VirtualDisk "${own.metadata.name ?? ''}" lies over ${frozen.path} by files that no snapshot has; merge them by hand`;
      throw new StorageProblem('InUse', message);
    }
    await refuseUnder(context, frozen.path, members, active, input);
    await removeFile(frozen.path);
    return { isDone: true };
  }
  const live = liveChain(view?.live, disk.target);
  const kept =
    over.find(({ path }) => live.includes(path)) ?? over.find(({ path }) => active.includes(path)) ?? over[0];
  const pulled = over.find((file) => file !== kept);
  if (pulled !== undefined) return pull(context, snapshot, pulled, frozen, signal);
  // One is written to, the other goes.
  for (const path of [frozen.path, kept?.path ?? '']) await refuseUnder(context, path, members, active, input);
  // From here on it is no point in time any more: nobody shall find it at libvirt when objects are lost.
  if (view !== undefined) await forgetAtLibvirt(snapshot, view, signal);
  const merge = { target: disk.target, from: kept?.path ?? '', into: frozen.path, stage: 'Committing' as const };
  await noteMerge(context, snapshot, merge, signal);
  return { isDone: false, hold: false, requeueAfterMs: 0 };
}

/** What is in a file is needed by one that nobody here knows, such as that of a linked clone whose object was lost. */
async function refuseUnder(
  context: SnapshotContext,
  path: string,
  members: readonly File[],
  active: readonly string[],
  { libvirt, signal }: MergeInput,
): Promise<void> {
  const known = new Set([...members.map((file) => file.path), ...active]);
  const found = await unknownOverlays(libvirt, path, known, signal);
  if (found.length === 0) return;
  // A guest can write the header of an overlay into its raw disk.
  const { items: disks } = await context.disks.listAll({ namespace: undefined, signal });
  const raw = disks.filter(({ status }) => status?.format === 'raw' && status.nodeName === context.nodeName);
  const over = found.filter((file) => !raw.some(({ status }) => status?.path === file));
  if (over.length === 0) return;
  const message = `${over.join(', ')} of no VirtualDisk here lies over ${path}; remove or rebase it first (qemu-img rebase)`;
  throw new StorageProblem('InUse', message);
}

/** Somebody else's disk lies over the file, or is a copy of it that is being made. */
function refuseWhileUsed(
  snapshot: VirtualMachineSnapshot,
  frozen: File,
  own: VirtualDisk,
  disks: readonly VirtualDisk[],
): void {
  for (const disk of disks) {
    const { name = '' } = disk.metadata;
    if (disk === own) continue;
    if (disk.status?.backingChain?.includes(frozen.path) === true) {
      throw new StorageProblem('InUse', `VirtualDisk "${name}" lies over its disk "${own.metadata.name ?? ''}"`);
    }
    const isCopy = disk.spec.source?.snapshot?.name === snapshot.metadata.name && disk.status?.phase === 'Creating';
    if (isCopy) throw new StorageProblem('InUse', `VirtualDisk "${name}" is being copied from it`);
  }
}

/** The files that lie directly over another one. */
async function filesOver(path: string, members: readonly File[], signal: AbortSignal): Promise<File[]> {
  const over: File[] = [];
  for (const file of members) {
    if (file.path === path || !(await fileExists(file.path))) continue;
    if ((await readHeader(file.path, file.format, signal)).backing === path) over.push(file);
  }
  return over;
}

async function chainOf(path: string, format = 'raw', signal: AbortSignal): Promise<readonly string[]> {
  return (await readChain(path, format, signal)).map((header) => header.path);
}

/** A file takes what it sees of the frozen one into itself. */
async function pull(
  context: SnapshotContext,
  snapshot: VirtualMachineSnapshot,
  file: File,
  frozen: File,
  signal: AbortSignal,
): Promise<MergeProgress> {
  const name = `pull ${snapshot.metadata.uid ?? ''} ${file.path}`;
  const work = context.work.take(name);
  if (work.state === 'running') return progress(context, snapshot, work.percent, false, signal);
  if (work.state === 'failed') throw workProblem(work.error);
  if (work.state === 'done') return { isDone: false, hold: false, requeueAfterMs: 0 };
  const { backing, backingFormat = 'raw' } = await readHeader(frozen.path, frozen.format, signal);
  const below = backing === undefined ? undefined : { path: backing, format: backingFormat };
  context.work.begin(
    name,
    async (onPercent, stop) => {
      await pullImage(file.path, below, onPercent, stop);
      return undefined;
    },
    () => context.wake(machineKeyOf(snapshot)),
  );
  return { isDone: false, hold: false, requeueAfterMs: pollMs };
}

async function commit(
  context: SnapshotContext,
  snapshot: VirtualMachineSnapshot,
  merge: Merge,
  frozen: File,
  input: MergeInput,
): Promise<MergeProgress> {
  const { view, signal } = input;
  const { target, from, into } = merge;
  const live = liveChain(view?.live, target);
  if (view?.live === undefined || (!live.includes(from) && !live.includes(into))) {
    return commitFiles(context, snapshot, merge, view?.live === undefined, signal);
  }
  if (!live.includes(from)) {
    await markMerged(from, into, context.clock.now());
    await noteMerge(context, snapshot, { ...merge, stage: 'Committed' }, signal);
    return { isDone: false, hold: false, requeueAfterMs: 0 };
  }
  // A commit of files that was begun while it was off holds their locks; it ends by itself.
  if (context.work.isRunning(commitName(snapshot, merge)))
    return { isDone: false, hold: false, requeueAfterMs: pollMs };
  const { blocks } = view.domain;
  const job = await blocks.job(target, { signal });
  if (job === undefined) {
    await refuseWhenFull(context, snapshot, frozen);
    try {
      await blocks.commit(target, { base: into, top: from, ...(live[0] === from ? { active: true } : {}), signal });
    } catch (error) {
      if (!(error instanceof LibvirtError)) throw error;
      throw workProblem(error);
    }
    started.set(commitName(snapshot, merge), context.clock.now());
    return progress(context, snapshot, 0, false, signal, shortestPollMs);
  }
  if (job.type === 'active-commit' && isMirrorReady(view, target) && job.cur === job.end) {
    await noteMerge(context, snapshot, { ...merge, stage: 'Pivoting' }, signal);
    return pivot(context, snapshot, merge, input);
  }
  const percent = job.end > 0 ? Math.floor((job.cur * 100) / job.end) : 0;
  // As long again as it has taken so far: what is short is not waited for, and what is long is seldom looked at.
  const elapsedMs = context.clock.now() - (started.get(commitName(snapshot, merge)) ?? 0);
  return progress(context, snapshot, percent, false, signal, Math.max(shortestPollMs, Math.min(pollMs, elapsedMs)));
}

/**
 * Block jobs that this process began, with the time in milliseconds: one that is gone without having changed the chain has
 * failed.
 */
const started = new Map<string, number>();

/** libvirt tells of a failed job that it failed, and not why. */
async function refuseWhenFull(
  { clock }: SnapshotContext,
  snapshot: VirtualMachineSnapshot,
  frozen: File,
): Promise<void> {
  const name = `commit ${snapshot.metadata.uid ?? ''}`;
  const hasFailed = [...started.keys()].filter((one) => one.startsWith(name));
  for (const one of hasFailed) started.delete(one);
  if (hasFailed.length === 0) return;
  const { bavail, bsize } = await statfs(dirname(frozen.path));
  const freeBytes = bavail * bsize;
  const at = new Date(clock.now()).toISOString();
  if (freeBytes < fullBytes) {
    const message = `there is no space left in ${dirname(frozen.path)} (${formatBytesRounded(freeBytes)} free); nothing is lost, and it goes on when there is some`;
    throw new StorageProblem('OutOfSpace', message);
  }
  throw new StorageProblem('LibvirtError', `libvirt gave up merging at ${at}, and does not say why; it is tried again`);
}

function isMirrorReady({ live }: DomainView, target: string): boolean {
  const disk = devicesOf(live, 'disk').find((one) => textOf(memberAt(one, 'target', 'dev')) === target);
  const ready = memberAt(disk, 'mirror', 'ready');
  return ready === true || ready === 'yes';
}

/** The guest goes over to the file below: noted before, since afterwards the one above is out of date. */
async function pivot(
  context: SnapshotContext,
  snapshot: VirtualMachineSnapshot,
  merge: Merge,
  { view, signal }: MergeInput,
): Promise<MergeProgress> {
  const { target, from, into } = merge;
  const at = view?.live === undefined ? definedPath(view?.inactive, target) : liveChain(view.live, target)[0];
  if (at === into) {
    await markMerged(from, into, context.clock.now());
    await noteMerge(context, snapshot, { ...merge, stage: 'Committed' }, signal);
    return { isDone: false, hold: false, requeueAfterMs: 0 };
  }
  if (view?.live !== undefined && at === from && (await view.domain.blocks.job(target, { signal })) !== undefined) {
    await view.domain.blocks.abort(target, { pivot: true, signal, timeoutMs: 60_000 });
    // What it has now is looked at before anything else is done.
    return { isDone: false, hold: true, requeueAfterMs: 20 };
  }
  await noteMerge(context, snapshot, { ...merge, stage: 'Committing' }, signal);
  return { isDone: false, hold: false, requeueAfterMs: pollMs };
}

async function commitFiles(
  context: SnapshotContext,
  snapshot: VirtualMachineSnapshot,
  merge: Merge,
  hold: boolean,
  signal: AbortSignal,
): Promise<MergeProgress> {
  const name = commitName(snapshot, merge);
  const work = context.work.take(name);
  if (work.state === 'running') return progress(context, snapshot, work.percent, hold, signal);
  if (work.state === 'failed') throw workProblem(work.error);
  if (work.state === 'done') {
    await noteMerge(context, snapshot, { ...merge, stage: 'Committed' }, signal);
    return { isDone: false, hold, requeueAfterMs: 0 };
  }
  context.work.begin(
    name,
    async (onPercent, stop) => {
      const files = holdFiles(context, snapshot, merge);
      try {
        await commitImage(merge.from, merge.into, onPercent, stop);
        await markMerged(merge.from, merge.into, context.clock.now());
      } finally {
        files.release();
      }
      return undefined;
    },
    () => context.wake(machineKeyOf(snapshot)),
  );
  return { isDone: false, hold, requeueAfterMs: pollMs };
}

/** No machine is started with the files meanwhile, whose ever it is: the disk may be another one's by now. */
function holdFiles(
  { fileHolds }: SnapshotContext,
  { metadata }: VirtualMachineSnapshot,
  { from, into }: Merge,
): { readonly release: () => void } {
  const { namespace = '', name = '' } = metadata;
  const files = new Map([from, into].map((path) => [path, 'write'] as const));
  const hold = fileHolds.take(files, `VirtualMachineSnapshot ${namespace}/${name} is being merged`);
  if (hold.busy !== undefined) throw new StorageProblem('InUse', hold.busy);
  return hold;
}

/** The file below has it all: whoever had the one above has it now. */
async function settle(
  context: SnapshotContext,
  snapshot: VirtualMachineSnapshot,
  disk: SnapshotDiskStatus,
  merge: Merge,
  frozen: File,
  members: readonly File[],
  own: VirtualDisk,
  input: MergeInput,
): Promise<MergeProgress> {
  const files = holdFiles(context, snapshot, merge);
  try {
    return await settleHeld(context, snapshot, disk, merge, frozen, members, own, input);
  } finally {
    files.release();
  }
}

/** What {@link settle} does while nobody starts a machine with the files. */
async function settleHeld(
  context: SnapshotContext,
  snapshot: VirtualMachineSnapshot,
  disk: SnapshotDiskStatus,
  merge: Merge,
  frozen: File,
  members: readonly File[],
  own: VirtualDisk,
  input: MergeInput,
): Promise<MergeProgress> {
  const { libvirt, view, others, signal } = input;
  const { from, into, target } = merge;
  const isActive = own.status?.path === from;
  const isPivoted = liveChain(view?.live, target)[0] === into || definedPath(view?.inactive, target) === into;
  if (isActive && !isPivoted && (await isLeftBehind(from, into, signal))) {
    await noteMerge(context, snapshot, { ...merge, stage: 'Committing' }, signal);
    return { isDone: false, hold: false, requeueAfterMs: 0 };
  }
  if (await fileExists(from)) {
    for (const file of await filesOver(from, members, signal)) await repointImage(file.path, frozen, signal);
  }
  for (const other of others) {
    const disks = other.status?.disks ?? [];
    if (!disks.some(({ path }) => path === from)) continue;
    const moved = disks.map((one) => (one.path === from ? { ...one, path: into, format: frozen.format } : one));
    if (view !== undefined && other.spec.virtualMachine === snapshot.spec.virtualMachine) {
      const files = moved.filter(({ path }) => path === into);
      await tellFilesToLibvirt(view, other.status?.name ?? '', files, signal);
    }
    const sizes = await sizesOf({ ...other.status, disks: moved }, signal);
    await reportSnapshot(context, other, { status: { size: undefined, ...sizes } }, signal);
  }
  if (isActive) await setActiveFile(context, libvirt, own, frozen, signal);
  else if (own.status?.path !== undefined && own.status.path !== into) {
    await setActiveFile(context, libvirt, own, { path: own.status.path, format: own.status.format ?? 'raw' }, signal);
  }
  if (await fileExists(from)) {
    if (await isInUse(from, 'qcow2', signal)) {
      throw new StorageProblem('InUse', `${from} is merged, but still open in some QEMU`);
    }
    if (own.status?.path === into && (await isWrittenSince(from, into))) {
      const message = `${from} was written to after it had been merged into ${into}, and is kept; remove it if that is not needed`;
      throw new StorageProblem('InUse', message);
    }
    await refuseUnder(context, from, members, [], input);
    await removeFile(from);
  }
  started.delete(`commit ${snapshot.metadata.uid ?? ''} ${disk.target}`);
  return { isDone: true };
}

function commitName(snapshot: VirtualMachineSnapshot, { target }: Merge): string {
  return `commit ${snapshot.metadata.uid ?? ''} ${target}`;
}

async function noteMerge(
  context: SnapshotContext,
  snapshot: VirtualMachineSnapshot,
  merge: Merge,
  signal: AbortSignal,
): Promise<void> {
  const rest = (snapshot.status?.merges ?? []).filter(({ target }) => target !== merge.target);
  await reportSnapshot(context, snapshot, { status: { merges: [...rest, merge], step: 'Merging' } }, signal);
}

async function progress(
  context: SnapshotContext,
  snapshot: VirtualMachineSnapshot,
  percent: number | undefined,
  hold: boolean,
  signal: AbortSignal,
  requeueAfterMs = pollMs,
): Promise<MergeProgress> {
  await reportSnapshot(
    context,
    snapshot,
    {
      status: { step: 'Merging', ...(percent === undefined ? {} : { percent: Math.min(100, percent) }) },
      progressing: { status: true, reason: 'Merging' },
    },
    signal,
  );
  return { isDone: false, hold, requeueAfterMs };
}

function workProblem(error: Error): StorageProblem {
  if (error instanceof StorageProblem) return error;
  if (isOutOfSpace(error)) {
    const message = `there is no space left: ${error.message}; nothing is lost, and it goes on when there is some`;
    return new StorageProblem('OutOfSpace', message, { cause: error });
  }
  return new StorageProblem('LibvirtError', error.message, { cause: error });
}

/** How long to wait after a problem, in milliseconds. */
export const mergeRetryMs = retryMs;
