/**
 * A machine that ran when it was last looked at, and is off: how did it end, and does that count as a failure?
 */
import { countFailure, isStable } from './crash-backoff.ts';
import type { DomainView } from './domain-view.ts';
import { failureNotes, failuresOf } from './failure-notes.ts';
import { isFailure, type EndReason } from './power-policy.ts';
import { tellEvent, type Round } from './round.ts';
import { toKubernetesTime } from '../../base/clock.ts';

/** Failures of an older spec say nothing about this one. */
export function forgetFailuresOfOldSpec({ status }: Round): void {
  const { generation } = status.machine.metadata;
  if (generation === undefined || status.power.generation === generation) return;
  status.next.power = { ...status.power, generation };
  delete status.next.failures;
}

/** A machine that ran when it was last looked at, and is off: how did it end? */
export function noticeEnd(round: Round): void {
  const { status, view } = round;
  const before = status.next.domain;
  if (before?.id === undefined) return;
  const isSameRun = view !== undefined && view.state !== 'off' && view.state !== 'crashed';
  const bootedAt = before.bootedAt === undefined ? undefined : Date.parse(before.bootedAt);
  const now = round.parts.clock.now();
  if (isSameRun) {
    if (status.next.failures !== undefined && isStable(bootedAt, now)) delete status.next.failures;
    return;
  }
  const reason = endOf(view);
  // A guest that ended while it was being saved has no memory to go on with: nothing is held then.
  const isSaved = status.power.held === true && (reason === 'Saved' || view?.hasManagedSave === true);
  const wasAsked = status.power.stoppingSince !== undefined || isSaved;
  status.next.lastStop = { reason: reason === 'Unknown' ? 'Failed' : reason, at: toKubernetesTime(now) };
  status.next.domain = { ...status.next.domain };
  delete (status.next.domain as { id?: number }).id;
  if (status.power.stoppingSince !== undefined || status.power.held === true) {
    const { stoppingSince: _stoppingSince, held: _held, ...rest } = status.power;
    status.next.power = isSaved ? { ...rest, held: true } : rest;
  }
  if (wasAsked) {
    tellEvent(round, 'Normal', reason === 'Saved' ? 'Saved' : 'Stopped', 'Stop', `the machine is off (${reason})`);
    return;
  }
  const message =
    reason === 'Unknown' ? 'it ended while nobody was looking' : `it ended by itself (${reason.toLowerCase()})`;
  tellEvent(round, isFailure(reason) ? 'Warning' : 'Normal', isFailure(reason) ? 'Crashed' : 'Stopped', 'Run', message);
  const strategy = status.machine.spec.runStrategy ?? 'Always';
  if (strategy === 'Always' || (strategy === 'RerunOnFailure' && isFailure(reason))) {
    const ranMs = bootedAt === undefined ? 0 : Math.max(0, now - bootedAt);
    status.next.failures = failureNotes(countFailure(failuresOf(status), ranMs, now, message));
  }
}

function endOf(view: DomainView | undefined): EndReason {
  if (view === undefined) return 'Unknown';
  if (view.state === 'crashed') return 'Crashed';
  if (view.libvirtState.state !== 'shutoff') return 'Unknown';
  switch (view.libvirtState.reason) {
    case 'shutdown':
      return 'Shutdown';
    case 'destroyed':
      return 'Destroyed';
    case 'crashed':
      return 'Crashed';
    case 'migrated':
      return 'Migrated';
    case 'saved':
      return 'Saved';
    case 'failed':
      return 'Failed';
    case 'from-snapshot':
      return 'FromSnapshot';
    default:
      return 'Unknown';
  }
}
