/**
 * The running domain: what can be changed in it is, the rest waits for a restart and is told.
 */
import { applyLive, liveDifferences } from './apply-live.ts';
import { markBoot, toFieldChange, toKnown } from './definition.ts';
import { lookAgain, tellEvent, type Round } from './round.ts';
import { tellDrift } from './tell-drift.ts';
import type { FieldChange } from '../../api/virtual-machine.ts';
import { toKubernetesTime } from '../../base/clock.ts';

/** What a guest was asked for is looked at this often, besides the events of balloon and devices, in milliseconds. */
const guestPollMs = 2_000;

/** A domain that somebody else started has no mark of its boot: it gets one, as it is now. */
export async function adoptBoot(round: Round): Promise<void> {
  const { view, status, wanted } = round;
  if (view?.live === undefined || view.boot !== undefined || status.power.bootStep !== undefined) return;
  // Without anything to compare with, what was different from the start would later be taken for a change.
  if (wanted === undefined && view.liveMark === undefined) return;
  const mark = {
    id: round.parts.newId(),
    at: round.parts.clock.now(),
    baseline: liveDifferences(view.liveMark?.applied ?? wanted ?? {}, view).map(toKnown),
  };
  await markBoot(view, mark, round.options);
  round.view = { ...view, boot: mark };
  await status.note({
    power: { boot: mark.id, held: null, startedFor: status.machine.spec.runStrategy ?? 'Always' },
    domain: { bootedAt: toKubernetesTime(mark.at), ...(view.id === undefined ? {} : { id: view.id }) },
  });
  tellEvent(round, 'Normal', 'Started', 'Adopt', 'found running: somebody else started it');
}

/** Makes the live changes that libvirt can make, and tells the rest. */
export async function changeLive(round: Round): Promise<void> {
  const { view, wanted, status } = round;
  const before = status.next.restartRequired ?? [];
  if (view?.live === undefined || wanted === undefined || status.power.bootStep !== undefined) {
    if (view?.live === undefined) tellRestart(round, []);
    return;
  }
  const isReportOnly =
    status.machine.spec.driftPolicy === 'Report' &&
    status.machine.status?.observedGeneration === status.machine.metadata.generation;
  if (isReportOnly) {
    const differences = liveDifferences(wanted, view).map((difference) => toFieldChange(toKnown(difference)));
    const waiting = new Set(before.map(({ path }) => path));
    const drifted = differences.filter(({ path }) => !waiting.has(path));
    if (drifted.length > 0) tellDrift(round, drifted, false);
    tellRestart(
      round,
      differences.filter(({ path }) => waiting.has(path)),
    );
    return;
  }
  const result = await applyLive(wanted, view, round.memory.guests, round.parts.clock.now(), round.options);
  round.view = result.view;
  if (result.done.length > 0) {
    const paths = result.done.map(({ path }) => path).join(', ');
    tellEvent(round, 'Normal', 'LiveChanged', 'Change', `changed in the running machine: ${paths}`);
    if (status.machine.status?.observedGeneration === status.machine.metadata.generation && before.length === 0) {
      tellDrift(round, result.done, true);
    }
  }
  tellPending(round, result.pending);
  const restartRequired = [...result.restartRequired, ...round.plugged.refused];
  round.limits = result.limits;
  if (result.pending.length > 0) lookAgain(round, guestPollMs);
  else if (restartRequired.some(({ path, message }) => message !== undefined && !result.limits.has(path))) {
    // What was refused may be taken later: a guest that has booted further plugs what it did not before.
    const attempt = round.memory.refusals.get(round.key) ?? 0;
    round.memory.refusals.set(round.key, attempt + 1);
    lookAgain(round, 1_000 * 2 ** Math.min(attempt, 8));
  } else round.memory.refusals.delete(round.key);
  tellRestart(round, restartRequired);
}

/** What the guest is about: not wrong, and not there yet. */
function tellPending({ status }: Round, pending: readonly FieldChange[]): void {
  const wasPending = status.next.conditions?.some(({ reason }) => reason === 'LiveChangePending') === true;
  if (pending.length > 0) {
    const words = pending.map(({ path, message }) => `${path}: ${message ?? ''}`).join('; ');
    status.condition('Synchronized', false, 'LiveChangePending', words);
  } else if (wasPending) status.condition('Synchronized', true, 'InSync');
}

function tellRestart(round: Round, changes: readonly FieldChange[]): void {
  const { status } = round;
  const before = status.next.restartRequired ?? [];
  if (changes.length === 0) {
    delete status.next.restartRequired;
    status.condition('RestartRequired', false, 'NothingPending');
    return;
  }
  status.next.restartRequired = [...changes];
  const words = changes.map(
    ({ path, from, to, message }) =>
      `${path}: ${from ?? 'nothing'} → ${to ?? 'nothing'}${message === undefined ? '' : ` (${message})`}`,
  );
  status.condition('RestartRequired', true, 'FieldsPending', words.join('; '));
  const isNew = changes.some(({ path }) => !before.some((one) => one.path === path));
  if (isNew) tellEvent(round, 'Normal', 'RestartRequired', 'Change', `waits for a restart: ${words.join('; ')}`);
}
