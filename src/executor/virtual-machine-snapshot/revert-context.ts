/** What the steps of a revert share: what they work with, what will be done with each disk, and the snapshot itself. */
import { isMade, type SnapshotContext } from './snapshot-context.ts';
import { OperationFailedError, type OperationRun } from '../virtual-machine-operation/operation-run.ts';
import type { VirtualMachineSnapshot } from '../../api/virtual-machine-snapshot.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';

/** What a revert works with beside the operation. */
export interface RevertContext {
  readonly snapshots: SnapshotContext;
  readonly libvirt: Libvirt;
}

/** A disk that goes back; in the operation's notes as JSON. */
export interface Layer {
  readonly virtualDisk: string;
  readonly target: string;
  /** Active before. */
  readonly from: string;
  readonly fromFormat: string;
  /** The frozen file. */
  readonly base: string;
  readonly format: string;
  /** Active after. */
  readonly to: string;
}

/** Loading memory takes as long as it is large, in milliseconds. */
export const loadMs = 60 * 60_000;
/** How often long work is looked at, in milliseconds. */
export const pollMs = 500;

/** The name of the work of a revert of a machine, by its key. */
export function revertWork(machineKey: string): string {
  return `revert ${machineKey}`;
}

/** The snapshot, when it can be reverted to. */
export async function snapshotOf(run: OperationRun, { snapshots }: RevertContext): Promise<VirtualMachineSnapshot> {
  const { namespace } = run.operation.metadata;
  const name = run.operation.spec.revert?.snapshot ?? '';
  const { signal, status } = run.context;
  const refuse = (message: string): OperationFailedError => new OperationFailedError('SnapshotNotReady', message);
  const found = await snapshots.snapshots.find({ namespace, name }, { signal });
  if (found === undefined) throw refuse(`there is no VirtualMachineSnapshot "${name}"`);
  const machine = status.machine.metadata;
  const isOfIt = found.spec.virtualMachine === machine.name && found.status?.virtualMachineUID === machine.uid;
  if (!isOfIt && isMade(found)) throw refuse(`VirtualMachineSnapshot "${name}" is not one of this machine`);
  // One that is deleted meanwhile stays until the revert is over, which ends what it began.
  const isBegun = run.step !== 'Preparing';
  const isReady = found.metadata.deletionTimestamp === undefined && found.status?.phase === 'Ready';
  if (!isMade(found) || (!isReady && !isBegun)) {
    throw refuse(`VirtualMachineSnapshot "${name}" is ${found.status?.phase ?? 'Pending'}`);
  }
  return found;
}

/** What was noted of the disks. */
export function layersOf(run: OperationRun): readonly Layer[] {
  return JSON.parse(run.notes['layers'] ?? '[]') as Layer[];
}
