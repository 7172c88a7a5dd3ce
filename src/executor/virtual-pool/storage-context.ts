/** What the reconcilers of pools, images and disks share: where they look, and how they say that they wait. */
import type { DiskSecrets } from '../virtual-disk/disk-secrets.ts';
import type { FileHolds } from '../virtual-disk/file-holds.ts';
import type { SecretObject } from '../virtual-machine/volumes.ts';
import type { Hypervisor } from '../../api/hypervisor.ts';
import type { VirtualDisk } from '../../api/virtual-disk.ts';
import type { VirtualImage } from '../../api/virtual-image.ts';
import type { VirtualMachine } from '../../api/virtual-machine.ts';
import type { VirtualMachineOperation } from '../../api/virtual-machine-operation.ts';
import type { VirtualMachineSnapshot } from '../../api/virtual-machine-snapshot.ts';
import type { VirtualPool } from '../../api/virtual-pool.ts';
import { ConflictError, FailedError, toError, UnreachableError } from '../../base/errors.ts';
import type { Clock } from '../../base/clock.ts';
import type { ResourceClient } from '../../kube/resource-client.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';
import type { EventRecord } from '../../reconcile/event-recorder.ts';

/** A node, as far as storage has to know it. */
export interface StorageNode {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** A machine that names a disk or an image. */
export interface StorageUser {
  readonly name: string;
  /** Where it is; empty when it is not placed yet. */
  readonly nodeName: string;
}

/** See the head of this file. */
export interface StorageContext {
  readonly nodeName: string;
  /** Where files lie while they are on their way, as /var/lib/virtctl/images. */
  readonly spoolFolder: string;
  readonly pools: ResourceClient<VirtualPool>;
  readonly disks: ResourceClient<VirtualDisk>;
  readonly images: ResourceClient<VirtualImage>;
  readonly machines: ResourceClient<VirtualMachine>;
  readonly snapshots: ResourceClient<VirtualMachineSnapshot>;
  /** Migrations that copy disks. */
  readonly operations: ResourceClient<VirtualMachineOperation>;
  /** Passwords and certificates of pools and web servers. */
  readonly secrets: ResourceClient<SecretObject>;
  /** The keys of encrypted disks. */
  readonly diskSecrets: DiskSecrets;
  /** Files that somebody works on. */
  readonly fileHolds: FileHolds;
  /** Pools of type disk in which a partition is being made, and when that is over. */
  readonly partitioning: Map<string, Promise<unknown>>;
  readonly hypervisors: Pick<ResourceClient<Hypervisor>, 'find'>;
  /** All Hypervisors, by name, as last seen. */
  readonly nodes: () => readonly StorageNode[];
  /** All disks, as last seen. */
  readonly knownDisks: () => readonly VirtualDisk[];
  /** All images, as last seen. */
  readonly knownImages: () => readonly VirtualImage[];
  /** The machines that name a disk or an image. */
  readonly usersOf: (kind: 'VirtualDisk' | 'VirtualImage', namespace: string, name: string) => readonly StorageUser[];
  readonly libvirt: () => Libvirt | undefined;
  readonly record: (event: EventRecord) => void;
  readonly clock: Clock;
}

/**
 * Something that is needed is not there yet, or was refused; told in status, and tried again.
 */
export class StorageProblem extends FailedError {
  override readonly code: string;
  /** The reason of the condition Ready. */
  readonly reason: string;
  /** Nothing changes until somebody changes the object: no retry. */
  readonly isFinal: boolean;

  constructor(reason: string, message: string, options: { cause?: unknown; isFinal?: boolean } = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : {});
    this.code = reason;
    this.reason = reason;
    this.isFinal = options.isFinal === true;
  }
}

/** Copying, preallocating and wiping take as long as disks are large. */
export const longMs = 24 * 60 * 60_000;
/** How often what waits is looked at, beside the events that tell of it. */
export const waitMs = 10_000;

/** What nobody tells of when it changes: looked for this often, in milliseconds, and not ever more rarely. */
const looks: Readonly<Record<string, number>> = { SecretNotFound: 5_000, SecretNotReady: 5_000, OutOfSpace: 10_000 };

/** When what a problem is about is looked at again; undefined where it is tried again ever more rarely. */
export function lookAfterMs({ reason }: StorageProblem): number | undefined {
  return looks[reason];
}

/** The name of the pool of an object that names none. */
export const defaultPoolName = 'default';

/**
 * The connection to libvirt.
 *
 * @throws UnreachableError while there is none.
 */
export function libvirtOf(context: StorageContext): Libvirt {
  const libvirt = context.libvirt();
  if (libvirt === undefined) throw new UnreachableError('libvirt is not connected');
  return libvirt;
}

/** Whether it says that there is no room: ENOSPC and EDQUOT in the words of libvirt, qemu-img and LVM. */
export function isOutOfSpace(error: unknown): boolean {
  for (let one: unknown = error; one instanceof Error; one = one.cause) {
    if (
      /No space left on device|ENOSPC|Disk quota exceeded|insufficient free space|not enough free space|no large enough free extent/i.test(
        one.message,
      )
    ) {
      return true;
    }
  }
  return false;
}

/**
 * What goes into status for whatever was thrown.
 *
 * @param reason For what is neither a {@link StorageProblem} nor a lack of space.
 * @param place Named when there is no space left, as `pool fast on node a`.
 */
export function problemOf(thrown: unknown, reason: string, place: string): StorageProblem {
  if (thrown instanceof StorageProblem) return thrown;
  const cause = toError(thrown);
  if (isOutOfSpace(cause)) {
    return new StorageProblem('OutOfSpace', `there is no space left in ${place}: ${cause.message}`, { cause });
  }
  return new StorageProblem(reason, cause.message, { cause });
}

/** Whether a thrown error is about the way to the API server or libvirt, or an edit in between: no news for status. */
export function isPassing(error: unknown, signal: AbortSignal): boolean {
  return signal.aborted || error instanceof UnreachableError || error instanceof ConflictError;
}
