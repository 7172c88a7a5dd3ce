/** What QEMU and libvirt do of a revert: going back inside of the disks, and starting anew or from the memory that was kept. */
import { fileExists } from './image-files.ts';
import { devicesWithFiles } from './machine-disks.ts';
import { layersOf, loadMs, pollMs, revertWork, snapshotOf, type RevertContext } from './revert-context.ts';
import { readDomain, type DomainView } from '../virtual-machine/domain-view.ts';
import { beginStop, destroy } from '../virtual-machine/power.ts';
import { bootMachine } from '../virtual-machine-operation/boot-machine.ts';
import type { DataObject } from '../virtual-machine/same-value.ts';
import {
  OperationFailedError,
  type OperationRun,
  type StepProgress,
} from '../virtual-machine-operation/operation-run.ts';
import { analyse } from '../../analyser/analyse.ts';
import { render } from '../../convertor/render.ts';
import { objectKey } from '../../kube/object.ts';
import { isInvalidState } from '../../libvirt/errors.ts';
import { maxReportedBytes } from '../../xml/reader.ts';

/** Internal: libvirt goes back, and leaves the guest paused where its memory was kept. */
export async function revertInside(run: OperationRun, context: RevertContext): Promise<StepProgress> {
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

/** The guest goes on as it is to be afterwards. */
export async function startReverted(run: OperationRun, context: RevertContext): Promise<StepProgress> {
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
  const waitMs = await bootMachine(run, {
    view: run.view ?? view,
    wanted,
    how: { paused: after === 'Paused', discardSavedState: true },
    startedFor: strategy,
  });
  if (waitMs !== undefined) return waitMs;
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
  const layers = layersOf(run).map(({ target, to }) => ({ target, path: to, format: 'qcow2' }));
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
        const devices = devicesWithFiles(value['devices'], layers);
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
