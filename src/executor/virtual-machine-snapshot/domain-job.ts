/** Whether libvirt is at something long with a domain, and what it leaves behind when it dies meanwhile. */
import type { DomainView } from '../virtual-machine/domain-view.ts';
import type { VirtualMachineSnapshot } from '../../api/virtual-machine-snapshot.ts';
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

/** Why libvirt lets a guest stand still while it takes a snapshot: it says the first of an internal one. */
const takingReasons = ['save', 'snapshot'];

/**
 * Has a guest run again that libvirtd stopped for its snapshot and then forgot, since it died meanwhile: it takes only one
 * that was stopped for an external snapshot up again (qemuProcessRecoverJob, libvirt 9.0).
 *
 * @returns Whether it stood still for that, and is running now.
 * @throws LibvirtError when libvirt does not let it run.
 */
export async function letGoOn(
  { status }: Pick<VirtualMachineSnapshot, 'status'>,
  { domain, libvirtState }: Pick<DomainView, 'domain' | 'libvirtState'>,
  signal: AbortSignal,
): Promise<boolean> {
  if (status?.domainState !== 'running') return false;
  if (libvirtState.state !== 'paused' || !takingReasons.includes(libvirtState.reason)) return false;
  await domain.resume({ signal });
  return true;
}
