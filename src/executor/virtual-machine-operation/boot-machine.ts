import { OperationFailedError, type OperationRun } from './operation-run.ts';
import { beginStart, continueStart, type StartContext, type StartOptions } from '../virtual-machine/power.ts';
import { explainMissingFile } from '../virtual-machine/missing-file.ts';
import { readDomain, type DomainView } from '../virtual-machine/domain-view.ts';
import { LibvirtError } from '../../libvirt/errors.ts';

/** How soon files that somebody works on are looked at again, in milliseconds. */
const busyMs = 500;

/** What {@link bootMachine} starts, and how. */
export interface Boot extends Pick<StartContext, 'wanted' | 'startedFor'> {
  /** The domain that is off, or that a start was cut off of. */
  readonly view: DomainView;
  readonly how: StartOptions;
  /** Done once, before the start is noted. */
  readonly prepare?: () => Promise<void>;
}

/**
 * Starts the machine for an operation, or goes on with a start that was cut off. The boot has a mark, the id in `newBoot` of
 * the operation's notes. `run.view` is the domain afterwards; undefined when it ran and ended already.
 *
 * @returns undefined when it was started; otherwise after how many milliseconds to look again, since something else is
 * being done with one of its disks, which status then says.
 * @throws LibvirtError when libvirt refuses to start it; OperationFailedError when a file of a volume is not there.
 */
export async function bootMachine(run: OperationRun, boot: Boot): Promise<number | undefined> {
  const { status, now, options, holdFiles, nodeName } = run.context;
  const hold = holdFiles();
  if (hold.busy !== undefined) {
    const message = `waits: ${hold.busy}`;
    if (run.operation.status?.message !== message) await run.write({ message });
    return busyMs;
  }
  const id = run.notes['newBoot'] ?? '';
  try {
    if (status.power.boot !== id) {
      await boot.prepare?.();
      const isSaved = boot.view.hasManagedSave && !boot.how.discardSavedState;
      await status.note({ ...beginStart(id, isSaved), printableStatus: 'Starting', failures: null });
    }
    run.view = await continueStart(boot.view, status.power, boot.how, {
      wanted: boot.wanted,
      note: (notes) => status.note(notes),
      startedFor: boot.startedFor,
      boots: status.next.domain?.boots ?? 0,
      now,
      options,
    });
    return undefined;
  } catch (error) {
    if (error instanceof LibvirtError && status.power.boot === id) {
      run.view = await readDomain(boot.view.domain, options);
      // Not even its name stays: with it the machine would be taken for started by whoever finds the operation unfinished.
      // What libvirt has begun already goes on, or is taken back, by the run strategy.
      const isOff = run.view === undefined || run.view.state === 'off';
      if (isOff) await status.note({ power: { boot: null, bootStep: null } });
    }
    const missing =
      error instanceof LibvirtError ? explainMissingFile(error.message, status.machine, nodeName) : undefined;
    throw missing === undefined ? error : new OperationFailedError('LibvirtError', missing);
  } finally {
    hold.release();
  }
}
