/** Tells from a machine's status whether it has come to run or to stop; pure, for the waits of the verbs. */
import { findCondition } from '../api/meta.ts';
import type { VirtualMachine } from '../api/virtual-machine.ts';
import { FailedError, NotFoundError } from '../base/errors.ts';

/**
 * Reasons after which waiting is of no use: somebody has to change something. Found in the conditions Ready and
 * Synchronized. What mends itself (a volume that is being made, a node that is being chosen) is not among them.
 */
const hopeless: ReadonlySet<string> = new Set([
  'StartFailed',
  'DefineFailed',
  'InvalidSpec',
  'ForeignDomain',
  'KVMUnusable',
  'CrashLoopBackOff',
]);

/**
 * Whether the machine runs, or is paused, as its spec of generation `generation` wants.
 *
 * @throws NotFoundError when it is gone; FailedError with libvirt's words when it cannot come to run.
 */
export function machineStarted(machine: VirtualMachine | undefined, generation: number): boolean {
  const status = describedBy(machine, generation);
  if (status === undefined) return false;
  if (status.printableStatus === 'Running' || status.printableStatus === 'Paused') return true;
  if (status.printableStatus === 'Completed') return true;
  refuseHopeless(status, ['Synchronized', 'Ready'], generation);
  return false;
}

/**
 * Whether the domain is there as its spec of generation `generation` wants, for a machine that is not to run.
 *
 * @throws NotFoundError when it is gone; FailedError with libvirt's words when it cannot be defined.
 */
export function machineDefined(machine: VirtualMachine | undefined, generation: number): boolean {
  const status = describedBy(machine, generation);
  if (status === undefined) return false;
  refuseHopeless(status, ['Synchronized'], generation);
  return true;
}

function refuseHopeless(status: VirtualMachine['status'], types: readonly string[], generation: number): void {
  for (const type of types) {
    const condition = findCondition(status, type);
    if (condition?.status !== 'False' || !hopeless.has(condition.reason ?? '')) continue;
    if ((condition.observedGeneration ?? generation) < generation) continue;
    throw new FailedError(`${condition.reason ?? ''}: ${condition.message ?? ''}`);
  }
}

/**
 * Whether the machine is off, as its spec of generation `generation` wants.
 *
 * @throws NotFoundError when it is gone.
 */
export function machineStopped(machine: VirtualMachine | undefined, generation: number): boolean {
  // Without a node, and before it ever had one, it runs nowhere; nor would anybody look at its spec.
  const isUnplaced = (machine?.spec.nodeName ?? '') === '' && (machine?.status?.nodeName ?? '') === '';
  if (machine !== undefined && isUnplaced && machine.status?.observedGeneration === undefined) return true;
  const status = describedBy(machine, generation);
  if (status === undefined) return false;
  const state = status.domain?.state;
  const off = state === undefined || state === 'shutoff' || state === 'crashed';
  return off && status.printableStatus !== 'Stopping';
}

function describedBy(machine: VirtualMachine | undefined, generation: number): VirtualMachine['status'] {
  if (machine === undefined) throw new NotFoundError('the machine was deleted meanwhile');
  return (machine.status?.observedGeneration ?? -1) < generation ? undefined : machine.status;
}
