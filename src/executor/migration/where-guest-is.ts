import type { Arrival } from './migration-notes.ts';
import type { DomainView } from '../virtual-machine/domain-view.ts';

/**
 * What is to be done at the source when libvirt does not move the guest any more:
 *
 *   stays    the guest is here, or all that there is of it
 *   ask      only the target knows; until it says so nothing is started, resumed or removed here
 *   resumes  the guest is here, paused, and goes on
 *   ended    the guest is nowhere any more; what is paused here is older than what it wrote since
 *   moved    the guest is the target's; what is here goes, and then the machine is given away
 */
export type GuestPlace = 'stays' | 'ask' | 'resumes' | 'ended' | 'moved';

/** What {@link whereGuestIs} decides by. */
export interface MigrationTraces {
  /** The domain here, read when libvirt did not move it any more. */
  readonly view: Pick<DomainView, 'state' | 'libvirtState'> | undefined;
  /** What the target has said since. */
  readonly answer: Arrival | undefined;
  /** Whether the machine was off when it was asked to move. */
  readonly isOff: boolean;
  /** Whether libvirt said here that the guest had moved. */
  readonly hasMoved: boolean;
  /** Whether disks were copied. */
  readonly isCopied: boolean;
}

/** Decides where the guest of a migration is, by what both nodes have of it; pure. */
export function whereGuestIs({ view, answer, isOff, hasMoved, isCopied }: MigrationTraces): GuestPlace {
  const isGone = view === undefined || view.state === 'off';
  // Whatever the target has: the guest executes here, and the machine has not been given away.
  if (!isGone && !isHeldByLibvirt(view)) return 'stays';
  if (answer === undefined) return 'ask';
  // It has executed on the target: what is here is older than what it wrote since, and must never go on.
  const hasRunThere = hasExecutedThere(view);
  if (!isGone && answer !== 'running' && !hasRunThere) return 'resumes';
  // It was off before: what is here is all that there is of it.
  if (answer === 'none' && isOff) return 'stays';
  // Where libvirt said that it had moved, what it wrote since is in the copies of its disks only.
  if (answer === 'none' && !(isCopied && (hasMoved || hasRunThere))) return 'ended';
  // It ended on both nodes, and libvirt did not say here that it had moved: what its disks have here is not older.
  if (isCopied && answer === 'off' && view?.state === 'off' && view.libvirtState.reason !== 'migrated') return 'stays';
  return 'moved';
}

/** Paused by a migration whose outcome libvirt does not know: the guest may be executing on the target. */
export function isHeldByLibvirt({ libvirtState: { state, reason } }: Pick<DomainView, 'libvirtState'>): boolean {
  return state === 'paused' && ['migration', 'postcopy', 'postcopy-failed'].includes(reason);
}

/** Whether what is paused here had gone on at the target, by post-copy. */
export function hasExecutedThere(view: Pick<DomainView, 'state' | 'libvirtState'> | undefined): boolean {
  return view !== undefined && view.state !== 'off' && view.libvirtState.reason !== 'migration';
}
