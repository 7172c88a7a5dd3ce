/**
 * The VirtualMachineSnapshots of a machine whose objects are lost, from what libvirt keeps of them. One whose files are gone
 * is told of only. So is one that virsh took, which is known by having no description; with one it is not told from ours.
 */
import type { HostInventory } from './host-inventory.ts';
import { keptDisks, snapshotObject, type KeptSnapshot, type RecoveredVolume } from './kept-snapshot.ts';
import type { KnownObjects } from './known-objects.ts';
import { devicesOf, type DomainView, type LibvirtCallOptions } from '../virtual-machine/domain-view.ts';
import { memberAt, textOf, type DataObject } from '../virtual-machine/same-value.ts';
import { sourcePath } from '../virtual-machine-snapshot/machine-disks.ts';
import { analyse } from '../../analyser/analyse.ts';
import type { VirtualMachineSnapshot } from '../../api/virtual-machine-snapshot.ts';
import type { Snapshot } from '../../libvirt/objects/domain-snapshots.ts';
import { maxReportedBytes } from '../../xml/reader.ts';

/** Whose snapshots are recovered, and where. */
export interface SnapshotsHome {
  readonly machine: { readonly namespace: string; readonly name: string };
  readonly volumes: readonly RecoveredVolume[];
  readonly nodeName: string;
  readonly inventory: HostInventory;
}

/** The snapshots of one machine. */
export interface RecoveredSnapshots {
  /** As they are created, before their machine: nobody takes up a snapshot without one. */
  readonly snapshots: readonly VirtualMachineSnapshot[];
  /** What was not brought back, each in a sentence. */
  readonly notes: readonly string[];
}

/**
 * Reads the snapshots of a machine's domain.
 *
 * @param known Says which names are taken, and takes note of the objects.
 */
export async function recoverSnapshots(
  known: KnownObjects,
  home: SnapshotsHome,
  view: DomainView,
  options: LibvirtCallOptions & { readonly signal: AbortSignal },
): Promise<RecoveredSnapshots> {
  const { machine, volumes, nodeName } = home;
  const { domain } = view;
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
    const kept = { name: one.name, value, isCurrent: await one.isCurrent(options) };
    const found = await findFiles(home, view, kept);
    if (found.problem !== undefined) notes.push(`snapshot "${one.name}" ${found.problem}`);
    if (found.kept === undefined) continue;
    const objectName = known.snapshotName(machine, domain.uuid, one.name);
    const made = snapshotObject(machine, volumes, nodeName, found.kept, objectName);
    known.add(made);
    objectNames.set(one.name, objectName);
    snapshots.push(made);
  }
  if (virshs.length > 0) notes.push(`its snapshots stay virsh's alone: ${virshs.join(', ')}`);
  return { snapshots: snapshots.map((one) => withParent(one, objectNames)), notes };
}

/** Looks where the files of an external snapshot are; `kept` is left out where its disks are gone. */
async function findFiles(
  { machine, volumes, inventory }: SnapshotsHome,
  view: DomainView,
  kept: KeptSnapshot,
): Promise<{ readonly kept?: KeptSnapshot; readonly problem?: string }> {
  const external = keptDisks(machine, volumes, kept.value).filter(({ mode }) => mode === 'External');
  const active = new Set(
    [view.inactive, view.live].flatMap((domain) => devicesOf(domain, 'disk').map((disk) => sourcePath(disk))),
  );
  if (external.length > 0) {
    for (const path of [...active, ...external.map((disk) => disk.path ?? '')]) {
      const volume = path === '' ? undefined : await inventory.volumeAt(path);
      if (volume !== undefined) await inventory.refresh(volume.pool);
    }
  }
  const frozen = new Map<string, { readonly path: string; readonly format: string }>();
  for (const { target, path = '', format = 'raw', overlay = '' } of external) {
    const file = await frozenFile(inventory, { path, format }, overlay);
    const where = `disk ${target}, ${path === '' ? 'of no file' : path}`;
    if (file === undefined)
      return { problem: `is not brought back: its ${where}, is in no pool of this host that runs` };
    if (active.has(file.path)) return { problem: `is not brought back: its ${where}, is written to again` };
    frozen.set(target, file);
  }
  const memory = kept.value['memory'];
  if (textOf(memberAt(memory, 'snapshot')) !== 'external') return { kept: { ...kept, frozen } };
  const lost = await inventory.memoryProblem(textOf(memberAt(memory, 'file')));
  if (lost === undefined) return { kept: { ...kept, frozen } };
  if (external.length === 0) return { problem: `is not brought back: ${lost}` };
  return { kept: { ...kept, frozen, isMemoryLost: true }, problem: `is brought back without its memory: ${lost}` };
}

/**
 * The file with the old state of a disk. Where an older snapshot was merged it has another name than libvirt noted: it is
 * what the file lies over that was made when the snapshot was taken.
 */
async function frozenFile(
  inventory: HostInventory,
  noted: { readonly path: string; readonly format: string },
  overlay: string,
): Promise<{ readonly path: string; readonly format: string } | undefined> {
  if (noted.path !== '' && (await inventory.volumeAt(noted.path)) !== undefined) return noted;
  const below = overlay === '' ? undefined : (await inventory.volumeAt(overlay))?.backing;
  return below === undefined || (await inventory.volumeAt(below.path)) === undefined ? undefined : below;
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
