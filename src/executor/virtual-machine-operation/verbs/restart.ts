import { forbidsHalted, type Verb } from '../verb.ts';
import { startMachine } from './start.ts';
import { stopMachine } from './stop.ts';

/** Restart: Stopping ─▶ Starting, as Stop and Start. */
export const restart: Verb = {
  firstStep: 'Stopping',
  check: forbidsHalted,
  step: async (run) => {
    const parameters = run.operation.spec.restart ?? {};
    if (run.step !== 'Stopping') return startMachine(run, parameters);
    const progress = await stopMachine(run, parameters);
    if (typeof progress === 'number') return progress;
    const { status } = run.context;
    if (status.power.stoppingSince !== undefined) await status.note({ power: { stoppingSince: null } });
    if (progress === 'another') return run.done('it was restarted');
    return run.goTo('Starting');
  },
};
