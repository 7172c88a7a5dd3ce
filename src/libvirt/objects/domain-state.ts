import { wordAt } from './values.ts';

/** virDomainState, by number. */
export const domainStates = [
  'nostate',
  'running',
  'blocked',
  'paused',
  'shutdown',
  'shutoff',
  'crashed',
  'pmsuspended',
] as const;

/** What a domain does. `shutdown` is on the way down, `shutoff` is off. */
export type DomainState = (typeof domainStates)[number];

/** vir…Reason for each state, by number (libvirt-domain.h). */
const reasons: Readonly<Record<DomainState, readonly string[]>> = {
  nostate: ['unknown'],
  running: [
    ...['unknown', 'booted', 'migrated', 'restored', 'from-snapshot', 'unpaused', 'migration-canceled'],
    ...['save-canceled', 'wakeup', 'crashed', 'postcopy', 'postcopy-failed'],
  ],
  blocked: ['unknown'],
  paused: [
    ...['unknown', 'user', 'migration', 'save', 'dump', 'io-error', 'watchdog', 'from-snapshot', 'shutting-down'],
    ...['snapshot', 'crashed', 'starting-up', 'postcopy', 'postcopy-failed', 'api-error'],
  ],
  shutdown: ['unknown', 'user'],
  shutoff: [
    ...['unknown', 'shutdown', 'destroyed', 'crashed', 'migrated', 'saved', 'failed', 'from-snapshot', 'daemon'],
  ],
  crashed: ['unknown', 'panicked'],
  pmsuspended: ['unknown'],
};

/** A state and why the domain is in it. */
export interface DomainStateAndReason {
  readonly state: DomainState;
  /** As `booted`, `destroyed`, `io-error`; `unknown` also for what a newer libvirt added. */
  readonly reason: string;
}

/** Decodes virDomainState and its reason. */
export function domainStateOf(state: number, reason: number): DomainStateAndReason {
  const word = domainStates[state] ?? 'nostate';
  return { state: word, reason: wordAt(reasons[word], reason) };
}
