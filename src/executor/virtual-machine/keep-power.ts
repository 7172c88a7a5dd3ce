/**
 * Carries out what the run strategy wants done with a machine's power (power-policy.ts), with the steps of power.ts.
 */
import { countFailure } from './crash-backoff.ts';
import { readDomain } from './domain-view.ts';
import { failureNotes, failuresOf, lastEnd } from './failure-notes.ts';
import { isHeldByStart } from './held-by-start.ts';
import { holdFiles } from './hold-files.ts';
import type { MachineStatus } from './machine-status.ts';
import { explainMissingFile } from './missing-file.ts';
import { NotReadyError } from './not-ready-error.ts';
import { noticeEnd } from './notice-end.ts';
import { powerAction, wantsStart } from './power-policy.ts';
import { beginStart, beginStop, continueStart, continueStop, destroy, hasNeverRun } from './power.ts';
import { renewVolumes } from './renew-volumes.ts';
import { lookAgain, messageOf, tellEvent, type Round } from './round.ts';
import { FailedError } from '../../base/errors.ts';
import { isDomainMissing, LibvirtError } from '../../libvirt/errors.ts';

/** How soon files that somebody works on are looked at again, in milliseconds. */
const busyMs = 500;

/** A guest that ended while it was started is looked at again this soon, in milliseconds. */
const endedMs = 50;

/** Does the next step towards what the run strategy wants. */
export async function keepPower(round: Round): Promise<void> {
  const { status } = round;
  const strategy = status.machine.spec.runStrategy ?? 'Always';
  const now = round.parts.clock.now();
  // A start that was cut off goes on, unless it is not wanted any more.
  if (status.power.bootStep !== undefined && !isStartWanted(status) && isStartIdle(round)) {
    await takeStartBack(round);
    return;
  }
  if (status.power.bootStep !== undefined && strategy !== 'Halted') {
    await startMachine(round, false);
    return;
  }
  const action = powerAction({
    strategy,
    state: round.view?.state ?? 'off',
    end: lastEnd(status),
    startedFor: status.power.startedFor,
    held: status.power.held === true,
    failures: failuresOf(status),
    deleting: false,
    now,
  });
  switch (action.type) {
    case 'none':
      await settle(round);
      return;
    case 'wait':
      lookAgain(round, action.until - now + 10);
      return;
    case 'start':
      if (round.wanted === undefined || round.view === undefined) return;
      await startMachine(round, true);
      return;
    case 'stop':
      await stopMachine(round, false);
      return;
    case 'clear':
      // How it ended cannot be seen any more afterwards.
      await status.note({});
      if (round.view !== undefined) await destroy(round.view, round.options);
      round.requeueAfterMs = 50;
      return;
  }
}

/** Whether the policy would begin the start that was cut off: an operation that did may be gone, and the strategy another. */
function isStartWanted(status: MachineStatus): boolean {
  const { power, machine } = status;
  const strategy = machine.spec.runStrategy ?? 'Always';
  return power.held !== true && wantsStart({ strategy, startedFor: power.startedFor, end: lastEnd(status) });
}

/** Whether nothing of a start that was cut off is there but a note, or a guest without its first instruction. */
function isStartIdle({ status, view }: Round): boolean {
  if (status.power.bootStep !== 'Starting') return false;
  return view === undefined || view.state === 'off' || hasNeverRun(view, status.power, status.next.domain);
}

/** Ends a start that was cut off and that nobody wants any more. */
async function takeStartBack(round: Round): Promise<void> {
  const { view, status, options } = round;
  if (view !== undefined && view.state !== 'off') {
    await destroy(view, options);
    round.view = await readDomain(view.domain, options);
    tellEvent(round, 'Normal', 'Stopped', 'Stop', 'a start that is not wanted any more was taken back');
  }
  await status.note({ power: { boot: null, bootStep: null } });
  await settle(round);
}

/** Nothing is being done: what was noted of a stop or start that nobody wants any more goes. */
async function settle({ status, view, memory }: Round): Promise<void> {
  const runs = view !== undefined && view.state !== 'off';
  if (status.power.stoppingSince !== undefined) {
    await status.note({ power: { stoppingSince: null } });
    if (view !== undefined) memory.requests.forget(view.domain.uuid);
  }
  const strategy = status.machine.spec.runStrategy ?? 'Always';
  if (!runs) {
    if (status.power.bootStep !== undefined) await status.note({ power: { bootStep: null } });
    // Halted ends the run: the strategy that comes after it starts the machine anew, from saved memory where there is any.
    if (strategy === 'Halted' && (status.power.startedFor !== undefined || status.power.held === true)) {
      await status.note({ power: { startedFor: null, held: null } });
    }
    return;
  }
  // It runs, by whoever's hand: that counts as the start that the strategy asked for.
  if (status.power.startedFor !== strategy || status.power.held === true) {
    await status.note({ power: { startedFor: strategy, held: null } });
  }
}

async function startMachine(round: Round, isNew: boolean): Promise<void> {
  const { status, view, options } = round;
  const { clock, newId } = round.parts;
  if (view === undefined) return;
  // Of a start that was cut off there is only the note yet: it waits, as a new one does.
  if (round.wanted === undefined && view.state === 'off' && status.power.bootStep !== 'Resuming') return;
  const { machine } = status;
  const hold = holdFiles(round);
  if (hold.busy !== undefined) {
    round.trouble = new NotReadyError('VolumeNotReady', 'Provisioning', hold.busy);
    lookAgain(round, busyMs);
    return;
  }
  try {
    if (isNew) {
      await renewVolumes(round);
      await status.note({ ...beginStart(newId(), view.hasManagedSave), printableStatus: 'Starting' });
    }
    round.view =
      (await continueStart(
        view,
        status.power,
        { paused: machine.spec.startPaused === true, discardSavedState: false },
        {
          wanted: round.wanted ?? view.liveMark?.applied ?? {},
          note: (notes) => status.note(notes),
          startedFor: machine.spec.runStrategy ?? 'Always',
          boots: status.next.domain?.boots ?? 0,
          now: () => clock.now(),
          options,
        },
      )) ?? (await readDomain(view.domain, options));
    // One that has ended already is noticed by the report, and what follows is for the next look.
    if (round.view === undefined || ['off', 'crashed'].includes(round.view.state)) lookAgain(round, endedMs);
    tellEvent(round, 'Normal', 'Started', 'Start', 'the machine was started');
  } catch (error) {
    // One that was undefined meanwhile is no start that failed: it is defined anew, and the start goes on.
    // Nor is one that libvirt is still busy with.
    if (!(error instanceof LibvirtError) || isDomainMissing(error) || isHeldByStart(view, error)) throw error;
    const missing = explainMissingFile(messageOf(error), machine, round.parts.nodeName);
    const message = missing ?? messageOf(error);
    const now = clock.now();
    const failures = failureNotes(countFailure(failuresOf(status), 0, now, message));
    // What is there is no start that failed as a whole: it goes on where it was.
    round.view = await readDomain(view.domain, options);
    const isOff = round.view === undefined || round.view.state === 'off';
    await status.note({ ...(isOff ? { power: { bootStep: null } } : {}), failures });
    round.trouble = missing === undefined ? error : new FailedError(missing, { cause: error });
    round.requeueAfterMs = Math.max(1_000, (Date.parse(failures.nextAttemptAt ?? '') || now) - now + 10);
    tellEvent(round, 'Warning', 'StartFailed', 'Start', message);
  } finally {
    hold.release();
  }
}

/** Does the next step of a stop. */
export async function stopMachine(round: Round, deleting: boolean): Promise<void> {
  const { status, view, options } = round;
  if (view === undefined) return;
  // There is nobody to ask. The note goes after it: without, a paused guest is taken for one that has run.
  if (hasNeverRun(view, status.power, status.next.domain)) {
    await takeStartBack(round);
    return;
  }
  const now = round.parts.clock.now();
  const begin = beginStop(status.power, now);
  if (begin !== undefined || status.power.bootStep !== undefined) {
    await status.note({
      power: { ...begin, bootStep: null },
      printableStatus: deleting ? 'Terminating' : 'Stopping',
    });
    if (begin !== undefined) tellEvent(round, 'Normal', 'Stopping', 'Stop', 'the guest is asked to shut down');
  }
  const seconds = status.machine.spec.terminationGracePeriodSeconds ?? 60;
  const progress = await continueStop(view, {
    requests: round.memory.requests,
    now,
    since: Date.parse(status.power.stoppingSince ?? '') || now,
    graceMs: seconds * 1000,
    force: seconds === 0,
    options,
  });
  if (progress.wasDestroyed) {
    tellEvent(
      round,
      'Warning',
      'Destroyed',
      'Stop',
      seconds === 0
        ? 'powered off without grace period'
        : `powered off: the guest did not shut down within ${seconds} s`,
    );
  }
  if (progress.isOff) {
    round.view = await readDomain(view.domain, options);
    noticeEnd(round);
    return;
  }
  round.requeueAfterMs = progress.requeueAfterMs;
}
