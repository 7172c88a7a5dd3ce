/**
 * What libvirt notes of a snapshot, kept true while its files change: from these notes objects are made again that were lost
 * (adoption/recover-snapshots.ts).
 */
import { devicesWithFiles } from './machine-disks.ts';
import type { SnapshotDiskStatus } from './snapshot-context.ts';
import type { DomainView } from '../virtual-machine/domain-view.ts';
import { isObject, type DataObject } from '../virtual-machine/same-value.ts';
import { analyse } from '../../analyser/analyse.ts';
import type { VirtualMachineSnapshot } from '../../api/virtual-machine-snapshot.ts';
import { render } from '../../convertor/render.ts';
import { isNotFound } from '../../libvirt/errors.ts';
import type { Snapshot } from '../../libvirt/objects/domain-snapshots.ts';
import { maxReportedBytes } from '../../xml/reader.ts';

/** An internal snapshot's clusters are freed one by one, in milliseconds. */
const deleteMs = 110_000;

/** Lets libvirt forget a snapshot. Internal: with its data. External: its notes only. One that it does not have is none. */
export async function forgetAtLibvirt(
  { status }: VirtualMachineSnapshot,
  view: DomainView,
  signal: AbortSignal,
): Promise<void> {
  try {
    const there = await view.domain.snapshots.byName(status?.name ?? '', { signal });
    if (status?.mode === 'Internal') await there.delete({ signal, timeoutMs: deleteMs });
    else await there.delete({ metadataOnly: true, signal });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

/** Notes at libvirt that the old state of a snapshot's disks is in other files now: what was in them before was merged. */
export async function tellFilesToLibvirt(
  { domain }: DomainView,
  name: string,
  files: readonly Pick<SnapshotDiskStatus, 'target' | 'path' | 'format'>[],
  signal: AbortSignal,
): Promise<void> {
  let there: Snapshot;
  try {
    there = await domain.snapshots.byName(name, { signal });
  } catch (error) {
    if (isNotFound(error)) return;
    throw error;
  }
  const noted = analyse(await there.xml({ secure: true, signal }), { maxBytes: maxReportedBytes });
  const value = noted.value as DataObject;
  const moved = Object.fromEntries(
    ['domain', 'inactiveDomain'].flatMap((key) => {
      const before = value[key];
      return isObject(before) ? [[key, { ...before, devices: devicesWithFiles(before['devices'], files) }]] : [];
    }),
  );
  const xml = render('domainsnapshot', { ...value, ...moved }, noted.overlay, { pretty: false });
  await domain.snapshots.create(xml, { redefine: true, signal });
}
