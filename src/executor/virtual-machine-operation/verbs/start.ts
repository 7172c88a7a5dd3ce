import { bootMachine } from '../boot-machine.ts';
import { OperationFailedError, type OperationRun, type StepProgress } from '../operation-run.ts';
import { forbidsHalted, needsReady, type Verb } from '../verb.ts';
import { destroy } from '../../virtual-machine/power.ts';

/** What of an operation says how to start. */
export interface StartParameters {
  readonly paused?: boolean | undefined;
  readonly discardSavedState?: boolean | undefined;
}

/** Start: a boot has a mark, the id in `newBoot` of the operation's notes. */
export const start: Verb = {
  firstStep: 'Starting',
  check: forbidsHalted,
  step: (run) => startMachine(run, run.operation.spec.start ?? {}),
};

/** Starts it, or goes on with a start that was cut off; nothing when it runs already. */
export async function startMachine(run: OperationRun, parameters: StartParameters): Promise<StepProgress> {
  const { status, wanted, notReady, renewVolumes } = run.context;
  const boot = run.notes['newBoot'] ?? '';
  const { power } = status;
  if (power.boot === boot && power.bootStep === undefined) {
    return run.done(run.state === 'off' ? 'it was started, and ended meanwhile' : 'it runs');
  }
  const { view } = run;
  const hasCrashed = power.boot !== boot && run.state === 'crashed';
  if (power.boot !== boot && view !== undefined && view.state !== 'off' && !hasCrashed) {
    return run.done('it runs already');
  }
  if (view === undefined || wanted === undefined) {
    throw new OperationFailedError('LibvirtError', notReady?.message ?? 'its domain is not defined');
  }
  if (run.state === 'off' || hasCrashed) needsReady(run);
  if (hasCrashed) {
    // What is left has no guest any more; how that ended cannot be seen any more afterwards.
    await status.note({});
    await run.act(destroy);
    return 'next';
  }
  const waitMs = await bootMachine(run, {
    view,
    wanted,
    how: { paused: parameters.paused === true, discardSavedState: parameters.discardSavedState === true },
    startedFor: status.machine.spec.runStrategy,
    prepare: () => renewVolumes(view),
  });
  if (waitMs !== undefined) return waitMs;
  return run.done(run.view === undefined ? 'it was started, and ended meanwhile' : 'it runs');
}
