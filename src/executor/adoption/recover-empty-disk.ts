import { poolObject, type AdoptionContext } from './host-objects.ts';
import type { HostVolume } from './host-inventory.ts';
import { emptyDiskObject } from '../../api/empty-disk.ts';
import type { VirtualDisk } from '../../api/virtual-disk.ts';
import type { Volume } from '../../api/virtual-machine.ts';

/**
 * Makes the VirtualDisk of an empty disk in a pool again, with the volume that it has. It is its machine's own only once
 * that is there, and named in its ownerReferences.
 *
 * @returns The disk that has the volume already, if there is one: it would go with the machine, whoever else has it.
 * undefined where the volume is in another pool than the machine asks for.
 */
export async function recoverEmptyDisk(
  context: AdoptionContext,
  machine: { readonly namespace: string; readonly name: string },
  entry: Volume,
  volume: HostVolume,
): Promise<VirtualDisk | undefined> {
  const found = context.known.diskOf(context.node.name, volume.pool, volume.name);
  if (found !== undefined) return found;
  const pool = await poolObject(context, volume.pool);
  if (pool.metadata.name !== entry.emptyDisk?.pool) return undefined;
  const { metadata, spec, ...kind } = emptyDiskObject({ metadata: machine }, entry);
  const { ownerReferences: _, ...own } = metadata;
  const disk: VirtualDisk = {
    ...kind,
    metadata: own,
    spec: {
      ...spec,
      source: { import: { volume: volume.name } },
      bindingMode: 'Immediate',
      ...(pool.spec.shared === true ? {} : { nodeName: context.node.name }),
    },
  };
  context.add(disk);
  return disk;
}
