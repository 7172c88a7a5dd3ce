import { mayGo, migrationFinalizer, migrationNotes } from './migration-notes.ts';
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
    forgetOldMigration(round);
    return false;
  }
  // Where the machine's own has left, what has its name here is somebody else's.
  if (isForeign(round.status.machine, round.view)) round.view = undefined;
  const progress = await stepOperation(operation, round.view, operationContext(round));
  if (progress.isOver) {
    const { operations } = round.parts;
    tellOutcome(round, progress.operation);
    const failed = progress.operation.status?.phase === 'Failed';
    // The one that succeeded was told with the machine's hand-over: from there on status is the target's to write.
    if (failed) await tellMigration(round, progress.operation);
    // Else the target does, when it has removed what is left there (receive-machine.ts).
    if (mayGo(progress.operation, round.parts.clock.now())) {
      await removeFinalizer(operations, progress.operation, migrationFinalizer, round.signal);
    }
    lookAgain(round, 20);
    return true;
  }
  await tellMigration(round, progress.operation);
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

/** One that ended without being told: the executor was killed in between. Its operation knows how. */
function forgetOldMigration({ status }: Round): void {
  const { migration } = status.next;
  if (migration === undefined || !['Pending', 'Running'].includes(migration.phase)) return;
  status.next.migration = { ...migration, phase: 'Unknown' };
}

async function tellMigration({ status }: Round, operation: VirtualMachineOperation): Promise<void> {
  const { phase, startTime, completionTime, percent, message } = operation.status ?? {};
  const { source, target } = migrationNotes(operation);
  const isOver = phase === 'Failed';
  status.next.migration = {
    phase: isOver ? 'Failed' : operation.status?.step === 'Preparing' ? 'Pending' : 'Running',
    operation: operation.metadata.name,
    sourceNode: source,
    targetNode: target,
    startTime,
    ...(isOver ? { completionTime, message } : {}),
    ...(percent === undefined ? {} : { percent }),
  };
  if (!isOver) status.next.printableStatus = 'Migrating';
  await status.write();
}
