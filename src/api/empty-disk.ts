/**
 * An empty disk in a pool (`emptyDisk.pool` of a machine's volume) is a VirtualDisk of the machine's own, as a generic
 * ephemeral volume of Kubernetes is a claim of its pod (https://kubernetes.io/docs/concepts/storage/ephemeral-volumes/):
 * made by the executor, owned by the machine, and gone with it or with the entry.
 */
import { apiVersion, type OwnerReference } from './meta.ts';
import type { VirtualDisk } from './virtual-disk.ts';
import type { VirtualMachine, Volume } from './virtual-machine.ts';

type Named = Pick<VirtualMachine, 'metadata'>;

/** Marks a VirtualDisk that was made for an empty disk; one that a user owns by a machine is never touched. */
const emptyDiskLabel = 'virtctl.dev/empty-disk';

/**
 * The VirtualDisk that a volume of a machine is: the one that it names, or the machine's own for an empty disk in a pool.
 *
 * @returns undefined for volumes of other kinds.
 */
export function diskOfVolume({ metadata }: Named, volume: Volume): string | undefined {
  if (volume.virtualDisk !== undefined) return volume.virtualDisk;
  return volume.emptyDisk?.pool === undefined ? undefined : `${metadata.name ?? ''}-${volume.name}`;
}

/** The names of all VirtualDisks that a machine's volumes are. */
export function disksOfMachineSpec(machine: Pick<VirtualMachine, 'metadata' | 'spec'>): string[] {
  return [...new Set((machine.spec.volumes ?? []).flatMap((volume) => diskOfVolume(machine, volume) ?? []))];
}

/** The VirtualDisk of an empty disk in a pool, as it is made. */
export function emptyDiskObject(machine: Named, volume: Volume): VirtualDisk {
  const { namespace } = machine.metadata;
  const { capacity = '', format, pool } = volume.emptyDisk ?? {};
  return {
    apiVersion,
    kind: 'VirtualDisk',
    metadata: {
      name: diskOfVolume(machine, volume),
      namespace,
      labels: { [emptyDiskLabel]: 'true' },
      ownerReferences: [emptyDiskOwner(machine)],
    },
    spec: { pool, capacity, ...(format === undefined ? {} : { format }) },
  };
}

/** What says whose own such a disk is. */
export function emptyDiskOwner({ metadata: { name = '', uid = '' } }: Named): OwnerReference {
  return { apiVersion, kind: 'VirtualMachine', name, uid, controller: true, blockOwnerDeletion: false };
}

/** Whether a VirtualDisk was made again for an empty disk, and is not yet its machine's own. */
export function isUnownedEmptyDisk(disk: VirtualDisk): boolean {
  return disk.metadata.labels?.[emptyDiskLabel] === 'true' && ownerOfEmptyDisk(disk) === undefined;
}

/** The machine whose own a VirtualDisk is: made for its empty disk. */
export function ownerOfEmptyDisk(disk: VirtualDisk): { readonly name: string; readonly uid: string } | undefined {
  if (disk.metadata.labels?.[emptyDiskLabel] !== 'true') return undefined;
  return disk.metadata.ownerReferences?.find((one) => one.kind === 'VirtualMachine' && one.controller === true);
}
