import { switchNode } from './migrate-machine.ts';
import { settleLost } from './lost-operation.ts';
import { mayBeAway, mayGo, migrationFinalizer } from './migration-notes.ts';
import { tellMigration } from './tell-migration.ts';
import { isForeign } from '../virtual-machine/foreign-domain.ts';
import { operationContext, tellOutcome } from '../virtual-machine/operate.ts';
import { lookAgain, type Round } from '../virtual-machine/round.ts';
import { stepOperation } from '../virtual-machine-operation/step-operation.ts';
import type { VirtualMachineOperation } from '../../api/virtual-machine-operation.ts';
import { removeFinalizer } from '../../reconcile/finalizers.ts';

/**
 * Goes on with the migration of a machine that moves, before anything else is done to it: nothing is defined, changed or
 * started here as long as the guest may be executing elsewhere.
 *
 * @returns Whether this was all that may be done to the machine now.
 */
export async function followMigration(round: Round): Promise<boolean> {
  const operation = await openMigration(round);
  if (operation === undefined) {
    return followUntold(round);
  }
  // Where the machine's own has left, what has its name here is somebody else's.
  if (isForeign(round.status.machine, round.view)) round.view = undefined;
  const progress = await stepOperation(operation, round.view, operationContext(round));
  if (progress.isOver) {
    const { operations } = round.parts;
    tellOutcome(round, progress.operation);
    const failed = progress.operation.status?.phase === 'Failed';
    // The one that succeeded was told with the machine's hand-over: from there on status is the target's to write.
    if (failed) await tellMigration(round.status, progress.operation);
    // Else the target does, when it has removed what is left there (receive-machine.ts).
    if (mayGo(progress.operation, round.parts.clock.now())) {
      await removeFinalizer(operations, progress.operation, migrationFinalizer, round.signal);
    }
    lookAgain(round, 20);
    return true;
  }
  await tellMigration(round.status, progress.operation);
  lookAgain(round, progress.requeueAfterMs ?? 1_000);
  return true;
}

/** The migration that goes on, if one does. */
async function openMigration({ key, parts, status, signal }: Round): Promise<VirtualMachineOperation | undefined> {
  const { namespace } = status.machine.metadata;
  for (const name of parts.openOperations(key)) {
    const operation = await parts.operations.find({ namespace, name }, { signal });
    if (operation?.spec.verb === 'Migrate' && operation.status?.phase === 'Running') return operation;
  }
  return undefined;
}

/**
 * A migration of which the machine's status tells, and whose operation does not go on: the executor was killed before it told
 * the end, or somebody removed the operation.
 *
 * @returns Whether this was all that may be done to the machine now.
 */
async function followUntold(round: Round): Promise<boolean> {
  const { status, parts, signal } = round;
  const { migration, nodeName } = status.next;
  // It was given away, and only its spec does not say so yet: it is the target's.
  if (
    migration?.phase === 'Succeeded' &&
    migration.sourceNode === parts.nodeName &&
    nodeName !== undefined &&
    nodeName !== parts.nodeName &&
    nodeName === migration.targetNode
  ) {
    await switchNode(operationContext(round), nodeName);
    lookAgain(round, 1_000);
    return true;
  }
  if (migration === undefined || !['Pending', 'Running'].includes(migration.phase)) return false;
  if (!mayBeAway(migration, parts.nodeName)) {
    status.next.migration = { ...migration, phase: 'Unknown' };
    return false;
  }
  const { namespace } = status.machine.metadata;
  const operation = await parts.operations.find({ namespace, name: migration.operation ?? '' }, { signal });
  if (operation === undefined || (migration.operationUid ?? operation.metadata.uid) !== operation.metadata.uid) {
    return settleLost(round, migration);
  }
  // The source has the guest: it said so itself, before it was killed.
  if (operation.status?.phase === 'Failed') {
    await tellMigration(status, operation);
    return false;
  }
  // The list of those that go on does not have it yet.
  lookAgain(round, 1_000);
  return true;
}
