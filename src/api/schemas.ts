/** The schemas of spec and status of every kind. */
import { hypervisorSpec, hypervisorStatus } from './hypervisor.ts';
import type { Schema } from './schema.ts';
import { virtualDiskSpec, virtualDiskStatus } from './virtual-disk.ts';
import { virtualImageSpec, virtualImageStatus } from './virtual-image.ts';
import { virtualMachineOperationSpec, virtualMachineOperationStatus } from './virtual-machine-operation.ts';
import { virtualMachineSnapshotSpec, virtualMachineSnapshotStatus } from './virtual-machine-snapshot.ts';
import { virtualMachineSpec, virtualMachineStatus } from './virtual-machine.ts';
import { virtualNetworkSpec, virtualNetworkStatus } from './virtual-network.ts';
import { virtualPoolSpec, virtualPoolStatus } from './virtual-pool.ts';

/** The schemas of one kind. */
export interface KindSchemas {
  readonly spec: Schema<unknown>;
  readonly status: Schema<unknown>;
  /** Whether an object without spec makes no sense. */
  readonly specRequired: boolean;
}

/** By kind. */
export const schemas: Readonly<Record<string, KindSchemas>> = {
  VirtualMachine: { spec: virtualMachineSpec, status: virtualMachineStatus, specRequired: true },
  VirtualMachineOperation: {
    spec: virtualMachineOperationSpec,
    status: virtualMachineOperationStatus,
    specRequired: true,
  },
  VirtualDisk: { spec: virtualDiskSpec, status: virtualDiskStatus, specRequired: true },
  VirtualImage: { spec: virtualImageSpec, status: virtualImageStatus, specRequired: true },
  VirtualPool: { spec: virtualPoolSpec, status: virtualPoolStatus, specRequired: true },
  VirtualNetwork: { spec: virtualNetworkSpec, status: virtualNetworkStatus, specRequired: true },
  VirtualMachineSnapshot: {
    spec: virtualMachineSnapshotSpec,
    status: virtualMachineSnapshotStatus,
    specRequired: true,
  },
  Hypervisor: { spec: hypervisorSpec, status: hypervisorStatus, specRequired: false },
};
