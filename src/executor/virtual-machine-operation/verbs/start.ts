import { LibvirtError } from '../../../libvirt/errors.ts';
import { beginStart, continueStart } from '../../virtual-machine/power.ts';
import { OperationFailedError, type OperationRun } from '../operation-run.ts';
import { forbidsHalted, type Verb } from '../verb.ts';

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
export async function startMachine(run: OperationRun, parameters: StartParameters): Promise<'over'> {
  const { status, wanted, notReady, now, options } = run.context;
  const boot = run.notes['newBoot'] ?? '';
  const { power } = status;
  if (power.boot === boot && power.bootStep === undefined) {
    return run.done(run.state === 'off' ? 'it was started, and ended meanwhile' : 'it runs');
  }
  const { view } = run;
  if (power.boot !== boot && view !== undefined && view.state !== 'off' && view.state !== 'crashed') {
    return run.done('it runs already');
  }
  if (view === undefined || wanted === undefined) {
    throw new OperationFailedError('LibvirtError', notReady?.message ?? 'its domain is not defined');
  }
  if (power.boot !== boot) {
    await run.context.renewVolumes(view);
    await status.note({ power: beginStart(boot), printableStatus: 'Starting', failures: null });
  }
  const how = { paused: parameters.paused === true, discardSavedState: parameters.discardSavedState === true };
  try {
    run.view = await continueStart(view, status.power, how, {
      wanted,
      note: (notes) => status.note(notes),
      startedFor: status.machine.spec.runStrategy,
      boots: status.next.domain?.boots ?? 0,
      now,
      options,
    });
  } catch (error) {
    if (error instanceof LibvirtError) await status.note({ power: { bootStep: null } });
    throw error;
  }
  return run.done(run.view === undefined ? 'it was started, and ended meanwhile' : 'it runs');
}
