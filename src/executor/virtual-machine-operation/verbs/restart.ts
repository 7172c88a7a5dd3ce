import { forbidsHalted, needsReady, type Verb } from '../verb.ts';
import { startMachine } from './start.ts';
import { stopMachine } from './stop.ts';

/** Restart: Stopping ─▶ Starting, as Stop and Start. */
export const restart: Verb = {
  firstStep: 'Stopping',
  check: (run) => {
    forbidsHalted(run);
    // Before it has stopped what would not start again.
    needsReady(run);
  },
  step: async (run) => {
    const parameters = run.operation.spec.restart ?? {};
    if (run.step !== 'Stopping') return startMachine(run, parameters);
    const progress = await stopMachine(run, parameters);
    if (typeof progress === 'number') return progress;
    const { status, noticeEnd } = run.context;
    if (progress === 'another') {
      if (status.power.stoppingSince !== undefined) await status.note({ power: { stoppingSince: null } });
      return run.done('it was restarted');
    }
    // Before the next start covers it.
    noticeEnd(run.view);
    return run.goTo('Starting');
  },
};
