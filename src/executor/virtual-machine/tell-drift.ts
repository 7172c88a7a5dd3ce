import { tellEvent, type Round } from './round.ts';
import type { FieldChange } from '../../api/virtual-machine.ts';

/** Tells what somebody changed behind our back, and whether it was put right. */
export function tellDrift(round: Round, changes: readonly FieldChange[], corrected: boolean): void {
  const paths = changes.map(({ path, message }) => (message === undefined ? path : `${path} (${message})`)).join(', ');
  round.status.next.drift = [...changes];
  if (corrected) {
    round.status.condition('Synchronized', true, 'DriftCorrected', `put right: ${paths}`);
    tellEvent(round, 'Warning', 'DriftCorrected', 'Define', `changed behind our back and put right: ${paths}`);
  } else {
    round.status.condition('Synchronized', false, 'Drifted', `changed behind our back: ${paths}`);
    tellEvent(round, 'Warning', 'Drifted', 'Compare', `changed behind our back: ${paths}`);
  }
}
