/** What is left to do once libvirt has made a snapshot: the VirtualDisks follow, and its status says what it is. */
import { disksOfMachine, setActiveFile } from './machine-disks.ts';
import { thaw } from './quiesce.ts';
import { reportSnapshot, type SnapshotContext } from './snapshot-context.ts';
import { sizesOf } from './snapshot-size.ts';
import type { TakeInput } from './take-snapshot.ts';
import { textOf, type DataObject } from '../virtual-machine/same-value.ts';
import { analyse } from '../../analyser/analyse.ts';
import type { VirtualMachineSnapshot } from '../../api/virtual-machine-snapshot.ts';
import { toKubernetesTime } from '../../base/clock.ts';
import type { Snapshot } from '../../libvirt/objects/domain-snapshots.ts';
import { maxReportedBytes } from '../../xml/reader.ts';

/** The note of work that froze the guest's file systems. */
export const quiescedNote = 'quiesced';

/** The VirtualDisks follow, and then it is ready. */
export async function finishSnapshot(
  context: SnapshotContext,
  snapshot: VirtualMachineSnapshot,
  made: Snapshot,
  quiesced: boolean | undefined,
  { libvirt, machine, signal, view, others }: TakeInput,
): Promise<void> {
  const xml = analyse(await made.xml({ signal }), { maxBytes: maxReportedBytes }).value as DataObject;
  const virtualDisks = await disksOfMachine(context, machine, signal);
  for (const { mode, virtualDisk = '', overlay = '' } of snapshot.status?.disks ?? []) {
    const disk = virtualDisks.get(virtualDisk);
    if (mode !== 'External' || disk === undefined || disk.status?.path === overlay) continue;
    await setActiveFile(context, libvirt, disk, { path: overlay, format: 'qcow2' }, signal);
  }
  // Who froze it may have died.
  if (quiesced === undefined && view !== undefined) await thaw(snapshot, view, signal);
  const seconds = Number(textOf(xml['creationTime']));
  const before = (await made.parent({ signal }))?.name;
  const parent = others.find(({ status }) => status?.name === before && before !== undefined)?.metadata.name ?? before;
  // Whoever waited for this one finds one current snapshot, not two.
  for (const other of others) {
    if (other.status?.current === true) await reportSnapshot(context, other, { status: { current: false } }, signal);
  }
  await reportSnapshot(
    context,
    snapshot,
    {
      status: {
        phase: 'Ready',
        step: undefined,
        parent,
        current: true,
        quiesced,
        ...(await sizesOf(snapshot.status ?? {}, signal)),
        creationTime: toKubernetesTime(Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : context.clock.now()),
      },
      ready: { status: true, reason: 'Taken' },
    },
    signal,
  );
  const { mode, memory } = snapshot.status ?? {};
  const words = [
    mode?.toLowerCase(),
    memory === true ? 'with memory' : 'disks only',
    ...(quiesced === true ? ['quiesced'] : []),
  ];
  context.record({
    regarding: snapshot,
    type: 'Normal',
    reason: 'SnapshotTaken',
    action: 'TakeSnapshot',
    note: `taken of ${snapshot.spec.virtualMachine} (${words.join(', ')})`,
  });
}
