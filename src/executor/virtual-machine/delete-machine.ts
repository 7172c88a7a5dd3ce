/**
 * A machine's object is being deleted: the guest is shut down, what hangs on the domain is cleaned up, the domain is undefined,
 * and then the object may go.
 *
 *   stop ─▶ before the domain goes (beforeUndefine) ─▶ undefine ─▶ when it is gone (afterUndefine) ─▶ finalizer
 *
 * Each clean-up may be done again: the executor may be killed after any of them.
 */
import { deleteDomain } from './delete-domain.ts';
import type { LibvirtCallOptions } from './domain-view.ts';
import { stopMachine } from './keep-power.ts';
import { isForeign } from './foreign-domain.ts';
import { lookAgain, messageOf, retryMs, tellEvent, type Round } from './round.ts';
import { machineUuid } from '../../api/machine-uuid.ts';
import { domainName } from '../../api/virtual-machine.ts';
import { isNotFound, LibvirtError } from '../../libvirt/errors.ts';
import type { Domain } from '../../libvirt/objects/domain.ts';
import { removeFinalizer } from '../../reconcile/finalizers.ts';

/** What keeps a machine's object until its domain is gone. */
export const machineFinalizer = 'virtctl.dev/domain';

/** A guest that somebody started while it was being deleted is looked at this soon, in milliseconds. */
const startedMs = 20;

/** One thing that goes with a machine; may be done again. A LibvirtError that it throws is told, and it is tried again. */
export type CleanUp = (round: Round) => Promise<void>;

/** While the domain is off and still there; not for a domain that is somebody else's. */
const beforeUndefine: readonly CleanUp[] = [];

/** When the domain is gone. */
const afterUndefine: readonly CleanUp[] = [
  // Files that were made for its volumes.
  ({ parts, status }) => parts.media.remove(machineUuid(status.machine)),
];

/** Does the next steps of a deletion. */
export async function deleteMachine(round: Round): Promise<void> {
  const { status, signal } = round;
  const { machine } = status;
  const isOthers = isForeign(machine, round.view);
  // Files are named by the UUID: where another machine has it, they are that machine's.
  const hasFiles = !isOthers || round.view?.domain.uuid !== machineUuid(machine);
  if (isOthers) round.view = undefined;
  const { view } = round;
  if (machine.spec.deletionProtection === true && view !== undefined) {
    // An API server without our admission let it through: what it guards is still there.
    const message = 'it is protected: nothing is stopped or removed until spec.deletionProtection is false';
    tellEvent(round, 'Warning', 'DeletionProtected', 'Delete', message);
    await tellTerminating(round, message);
    return;
  }
  if (view !== undefined && view.state !== 'off') {
    await stopMachine(round, true);
    if (isOn(round)) {
      await tellTerminating(round, 'the guest is shutting down');
      return;
    }
  }
  // Its snapshots go with it, and its disks are whole again, before the domain that knows them is gone.
  if (!(await round.parts.snapshots.release(round))) {
    await tellTerminating(round, 'its snapshots are being merged into its disks');
    lookAgain(round, retryMs);
    return;
  }
  try {
    if (view !== undefined) {
      for (const cleanUp of beforeUndefine) await cleanUp(round);
      await deleteDomain(view.domain, round.options);
      if (await isActive(view.domain, round.options)) {
        await tellTerminating(round, 'the guest was started meanwhile, and is shut down first');
        lookAgain(round, startedMs);
        return;
      }
    }
    if (hasFiles) for (const cleanUp of afterUndefine) await cleanUp(round);
  } catch (error) {
    if (!(error instanceof LibvirtError)) throw error;
    tellEvent(round, 'Warning', 'DeleteFailed', 'Delete', messageOf(error));
    await tellTerminating(round, messageOf(error));
    round.requeueAfterMs = retryMs;
    return;
  }
  const name = domainName(machine);
  const note = isOthers ? `the domain ${name} is not the machine's, and stays` : `the domain ${name} is gone`;
  tellEvent(round, 'Normal', 'Deleted', 'Delete', note);
  await removeFinalizer(round.parts.machines, status.machine, machineFinalizer, signal);
}

/** Whether it runs without a definition now: it was off when it was looked at, and was started before it was undefined. */
async function isActive(domain: Domain, options: LibvirtCallOptions): Promise<boolean> {
  try {
    return await domain.isActive(options);
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}

/** A function, because the compiler does not know that a stop reads the domain again. */
function isOn({ view }: Round): boolean {
  return view !== undefined && view.state !== 'off';
}

async function tellTerminating({ status }: Round, message: string): Promise<void> {
  status.next.printableStatus = 'Terminating';
  status.condition('Ready', false, 'Terminating', message);
  await status.write();
}
