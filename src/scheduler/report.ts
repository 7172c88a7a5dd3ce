import type { MachineInfo } from './machine-info.ts';
import { virtualMachineConditions, virtualMachineReasons, type VirtualMachine } from '../api/virtual-machine.ts';
import type { Clock } from '../base/clock.ts';
import type { ResourceClient } from '../kube/resource-client.ts';
import { isConflict, isNotFound } from '../kube/status-error.ts';
import { setCondition, type ConditionUpdate } from '../reconcile/conditions.ts';
import type { EventRecord } from '../reconcile/event-recorder.ts';

/** What reports need. */
export interface ReportOptions {
  readonly machines: Pick<ResourceClient<VirtualMachine>, 'mergePatch'>;
  readonly clock: Clock;
  readonly record: (event: EventRecord) => void;
}

/** What became of a report: a newer version of the machine is on the way when it was refused. */
export type Reported = 'same' | 'written' | 'refused';

const { Scheduled } = virtualMachineConditions;

/** Says in the condition Scheduled why no node would do. */
export async function reportUnschedulable(
  machine: MachineInfo,
  message: string,
  options: ReportOptions,
  signal: AbortSignal,
): Promise<Reported> {
  const { Unschedulable: reason } = virtualMachineReasons;
  const reported = await write(machine, { reason, message, printableStatus: 'ErrorUnschedulable' }, options, signal);
  if (reported === 'written') {
    const about = {
      regarding: machine.object,
      type: 'Warning',
      reason: 'FailedScheduling',
      action: 'Schedule',
    } as const;
    options.record({ ...about, note: message });
  }
  return reported;
}

/** Says that a machine was given a node that does not exist (yet): nobody starts it. */
export async function reportUnknownNode(
  machine: MachineInfo,
  options: ReportOptions,
  signal: AbortSignal,
): Promise<Reported> {
  const { NodeUnknown: reason } = virtualMachineReasons;
  const message = `there is no Hypervisor ${machine.nodeName}`;
  const reported = await write(machine, { reason, message }, options, signal);
  if (reported === 'written') {
    options.record({ regarding: machine.object, type: 'Warning', reason, action: 'Schedule', note: message });
  }
  return reported;
}

/** Takes back that no node would do; the executor says the rest. */
export async function reportBound(
  machine: MachineInfo,
  options: ReportOptions,
  signal: AbortSignal,
): Promise<Reported> {
  const { Bound: reason } = virtualMachineReasons;
  const message = `on node ${machine.nodeName}`;
  const wasWaiting = machine.object.status?.printableStatus === 'ErrorUnschedulable';
  const printableStatus = wasWaiting ? { printableStatus: 'Pending' } : {};
  return write(machine, { reason, message, status: true, ...printableStatus }, options, signal);
}

interface Report {
  readonly reason: string;
  readonly message: string;
  readonly status?: boolean;
  readonly printableStatus?: string;
}

/**
 * A message without what is free just now: of a thousand machines that wait for room, not each is to be written anew
 * whenever one machine comes or goes.
 */
function gist(message: string): string {
  return message.replaceAll(/\bfree [^)]*/g, 'free');
}

async function write(
  { namespace, name, uid, resourceVersion, scheduled, object }: MachineInfo,
  { reason, message, status = false, printableStatus }: Report,
  { machines, clock }: ReportOptions,
  signal: AbortSignal,
): Promise<Reported> {
  const isSame = scheduled?.status === (status ? 'True' : 'False') && scheduled.reason === reason;
  if (isSame && gist(scheduled.message ?? '') === gist(message)) return 'same';
  const update: ConditionUpdate = { type: Scheduled, status, reason, message };
  const conditions = setCondition(object.status?.conditions, update, clock.now());
  const patch = { conditions, ...(printableStatus === undefined ? {} : { printableStatus }) };
  try {
    const metadata = { uid, resourceVersion };
    await machines.mergePatch({ namespace, name }, { metadata, status: patch }, { subresource: 'status', signal });
    return 'written';
  } catch (error) {
    if (isConflict(error) || isNotFound(error)) return 'refused';
    throw error;
  }
}
