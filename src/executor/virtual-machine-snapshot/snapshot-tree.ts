/** Parent and current of a machine's snapshots: libvirt knows them. */
import { isMade, reportSnapshot, type SnapshotContext } from './snapshot-context.ts';
import type { DomainView } from '../virtual-machine/domain-view.ts';
import type { VirtualMachineSnapshot } from '../../api/virtual-machine-snapshot.ts';
import { isBeingDeleted } from '../../reconcile/finalizers.ts';

/** Writes what libvirt says of the tree into the snapshots' status. */
export async function tellTree(
  context: SnapshotContext,
  all: readonly VirtualMachineSnapshot[],
  view: DomainView | undefined,
  signal: AbortSignal,
): Promise<void> {
  const made = all.filter((one) => isMade(one) && !isBeingDeleted(one));
  if (made.length === 0 || view === undefined) return;
  const there = await view.domain.snapshots.list({ signal });
  const current = (await view.domain.snapshots.current({ signal }))?.name;
  const objectOf = new Map(made.map(({ status, metadata }) => [status?.name ?? '', metadata.name ?? '']));
  for (const snapshot of made) {
    const name = snapshot.status?.name ?? '';
    const own = there.find((one) => one.name === name);
    if (own === undefined) {
      const message = `libvirt has no snapshot "${name}" of the machine any more`;
      await reportSnapshot(
        context,
        snapshot,
        { status: { current: false }, ready: { status: false, reason: 'SnapshotMissing', message } },
        signal,
      );
      continue;
    }
    const parent = (await own.parent({ signal }))?.name;
    const status = {
      parent: parent === undefined ? undefined : (objectOf.get(parent) ?? parent),
      current: name === current,
    };
    await reportSnapshot(context, snapshot, { status, ready: { status: true, reason: 'Taken' } }, signal);
  }
}
