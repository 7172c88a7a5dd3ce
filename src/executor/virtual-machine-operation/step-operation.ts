/**
 * VirtualMachineOperations: one verb, once. Each step is written to the operation's status before it begins; what a repeat
 * must know is in its context. Steps are chosen so that doing one again changes nothing, or so that it can be seen whether
 * it happened; the head of each verb's file says how.
 *
 *   step-operation.ts   checks, deadlines, from step to step      operation-run.ts   an operation while it is worked on
 *   verbs.ts            which verb is done how                    verbs/*.ts         the verbs
 *
 * Called by virtual-machine/operate.ts only. A new verb is a file in verbs/ and a line in verbs.ts.
 */
import type { VirtualMachineOperation } from '../../api/virtual-machine-operation.ts';
import { toKubernetesTime } from '../../base/clock.ts';
import { FailedError } from '../../base/errors.ts';
import { isAgentUnavailable, isUnsupported, LibvirtError, OutcomeUnknownError } from '../../libvirt/errors.ts';
import type { DomainView } from '../virtual-machine/domain-view.ts';
import { isHeldByStart } from '../virtual-machine/held-by-start.ts';
import { OperationFailedError, OperationRun, type OperationContext, type OperationReason } from './operation-run.ts';
import { verbs } from './verbs.ts';

/** How an operation went on. */
export interface OperationProgress {
  /** The operation as it is now. */
  readonly operation: VirtualMachineOperation;
  readonly isOver: boolean;
  readonly requeueAfterMs?: number;
}

/** More steps than any verb has. */
const maxSteps = 8;

/** Does as many steps of an operation as can be done now. */
export async function stepOperation(
  operation: VirtualMachineOperation,
  view: DomainView | undefined,
  context: OperationContext,
): Promise<OperationProgress> {
  const run = new OperationRun(operation, view, context);
  try {
    if ((operation.status?.phase ?? 'Pending') === 'Pending') await begin(run);
    checkDeadline(run);
    const progress = await advance(run);
    if (progress !== 'over') return { operation: run.operation, isOver: false, requeueAfterMs: progress };
    return { operation: run.operation, isOver: true };
  } catch (error) {
    if (error instanceof OutcomeUnknownError || context.signal.aborted) throw error;
    // It is told what it waits for, and done when that has ended.
    if (isHeldByStart(view, error)) throw error;
    if (error instanceof OperationFailedError) await run.end('Failed', error.code, error.message);
    else if (error instanceof LibvirtError) await run.end('Failed', reasonOf(error), error.message);
    else throw error;
    return { operation: run.operation, isOver: true };
  }
}

/** Checks that it may be done, and writes its first step. */
async function begin(run: OperationRun): Promise<void> {
  const { context } = run;
  const verb = verbs[run.operation.spec.verb];
  checkOwner(run);
  await verb.check?.(run);
  const boot = run.view?.boot?.id;
  await run.write({
    phase: 'Running',
    nodeName: context.nodeName,
    startTime: toKubernetesTime(context.now()),
    // What it waited for before it began.
    ...(run.operation.status?.message === undefined ? {} : { message: null }),
    ...run.stepOf(verb.firstStep, {
      machineUid: context.status.machine.metadata.uid ?? '',
      state: run.state,
      ...(boot === undefined ? {} : { boot }),
      newBoot: context.newId(),
    }),
  });
  run.isRepeat = false;
}

/** One that was made for a machine which is gone goes with it, but only when the API server comes to that. */
function checkOwner({ operation, context }: OperationRun): void {
  const { name, uid } = context.status.machine.metadata;
  const owners = (operation.metadata.ownerReferences ?? []).filter((one) => one.kind === 'VirtualMachine');
  const isOfOther = owners.some((one) => one.name === name && one.uid !== uid);
  if (!isOfOther || owners.some((one) => one.uid === uid)) return;
  throw new OperationFailedError('MachineReplaced', 'the machine that it was made for was deleted, and made anew');
}

function checkDeadline({ operation, notes, context }: OperationRun): void {
  const { activeDeadlineSeconds } = operation.spec;
  const startTime = operation.status?.startTime;
  const { machineUid } = notes;
  if (machineUid !== undefined && machineUid !== context.status.machine.metadata.uid) {
    throw new OperationFailedError('MachineReplaced', 'the machine was deleted and made anew meanwhile');
  }
  if (
    activeDeadlineSeconds === undefined ||
    startTime === undefined ||
    verbs[operation.spec.verb].endsItself === true
  ) {
    return;
  }
  if (context.now() - Date.parse(startTime) > activeDeadlineSeconds * 1000) {
    throw new OperationFailedError('DeadlineExceeded', `not done after ${activeDeadlineSeconds} s`);
  }
}

/** Goes from step to step until it is over, or something has to be waited for: then for how many milliseconds. */
async function advance(run: OperationRun): Promise<'over' | number> {
  const verb = verbs[run.operation.spec.verb];
  for (let turn = 0; turn < maxSteps; turn += 1) {
    const progress = await verb.step(run);
    if (progress !== 'next') return progress;
    run.isRepeat = false;
  }
  throw new FailedError(`operation ${run.operation.metadata.name ?? ''} does not come to an end`);
}

function reasonOf(error: LibvirtError): OperationReason {
  if (isAgentUnavailable(error)) return 'AgentUnavailable';
  return isUnsupported(error) ? 'Unsupported' : 'LibvirtError';
}

/** Whether an operation is over. */
export function isOver(operation: VirtualMachineOperation): boolean {
  return operation.status?.phase === 'Succeeded' || operation.status?.phase === 'Failed';
}

/** How an operation ended, in one line for an Event. */
export function outcome({ spec, status }: VirtualMachineOperation): string {
  return `${spec.verb} ${status?.phase ?? ''}: ${status?.message ?? 'without a message'}`;
}
