/**
 * The VirtualMachineSnapshots of a machine whose objects are lost, from what libvirt keeps of them. Those inside of the
 * disks come back whole. An external one is told of only: which VirtualDisks are to follow when its files are merged is not
 * known any more. So is one that virsh took, which is known by having no description; with one it is not told from ours.
 */
import { devicesOf, type DomainView, type LibvirtCallOptions } from '../virtual-machine/domain-view.ts';
import { isList, memberAt, textOf, type Data, type DataObject } from '../virtual-machine/same-value.ts';
import { snapshotFinalizer } from '../virtual-machine-snapshot/drop-snapshot.ts';
import type { KnownObjects } from './known-objects.ts';
import type { SnapshotDiskStatus } from '../virtual-machine-snapshot/snapshot-context.ts';
import { analyse } from '../../analyser/analyse.ts';
import type { VirtualMachineSnapshot } from '../../api/virtual-machine-snapshot.ts';
import { toKubernetesTime } from '../../base/clock.ts';
import type { Snapshot } from '../../libvirt/objects/domain-snapshots.ts';
import { maxReportedBytes } from '../../xml/reader.ts';

/** A disk of the machine by its device in the guest. */
export interface RecoveredVolume {
  /** The name in spec.volumes. */
  readonly name: string;
  readonly target: string;
  readonly virtualDisk: string | undefined;
}

/** The snapshots of one machine. */
export interface RecoveredSnapshots {
  /** As they are created, before their machine: nobody takes up a snapshot without one. */
  readonly snapshots: readonly VirtualMachineSnapshot[];
  /** What was not brought back, each in a sentence. */
  readonly notes: readonly string[];
}

/** What libvirt has of a snapshot. */
export interface KeptSnapshot {
  readonly name: string;
  /** Its description, parsed. */
  readonly value: DataObject;
  readonly isCurrent: boolean;
}

/**
 * Reads the snapshots of a machine's domain.
 *
 * @param known Says which names are taken, and takes note of the objects.
 */
export async function recoverSnapshots(
  known: KnownObjects,
  machine: { readonly namespace: string; readonly name: string },
  volumes: readonly RecoveredVolume[],
  nodeName: string,
  { domain }: DomainView,
  options: LibvirtCallOptions & { readonly signal: AbortSignal },
): Promise<RecoveredSnapshots> {
  const snapshots: VirtualMachineSnapshot[] = [];
  const notes: string[] = [];
  const virshs: string[] = [];
  const objectNames = new Map<string, string>();
  const listed = await domain.snapshots.list({ ...options, topological: true });
  // In an order that is the same each time, which libvirt's is not: what is interrupted comes to the same names again.
  for (const one of [...listed].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const value = await read(one, options.signal);
    // Each that the executor takes has one (virtual-machine-snapshot/snapshot-xml.ts).
    if (textOf(value['description']) === '') {
      virshs.push(one.name);
      continue;
    }
    const isCurrent = await one.isCurrent(options);
    const objectName = known.snapshotName(machine, domain.uuid, one.name);
    const made = snapshotObject(machine, volumes, nodeName, { name: one.name, value, isCurrent }, objectName);
    if (made === undefined) {
      notes.push(`snapshot "${one.name}" is in files of its own: libvirt has it, no object will`);
      continue;
    }
    known.add(made);
    objectNames.set(one.name, objectName);
    snapshots.push(made);
  }
  if (virshs.length > 0) notes.push(`its snapshots stay virsh's alone: ${virshs.join(', ')}`);
  return { snapshots: snapshots.map((one) => withParent(one, objectNames)), notes };
}

async function read(snapshot: Snapshot, signal: AbortSignal): Promise<DataObject> {
  return analyse(await snapshot.xml({ signal }), { maxBytes: maxReportedBytes }).value as DataObject;
}

/** Status names a parent by its object, where it has one. */
function withParent(
  snapshot: VirtualMachineSnapshot,
  objectNames: ReadonlyMap<string, string>,
): VirtualMachineSnapshot {
  const parent = snapshot.status?.parent;
  if (parent === undefined) return snapshot;
  return { ...snapshot, status: { ...snapshot.status, parent: objectNames.get(parent) ?? parent } };
}

/** The object of a snapshot that is kept inside of the disks; undefined for any other. Its parent is by its name at libvirt. Pure. */
export function snapshotObject(
  { namespace, name }: { readonly namespace: string; readonly name: string },
  volumes: readonly RecoveredVolume[],
  nodeName: string,
  { name: snapshotName, value, isCurrent }: KeptSnapshot,
  objectName: string,
): VirtualMachineSnapshot | undefined {
  const domainDisks = devicesOf(asObject(value['domain']), 'disk');
  const listed = memberAt(value, 'disks', 'disk');
  const disks = (isList(listed) ? listed : []).map((disk): SnapshotDiskStatus => {
    const target = textOf(memberAt(disk, 'name'));
    const before = domainDisks.find((one) => textOf(memberAt(one, 'target', 'dev')) === target);
    const volume = volumes.find((one) => one.target === target);
    return {
      target,
      mode: modes[textOf(memberAt(disk, 'snapshot'))] ?? 'External',
      path: textOf(memberAt(before, 'source', 'file')),
      format: textOf(memberAt(before, 'driver', 'type')) || 'raw',
      ...(volume === undefined ? {} : { name: volume.name }),
      ...(volume?.virtualDisk === undefined ? {} : { virtualDisk: volume.virtualDisk }),
    };
  });
  const inMemory = textOf(memberAt(value, 'memory', 'snapshot'));
  if (inMemory === 'external' || disks.some(({ mode }) => mode === 'External')) return undefined;
  const takenMs = Number(textOf(value['creationTime'])) * 1000;
  const creationTime = toKubernetesTime(takenMs);
  const parent = textOf(memberAt(value, 'parent', 'name'));
  const description = textOf(value['description']);
  const memory = inMemory === 'internal';
  return {
    apiVersion: 'virtctl.dev/v1alpha1',
    kind: 'VirtualMachineSnapshot',
    metadata: { namespace, name: objectName, finalizers: [snapshotFinalizer] },
    spec: {
      virtualMachine: name,
      mode: 'Internal',
      ...(memory ? { memory } : {}),
      // The one that it is given without a description of its own.
      ...(description === '' || description.startsWith('VirtualMachineSnapshot ') ? {} : { description }),
    },
    status: {
      phase: 'Ready',
      nodeName,
      name: snapshotName,
      mode: 'Internal',
      memory,
      domainState: textOf(value['state']),
      creationTime,
      ...(parent === '' ? {} : { parent }),
      current: isCurrent,
      disks,
      conditions: [{ type: 'Ready', status: 'True', reason: 'Taken', lastTransitionTime: creationTime }],
    },
  };
}

const modes: Readonly<Record<string, 'None' | 'Internal'>> = { no: 'None', internal: 'Internal' };

function asObject(value: Data | undefined): DataObject | undefined {
  return typeof value === 'object' && value !== null && !isList(value) ? value : undefined;
}
