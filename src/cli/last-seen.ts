/** What an object was last seen to be, for the error of a wait whose time is over; pure. */
import { findCondition, type Condition } from '../api/meta.ts';
import type { KubeObject } from '../kube/object.ts';

/** The members of our kinds' statuses that tell how far an object is. */
interface Progress {
  readonly phase?: unknown;
  readonly printableStatus?: unknown;
  readonly step?: unknown;
  readonly percent?: unknown;
  readonly reason?: unknown;
  readonly message?: unknown;
  readonly conditions?: readonly Condition[];
}

/**
 * How far an object is, in one line that goes on a sentence: state, step and part that is done, then the reason and the
 * message, or those of the condition that is not as it should be.
 *
 * @returns Begins with `; `; empty when the object is not there or says nothing of it.
 */
export function lastSeen(object: KubeObject | undefined): string {
  if (object === undefined) return '';
  const status = (object as { readonly status?: Progress }).status ?? {};
  const phase = text(status.printableStatus) ?? text(status.phase);
  if (
    object.kind === 'VirtualMachineOperation' &&
    (phase ?? 'Pending') === 'Pending' &&
    text(status.message) === undefined
  ) {
    return '; no executor has begun with it yet';
  }
  const step = text(status.step);
  const percent = typeof status.percent === 'number' ? `${status.percent} %` : undefined;
  const at = step === undefined ? undefined : `at step ${step}`;
  const state = [[phase, at].filter(isGiven).join(' '), percent]
    .filter((part) => isGiven(part) && part !== '')
    .join(', ');
  const own = { reason: text(status.reason), message: text(status.message) };
  const { reason, message } = (own.reason ?? own.message) ? own : (amiss(status) ?? own);
  const words = [state, reason === phase ? undefined : reason, message].filter((part) => isGiven(part) && part !== '');
  return words.length === 0 ? '' : `; last seen ${words.join(': ').replace(/\s*\n\s*/g, ' ')}`;
}

/** The condition that keeps an object from being as it should be. */
function amiss(
  status: Progress,
): { readonly reason: string | undefined; readonly message: string | undefined } | undefined {
  const { conditions = [] } = status;
  for (const type of ['Synchronized', 'Ready']) {
    const condition = findCondition({ conditions }, type);
    // What somebody changed at the host keeps nothing from going on.
    if (condition?.status !== 'False' || condition.reason === 'Drifted') continue;
    return { reason: text(condition.reason), message: text(condition.message) };
  }
  return undefined;
}

const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);

const isGiven = (value: string | undefined): value is string => value !== undefined;
