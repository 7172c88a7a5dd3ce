/** The guest's file systems, frozen through its agent while the disks change: whether that can be, and that none stays so. */
import type { ChosenMode } from './choose-mode.ts';
import { StorageProblem } from '../virtual-pool/storage-context.ts';
import type { DomainView } from '../virtual-machine/domain-view.ts';
import { isAgentConnected } from '../virtual-machine/power.ts';
import type { VirtualMachineSnapshot } from '../../api/virtual-machine-snapshot.ts';
import { isAgentUnavailable, LibvirtError } from '../../libvirt/errors.ts';

/**
 * Refuses where `Required` cannot be had.
 *
 * @throws StorageProblem which says why.
 */
export function checkQuiesce({ spec }: VirtualMachineSnapshot, chosen: ChosenMode, view: DomainView): void {
  if (spec.quiesce !== 'Required' || view.state === 'off') return;
  if (chosen.mode === 'Internal' || chosen.memory) {
    const message =
      'with memory nothing has to be frozen, and libvirt does not: leave quiesce out, or take the disks only';
    throw new StorageProblem('NotSupported', message, { isFinal: true });
  }
  if (view.state !== 'running' || !isAgentConnected(view.live)) {
    const why = view.state === 'running' ? "the guest's agent does not answer" : 'the guest is paused';
    throw new StorageProblem('AgentUnavailable', `its file systems cannot be frozen: ${why}`, { isFinal: true });
  }
}

/** A guest that was frozen when libvirtd or we died must not stay so. */
export async function thaw(snapshot: VirtualMachineSnapshot, view: DomainView, signal: AbortSignal): Promise<void> {
  if (snapshot.spec.quiesce === 'Never' || view.state !== 'running' || !isAgentConnected(view.live)) return;
  if (snapshot.status?.memory === true) return;
  try {
    await view.domain.guest.thaw([], { signal, timeoutMs: 15_000 });
  } catch (error) {
    // It was not frozen, or its agent went away: then nobody froze it either.
    if (!(error instanceof LibvirtError)) throw error;
  }
}

/** Whether the agent failed, not the snapshot. */
export function isAgentTrouble(error: unknown): boolean {
  return (
    isAgentUnavailable(error) ||
    (error instanceof LibvirtError && /guest agent|guest-fsfreeze|QEMU guest/i.test(error.message))
  );
}
