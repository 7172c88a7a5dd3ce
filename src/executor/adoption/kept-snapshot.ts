/** What libvirt keeps of a snapshot, and the VirtualMachineSnapshot that it is. Pure. */
import { machineVolumes } from './machine-volumes.ts';
import { devicesOf, machineMarkOf } from '../virtual-machine/domain-view.ts';
import { isList, isObject, memberAt, textOf, type Data, type DataObject } from '../virtual-machine/same-value.ts';
import { snapshotFinalizer } from '../virtual-machine-snapshot/drop-snapshot.ts';
import { sourcePath } from '../virtual-machine-snapshot/machine-disks.ts';
import { notKept } from '../virtual-machine-snapshot/not-kept.ts';
import type { SnapshotDiskStatus } from '../virtual-machine-snapshot/snapshot-context.ts';
import { diskOfVolume } from '../../api/empty-disk.ts';
import type { VirtualMachineSnapshot } from '../../api/virtual-machine-snapshot.ts';
import type { Volume } from '../../api/virtual-machine.ts';
import { toKubernetesTime } from '../../base/clock.ts';

/** A disk of the machine by its device in the guest. */
export interface RecoveredVolume {
  /** The name in spec.volumes. */
  readonly name: string;
  readonly target: string;
  readonly virtualDisk: string | undefined;
}

/** What libvirt has of a snapshot. */
export interface KeptSnapshot {
  readonly name: string;
  /** Its description, parsed. */
  readonly value: DataObject;
  readonly isCurrent: boolean;
  /** The files that have the old state of external disks, by device; where libvirt noted them when left out. */
  readonly frozen?: ReadonlyMap<string, { readonly path: string; readonly format: string }>;
  /** Whether its memory's file is gone. */
  readonly isMemoryLost?: boolean;
}

/** The disks of a snapshot as libvirt noted them when it was made. */
export function keptDisks(
  machine: { readonly namespace: string; readonly name: string },
  volumes: readonly RecoveredVolume[],
  value: DataObject,
): SnapshotDiskStatus[] {
  const domainDisks = devicesOf(asObject(value['domain']), 'disk');
  const then = volumesThen(machine, value) ?? volumes;
  const listed = memberAt(value, 'disks', 'disk');
  return (isList(listed) ? listed : []).flatMap((disk): SnapshotDiskStatus[] => {
    const target = textOf(memberAt(disk, 'name'));
    const before = domainDisks.find((one) => textOf(memberAt(one, 'target', 'dev')) === target);
    const path = before === undefined ? '' : sourcePath(before);
    // An empty drive has nothing to keep.
    if (path === '' && before !== undefined && (textOf(before['device']) || 'disk') !== 'disk') return [];
    const volume = then.find((one) => one.target === target);
    const mode = modes[textOf(memberAt(disk, 'snapshot'))] ?? 'External';
    const overlay = textOf(memberAt(disk, 'source', 'file'));
    return [
      {
        target,
        ...(volume === undefined ? {} : { name: volume.name }),
        mode,
        ...(mode === 'None' ? {} : { path, format: textOf(memberAt(before, 'driver', 'type')) || 'raw' }),
        ...(volume?.virtualDisk === undefined ? {} : { virtualDisk: volume.virtualDisk }),
        ...(mode === 'External' && overlay !== '' ? { overlay } : {}),
      },
    ];
  });
}

/** The volumes of the machine when the snapshot was taken: a device may have been another disk's since. */
function volumesThen(
  machine: { readonly namespace: string; readonly name: string },
  value: DataObject,
): RecoveredVolume[] | undefined {
  for (const domain of [value['inactiveDomain'], value['domain']]) {
    const mark = isObject(domain) ? machineMarkOf(domain) : undefined;
    const volumes = memberAt(mark?.spec, 'volumes');
    if (!isObject(domain) || mark === undefined) continue;
    const entries = (isList(volumes) ? volumes : []) as unknown as readonly Volume[];
    return machineVolumes(entries, mark, domain).flatMap(({ entry, target }) =>
      target === '' ? [] : [{ name: entry.name, target, virtualDisk: diskOfVolume({ metadata: machine }, entry) }],
    );
  }
  return undefined;
}

/** The object of a snapshot. Its parent is by its name at libvirt. */
export function snapshotObject(
  machine: { readonly namespace: string; readonly name: string },
  volumes: readonly RecoveredVolume[],
  nodeName: string,
  { name: snapshotName, value, isCurrent, frozen, isMemoryLost }: KeptSnapshot,
  objectName: string,
): VirtualMachineSnapshot {
  const disks = keptDisks(machine, volumes, value).map((disk) => ({ ...disk, ...frozen?.get(disk.target) }));
  const inMemory = textOf(memberAt(value, 'memory', 'snapshot'));
  const memory = (inMemory === 'internal' || inMemory === 'external') && isMemoryLost !== true;
  const mode = inMemory === 'external' || disks.some((disk) => disk.mode === 'External') ? 'External' : 'Internal';
  const creationTime = toKubernetesTime(Number(textOf(value['creationTime'])) * 1000);
  const parent = textOf(memberAt(value, 'parent', 'name'));
  const description = textOf(value['description']);
  const left = notKept(asObject(value['domain']) ?? {}, memory);
  const state = textOf(value['state']);
  return {
    apiVersion: 'virtctl.dev/v1alpha1',
    kind: 'VirtualMachineSnapshot',
    metadata: { namespace: machine.namespace, name: objectName, finalizers: [snapshotFinalizer] },
    spec: {
      virtualMachine: machine.name,
      mode,
      ...(memory ? { memory } : {}),
      // The one that it is given without a description of its own.
      ...(description === '' || description.startsWith('VirtualMachineSnapshot ') ? {} : { description }),
    },
    status: {
      phase: 'Ready',
      nodeName,
      name: snapshotName,
      mode,
      memory,
      ...(memory && inMemory === 'external' ? { memoryFile: textOf(memberAt(value, 'memory', 'file')) } : {}),
      // Of the disks of a guest that was not off: whether it was paused libvirt does not keep.
      domainState: state === 'disk-snapshot' ? 'running' : state,
      creationTime,
      ...(parent === '' ? {} : { parent }),
      current: isCurrent,
      ...(left.length === 0 ? {} : { notKept: left }),
      disks,
      conditions: [{ type: 'Ready', status: 'True', reason: 'Taken', lastTransitionTime: creationTime }],
    },
  };
}

const modes: Readonly<Record<string, 'None' | 'Internal'>> = { no: 'None', internal: 'Internal' };

function asObject(value: Data | undefined): DataObject | undefined {
  return isObject(value) ? value : undefined;
}
