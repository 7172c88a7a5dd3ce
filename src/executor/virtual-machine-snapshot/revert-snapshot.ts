/**
 * Back to a snapshot, step by step; each is noted in the operation before it begins, and doing one again changes nothing.
 *
 *   Preparing      is the spec the same? ─▶ what will be done, with the names of all files
 *   Stopping       external: new files over the frozen ones are made, while nothing is given up yet; then the guest is
 *                  powered off (not for an internal one with the same hardware)
 *   RestoringSpec  the machine's spec becomes that of the snapshot, if asked for
 *   Switching      external: the new files become the active ones
 *                  internal: libvirt reverts, and leaves the guest paused, so that it may do so again
 *   Starting       from the memory that was kept, or anew; or it stays off
 *   Cleaning       libvirt's current snapshot; the files that were active before and belong to no snapshot go
 *
 * Until Switching nothing is lost; what was active before is removed at the very end.
 */
import { restoredSpec, specDifferences } from './compare-spec.ts';
import { prepareRevert, specThen } from './prepare-revert.ts';
import { snapshotOf, type RevertContext } from './revert-context.ts';
import { clean, makeFiles, switchFiles } from './revert-files.ts';
import { revertInside, startReverted } from './revert-start.ts';
import { readDomain } from '../virtual-machine/domain-view.ts';
import { withoutSecrets } from '../virtual-machine/domain-metadata.ts';
import { beginStop, destroy } from '../virtual-machine/power.ts';
import type { DataObject } from '../virtual-machine/same-value.ts';
import type { OperationRun, StepProgress } from '../virtual-machine-operation/operation-run.ts';
import { refOf } from '../../kube/object.ts';
import { isConflict } from '../../kube/status-error.ts';

/** What needs the machine as it is by then is done in the next reconcile, this soon, in milliseconds. */
const soonMs = 20;

/** Does the step that the operation has noted. */
export async function stepRevert(run: OperationRun, context: RevertContext): Promise<StepProgress> {
  switch (run.step) {
    case 'Preparing':
      return prepareRevert(run, context);
    case 'Stopping':
      return stop(run);
    case 'RestoringSpec':
      return restoreSpec(run, context);
    case 'Switching':
      return run.notes['mode'] === 'Internal' ? revertInside(run, context) : switchFiles(run, context);
    case 'Starting':
      return startReverted(run, context);
    default:
      return clean(run, context);
  }
}

/** The state of now is given up, so there is nobody to ask. */
async function stop(run: OperationRun): Promise<StepProgress> {
  const { status, now, options } = run.context;
  const { view } = run;
  // Where there is no space for them, nothing was touched yet.
  await makeFiles(run);
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

/** What is written comes from the spec as this round read it: where that is not the newest any more, the next round does it. */
async function restoreSpec(run: OperationRun, context: RevertContext): Promise<StepProgress> {
  const { status, signal } = run.context;
  const { machines } = context.snapshots;
  const { uid, generation } = status.machine.metadata;
  const then = await specThen(run, await snapshotOf(run, context));
  const now = JSON.parse(JSON.stringify(status.machine.spec)) as DataObject;
  const patch = then === undefined ? undefined : restoredSpec(then, now);
  if (patch !== undefined && specDifferences(then ?? {}, withoutSecrets(now)).length > 0) {
    // Status was written in this round: the resourceVersion of that says nothing about the spec.
    const fresh = await machines.find(refOf(status.machine), { signal });
    if (fresh?.metadata.uid !== uid || fresh?.metadata.generation !== generation) return soonMs;
    const body = { metadata: { uid, resourceVersion: fresh?.metadata.resourceVersion }, spec: patch };
    try {
      await machines.mergePatch(refOf(status.machine), body, { signal });
    } catch (error) {
      if (!isConflict(error)) throw error;
      return soonMs;
    }
  }
  await run.goTo('Switching');
  // The next reconcile sees the new spec.
  return soonMs;
}
