import { toKubernetesTime } from '../../../base/clock.ts';
import { readDomain } from '../../virtual-machine/domain-view.ts';
import { lastEnd } from '../../virtual-machine/failure-notes.ts';
import { isFailure, wantsStart } from '../../virtual-machine/power-policy.ts';
import { beginStop, continueStop, destroy, hasNeverRun } from '../../virtual-machine/power.ts';
import { OperationFailedError, type OperationRun } from '../operation-run.ts';
import type { Verb } from '../verb.ts';

/** What of an operation says how to stop. */
export interface StopParameters {
  readonly force?: boolean | undefined;
  readonly gracePeriodSeconds?: number | undefined;
}

/** Stop: `boot` of the operation's notes names the boot that is to end. */
export const stop: Verb = {
  firstStep: 'Stopping',
  check: ({ context }) => {
    if ((context.status.machine.spec.runStrategy ?? 'Always') !== 'Always') return;
    throw new OperationFailedError(
      'RunStrategyForbids',
      'spec.runStrategy is Always, which would start it again at once: set it to Halted instead',
    );
  },
  step: async (run) => {
    const progress = await stopMachine(run, run.operation.spec.stop ?? {});
    if (typeof progress === 'number') return progress;
    if (progress === 'off') await stayOff(run);
    return run.done(progress === 'another' ? 'it was stopped, and started again by somebody else' : 'it is off');
  },
};

/** Where the run strategy would start it still, as after a crash, or for the first time: that is not wanted any more. */
async function stayOff({ view, context }: OperationRun): Promise<void> {
  const { status, noticeEnd, now } = context;
  noticeEnd(view);
  const strategy = status.machine.spec.runStrategy ?? 'Always';
  const end = lastEnd(status);
  if (!wantsStart({ strategy, startedFor: status.power.startedFor, end })) return;
  const lastStop = { reason: 'Destroyed', at: toKubernetesTime(now()) } as const;
  await status.note({ power: { startedFor: strategy }, failures: null, ...(isFailure(end) ? { lastStop } : {}) });
}

/**
 * Does the next step of a stop.
 *
 * @returns `off`; `another` when the boot that was to end is over and the next one runs; else look again after so many
 *   milliseconds.
 */
export async function stopMachine(run: OperationRun, parameters: StopParameters): Promise<'off' | 'another' | number> {
  const { status, requests, now, options } = run.context;
  const { view } = run;
  const { boot } = run.notes;
  if (boot !== undefined && view?.boot !== undefined && view.boot.id !== boot) return 'another';
  const { bootStep } = status.power;
  // A start that was cut off, and does not go on after this; it was the one that the run strategy asked for.
  const cut =
    bootStep === undefined ? undefined : { bootStep: null, startedFor: status.machine.spec.runStrategy ?? 'Always' };
  const isOff = view === undefined || view.state === 'off';
  if (isOff || hasNeverRun(view, status.power, status.next.domain)) {
    if (!isOff) {
      await destroy(view, options);
      run.view = await readDomain(view.domain, options);
    }
    if (cut !== undefined) await status.note({ power: cut });
    return 'off';
  }
  const begin = beginStop(status.power, now());
  if (begin !== undefined || cut !== undefined) {
    await status.note({ power: { ...begin, ...cut }, printableStatus: 'Stopping' });
  }
  const seconds = parameters.gracePeriodSeconds ?? status.machine.spec.terminationGracePeriodSeconds ?? 60;
  // The grace period of this operation begins with it, also when somebody asked the guest before.
  const since = Date.parse(run.operation.status?.stepTime ?? '') || now();
  const progress = await continueStop(view, {
    requests,
    now: now(),
    since,
    graceMs: seconds * 1000,
    force: parameters.force === true,
    options,
  });
  if (!progress.isOff) return progress.requeueAfterMs;
  run.view = await readDomain(view.domain, options);
  return 'off';
}
