import { noticeEnd } from './notice-end.ts';
import { lookAgain, readAgain, retryMs, tellEvent, type Round } from './round.ts';
import { isOver, outcome, stepOperation } from '../virtual-machine-operation/step-operation.ts';
import { isBeingDeleted } from '../../reconcile/finalizers.ts';

/** Goes on with the oldest operation that is not over; whether one goes on still. */
export async function operate(round: Round): Promise<boolean> {
  const { key, status, signal } = round;
  const { operations, secrets, clock, newId, nodeName } = round.parts;
  const { namespace } = status.machine.metadata;
  // Bounded: each turn ends one operation of those that were seen.
  for (const name of round.parts.openOperations(key)) {
    const operation = await operations.find({ namespace, name }, { signal });
    if (operation === undefined || isOver(operation) || isBeingDeleted(operation)) continue;
    const isFirst = operation.status?.phase !== 'Running';
    if (isFirst)
      tellEvent(round, 'Normal', 'OperationStarted', operation.spec.verb, `operation ${name}: ${operation.spec.verb}`);
    const progress = await stepOperation(operation, round.view, {
      operations,
      secrets,
      status,
      requests: round.memory.requests,
      revert: { snapshots: round.parts.snapshots.context, libvirt: round.libvirt },
      wanted: round.wanted ?? round.view?.mark?.applied,
      notReady: round.trouble,
      nodeName,
      now: () => clock.now(),
      newId,
      options: round.options,
      signal,
    });
    if (!progress.isOver) {
      lookAgain(round, progress.requeueAfterMs ?? retryMs);
      await readAgain(round);
      return true;
    }
    const failed = progress.operation.status?.phase === 'Failed';
    tellEvent(
      round,
      failed ? 'Warning' : 'Normal',
      failed ? 'OperationFailed' : 'OperationSucceeded',
      operation.spec.verb,
      outcome(progress.operation),
    );
    await readAgain(round);
    noticeEnd(round);
  }
  return false;
}
