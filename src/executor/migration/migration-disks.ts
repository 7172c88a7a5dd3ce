/**
 * Which disks of a guest are sent to the target and which are there already; pure.
 *
 *   a network's or a shared pool's           there
 *   made for the machine (emptyDisk, image)  sent; what is read-only is made again
 *   a file of the host                       sent, or said to be shared by `copyStorage: None`
 *   a VirtualDisk of a node's own pool       refused; sent with `copyStorage` All or Incremental
 *   a block device of the node               refused
 */
import { devicesOf } from '../virtual-machine/domain-view.ts';
import { memberAt, textOf, type DataObject } from '../virtual-machine/same-value.ts';
import type { MovedDisk } from './migration-notes.ts';
import { diskOfVolume } from '../../api/empty-disk.ts';
import type { VirtualMachine, Volume } from '../../api/virtual-machine.ts';
import { copiesPools, type VirtualMachineOperationSpec } from '../../api/virtual-machine-operation.ts';

/** How disks are sent, when any is. */
export type CopyStorage = NonNullable<NonNullable<VirtualMachineOperationSpec['migrate']>['copyStorage']>;

/** What {@link planDisks} looks at. */
export interface DiskPlanInput {
  readonly machine: VirtualMachine;
  /** The running domain. */
  readonly live: DataObject;
  /** Names of volumes by their device in the guest, as `vda`. */
  readonly volumes: ReadonlyMap<string, string>;
  /** VirtualDisks that are on all nodes. */
  readonly sharedDisks: ReadonlySet<string>;
  /** The others that cannot be copied, and why (local-disks.ts). */
  readonly obstacles: ReadonlyMap<string, string>;
  readonly copyStorage: CopyStorage;
}

/** The disks with a file, or why the guest cannot be moved. */
export function planDisks(input: DiskPlanInput): { readonly disks: MovedDisk[] } | { readonly refusal: string } {
  const disks: MovedDisk[] = [];
  for (const disk of devicesOf(input.live, 'disk')) {
    const type = textOf(memberAt(disk, 'type'));
    const path = textOf(memberAt(disk, 'source', 'file')) || textOf(memberAt(disk, 'source', 'dev'));
    // Empty drives have no path, and what is reached over the network is the same from everywhere.
    if (path === '' || type === 'network') continue;
    const target = textOf(memberAt(disk, 'target', 'dev'));
    const name = input.volumes.get(target);
    const volume = input.machine.spec.volumes?.find((one) => one.name === name);
    const readOnly = memberAt(disk, 'readonly') !== undefined || textOf(memberAt(disk, 'device')) === 'cdrom';
    const known = volume === undefined ? undefined : diskOfVolume(input.machine, volume);
    const isShareable = memberAt(disk, 'shareable') !== undefined;
    const place =
      known === undefined
        ? placeOf(volume, type === 'block', readOnly, input)
        : placeOfDisk(known, isShareable, readOnly, input);
    if ('refusal' in place) return { refusal: `disk ${target} (${path}): ${place.refusal}` };
    disks.push({ target, path, format: textOf(memberAt(disk, 'driver', 'type')) || 'raw', ...place });
  }
  return { disks };
}

type Place =
  { readonly copy: boolean; readonly isMade: boolean; readonly disk?: string } | { readonly refusal: string };

function placeOfDisk(
  disk: string,
  isShareable: boolean,
  readOnly: boolean,
  { machine, sharedDisks, obstacles, copyStorage }: DiskPlanInput,
): Place {
  if (sharedDisks.has(disk)) return { copy: false, isMade: false };
  if (!copiesPools(copyStorage)) {
    const command = `virtctl migrate ${machine.metadata.name ?? ''} --copy-storage All`;
    return {
      refusal: `VirtualDisk "${disk}" is in a pool of this node only; \`${command}\` copies it, a shared pool would be on all nodes`,
    };
  }
  const refuse = (why: string): Place => ({ refusal: `VirtualDisk "${disk}" cannot be copied: ${why}` });
  if (readOnly) return refuse('the machine only reads it, and libvirt copies only what is written to');
  if (isShareable) return refuse('it is shareable');
  const obstacle = obstacles.get(disk);
  return obstacle === undefined ? { copy: true, isMade: false, disk } : refuse(obstacle);
}

function placeOf(
  volume: Volume | undefined,
  isBlock: boolean,
  readOnly: boolean,
  { copyStorage }: DiskPlanInput,
): Place {
  const isMade = volume !== undefined && volume.hostPath === undefined;
  if (readOnly) return { copy: false, isMade };
  if (isMade) {
    if (copyStorage !== 'None') return { copy: true, isMade: true };
    return { refusal: 'it is in a file of this node, and copyStorage None has nothing copied' };
  }
  if (copyStorage === 'None') return { copy: false, isMade: false };
  if (isBlock) return { refusal: 'a block device is not copied; copyStorage None says that all nodes have it' };
  return { copy: true, isMade: false };
}

/** The libvirt networks that a guest is plugged into. */
export function networksOf(live: DataObject): string[] {
  const names = devicesOf(live, 'interface')
    .filter((one) => textOf(memberAt(one, 'type')) === 'network')
    .map((one) => textOf(memberAt(one, 'source', 'network')));
  return [...new Set(names)].filter((name) => name !== '');
}
