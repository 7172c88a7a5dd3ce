import type { ObjectMaker } from '../adopt/make-objects.ts';
import { virtualMachineSnapshotKind } from '../../api/kinds.ts';
import { apiVersion } from '../../api/meta.ts';
import type { VirtualMachineSnapshot } from '../../api/virtual-machine-snapshot.ts';
import { resourceTypeOf } from '../../cli/machine-verb.ts';
import type { DryRun } from '../../cli/resources/resource-options.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import { refOf, type KubeObject } from '../../kube/object.ts';

/**
 * Makes snapshots whose machine is not there yet, with their status: an executor that found one without would take a new
 * one.
 *
 * @returns Those that were made.
 */
export async function makeSnapshots(
  client: KubeClient,
  maker: ObjectMaker,
  snapshots: readonly VirtualMachineSnapshot[],
  dryRun: DryRun,
  signal: AbortSignal,
): Promise<KubeObject[]> {
  const objects = client.resource<VirtualMachineSnapshot>(resourceTypeOf(virtualMachineSnapshotKind));
  const made: KubeObject[] = [];
  for (const { status, ...snapshot } of snapshots) {
    const stored = await maker.make(snapshot);
    if (dryRun === 'none') {
      const { uid } = stored.metadata;
      await objects.mergePatch(refOf(stored), { metadata: { uid }, status }, { subresource: 'status', signal });
    }
    made.push(stored);
  }
  return made;
}

/** Makes snapshots those of a machine, which is there now: they go with it. */
export async function claimSnapshots(
  client: KubeClient,
  snapshots: readonly KubeObject[],
  { metadata: { name, uid } }: KubeObject,
  signal: AbortSignal,
): Promise<void> {
  const objects = client.resource<VirtualMachineSnapshot>(resourceTypeOf(virtualMachineSnapshotKind));
  const ownerReferences = [{ apiVersion, kind: 'VirtualMachine', name, uid }];
  for (const snapshot of snapshots) {
    await objects.mergePatch(refOf(snapshot), { metadata: { ownerReferences } }, { signal });
    const status = { virtualMachineUID: uid };
    await objects.mergePatch(refOf(snapshot), { status }, { subresource: 'status', signal });
  }
}
