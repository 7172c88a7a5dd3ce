/** Whether libvirt is at something long with a domain. */
import { LibvirtError } from '../../libvirt/errors.ts';
import type { Domain } from '../../libvirt/objects/domain.ts';

/** Whether libvirt is still at something long with a domain. */
export async function hasJob(domain: Domain, signal: AbortSignal): Promise<boolean> {
  try {
    const { type } = await domain.job.stats({ signal });
    return type === 'bounded' || type === 'unbounded';
  } catch (error) {
    // What does not run has no job.
    if (error instanceof LibvirtError) return false;
    throw error;
  }
}
