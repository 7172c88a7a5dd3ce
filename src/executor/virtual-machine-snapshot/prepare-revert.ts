/** The first step of a revert: whether it can be, and what will be done; nothing is touched. */
import { hardwareKeys, restoredSpec, specDifferences, specThenNote } from './compare-spec.ts';
import { fileExists, isInUse } from './image-files.ts';
import { snapshotOf, type Layer, type RevertContext } from './revert-context.ts';
import { revertedPath } from './snapshot-files.ts';
import { useIn } from '../virtual-machine/disk-use.ts';
import { machineMarkOf } from '../virtual-machine/domain-view.ts';
import { withoutSecrets } from '../virtual-machine/domain-metadata.ts';
import { isObject, type DataObject } from '../virtual-machine/same-value.ts';
import {
  OperationFailedError,
  type OperationRun,
  type StepProgress,
} from '../virtual-machine-operation/operation-run.ts';
import { analyse } from '../../analyser/analyse.ts';
import { disksOfMachineSpec } from '../../api/empty-disk.ts';
import type { VirtualMachineSnapshot } from '../../api/virtual-machine-snapshot.ts';
import { ForbiddenError, InvalidInputError } from '../../base/errors.ts';
import { objectKey, refOf } from '../../kube/object.ts';
import { isNotFound } from '../../libvirt/errors.ts';
import { maxReportedBytes } from '../../xml/reader.ts';

/** Finds out what will be done, and notes it with the names of all files. */
export async function prepareRevert(run: OperationRun, context: RevertContext): Promise<StepProgress> {
  const { status, signal } = run.context;
  const { machine } = status;
  const snapshot = await snapshotOf(run, context);
  const { namespace, uid = '' } = run.operation.metadata;
  // What is being taken or merged comes to its end first.
  for (const name of context.snapshots.namesOf(objectKey(machine))) {
    const other = await context.snapshots.snapshots.find({ namespace, name }, { signal });
    const { step, virtualMachineUID: ofUid } = other?.status ?? {};
    // Nobody takes one of a machine of the same name that is gone.
    const isOrphan = step === 'Taking' && ofUid !== undefined && ofUid !== machine.metadata.uid;
    if (step !== undefined && !isOrphan) return 1_000;
  }
  const revert = run.operation.spec.revert;
  const then = await specThen(run, snapshot);
  const differences = then === undefined ? [] : specDifferences(then, specNow(run));
  if (differences.length > 0) {
    // The operation may have been asked for after the spec was put back, and this round have begun before.
    const fresh = await context.snapshots.machines.find(refOf(machine), { signal });
    if (fresh?.metadata.generation !== machine.metadata.generation) return 20;
  }
  if (differences.length > 0 && revert?.restoreSpec !== true && revert?.force !== true) {
    throw new OperationFailedError(
      'SpecDiffers',
      `the machine's spec is not that of the snapshot: ${differences.join(', ')}; restoreSpec brings it back, ` +
        'force keeps it and boots from the disks of the snapshot',
    );
  }
  const isRestored = differences.length > 0 && revert?.restoreSpec === true;
  if (isRestored) await checkRestorable(run, context, then ?? {}, differences);
  const mode = snapshot.status?.mode ?? 'Internal';
  const reverted = await disksToRevert(run, context, snapshot, isRestored);
  const layers = reverted.layers.map((layer): Layer => ({ ...layer, to: revertedPath(layer.base, uid) }));
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
    ...(reverted.left.length === 0 ? {} : { left: reverted.left.join(', ') }),
  });
}

/**
 * The disks that go back: of those that the snapshot has, the ones that are the machine's now, or will be with the spec of
 * then. One that was taken from the machine since may be somebody else's.
 *
 * @throws OperationFailedError when another machine has one open, or an internal snapshot would go back with all of them.
 */
async function disksToRevert(
  run: OperationRun,
  context: RevertContext,
  snapshot: VirtualMachineSnapshot,
  isRestored: boolean,
): Promise<{ readonly layers: readonly Omit<Layer, 'to'>[]; readonly left: readonly string[] }> {
  const { status, signal } = run.context;
  const { namespace } = run.operation.metadata;
  const own = new Set(disksOfMachineSpec(status.machine));
  const layers: Omit<Layer, 'to'>[] = [];
  const left: string[] = [];
  for (const { mode, virtualDisk, target, path, format = 'raw' } of snapshot.status?.disks ?? []) {
    if (mode === undefined || mode === 'None' || path === undefined) continue;
    if (virtualDisk !== undefined && !isRestored && !own.has(virtualDisk)) {
      if (mode === 'Internal') {
        const message =
          `libvirt goes back with all disks of an internal snapshot, and VirtualDisk "${virtualDisk}" is not the machine's any ` +
          'more; attach it again, or use restoreSpec';
        throw new OperationFailedError('SpecDiffers', message);
      }
      left.push(virtualDisk);
      continue;
    }
    const disk =
      virtualDisk === undefined
        ? undefined
        : await context.snapshots.disks.find({ namespace, name: virtualDisk }, { signal });
    const from = mode === 'Internal' ? path : disk?.status?.path;
    if (from === undefined) {
      throw new OperationFailedError(
        'SnapshotNotReady',
        `VirtualDisk "${virtualDisk ?? ''}" of the snapshot is not there`,
      );
    }
    const fromFormat = mode === 'Internal' ? format : (disk?.status?.format ?? 'raw');
    const isOpenHere = run.view?.live !== undefined && useIn(run.view.live, from) !== undefined;
    if (!isOpenHere && (await fileExists(from)) && (await isInUse(from, fromFormat, signal))) {
      const message = `${virtualDisk === undefined ? from : `VirtualDisk "${virtualDisk}"`} is in use by another machine; stop that first`;
      throw new OperationFailedError('SnapshotNotReady', message);
    }
    if (mode === 'External') {
      layers.push({ virtualDisk: virtualDisk ?? '', target, from, fromFormat, base: path, format });
    }
  }
  return { layers, left };
}

/**
 * Whether the machine's spec can become that of the snapshot, asked of the API server before anything is touched. Where this
 * executor has no right to it, the spec is left in the operation's notes (without secrets) for somebody who has:
 * `virtctl snapshot revert` does it with the user's own rights.
 */
async function checkRestorable(
  run: OperationRun,
  context: RevertContext,
  then: DataObject,
  differences: readonly string[],
): Promise<void> {
  const { status, signal } = run.context;
  const { machine } = status;
  const patch = restoredSpec(then, machine.spec as unknown as DataObject);
  if (patch === undefined) {
    throw new OperationFailedError(
      'SpecDiffers',
      'a secret of the spec of the snapshot was not kept, and is nowhere now; put it back by hand, or use force',
    );
  }
  const body = { metadata: { uid: machine.metadata.uid }, spec: patch };
  try {
    await context.snapshots.machines.mergePatch(refOf(machine), body, { dryRun: true, signal });
  } catch (error) {
    if (error instanceof InvalidInputError) {
      throw new OperationFailedError('SpecDiffers', `the spec of the snapshot is not valid any more: ${error.message}`);
    }
    if (!(error instanceof ForbiddenError)) throw error;
    const kept = Object.fromEntries(hardwareKeys.flatMap((key) => (then[key] === undefined ? [] : [[key, then[key]]])));
    await run.write({ context: { ...run.notes, [specThenNote]: JSON.stringify(kept) } });
    throw new OperationFailedError(
      'SpecForbidden',
      `the executor may not change the machine's spec, and nothing was changed: put back ${differences.join(', ')}, then ` +
        "revert; 'virtctl snapshot revert --restore-spec' does so with your rights",
    );
  }
}

/** The spec at the time of the snapshot, which libvirt keeps with the domain; undefined when it is not known. */
export async function specThen(run: OperationRun, snapshot: VirtualMachineSnapshot): Promise<DataObject | undefined> {
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
