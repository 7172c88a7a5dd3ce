/**
 * What the run strategy wants done with a machine's power, as a pure function. The reconciler does it, notes it, and asks
 * again.
 *
 *                       start (Always; RerunOnFailure, Once: when not yet started for it)
 *         ┌───────────────────────────────────────────────────────────────┐
 *         │                                                               ▼
 *       [off] ◀──guest shut down, crash, failed start────────────── [running / paused]
 *         │ ▲                                                             │
 *         │ └───────────────── [stopping] ◀───Halted, deleted──────────────┘
 *         │                        └── asks the guest, again and again; destroys after the grace period
 *         ├─ Always, RerunOnFailure after a crash: [back-off] ──wait over──▶ start
 *         ├─ RerunOnFailure after a shutdown, Once: [completed], stays off
 *         └─ saved by an operation: [held], stays off until asked
 *
 * A pause is nobody's business but the one's who paused. An operation that runs takes precedence over all of this.
 */
import type { Failures } from './crash-backoff.ts';
import type { RunStrategy } from '../../api/virtual-machine.ts';

/** libvirt's state of a domain, as far as power is concerned. */
export type PowerState = 'off' | 'running' | 'paused' | 'crashed' | 'stopping' | 'suspended';

/** How the last run ended, where it is known. */
export type EndReason =
  'Shutdown' | 'Destroyed' | 'Crashed' | 'Saved' | 'Migrated' | 'Failed' | 'FromSnapshot' | 'Unknown';

/** What the policy looks at. */
export interface PowerInput {
  readonly strategy: RunStrategy;
  readonly state: PowerState;
  /** How it ended; undefined when it never ran, as far as is known. */
  readonly end: EndReason | undefined;
  /** The strategy for which it was started; undefined when it was not. */
  readonly startedFor: RunStrategy | undefined;
  /** An operation saved it. */
  readonly held: boolean;
  readonly failures: Failures | undefined;
  /** It is being deleted. */
  readonly deleting: boolean;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** What is to be done. */
export type PowerAction =
  | { readonly type: 'none' }
  | { readonly type: 'start' }
  /** Ask the guest to shut down, and destroy it when its grace period is over. */
  | { readonly type: 'stop' }
  /** What a crash left behind has no guest any more: take it away, then ask again. */
  | { readonly type: 'clear' }
  | { readonly type: 'wait'; readonly until: number };

/** The next step of a machine's power. */
export function powerAction(input: PowerInput): PowerAction {
  const { strategy, state, deleting } = input;
  if (state === 'crashed') return strategy === 'Manual' && !deleting ? { type: 'none' } : { type: 'clear' };
  if (state !== 'off') return deleting || strategy === 'Halted' ? { type: 'stop' } : { type: 'none' };
  if (deleting || input.held || !wantsStart(input)) return { type: 'none' };
  const until = input.failures?.nextAttemptAt ?? 0;
  return until > input.now ? { type: 'wait', until } : { type: 'start' };
}

/** Whether a machine that is off should run, now or after its back-off. */
export function wantsStart({
  strategy,
  startedFor,
  end,
}: Pick<PowerInput, 'strategy' | 'startedFor' | 'end'>): boolean {
  switch (strategy) {
    case 'Always':
      return true;
    case 'RerunOnFailure':
      return startedFor !== strategy || isFailure(end);
    case 'Once':
      return startedFor !== strategy;
    case 'Manual':
    case 'Halted':
      return false;
  }
}

/** Whether a run ended badly. One whose end nobody saw did: the host went down, or libvirtd lost it. */
export function isFailure(end: EndReason | undefined): boolean {
  return end === 'Crashed' || end === 'Failed' || end === 'Unknown';
}
