import { isInvalidState, LibvirtError } from '../../../libvirt/errors.ts';
import { readDomain } from '../../virtual-machine/domain-view.ts';
import { OperationFailedError, type OperationRun } from '../operation-run.ts';
import { needsGuest, type Verb } from '../verb.ts';

/** Memory goes to disk; as long as a reconcile may take. */
const saveTimeoutMs = 110_000;

/** Save: off with a saved state, or still the same boot. */
export const save: Verb = {
  firstStep: 'Saving',
  check: (run) => {
    const isSaved = run.state === 'off' && run.view?.hasManagedSave === true;
    if (!isSaved) needsGuest(run);
  },
  step: saveMachine,
};

async function saveMachine(run: OperationRun): Promise<'over'> {
  const { status, options } = run.context;
  const { view } = run;
  if (view === undefined || view.state === 'off') {
    if (view?.hasManagedSave !== true) {
      await status.note({ power: { held: null } });
      throw new OperationFailedError('NotRunning', 'it ended before it was saved');
    }
    await status.note({ power: { held: true } });
    return run.done('it is saved');
  }
  // Before it goes off: the run strategy must not start it again.
  await status.note({ power: { held: true }, printableStatus: 'Stopping' });
  const { bypassCache } = run.operation.spec.save ?? {};
  try {
    await view.domain.managedSave({ bypassCache, ...options, timeoutMs: saveTimeoutMs });
  } catch (error) {
    if (error instanceof LibvirtError && !isInvalidState(error)) await status.note({ power: { held: null } });
    throw error;
  }
  run.view = await readDomain(view.domain, options);
  return run.done('it is saved');
}
