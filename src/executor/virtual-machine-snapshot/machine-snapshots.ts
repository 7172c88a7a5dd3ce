/**
 * The entry of src/executor/virtual-machine-snapshot: the snapshots of a machine, taken, kept in order, reverted to and merged.
 *
 *   VirtualMachineSnapshot ─▶ the machine's key ─▶ its reconcile ─▶ keep ─┬▶ take-snapshot
 *                                                                       │   └▶ find-made, finish-snapshot
 *                                                                       ├▶ drop-snapshot ─▶ merge-layers, snapshot-at-libvirt
 *                                                                       └▶ snapshot-tree (parent, current)
 *   VirtualMachineOperation Revert ─▶ operate ─▶ virtual-machine-operation/verbs/revert ─▶ revert-snapshot
 *                                     └▶ prepare-revert, revert-files, revert-start
 *
 *   pure: choose-mode, compare-spec, snapshot-xml     files: image-files, merged-mark, snapshot-files     long work: long-work     VirtualDisks: machine-disks
 *
 * All of it happens inside the reconcile of the machine, before its domain is defined: a definition that named the file of a
 * moment ago would start a guest from the wrong one. What takes long goes on beside (long-work.ts) and is looked at; while
 * `hold` is said, nothing else is done with the machine. Called by virtual-machine/reconciler.ts, delete-machine.ts and
 * executor.ts.
 */
import { dropSnapshot, snapshotFinalizer } from './drop-snapshot.ts';
import type { SnapshotContext } from './snapshot-context.ts';
import { revertWork } from './revert-context.ts';
import { tellTree } from './snapshot-tree.ts';
import { takeSnapshot, type StepResult } from './take-snapshot.ts';
import { lookAgain, readAgain, type Round } from '../virtual-machine/round.ts';
import { NotReadyError } from '../virtual-machine/not-ready-error.ts';
import type { VirtualMachineSnapshot } from '../../api/virtual-machine-snapshot.ts';
import { apiVersion } from '../../api/meta.ts';
import { parseObjectKey, refOf } from '../../kube/object.ts';
import { isNotFound } from '../../kube/status-error.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';
import type { ReconcileResult } from '../../reconcile/controller.ts';
import { hasFinalizer, isBeingDeleted } from '../../reconcile/finalizers.ts';

/** More steps than can follow each other without waiting. */
const maxSteps = 64;

/** See the head of this file. */
export class MachineSnapshots {
  readonly context: SnapshotContext;

  constructor(context: SnapshotContext) {
    this.context = context;
  }

  /**
   * Does the next steps of a machine's snapshots.
   *
   * @param goes The machine is being deleted: what was begun of a revert does not matter any more.
   * @returns Whether the machine has to be left alone: its files are being changed.
   */
  async keep(round: Round, goes = false): Promise<boolean> {
    if (this.context.namesOf(round.key).length === 0) return false;
    if (this.context.work.isRunning(revertWork(round.key))) {
      lookAgain(round, 500);
      return true;
    }
    if (!goes && (await this.#isReverting(round))) return false;
    // What has to wait is passed by in this round.
    const waiting = new Set<string | undefined>();
    for (let turn = 0; turn < maxSteps; turn += 1) {
      const all = await this.#read(round);
      const next = all.find((one) => isOpen(one) && !waiting.has(one.metadata.uid));
      if (next === undefined) {
        await tellTree(this.context, all, round.view, round.signal);
        await this.#expire(all, round);
        return false;
      }
      const { hold, requeueAfterMs } = await this.#step(next, all, round);
      await readAgain(round);
      if (requeueAfterMs === 0) continue;
      if (requeueAfterMs !== undefined) lookAgain(round, requeueAfterMs);
      if (hold) {
        const verb = isBeingDeleted(next) ? 'merged' : 'taken';
        round.trouble = new NotReadyError(
          'VolumeNotReady',
          'Provisioning',
          `VirtualMachineSnapshot "${next.metadata.name ?? ''}" is being ${verb}`,
        );
        return true;
      }
      // One at a time: what was begun comes to its end first.
      const now = await this.context.snapshots.find(refOf(next), { signal: round.signal });
      if (now?.status?.step !== undefined) return false;
      waiting.add(next.metadata.uid);
    }
    lookAgain(round, 20);
    return false;
  }

  /**
   * The machine goes: so do its snapshots, and its disks are whole again. Its guest is off.
   *
   * @returns Whether all are gone; else it is looked again.
   */
  async release(round: Round): Promise<boolean> {
    const { signal } = round;
    for (const name of this.context.namesOf(round.key)) {
      const ref = { namespace: parseObjectKey(round.key).namespace, name };
      const found = await this.context.snapshots.find(ref, { signal });
      if (found === undefined || !belongs(found, round) || isBeingDeleted(found)) continue;
      await this.#delete(found, signal);
    }
    await this.keep(round, true);
    const left = await this.#read(round);
    return left.every((one) => !hasFinalizer(one, snapshotFinalizer));
  }

  /** A snapshot whose machine is gone; called with its own key. */
  async reconcileOrphan(
    key: string,
    libvirt: Libvirt | undefined,
    signal: AbortSignal,
  ): Promise<ReconcileResult | undefined> {
    const { snapshots, machines, wake, nodeName } = this.context;
    const found = await snapshots.find(parseObjectKey(key), { signal });
    if (found === undefined) return undefined;
    const { namespace } = found.metadata;
    const machine = await machines.find({ namespace, name: found.spec.virtualMachine }, { signal });
    const uid = found.status?.virtualMachineUID;
    if (machine !== undefined && (uid === undefined || uid === machine.metadata.uid)) {
      if (machine.spec.nodeName === nodeName) wake(`${namespace ?? ''}/${found.spec.virtualMachine}`);
      return undefined;
    }
    if (!isBeingDeleted(found) || libvirt === undefined || found.status?.nodeName !== nodeName) return undefined;
    const { requeueAfterMs } = await dropSnapshot(this.context, found, { libvirt, view: undefined, signal });
    return { requeueAfterMs };
  }

  async #step(next: VirtualMachineSnapshot, all: readonly VirtualMachineSnapshot[], round: Round): Promise<StepResult> {
    const { libvirt, view, signal } = round;
    const others = all.filter((one) => one !== next);
    if (isBeingDeleted(next) && next.status?.step !== 'Taking') {
      return dropSnapshot(this.context, next, { libvirt, view, signal });
    }
    const claimed = await this.#claim(next, round);
    return takeSnapshot(this.context, claimed, { libvirt, machine: round.status.machine, view, others, signal });
  }

  /** The finalizer, and the machine as owner: it goes with it. */
  async #claim(snapshot: VirtualMachineSnapshot, round: Round): Promise<VirtualMachineSnapshot> {
    if (hasFinalizer(snapshot, snapshotFinalizer) || isBeingDeleted(snapshot)) return snapshot;
    const { machine } = round.status;
    const { resourceVersion, uid, finalizers = [], ownerReferences = [] } = snapshot.metadata;
    const owner = {
      apiVersion,
      kind: 'VirtualMachine',
      name: machine.metadata.name ?? '',
      uid: machine.metadata.uid ?? '',
    };
    const patch = {
      metadata: {
        resourceVersion,
        uid,
        finalizers: [...finalizers, snapshotFinalizer],
        ownerReferences: [...ownerReferences.filter((one) => one.uid !== owner.uid), owner],
      },
    };
    return this.context.snapshots.mergePatch(refOf(snapshot), patch, { signal: round.signal });
  }

  /** The machine's snapshots as they are now, those that something is being done with first, then the oldest first. */
  async #read(round: Round): Promise<VirtualMachineSnapshot[]> {
    const { namespace } = parseObjectKey(round.key);
    const found = await Promise.all(
      this.context
        .namesOf(round.key)
        .map((name) => this.context.snapshots.find({ namespace, name }, { signal: round.signal })),
    );
    return found
      .filter((one) => one !== undefined)
      .filter((one) => one.spec.schedule === undefined && belongs(one, round))
      .sort((a, b) => (orderOf(a) < orderOf(b) ? -1 : 1));
  }

  async #isReverting(round: Round): Promise<boolean> {
    const { namespace } = parseObjectKey(round.key);
    for (const name of round.parts.openOperations(round.key)) {
      const operation = await this.context.operations.find({ namespace, name }, { signal: round.signal });
      const { phase, step } = operation?.status ?? {};
      if (operation?.spec.verb === 'Revert' && phase === 'Running' && step !== 'Preparing') return true;
    }
    return false;
  }

  async #expire(all: readonly VirtualMachineSnapshot[], round: Round): Promise<void> {
    for (const snapshot of all) {
      const { ttlSeconds } = snapshot.spec;
      const taken = Date.parse(snapshot.status?.creationTime ?? '');
      if (ttlSeconds === undefined || !Number.isFinite(taken)) continue;
      const leftMs = taken + ttlSeconds * 1000 - this.context.clock.now();
      if (leftMs > 0) lookAgain(round, Math.min(leftMs, 60 * 60_000));
      else await this.#delete(snapshot, round.signal);
    }
  }

  async #delete(snapshot: VirtualMachineSnapshot, signal: AbortSignal): Promise<void> {
    try {
      await this.context.snapshots.delete(refOf(snapshot), { preconditions: { uid: snapshot.metadata.uid }, signal });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }
}

/** Whether something is to be done with it. */
function isOpen(snapshot: VirtualMachineSnapshot): boolean {
  if (isBeingDeleted(snapshot)) return hasFinalizer(snapshot, snapshotFinalizer) || snapshot.status?.step === 'Taking';
  return snapshot.status?.step !== undefined || ![...settled].includes(snapshot.status?.phase ?? 'Pending');
}

const settled: ReadonlySet<string> = new Set(['Ready', 'Failed', 'Scheduled', 'Reverting']);

/** Of this machine, not of one of the same name before it. */
function belongs({ status }: VirtualMachineSnapshot, round: Round): boolean {
  const uid = status?.virtualMachineUID;
  return uid === undefined || uid === round.status.machine.metadata.uid;
}

function orderOf({ status, metadata }: VirtualMachineSnapshot): string {
  const isBusy = status?.step !== undefined;
  return [isBusy ? '0' : '1', metadata.creationTimestamp ?? '', metadata.name ?? ''].join(' ');
}
