import { migrationNotes } from './migration-notes.ts';
import type { MachineStatus } from '../virtual-machine/machine-status.ts';
import type { VirtualMachineOperation } from '../../api/virtual-machine-operation.ts';

/**
 * Tells in a machine's status how far its migration is. Phase `Running` is written before libvirt is asked to move the guest:
 * from there on it holds the machine, also when somebody removes the operation by force (lost-operation.ts).
 */
export async function tellMigration(status: MachineStatus, operation: VirtualMachineOperation): Promise<void> {
  const { phase, startTime, completionTime, percent, message } = operation.status ?? {};
  const { source, target } = migrationNotes(operation);
  const isOver = phase === 'Failed';
  // It was given away, and the controller names the new node in its spec: nothing is told of it any more from here.
  const told = status.machine.status?.migration;
  if (!isOver && told?.phase === 'Succeeded' && told.operation === operation.metadata.name) return;
  status.next.migration = {
    phase: isOver ? 'Failed' : operation.status?.step === 'Preparing' ? 'Pending' : 'Running',
    operation: operation.metadata.name,
    operationUid: operation.metadata.uid,
    sourceNode: source,
    targetNode: target,
    startTime,
    ...(isOver ? { completionTime, message } : {}),
    ...(percent === undefined ? {} : { percent }),
  };
  if (!isOver) status.next.printableStatus = 'Migrating';
  await status.write();
}
