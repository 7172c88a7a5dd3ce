/**
 * Back to a snapshot, step by step; each is noted in the operation before it begins, and doing one again changes nothing.
 *
 *   Preparing      is the spec the same? ─▶ what will be done, with the names of all files
 *   Stopping       the state of now is given up: the guest is powered off (not for an internal one with the same hardware)
 *   RestoringSpec  the machine's spec becomes that of the snapshot, if asked for
 *   Switching      external: new files over the frozen ones become the active ones
 *                  internal: libvirt reverts, and leaves the guest paused, so that it may do so again
 *   Starting       from the memory that was kept, or anew; or it stays off
 *   Cleaning       libvirt's current snapshot; the files that were active before and belong to no snapshot go
 *
 * Until Switching nothing is lost; what was active before is removed at the very end.
 */
import { createHash } from 'node:crypto';
import { basename, dirname, extname, join } from 'node:path';
import { restoredSpec, specDifferences } from './compare-spec.ts';
import { createOverlay, fileExists, isInUse, removeFile } from './image-files.ts';
import { setActiveFile } from './machine-disks.ts';
import { isMade, type SnapshotContext } from './snapshot-context.ts';
import { machineMarkOf, readDomain, type DomainView } from '../virtual-machine/domain-view.ts';
import { withoutSecrets } from '../virtual-machine/domain-metadata.ts';
import { beginStart, beginStop, continueStart, destroy } from '../virtual-machine/power.ts';
import { isList, isObject, memberAt, textOf, type Data, type DataObject } from '../virtual-machine/same-value.ts';
import {
  OperationFailedError,
  type OperationRun,
  type StepProgress,
} from '../virtual-machine-operation/operation-run.ts';
import { isOutOfSpace } from '../virtual-pool/storage-context.ts';
import { analyse } from '../../analyser/analyse.ts';
import { ForbiddenError } from '../../base/errors.ts';
import type { VirtualMachineSnapshot } from '../../api/virtual-machine-snapshot.ts';
import { render } from '../../convertor/render.ts';
import { objectKey, refOf } from '../../kube/object.ts';
import { isInvalidState, isNotFound, LibvirtError } from '../../libvirt/errors.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';
import { maxReportedBytes } from '../../xml/reader.ts';

/** What a revert works with beside the operation. */
export interface RevertContext {
  readonly snapshots: SnapshotContext;
  readonly libvirt: Libvirt;
}

/** A disk that goes back; in the operation's notes as JSON. */
interface Layer {
  readonly virtualDisk: string;
  readonly target: string;
  /** Active before. */
  readonly from: string;
  readonly fromFormat: string;
  /** The frozen file. */
  readonly base: string;
  readonly format: string;
  /** Active after. */
  readonly to: string;
}

/** Loading memory takes as long as it is large, in milliseconds. */
const loadMs = 60 * 60_000;
const pollMs = 500;

/** The name of the work of a revert of a machine, by its key. */
export function revertWork(machineKey: string): string {
  return `revert ${machineKey}`;
}

/** Does the step that the operation has noted. */
export async function stepRevert(run: OperationRun, context: RevertContext): Promise<StepProgress> {
  switch (run.step) {
    case 'Preparing':
      return prepare(run, context);
    case 'Stopping':
      return stop(run);
    case 'RestoringSpec':
      return restoreSpec(run, context);
    case 'Switching':
      return run.notes['mode'] === 'Internal' ? revertInside(run, context) : switchFiles(run, context);
    case 'Starting':
      return start(run, context);
    default:
      return clean(run, context);
  }
}

/** The snapshot, when it can be reverted to. */
async function snapshotOf(run: OperationRun, { snapshots }: RevertContext): Promise<VirtualMachineSnapshot> {
  const { namespace } = run.operation.metadata;
  const name = run.operation.spec.revert?.snapshot ?? '';
  const { signal, status } = run.context;
  const refuse = (message: string): OperationFailedError => new OperationFailedError('SnapshotNotReady', message);
  const found = await snapshots.snapshots.find({ namespace, name }, { signal });
  if (found === undefined) throw refuse(`there is no VirtualMachineSnapshot "${name}"`);
  const machine = status.machine.metadata;
  const isOfIt = found.spec.virtualMachine === machine.name && found.status?.virtualMachineUID === machine.uid;
  if (!isOfIt && isMade(found)) throw refuse(`VirtualMachineSnapshot "${name}" is not one of this machine`);
  if (found.metadata.deletionTimestamp !== undefined || !isMade(found) || found.status?.phase !== 'Ready') {
    throw refuse(`VirtualMachineSnapshot "${name}" is ${found.status?.phase ?? 'Pending'}`);
  }
  return found;
}

async function prepare(run: OperationRun, context: RevertContext): Promise<StepProgress> {
  const { status, signal } = run.context;
  const { machine } = status;
  const snapshot = await snapshotOf(run, context);
  const { namespace, uid = '' } = run.operation.metadata;
  // What is being taken or merged comes to its end first.
  for (const name of context.snapshots.namesOf(objectKey(machine))) {
    const other = await context.snapshots.snapshots.find({ namespace, name }, { signal });
    if (other?.status?.step !== undefined) return 1_000;
  }
  const revert = run.operation.spec.revert;
  const then = await specThen(run, snapshot);
  const differences = then === undefined ? [] : specDifferences(then, specNow(run));
  if (differences.length > 0 && revert?.restoreSpec !== true && revert?.force !== true) {
    throw new OperationFailedError(
      'SpecDiffers',
      `the machine's spec is not that of the snapshot: ${differences.join(', ')}; restoreSpec brings it back, ` +
        'force keeps it and boots from the disks of the snapshot',
    );
  }
  const isRestored = differences.length > 0 && revert?.restoreSpec === true;
  if (isRestored && restoredSpec(then ?? {}, specNow(run)) === undefined) {
    throw new OperationFailedError(
      'SpecDiffers',
      'a secret of the spec of the snapshot was not kept, and is nowhere now; put it back by hand, or use force',
    );
  }
  const mode = snapshot.status?.mode ?? 'Internal';
  const layers: Layer[] = [];
  for (const { mode: one, virtualDisk = '', target, path, format = 'raw' } of snapshot.status?.disks ?? []) {
    if (one !== 'External' || path === undefined) continue;
    const disk = await context.snapshots.disks.find({ namespace, name: virtualDisk }, { signal });
    const from = disk?.status?.path;
    if (from === undefined) {
      throw new OperationFailedError('SnapshotNotReady', `VirtualDisk "${virtualDisk}" of the snapshot is not there`);
    }
    layers.push({
      virtualDisk,
      target,
      from,
      fromFormat: disk?.status?.format ?? 'raw',
      base: path,
      format,
      to: revertedPath(path, uid),
    });
  }
  const hasMemory = snapshot.status?.memory === true && (differences.length === 0 || isRestored);
  const stateThen =
    snapshot.status?.domainState === 'shutoff'
      ? 'Stopped'
      : snapshot.status?.domainState === 'paused'
        ? 'Paused'
        : 'Running';
  const asked = revert?.powerState ?? 'AsSnapshot';
  const isHalted = machine.spec.runStrategy === 'Halted';
  const after = asked !== 'AsSnapshot' ? asked : isHalted ? 'Stopped' : stateThen;
  // libvirt goes back inside of the running QEMU where nothing else has to change.
  const staysOn =
    mode === 'Internal' && snapshot.status?.memory === true && hasMemory && !isRestored && after !== 'Stopped';
  return run.goTo(staysOn ? 'Switching' : 'Stopping', {
    ...run.notes,
    mode,
    after,
    memory: hasMemory && after !== 'Stopped' ? 'yes' : 'no',
    restore: isRestored ? 'yes' : 'no',
    layers: JSON.stringify(layers),
  });
}

/** The spec at the time of the snapshot, which libvirt keeps with the domain; undefined when it is not known. */
async function specThen(run: OperationRun, snapshot: VirtualMachineSnapshot): Promise<DataObject | undefined> {
  const { signal } = run.context;
  const name = snapshot.status?.name ?? '';
  try {
    const there = await run.view?.domain.snapshots.byName(name, { signal });
    if (there === undefined) throw new OperationFailedError('SnapshotNotReady', 'the machine has no domain');
    const xml = analyse(await there.xml({ signal }), { maxBytes: maxReportedBytes }).value as DataObject;
    const [inactive, domain] = [xml['inactiveDomain'], xml['domain']];
    const mark = [inactive, domain].map((one) => (isObject(one) ? machineMarkOf(one) : undefined)).find((one) => one);
    return isObject(mark?.spec) ? mark.spec : undefined;
  } catch (error) {
    if (!isNotFound(error)) throw error;
    throw new OperationFailedError('SnapshotNotReady', `libvirt has no snapshot "${name}" of the machine any more`);
  }
}

function specNow({ context }: OperationRun): DataObject {
  return withoutSecrets(JSON.parse(JSON.stringify(context.status.machine.spec)) as DataObject);
}

/** The state of now is given up, so there is nobody to ask. */
async function stop(run: OperationRun): Promise<StepProgress> {
  const { status, now, options } = run.context;
  const { view } = run;
  if (view !== undefined && view.state !== 'off') {
    const begin = beginStop(status.power, now());
    if (begin !== undefined) await status.note({ power: begin, printableStatus: 'Stopping' });
    await destroy(view, options);
    run.view = await readDomain(view.domain, options);
  }
  // Memory that was saved fits the disks of now only.
  if (run.view?.hasManagedSave === true) await run.view.domain.removeManagedSave(options);
  return run.goTo(run.notes['restore'] === 'yes' ? 'RestoringSpec' : 'Switching');
}

async function restoreSpec(run: OperationRun, context: RevertContext): Promise<StepProgress> {
  const { status, signal } = run.context;
  const then = await specThen(run, await snapshotOf(run, context));
  const now = JSON.parse(JSON.stringify(status.machine.spec)) as DataObject;
  const patch = then === undefined ? undefined : restoredSpec(then, now);
  if (patch !== undefined && specDifferences(then ?? {}, withoutSecrets(now)).length > 0) {
    const { uid, resourceVersion } = status.machine.metadata;
    const body = { metadata: { uid, resourceVersion }, spec: patch };
    try {
      await context.snapshots.machines.mergePatch(refOf(status.machine), body, { signal });
    } catch (error) {
      // Its disks are as they were, and it is started again.
      if (!(error instanceof ForbiddenError)) throw error;
      const message = `the executor may not change the machine's spec (${error.message}); put it back by hand, then revert`;
      throw new OperationFailedError('Unsupported', message);
    }
  }
  await run.goTo('Switching');
  // The next reconcile sees the new spec.
  return 20;
}

/** New files over the frozen ones. Until a machine is started, making them again loses nothing. */
async function switchFiles(run: OperationRun, context: RevertContext): Promise<StepProgress> {
  const { signal } = run.context;
  const { namespace } = run.operation.metadata;
  for (const layer of layersOf(run)) {
    const disk = await context.snapshots.disks.find({ namespace, name: layer.virtualDisk }, { signal });
    if (disk === undefined) {
      throw new OperationFailedError('SnapshotNotReady', `VirtualDisk "${layer.virtualDisk}" is not there any more`);
    }
    if (disk.status?.path === layer.to) continue;
    try {
      await createOverlay(layer.to, { path: layer.base, format: layer.format }, signal);
    } catch (error) {
      if (signal.aborted || !isOutOfSpace(error)) throw error;
      await undo(run, context);
      const message = `there is no space left for ${layer.to}; the machine's disks are as they were: ${(error as Error).message}`;
      throw new OperationFailedError('OutOfSpace', message);
    }
    await setActiveFile(context.snapshots, context.libvirt, disk, { path: layer.to, format: 'qcow2' }, signal);
  }
  await run.goTo('Starting');
  // The next reconcile defines the domain with the new files.
  return 20;
}

/** All disks are as they were, when one of them could not be reverted. */
async function undo(run: OperationRun, context: RevertContext): Promise<void> {
  const { signal } = run.context;
  const { namespace } = run.operation.metadata;
  for (const { virtualDisk, from, fromFormat, to } of layersOf(run)) {
    const disk = await context.snapshots.disks.find({ namespace, name: virtualDisk }, { signal });
    if (disk?.status?.path === to) {
      await setActiveFile(context.snapshots, context.libvirt, disk, { path: from, format: fromFormat }, signal);
    }
    await removeFile(to);
  }
}

async function revertInside(run: OperationRun, context: RevertContext): Promise<StepProgress> {
  const { signal, status } = run.context;
  const { view } = run;
  const snapshot = await snapshotOf(run, context);
  const name = snapshot.status?.name ?? '';
  const key = objectKey(status.machine);
  const { work } = context.snapshots;
  const outcome = work.take(revertWork(key));
  if (outcome.state === 'running') return pollMs;
  if (outcome.state === 'failed') throw outcome.error;
  if (outcome.state === 'none') {
    if (view === undefined) throw new OperationFailedError('SnapshotNotReady', 'the machine has no domain');
    const { uuid } = view.domain;
    const isPaused = run.notes['memory'] === 'yes';
    work.begin(
      revertWork(key),
      async (_onPercent, stopped) => {
        const own = await context.libvirt.duplicate(stopped);
        try {
          const domain = await own.domains.byUuid(uuid, { signal: stopped });
          const there = await domain.snapshots.byName(name, { signal: stopped });
          await there.revert({
            ...(isPaused ? { paused: true } : {}),
            force: true,
            signal: stopped,
            timeoutMs: loadMs,
          });
        } finally {
          await own.close();
        }
        return undefined;
      },
      () => context.snapshots.wake(key),
    );
    return pollMs;
  }
  run.view = view === undefined ? undefined : await readDomain(view.domain, { ...run.context.options, signal });
  await run.goTo('Starting');
  return 20;
}

async function start(run: OperationRun, context: RevertContext): Promise<StepProgress> {
  const { after, memory, mode } = run.notes;
  const { options, status, now, wanted, notReady } = run.context;
  const { view } = run;
  const strategy = status.machine.spec.runStrategy ?? 'Always';
  if (view === undefined) throw new OperationFailedError('LibvirtError', notReady?.message ?? 'its domain is gone');
  if (after === 'Stopped') {
    // An internal snapshot with memory brings it back running.
    if (view.state !== 'off') {
      await status.note({ power: beginStop(status.power, now()) ?? {}, printableStatus: 'Stopping' });
      await destroy(view, options);
      run.view = await readDomain(view.domain, options);
    }
    return run.goTo('Cleaning');
  }
  if (memory === 'yes') {
    if (mode !== 'Internal' && view.state === 'off') return restoreMemory(run, context, view);
    if (after === 'Running' && view.state === 'paused') await resume(view, run);
    await status.note({
      power: { bootStep: null, held: null, stoppingSince: null, startedFor: strategy },
      failures: null,
    });
    return run.goTo('Cleaning');
  }
  // An internal one whose memory is not wanted any more.
  if (
    mode === 'Internal' &&
    view.state !== 'off' &&
    run.notes['booted'] !== 'yes' &&
    status.power.boot !== run.notes['newBoot']
  ) {
    await destroy(view, options);
    run.view = await readDomain(view.domain, options);
    return 20;
  }
  if (wanted === undefined)
    throw new OperationFailedError('LibvirtError', notReady?.message ?? 'its domain is not defined');
  const boot = run.notes['newBoot'] ?? '';
  if (status.power.boot === boot && status.power.bootStep === undefined) return run.goTo('Cleaning');
  if (status.power.boot !== boot) {
    await status.note({ power: beginStart(boot), printableStatus: 'Starting', failures: null });
  }
  try {
    run.view = await continueStart(
      run.view ?? view,
      status.power,
      { paused: after === 'Paused', discardSavedState: true },
      {
        wanted,
        note: (notes) => status.note(notes),
        startedFor: strategy,
        boots: status.next.domain?.boots ?? 0,
        now,
        options,
      },
    );
  } catch (error) {
    if (error instanceof LibvirtError) await status.note({ power: { bootStep: null } });
    throw error;
  }
  return run.goTo('Cleaning');
}

async function resume(view: DomainView, run: OperationRun): Promise<void> {
  try {
    await view.domain.resume(run.context.options);
  } catch (error) {
    if (!isInvalidState(error)) throw error;
  }
  run.view = await readDomain(view.domain, run.context.options);
}

/** Starts it, paused, from the file with its memory, with the files that are active now. */
async function restoreMemory(run: OperationRun, context: RevertContext, view: DomainView): Promise<StepProgress> {
  const { status } = run.context;
  const key = objectKey(status.machine);
  const { work } = context.snapshots;
  const outcome = work.take(revertWork(key));
  if (outcome.state === 'running') return pollMs;
  if (outcome.state === 'failed') throw outcome.error;
  if (outcome.state === 'done') return 20;
  const snapshot = await snapshotOf(run, context);
  const memoryFile = snapshot.status?.memoryFile ?? '';
  if (!(await fileExists(memoryFile))) {
    throw new OperationFailedError(
      'SnapshotNotReady',
      `the file with the memory, ${memoryFile}, is gone; force boots from the disks`,
    );
  }
  const layers = layersOf(run);
  await status.note({ printableStatus: 'Starting', failures: null });
  work.begin(
    revertWork(key),
    async (_onPercent, stopped) => {
      const own = await context.libvirt.duplicate(stopped);
      try {
        const saved = analyse(await own.domains.savedXml(memoryFile, { secure: true, signal: stopped }), {
          maxBytes: maxReportedBytes,
        });
        const value = saved.value as DataObject;
        const devices = withFiles(value['devices'], layers);
        const xml = render('domain', { ...value, devices }, saved.overlay, { pretty: false });
        await own.domains.restore(memoryFile, { xml, paused: true, signal: stopped, timeoutMs: loadMs });
      } finally {
        await own.close();
      }
      return undefined;
    },
    () => context.snapshots.wake(key),
  );
  run.view = view;
  return pollMs;
}

function withFiles(devices: Data | undefined, layers: readonly Layer[]): Data {
  if (!isObject(devices)) return {};
  const disks = devices['disk'];
  const changed = (isList(disks) ? disks : []).map((disk): Data => {
    const layer = layers.find(({ target }) => target === textOf(memberAt(disk, 'target', 'dev')));
    if (!isObject(disk) || layer === undefined) return disk;
    const { backingStore: _chain, ...rest } = disk;
    return {
      ...rest,
      driver: { ...(isObject(disk['driver']) ? disk['driver'] : {}), type: 'qcow2' },
      source: { file: layer.to },
    };
  });
  return { ...devices, disk: changed };
}

async function clean(run: OperationRun, context: RevertContext): Promise<StepProgress> {
  const { signal } = run.context;
  const { namespace } = run.operation.metadata;
  const snapshot = await snapshotOf(run, context);
  if (run.notes['mode'] === 'External' && run.view !== undefined) await makeCurrent(run.view, snapshot, signal);
  const kept = new Set<string | undefined>();
  const { items: all } = await context.snapshots.snapshots.listAll({ namespace: namespace ?? '', signal });
  for (const { status } of all) for (const { path } of status?.disks ?? []) kept.add(path);
  for (const { from, fromFormat, to } of layersOf(run)) {
    if (from === to || kept.has(from) || !(await fileExists(from)) || (await isInUse(from, fromFormat, signal)))
      continue;
    await removeFile(from);
  }
  const { after, memory } = run.notes;
  const how =
    after === 'Stopped'
      ? 'it is off'
      : memory === 'yes'
        ? 'it goes on from the memory that was kept'
        : 'it was started';
  const restored = run.notes['restore'] === 'yes' ? ', its spec is that of the snapshot' : '';
  return run.done(`back to ${snapshot.metadata.name ?? ''}; ${how}${restored}`);
}

/** libvirt goes on from this snapshot: what is taken next has it as its parent. */
async function makeCurrent(view: DomainView, snapshot: VirtualMachineSnapshot, signal: AbortSignal): Promise<void> {
  const { snapshots } = view.domain;
  const name = snapshot.status?.name ?? '';
  if ((await snapshots.current({ signal }))?.name === name) return;
  const there = await snapshots.byName(name, { signal });
  await snapshots.create(await there.xml({ secure: true, signal }), { redefine: true, current: true, signal });
}

function layersOf(run: OperationRun): readonly Layer[] {
  return JSON.parse(run.notes['layers'] ?? '[]') as Layer[];
}

/** Beside the file that was frozen; another one for each revert. */
function revertedPath(path: string, uid: string): string {
  const digest = createHash('sha256').update(uid).digest('hex').slice(0, 8);
  const stem = basename(path, extname(path)).replace(/\.(snap|rev)-.*$/, '');
  return join(dirname(path), `${stem}.rev-${digest}.qcow2`);
}
