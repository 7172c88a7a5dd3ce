/**
 * The target's part of a migration; see migration-notes.ts for the whole. It answers what the source asks, makes the files
 * that the guest needs here, and removes what is left when it did not come. It never starts a guest.
 */
import { rm } from 'node:fs/promises';
import { arrivalOf } from './arrival.ts';
import { answerTo, mayGo, migrationFinalizer, migrationNotes, type MovedDisk } from './migration-notes.ts';
import { disksOnceHere, makeDiskVolumes } from './receive-disks.ts';
import { prepareFiles } from './receive-files.ts';
import { RefusedError } from './refused-error.ts';
import { domainsWith } from '../virtual-disk/disk-users.ts';
import { deleteDomain } from '../virtual-machine/delete-domain.ts';
import { findDomain, readDomain, type DomainView, type LibvirtCallOptions } from '../virtual-machine/domain-view.ts';
import { isForeign } from '../virtual-machine/foreign-domain.ts';
import { NotReadyError } from '../virtual-machine/not-ready-error.ts';
import { messageOf, type MachineReconcilerOptions } from '../virtual-machine/round.ts';
import { resolveVolumes } from '../virtual-machine/volumes.ts';
import { machineUuid } from '../../api/machine-uuid.ts';
import type { VirtualMachineOperation } from '../../api/virtual-machine-operation.ts';
import { domainName, type VirtualMachine } from '../../api/virtual-machine.ts';
import { InvalidInputError, toError } from '../../base/errors.ts';
import { parseObjectKey, refOf } from '../../kube/object.ts';
import { isConflict, isNotFound as isGone } from '../../kube/status-error.ts';
import { isNotFound, LibvirtError } from '../../libvirt/errors.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';
import type { ReconcileContext, ReconcileResult } from '../../reconcile/controller.ts';
import { isBeingDeleted, removeFinalizer } from '../../reconcile/finalizers.ts';

/** What it works with. */
export interface ReceiverOptions {
  readonly parts: MachineReconcilerOptions;
  /** How the libvirtds of other nodes reach this node's, as `qemu+tls://node-2/system`. */
  readonly migrationUri: string;
}

/** A guest that is still coming is looked for this often, in milliseconds. */
const pollMs = 300;
const callMs = 30_000;
/** A target that does not say that it has removed what is left is waited for this often, in milliseconds. */
const goneMs = 60_000;

interface Arriving {
  readonly operation: VirtualMachineOperation;
  readonly machine: VirtualMachine;
  readonly libvirt: Libvirt;
  readonly options: LibvirtCallOptions;
  readonly signal: AbortSignal;
}

/** See the head of this file. */
export class MigrationReceiver {
  readonly #parts: MachineReconcilerOptions;
  readonly #migrationUri: string;

  constructor({ parts, migrationUri }: ReceiverOptions) {
    this.#parts = parts;
    this.#migrationUri = migrationUri;
  }

  /** Looks at one operation Migrate, by `namespace/name`. */
  async reconcile(key: string, { signal }: ReconcileContext): Promise<ReconcileResult | undefined> {
    try {
      return await this.#look(key, signal);
    } catch (error) {
      // Both nodes are done with it at the same time, and both say so.
      if (isConflict(error)) return { requeueAfterMs: 50 };
      if (isGone(error)) return undefined;
      throw error;
    }
  }

  async #look(key: string, signal: AbortSignal): Promise<ReconcileResult | undefined> {
    const { operations, machines, nodeName } = this.#parts;
    const libvirt = this.#parts.libvirt();
    // Everything is looked at again when the connection is back.
    if (libvirt === undefined) return undefined;
    const operation = await operations.find(parseObjectKey(key), { signal });
    if (operation?.spec.verb !== 'Migrate') return undefined;
    const { source, target } = migrationNotes(operation);
    if (source !== nodeName && target !== nodeName) return undefined;
    const { namespace } = operation.metadata;
    const machine = await machines.find({ namespace, name: operation.spec.virtualMachine }, { signal });
    const isThis = machine?.metadata.uid === operation.status?.context?.['machineUid'];
    const phase = operation.status?.phase;
    if (phase === 'Succeeded' || phase === 'Failed') {
      if (target !== nodeName) {
        if (!mayGo(operation, this.#parts.clock.now())) return { requeueAfterMs: goneMs };
      } else if (phase === 'Failed') {
        if (machine !== undefined && isThis) {
          await this.#clean({ operation, machine, libvirt, signal, options: { signal, timeoutMs: callMs } });
        } else await removeFiles(libvirt, migrationNotes(operation).made, signal);
      }
      await removeFinalizer(operations, operation, migrationFinalizer, signal);
      return undefined;
    }
    // Nobody is left to call it off.
    if ((machine === undefined || !isThis) && isBeingDeleted(operation)) {
      await removeFinalizer(operations, operation, migrationFinalizer, signal);
    }
    if (target !== nodeName || machine === undefined || !isThis) return undefined;
    const arriving = { operation, machine, libvirt, signal, options: { signal, timeoutMs: callMs } };
    if (operation.status?.step === 'Preparing') return this.#prepare(arriving);
    if (operation.status?.step === 'Switching') return this.#answer(arriving);
    return undefined;
  }

  /** Makes what the guest needs here, and says where it is to be sent; or why it cannot come. */
  async #prepare(arriving: Arriving): Promise<undefined> {
    const { operation, machine, libvirt, options } = arriving;
    const { destination, refusal, disks, networks, made: noted } = migrationNotes(operation);
    if (destination !== undefined || refusal !== undefined || disks === undefined) return;
    const made = new Set(noted);
    try {
      const { traits } = this.#parts;
      const type = machine.spec.domain?.type ?? 'kvm';
      if (type === 'kvm' && !traits().kvmUsable) throw new RefusedError(`KVM cannot be used: ${traits().kvmMessage}`);
      await this.#makeRoom(arriving);
      for (const name of networks) await requireNetwork(libvirt, name, options);
      await this.#makeVolumes(arriving, disks);
      await prepareFiles(disks, made, (paths) => this.#note(arriving, { made: JSON.stringify(paths) }));
      await makeDiskVolumes({ ...arriving, parts: this.#parts }, disks);
      await this.#note(arriving, { destination: this.#migrationUri });
    } catch (error) {
      // Nothing is left that says whose they are; else they are made anew, or removed when it has failed.
      if (isGone(error)) for (const path of made) await rm(path, { force: true });
      const known = error instanceof RefusedError || error instanceof NotReadyError;
      if (!known && !(error instanceof LibvirtError) && !(error instanceof InvalidInputError)) throw error;
      for (const path of made) await rm(path, { force: true });
      await this.#note(arriving, { refusal: messageOf(toError(error)).slice(0, 1024), made: '[]' });
    }
  }

  /** A definition that an earlier migration left goes; anything else of this name is in the way. */
  async #makeRoom(arriving: Arriving): Promise<void> {
    const { machine, options } = arriving;
    const view = await find(arriving);
    if (view === undefined) {
      // What was made for it when it was here before is not what the guest has now.
      await this.#parts.media.remove(machineUuid(machine));
      return;
    }
    const name = domainName(machine);
    if (isForeign(machine, view)) throw new RefusedError(`there is a domain "${name}" that belongs to somebody else`);
    if (view.state !== 'off') throw new RefusedError(`a domain "${name}" is active there already`);
    await deleteDomain(view.domain, options);
    await this.#parts.media.remove(machineUuid(machine));
  }

  async #makeVolumes({ machine, signal }: Arriving, disks: readonly MovedDisk[]): Promise<void> {
    if (machine.spec.volumes === undefined) return;
    const sources = { ...this.#parts, disks: disksOnceHere(this.#parts, disks) };
    const volumes = await resolveVolumes(machine, sources, signal);
    for (const { name, target, path } of volumes) {
      const there = disks.find((disk) => disk.target === target);
      if (there === undefined || path === undefined || there.path === path) continue;
      throw new RefusedError(
        `volume ${name} would be ${path} there and is ${there.path} here; the paths must be equal`,
      );
    }
  }

  /** Says where the guest is, as far as this node is concerned. */
  async #answer(arriving: Arriving): Promise<ReconcileResult | undefined> {
    const { asked, answer } = migrationNotes(arriving.operation);
    if (asked === undefined || answer !== undefined) return undefined;
    const arrival = await arrivalOf(arriving.machine, await find(arriving), arriving.options);
    if (arrival === undefined) return { requeueAfterMs: pollMs };
    await this.#note(arriving, answerTo(asked, arrival));
    return undefined;
  }

  /** The guest did not come: nothing of it stays here. */
  async #clean(arriving: Arriving): Promise<void> {
    const { operation, machine, libvirt, signal, options } = arriving;
    const { isHeld, isCleaned, made, destination } = migrationNotes(operation);
    if (isCleaned || (destination === undefined && made.length === 0)) return;
    const view = await find(arriving);
    // After the domain was read: what a later migration brought in the meantime is not what this one left.
    if ((await this.#isHere(arriving)) || (await this.#isComingAgain(arriving))) return;
    if (view !== undefined && isForeign(machine, view)) return;
    if (view !== undefined && view.state !== 'off') {
      // Only where the source said that it has the guest: a second copy is nobody's.
      if (!isHeld) return;
      await view.domain.destroy(options);
    }
    if (view !== undefined) await deleteDomain(view.domain, options);
    await removeFiles(libvirt, made, signal);
    await this.#parts.media.remove(machineUuid(machine));
    await this.#note(arriving, { cleaned: this.#parts.nodeName });
  }

  /** Whether the machine is this node's by now, or another has its name. */
  async #isHere({ machine, signal }: Arriving): Promise<boolean> {
    const now = await this.#parts.machines.find(refOf(machine), { signal });
    if (now === undefined) return false;
    return now.metadata.uid !== machine.metadata.uid || now.spec.nodeName === this.#parts.nodeName;
  }

  /** Whether a later migration of the machine has this node for its target: then what is here is that one's. */
  async #isComingAgain({ operation, signal }: Arriving): Promise<boolean> {
    const { namespace, name: own } = operation.metadata;
    for (const name of this.#parts.openOperations(`${namespace ?? ''}/${operation.spec.virtualMachine}`)) {
      if (name === own) continue;
      const other = await this.#parts.operations.find({ namespace, name }, { signal });
      if (other === undefined || other.spec.verb !== 'Migrate') continue;
      const { target = other.spec.migrate?.nodeName } = migrationNotes(other);
      if (target === undefined || target === this.#parts.nodeName) return true;
    }
    return false;
  }

  async #note({ operation, signal }: Arriving, context: Readonly<Record<string, string>>): Promise<void> {
    const patch = { metadata: { uid: operation.metadata.uid }, status: { context } };
    await this.#parts.operations.mergePatch(refOf(operation), patch, { subresource: 'status', signal });
  }
}

async function find({ libvirt, machine, options }: Arriving): Promise<DomainView | undefined> {
  const domain = await findDomain(libvirt, domainName(machine), machineUuid(machine), options);
  return domain === undefined ? undefined : readDomain(domain, options);
}

/** Removes files that were made for a guest which did not come; one that a domain has by now is that one's. */
async function removeFiles(libvirt: Libvirt, paths: readonly string[], signal: AbortSignal): Promise<void> {
  for (const path of paths) {
    const users = await domainsWith(libvirt, path, false, signal);
    if (users.length === 0) await rm(path, { force: true });
  }
}

async function requireNetwork(libvirt: Libvirt, name: string, options: LibvirtCallOptions): Promise<void> {
  try {
    const network = await libvirt.networks.byName(name, options);
    if (!(await network.isActive(options))) throw new RefusedError(`the network "${name}" is not active there`);
  } catch (error) {
    if (!isNotFound(error)) throw error;
    throw new RefusedError(`there is no network "${name}"`);
  }
}
