/** An image that is a copy of a VirtualDisk: libvirt copies it, on the node where the disk is. */
import { ownVolume, tell, type ImageWork } from './image-work.ts';
import { cloneFile, trustedSource } from '../virtual-disk/origin.ts';
import { libvirtOf, longMs } from '../virtual-pool/storage-context.ts';
import { formatBytes } from '../../api/quantity.ts';
import { render } from '../../convertor/render.ts';

/**
 * Copies it.
 *
 * @throws StorageProblem while the disk is not there, on another node, or written to.
 */
export async function takeDisk(work: ImageWork, name: string): Promise<void> {
  const { context, image, signal, format, volumeName } = work;
  const libvirt = libvirtOf(context);
  const { path, format: known } = await cloneFile(context, libvirt, image.metadata.namespace, { name }, signal);
  const source = await trustedSource(libvirt, path, known, signal);
  const isOurs = work.before?.phase === 'Converting';
  const present = await ownVolume(work, isOurs);
  const facts = { sourceFormat: source.format, format, virtualSize: formatBytes(source.capacityBytes) };
  await tell(work, { phase: 'Converting' }, { facts });
  await present?.delete({ signal });
  const xml = render('storagevol', {
    name: volumeName,
    capacity: { unit: 'bytes', value: source.capacityBytes },
    allocation: { unit: 'bytes', value: 0 },
    target: { format: { type: format } },
  });
  const own = await libvirt.duplicate(signal);
  try {
    const pool = await own.pools.byName(work.pool.name, { signal });
    const volume = await pool.cloneVolume(xml, source.volume, { signal, timeoutMs: longMs });
    const { allocationBytes } = await volume.info({ physical: true, signal });
    const line = { phase: 'Ready', path: await volume.path({ signal }) } as const;
    await tell(work, line, { facts: { ...facts, size: formatBytes(allocationBytes) } });
  } finally {
    await own.close();
  }
}
