import { findVolume } from './volume-facts.ts';
import { longMs } from '../virtual-pool/storage-context.ts';
import type { VirtualDisk } from '../../api/virtual-disk.ts';
import type { Pool } from '../../libvirt/objects/pools.ts';

/**
 * Removes a volume, if it is there, overwritten first where `wipe` says how.
 *
 * @param beforeWipe Is done before it is overwritten.
 * @throws what libvirt says when it does not do it.
 */
export async function removeVolume(
  pool: Pool,
  name: string,
  wipe: VirtualDisk['spec']['wipe'],
  signal: AbortSignal,
  beforeWipe?: () => Promise<void>,
): Promise<void> {
  const volume = await findVolume(pool, name, signal);
  if (volume === undefined) return;
  if (wipe !== undefined) {
    await beforeWipe?.();
    // libvirt wipes as much as it believes to be allocated, and believes what it saw last: let it look.
    await volume.info({ signal });
    await volume.wipe({ algorithm: wipe, signal, timeoutMs: longMs });
  }
  await volume.delete({ signal, timeoutMs: longMs });
}
