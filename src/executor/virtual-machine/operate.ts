import { holdFiles } from './hold-files.ts';
import { noticeEnd } from './notice-end.ts';
import { renewVolumes } from './renew-volumes.ts';
import { lookAgain, readAgain, retryMs, tellEvent, type Round } from './round.ts';
import type { OperationContext } from '../virtual-machine-operation/operation-run.ts';
import { isOver, outcome, stepOperation } from '../virtual-machine-operation/step-operation.ts';
import type { OperationVerb, VirtualMachineOperation } from '../../api/virtual-machine-operation.ts';
import { isBeingDeleted } from '../../reconcile/finalizers.ts';

/** As many characters of a message are kept. */
const maxMessage = 1024;

/** A start that operations wait for is looked at this often, in milliseconds; its end is seen sooner as an event. */
const startingMs = 500;

/**
 * What ends a start. Everything else is for a guest that runs, or for one that is off: of a start that was cut off nobody
 * knows yet whether it goes on.
 */
const endsStart: ReadonlySet<OperationVerb> = new Set<OperationVerb>(['Stop', 'Restart', 'Revert']);

/** Goes on with the oldest operation that is not over; whether one goes on still. */
export async function operate(round: Round): Promise<boolean> {
  const { status } = round;
  const { names, read } = await inOrder(round);
  // Bounded: each turn ends one operation of those that were seen.
  for (const name of names) {
    const operation = read.get(name) ?? (await findOpen(round, name));
    if (operation === undefined) continue;
    const isFirst = operation.status?.phase !== 'Running';
    const isHalfStarted = status.power.bootStep !== undefined && round.view !== undefined && round.view.state !== 'off';
    if (isFirst && isHalfStarted && !endsStart.has(operation.spec.verb)) {
      // Its guest is paused by us, and goes on first, or is taken back.
      lookAgain(round, startingMs);
      return false;
    }
    if (isFirst)
      tellEvent(round, 'Normal', 'OperationStarted', operation.spec.verb, `operation ${name}: ${operation.spec.verb}`);
    const progress = await stepOperation(operation, round.view, operationContext(round));
    if (!progress.isOver) {
      lookAgain(round, progress.requeueAfterMs ?? retryMs);
      await readAgain(round);
      return true;
    }
    // The others may have been deleted meanwhile.
    read.clear();
    tellOutcome(round, progress.operation);
    await readAgain(round);
    noticeEnd(round);
  }
  return false;
}

/**
 * The operations of a round with the one first that was begun: the cache that ordered them may not have seen that yet, and
 * two of the same second are in the order of their names.
 */
async function inOrder(round: Round): Promise<{ names: string[]; read: Map<string, VirtualMachineOperation> }> {
  const read = new Map<string, VirtualMachineOperation>();
  for (const name of round.operations) {
    const operation = await findOpen(round, name);
    if (operation === undefined) continue;
    read.set(name, operation);
    if (operation.status?.phase !== 'Running') continue;
    return { names: [name, ...round.operations.filter((other) => other !== name)], read };
  }
  return { names: [...read.keys()], read };
}

/** An operation as it is now; undefined when nothing is to be done for it any more. */
async function findOpen({ parts, status, signal }: Round, name: string): Promise<VirtualMachineOperation | undefined> {
  const { namespace } = status.machine.metadata;
  const operation = await parts.operations.find({ namespace, name }, { signal });
  return operation === undefined || isOver(operation) || isBeingDeleted(operation) ? undefined : operation;
}

/** Says in each operation that is not over why nothing of it is done. */
export async function tellWaiting({ parts, status, operations: names, signal }: Round, why: string): Promise<void> {
  const { namespace } = status.machine.metadata;
  const message = `waits: ${why}`.slice(0, maxMessage);
  for (const name of names) {
    const operation = await parts.operations.find({ namespace, name }, { signal });
    if (operation === undefined || isOver(operation) || operation.status?.message === message) continue;
    const { uid } = operation.metadata;
    const phase = operation.status?.phase ?? 'Pending';
    const patch = { metadata: { uid }, status: { phase, message } };
    await parts.operations.mergePatch({ namespace, name }, patch, { subresource: 'status', signal });
  }
}

/** What an operation on the machine works with. */
export function operationContext(round: Round): OperationContext {
  const { status, signal } = round;
  const { operations, machines, disks, secrets, clock, newId, nodeName } = round.parts;
  return {
    machines,
    disks,
    migrations: round.memory.migrations,
    operations,
    secrets,
    status,
    requests: round.memory.requests,
    revert: { snapshots: round.parts.snapshots.context, libvirt: round.libvirt },
    wanted: round.wanted ?? round.view?.mark?.applied,
    notReady: round.trouble,
    noticeEnd: (view) => noticeEnd({ ...round, view }),
    holdFiles: () => holdFiles(round),
    renewVolumes: (view) => renewVolumes({ ...round, view }),
    nodeName,
    now: () => clock.now(),
    newId,
    options: round.options,
    signal,
  };
}

/** Records how an operation ended, as an Event. */
export function tellOutcome(round: Round, operation: VirtualMachineOperation): void {
  const failed = operation.status?.phase === 'Failed';
  tellEvent(
    round,
    failed ? 'Warning' : 'Normal',
    failed ? 'OperationFailed' : 'OperationSucceeded',
    operation.spec.verb,
    outcome(operation),
  );
}
