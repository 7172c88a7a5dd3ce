/**
 * The entry of src/executor/virtual-machine: makes a machine's domain what the machine says. One reconcile per machine at a
 * time reads both sides afresh and does the next necessary steps; events only ask for one.
 *
 *   VirtualMachine ─┐                                 ┌─▶ notes in status (power, before each step)
 *   its operations ─┼─▶ reconcile ─▶ libvirt ─▶ look ─┤
 *   libvirt domain ─┘       │                         └─▶ status, Events
 *                           │
 *     finalizer ─▶ follow-migration (../migration; while it moves, that is all)
 *               └▶ delete-machine, when the object is being deleted
 *               └▶ notice-end ─▶ snapshots (../virtual-machine-snapshot) ─▶ resolve-machine ─▶ define-machine
 *                  ─▶ replug-interfaces ─▶ grow-volumes ─▶ change-live ─▶ prune-media
 *                  ─▶ operate ─▶ or keep-power ─▶ report
 *
 *   steps:    each takes the round (round.ts) and leaves it further on
 *   pure:     same-value, list-identity, compare, merge, live-plan, live-tuning, reset-pins, guest-requests, power-policy,
 *             crash-backoff, printable-status, lost-definition, plugged-interfaces,
 *             held-by-start
 *   with I/O: domain-view, foreign-domain, definition, apply-live, power, volumes, media, observe, delete-domain, machine-status
 *
 * Called by executor.ts only. What fails is told in conditions and Events, and looked at again; a guest is never touched
 * because something of ours failed.
 */
import { adoptBoot, changeLive } from './change-live.ts';
import { defineMachine } from './define-machine.ts';
import { deleteMachine, machineFinalizer } from './delete-machine.ts';
import { isForeign, tellForeign } from './foreign-domain.ts';
import { readDomain } from './domain-view.ts';
import { tellEndlessStart } from './endless-start.ts';
import { isHeldByStart } from './held-by-start.ts';
import { GuestRequests } from './guest-requests.ts';
import { keepPower } from './keep-power.ts';
import { growVolumes } from './grow-volumes.ts';
import { MachineStatus } from './machine-status.ts';
import { forgetFailuresOfOldSpec, noticeEnd } from './notice-end.ts';
import { operate, tellWaiting } from './operate.ts';
import { ShutdownRequests } from './power.ts';
import { pruneMedia } from './prune-media.ts';
import { replugInterfaces } from './replug-interfaces.ts';
import { report } from './report.ts';
import { resolveMachine } from './resolve-machine.ts';
import { readMachineDomain, type MachineReconcilerOptions, type Memory, type Round } from './round.ts';
import { followMigration } from '../migration/follow-migration.ts';
import { answerLost } from '../migration/lost-operation.ts';
import { RunningMigrations } from '../migration/running-migrations.ts';
import type { VirtualMachine } from '../../api/virtual-machine.ts';
import { toError, UnreachableError } from '../../base/errors.ts';
import { parseObjectKey } from '../../kube/object.ts';
import { isConflict } from '../../kube/status-error.ts';
import { isDomainMissing } from '../../libvirt/errors.ts';
import type { ReconcileContext, ReconcileResult } from '../../reconcile/controller.ts';
import { addFinalizer, hasFinalizer, isBeingDeleted } from '../../reconcile/finalizers.ts';

/** How long an ordinary call to libvirt may take. */
const callTimeoutMs = 30_000;

/** See the head of this file. */
export class MachineReconciler {
  readonly #options: MachineReconcilerOptions;
  readonly #memory: Memory = {
    requests: new ShutdownRequests(),
    guests: new GuestRequests(),
    refusals: new Map(),
    migrations: new RunningMigrations(),
  };

  constructor(options: MachineReconcilerOptions) {
    this.#options = options;
  }

  /** Reconciles one machine, by `namespace/name`. */
  async reconcile(key: string, { signal, logger }: ReconcileContext): Promise<ReconcileResult | undefined> {
    const { machines, nodeName, clock } = this.#options;
    const libvirt = this.#options.libvirt();
    // Everything is looked at again when the connection is back.
    if (libvirt === undefined) return undefined;
    // Before the machine, see Round.operations.
    const operations = this.#options.openOperations(key);
    const found = await machines.find(parseObjectKey(key), { signal });
    if (found?.spec.nodeName !== nodeName) {
      this.#memory.refusals.delete(key);
      return found === undefined ? undefined : answerLost(found, this.#options, signal);
    }
    if (isBeingDeleted(found) && !hasFinalizer(found, machineFinalizer)) return undefined;
    let round: Round | undefined;
    try {
      const machine = isBeingDeleted(found) ? found : await addFinalizer(machines, found, machineFinalizer, signal);
      round = {
        key,
        operations,
        parts: this.#options,
        memory: this.#memory,
        libvirt,
        status: new MachineStatus(machines, machine, () => clock.now(), signal),
        options: { signal, timeoutMs: callTimeoutMs },
        signal,
        view: undefined,
        wanted: undefined,
        volumes: [],
        plugged: { refused: [], cutOff: [] },
        limits: new Set(),
        drift: [],
        trouble: undefined,
        requeueAfterMs: undefined,
      };
      await readMachineDomain(round);
      if (await followMigration(round)) return { requeueAfterMs: round.requeueAfterMs };
      if (isBeingDeleted(machine)) await deleteMachine(round);
      else await runMachine(round);
      return { requeueAfterMs: round.requeueAfterMs };
    } catch (error) {
      if (round !== undefined && isHeldByStart(round.view, error)) {
        await tellEndlessStart(round);
        return { requeueAfterMs: round.requeueAfterMs };
      }
      if (!isConflict(error) && !(await isGoneMeanwhile(round, error))) {
        this.#tellFailure(found, error, signal);
        throw error;
      }
      logger.debug('changed meanwhile, looking again', { error: toError(error) });
      return { requeueAfterMs: 20 };
    }
  }

  /** What no step has told in a condition. Lost connections and ends of the process are told elsewhere. */
  #tellFailure(machine: VirtualMachine, error: unknown, signal: AbortSignal): void {
    if (signal.aborted || error instanceof UnreachableError) return;
    const note = `failed, and is tried again: ${toError(error).message}`;
    this.#options.record({ regarding: machine, type: 'Warning', reason: 'ReconcileFailed', action: 'Reconcile', note });
  }
}

/** Whether the domain that was read at the beginning was undefined since: the next reconcile sees none, and goes on from there. */
async function isGoneMeanwhile(round: Round | undefined, error: unknown): Promise<boolean> {
  if (round?.view === undefined || !isDomainMissing(error)) return false;
  try {
    return (await readDomain(round.view.domain, round.options)) === undefined;
  } catch {
    // What went wrong first is told.
    return false;
  }
}

async function runMachine(round: Round): Promise<void> {
  forgetFailuresOfOldSpec(round);
  const { view } = round;
  if (view !== undefined && isForeign(round.status.machine, view)) {
    await tellWaiting(round, await tellForeign(round, view));
    return;
  }
  noticeEnd(round);
  // Before anything names a disk's file: it may be another one now.
  if (await round.parts.snapshots.keep(round)) {
    await report(round);
    return;
  }
  await resolveMachine(round);
  await defineMachine(round);
  await adoptBoot(round);
  round.plugged = await replugInterfaces(round);
  await growVolumes(round);
  await changeLive(round);
  await pruneMedia(round);
  const isBusy = await operate(round);
  if (!isBusy) await keepPower(round);
  await report(round);
}
