import { virtualDiskKind } from '../../api/kinds.ts';
import { emptyDiskOwner } from '../../api/empty-disk.ts';
import type { VirtualDisk } from '../../api/virtual-disk.ts';
import { resourceTypeOf } from '../../cli/machine-verb.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import { refOf, type KubeObject } from '../../kube/object.ts';

/** Makes disks that were made again a machine's own, which is there now: they go with it, and with their entries. */
export async function claimEmptyDisks(
  client: KubeClient,
  disks: readonly VirtualDisk[],
  machine: KubeObject,
  signal: AbortSignal,
): Promise<void> {
  const objects = client.resource<VirtualDisk>(resourceTypeOf(virtualDiskKind));
  const ownerReferences = [emptyDiskOwner(machine)];
  for (const disk of disks) await objects.mergePatch(refOf(disk), { metadata: { ownerReferences } }, { signal });
}
