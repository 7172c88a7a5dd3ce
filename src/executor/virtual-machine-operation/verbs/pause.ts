import { needsGuest, type Verb } from '../verb.ts';

/** Pause: the same twice. */
export const pause: Verb = {
  firstStep: 'Acting',
  check: needsGuest,
  step: async (run) => {
    if (run.state === 'running') await run.act(({ domain }, options) => domain.suspend(options));
    return run.done(run.state === 'off' ? 'it ended meanwhile' : 'its CPUs are paused');
  },
};

/** Unpause: the same twice; wakes a guest that sleeps. */
export const unpause: Verb = {
  firstStep: 'Acting',
  check: needsGuest,
  step: async (run) => {
    if (run.state === 'paused') await run.act(({ domain }, options) => domain.resume(options));
    if (run.state === 'suspended') await run.act(({ domain }, options) => domain.pmWakeup(options));
    return run.done(run.state === 'off' ? 'it ended meanwhile' : 'its CPUs run');
  },
};
