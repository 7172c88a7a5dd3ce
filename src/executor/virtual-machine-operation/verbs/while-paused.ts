/**
 * What cannot be seen afterwards, and must not happen twice: Suspending ─▶ Acting ─▶ Resuming. While the CPUs are paused,
 * twice is the same as once.
 */
import { memberAt } from '../../virtual-machine/same-value.ts';
import type { DomainView, LibvirtCallOptions } from '../../virtual-machine/domain-view.ts';
import type { OperationRun, StepProgress } from '../operation-run.ts';
import { needsAwakeGuest, needsGuest, type Verb } from '../verb.ts';

/** Reset: as the button of the machine. */
export const reset: Verb = {
  firstStep: 'Suspending',
  check: needsGuest,
  step: (run) => whilePaused(run, ({ domain }, options) => domain.reset(options)),
};

/** InjectNMI. */
export const injectNmi: Verb = {
  firstStep: 'Suspending',
  check: needsGuest,
  step: (run) => whilePaused(run, ({ domain }, options) => domain.injectNmi(options)),
};

/** SoftReboot: the guest reboots itself. */
export const softReboot: Verb = {
  firstStep: 'Suspending',
  check: needsAwakeGuest,
  step: (run) => {
    const hasAcpi = memberAt(run.view?.live, 'features', 'acpi') !== undefined;
    return whilePaused(run, ({ domain }, options) =>
      // The button is pressed while the guest sleeps, and heard when it wakes. The agent would hear nothing.
      domain.reboot({ ...(hasAcpi ? { acpiPowerBtn: true } : {}), timeoutMs: options.timeoutMs }),
    );
  },
};

async function whilePaused(
  run: OperationRun,
  act: (view: DomainView, options: LibvirtCallOptions) => Promise<void>,
): Promise<StepProgress> {
  const wasPaused = run.notes['state'] === 'paused';
  if (run.hasEnded) return run.done('it ended meanwhile');
  switch (run.step) {
    case 'Suspending':
      if (!wasPaused && run.state === 'running') await run.act(({ domain }, options) => domain.suspend(options));
      return run.goTo('Acting');
    case 'Acting':
      await run.act(act);
      return run.goTo('Resuming');
    default:
      if (!wasPaused && run.state === 'paused') await run.act(({ domain }, options) => domain.resume(options));
      return run.done('done');
  }
}
