import type { DomainView } from './domain-view.ts';
import type { Failures } from './crash-backoff.ts';
import type { EndReason } from './power-policy.ts';
import { wantsStart } from './power-policy.ts';
import type { PowerNotes } from './power.ts';
import type { PrintableStatus, RunStrategy, virtualMachineReasons } from '../../api/virtual-machine.ts';

/** What a machine's state is told from. */
export interface StateInput {
  readonly view: Pick<DomainView, 'state' | 'hasManagedSave'> | undefined;
  readonly power: PowerNotes;
  readonly strategy: RunStrategy;
  readonly end: EndReason | undefined;
  readonly failures: Failures | undefined;
  readonly deleting: boolean;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** A machine's state for people, and whether it is as its policy wants it. */
export interface MachineState {
  readonly printableStatus: PrintableStatus;
  readonly ready: boolean;
  readonly reason: keyof typeof virtualMachineReasons;
}

/** KubeVirt's word for a machine's state, and its condition Ready. */
export function machineState({ view, power, strategy, end, failures, deleting, now }: StateInput): MachineState {
  if (deleting) return { printableStatus: 'Terminating', ready: false, reason: 'Terminating' };
  const state = view?.state ?? 'off';
  if (state !== 'off' && power.stoppingSince !== undefined) {
    return { printableStatus: 'Stopping', ready: false, reason: 'Stopping' };
  }
  switch (state) {
    case 'running':
      return power.bootStep !== undefined
        ? { printableStatus: 'Starting', ready: false, reason: 'Starting' }
        : { printableStatus: 'Running', ready: true, reason: 'Running' };
    case 'paused':
      return power.bootStep !== undefined
        ? { printableStatus: 'Starting', ready: false, reason: 'Starting' }
        : { printableStatus: 'Paused', ready: false, reason: 'Paused' };
    case 'suspended':
      return { printableStatus: 'Suspended', ready: false, reason: 'Paused' };
    case 'stopping':
      return { printableStatus: 'Stopping', ready: false, reason: 'Stopping' };
    case 'crashed':
      return { printableStatus: 'Crashed', ready: false, reason: 'Stopped' };
    case 'off':
      break;
  }
  if (power.held === true) return { printableStatus: 'Saved', ready: true, reason: 'Stopped' };
  if (wantsStart({ strategy, startedFor: power.startedFor, end })) {
    if (failures !== undefined && failures.nextAttemptAt > now) {
      return { printableStatus: 'CrashLoopBackOff', ready: false, reason: 'CrashLoopBackOff' };
    }
    return { printableStatus: 'Starting', ready: false, reason: 'Starting' };
  }
  if ((strategy === 'Once' || strategy === 'RerunOnFailure') && end !== undefined) {
    const isCrash = end === 'Crashed' || end === 'Failed';
    return { printableStatus: isCrash ? 'Crashed' : 'Completed', ready: !isCrash, reason: 'Completed' };
  }
  if (view?.hasManagedSave === true) return { printableStatus: 'Saved', ready: true, reason: 'Stopped' };
  return { printableStatus: 'Stopped', ready: true, reason: 'Stopped' };
}
