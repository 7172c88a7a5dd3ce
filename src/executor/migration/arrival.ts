import type { Arrival } from './migration-notes.ts';
import type { DomainView, LibvirtCallOptions } from '../virtual-machine/domain-view.ts';
import { isForeign } from '../virtual-machine/foreign-domain.ts';
import type { VirtualMachine } from '../../api/virtual-machine.ts';
import { isInvalidState, isNotFound } from '../../libvirt/errors.ts';

/** Why a domain is paused that waits for a guest; one that was sent paused is so for its user. */
const notArrived: ReadonlySet<string> = new Set(['migration', 'starting-up']);

/** Ends that only a guest comes to that has executed here; of the others libvirt does not say. */
const hasGoneOn: ReadonlySet<string> = new Set(['shutdown', 'saved']);

/**
 * Where a guest is that was to come here, as far as this node is concerned.
 *
 * @param found The domain of its name or UUID.
 * @returns undefined while it is neither here nor not here yet.
 */
export async function arrivalOf(
  machine: VirtualMachine,
  found: DomainView | undefined,
  options: LibvirtCallOptions,
): Promise<Arrival | undefined> {
  // What somebody else called so meanwhile is not the guest: for an answer that it runs here the source would end its own.
  if (found === undefined || isForeign(machine, found)) return 'none';
  // For an answer that it is only off the source would let its own go on, which is older than what this one wrote.
  if (found.state === 'off') return hasGoneOn.has(found.libvirtState.reason) ? 'running' : 'off';
  // libvirt says so until it has arrived, also when it forgot the job, being killed.
  const isWaiting = found.libvirtState.state === 'paused' && notArrived.has(found.libvirtState.reason);
  return isWaiting || (await isComing(found, options)) ? undefined : 'running';
}

async function isComing({ domain }: DomainView, options: LibvirtCallOptions): Promise<boolean> {
  try {
    const { type, operation } = await domain.job.stats(options);
    return operation === 'migration-in' && (type === 'bounded' || type === 'unbounded');
  } catch (error) {
    if (isInvalidState(error) || isNotFound(error)) return false;
    throw error;
  }
}
