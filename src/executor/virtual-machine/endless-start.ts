/**
 * A start that libvirt does not end. It holds the domain's lock meanwhile, so that every other call waits for 30 s and is
 * refused. Mostly there is much memory to be allocated, and the start ends by itself.
 *
 * Where libvirtd was killed after it had noted the start and before it had noted the process, it ends never: the daemon
 * that follows reads the note, sees no process to look after (`qemuProcessReconnectHelper` passes over a domain whose pid
 * is 0), and neither ends the start nor lets go of the lock, `virsh destroy` included (seen with libvirt 9.0). No call can
 * mend that, only whoever may remove the note; nothing was executed of the guest.
 */
import { tellWaiting } from './operate.ts';
import { lookAgain, retryMs, tellEvent, type Round } from './round.ts';

/** Tells in the machine's status and its operations what libvirt does, and what helps where it does it no more. */
export async function tellEndlessStart(round: Round): Promise<void> {
  const { status, parts, view } = round;
  const name = view?.domain.name ?? '';
  const message =
    `libvirt is starting the domain "${name}", and does nothing else with it until that ends. If libvirtd was killed ` +
    `meanwhile, that is never: on node ${parts.nodeName}, stop libvirtd, remove /run/libvirt/qemu/${name}.xml and start ` +
    'libvirtd again; running guests go on';
  status.condition('Ready', false, 'StartNotEnding', message);
  status.next.printableStatus = 'Starting';
  tellEvent(round, 'Warning', 'StartNotEnding', 'Start', message);
  await status.write();
  await tellWaiting(round, message);
  lookAgain(round, retryMs);
}
