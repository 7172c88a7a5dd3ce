import type { Failures } from './crash-backoff.ts';
import type { MachineStatus } from './machine-status.ts';
import type { EndReason } from './power-policy.ts';
import type { VirtualMachineStatus } from '../../api/virtual-machine.ts';
import { toKubernetesTime } from '../../base/clock.ts';

/** How the last run ended, as status says. */
export function lastEnd(status: MachineStatus): EndReason | undefined {
  return status.next.lastStop?.reason as EndReason | undefined;
}

/** What status says of ends that nobody asked for. */
export function failuresOf(status: MachineStatus): Failures | undefined {
  const { failures } = status.next;
  if (failures === undefined) return undefined;
  return {
    count: failures.count,
    lastAt: Date.parse(failures.lastAt ?? '') || 0,
    nextAttemptAt: Date.parse(failures.nextAttemptAt ?? '') || 0,
    message: failures.message ?? '',
  };
}

/** The same for status. */
export function failureNotes(failures: Failures): NonNullable<VirtualMachineStatus['failures']> {
  return {
    count: failures.count,
    lastAt: toKubernetesTime(failures.lastAt),
    // Whole seconds, and never early.
    nextAttemptAt: toKubernetesTime(failures.nextAttemptAt + (failures.count > 1 ? 999 : 0)),
    message: failures.message,
  };
}
