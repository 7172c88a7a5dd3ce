import { isDeepStrictEqual } from 'node:util';
import { tellEvent, type Round } from './round.ts';
import type { FieldChange } from '../../api/virtual-machine.ts';

/**
 * Tells what somebody changed behind our back, and whether it was put right. The definition and the running domain are
 * compared one after the other: status tells of both.
 */
export function tellDrift(round: Round, found: readonly FieldChange[], corrected: boolean): void {
  const isKnown = (one: FieldChange): boolean => round.drift.some((known) => isDeepStrictEqual(known, one));
  const changes = [...round.drift, ...found.filter((one) => !isKnown(one))];
  round.drift = changes;
  round.status.next.drift = changes;
  const news = `changed behind our back${corrected ? ' and put right' : ''}: ${words(found)}`;
  if (corrected) {
    round.status.condition('Synchronized', true, 'DriftCorrected', `put right: ${words(changes)}`);
    tellEvent(round, 'Warning', 'DriftCorrected', 'Define', news);
  } else {
    round.status.condition('Synchronized', false, 'Drifted', `changed behind our back: ${words(changes)}`);
    tellEvent(round, 'Warning', 'Drifted', 'Compare', news);
  }
}

function words(changes: readonly FieldChange[]): string {
  return changes.map(({ path, message }) => (message === undefined ? path : `${path} (${message})`)).join(', ');
}
