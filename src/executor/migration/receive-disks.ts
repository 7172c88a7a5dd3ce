/**
 * The target's volumes for VirtualDisks that go with their machine. Each is noted in its disk's status before libvirt is asked
 * to make it; what stands there already and is not noted as ours is never touched. Where the migration fails they are removed
 * by ../virtual-disk/second-volume.ts.
 */
import type { MovedDisk } from './migration-notes.ts';
import { RefusedError } from './refused-error.ts';
import { removeVolume } from '../virtual-disk/remove-volume.ts';
import { findVolume } from '../virtual-disk/volume-facts.ts';
import { volumeXml } from '../virtual-disk/volume-definition.ts';
import { fileExists } from '../virtual-machine-snapshot/image-files.ts';
import { memberAt, textOf } from '../virtual-machine/same-value.ts';
import type { MachineReconcilerOptions } from '../virtual-machine/round.ts';
import { readPool } from '../virtual-pool/pool-definition.ts';
import type { DiskMove, VirtualDisk } from '../../api/virtual-disk.ts';
import type { VirtualMachineOperation } from '../../api/virtual-machine-operation.ts';
import { refOf, type ObjectMeta } from '../../kube/object.ts';
import { isNotFound, LibvirtError } from '../../libvirt/errors.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';
import type { Pool } from '../../libvirt/objects/pools.ts';

/** Types of pools whose volumes are files of the node. */
const filePools: ReadonlySet<string> = new Set(['dir', 'fs', 'netfs']);
/** Reserving all of a large volume takes its time, in milliseconds; the source waits a minute for all of them. */
const makeMs = 50_000;

/** What {@link makeDiskVolumes} works with. */
export interface DiskReceiver {
  readonly parts: Pick<MachineReconcilerOptions, 'nodeName' | 'disks' | 'fileHolds'>;
  readonly operation: VirtualMachineOperation;
  readonly libvirt: Libvirt;
  readonly signal: AbortSignal;
}

/**
 * Makes the volumes that VirtualDisks are to be copied into; those that this migration had made before are made anew.
 *
 * @throws RefusedError when one cannot be made here; LibvirtError when libvirt does not make it.
 */
export async function makeDiskVolumes(receiver: DiskReceiver, moved: readonly MovedDisk[]): Promise<void> {
  const { parts, operation, signal } = receiver;
  for (const one of moved) {
    if (one.disk === undefined || !one.copy) continue;
    const ref = { namespace: operation.metadata.namespace, name: one.disk };
    const disk = await parts.disks.find(ref, { signal });
    if (disk === undefined) throw new RefusedError(`VirtualDisk "${one.disk}" is gone`);
    await makeDiskVolume(receiver, disk, one);
  }
}

async function makeDiskVolume(receiver: DiskReceiver, disk: VirtualDisk, moved: MovedDisk): Promise<void> {
  const { parts, operation, signal } = receiver;
  const { name = '', uid, resourceVersion } = disk.metadata;
  const { pool: poolName = '', volume = '', path = '', move } = disk.status ?? {};
  const pool = await activePool(receiver.libvirt, poolName, name, signal);
  const xml = readPool(await pool.xml({ signal }));
  const type = textOf(xml['type']);
  if (!filePools.has(type))
    throw new RefusedError(`the pool "${poolName}" is of type ${type}; its volumes are no files`);
  const there = `${textOf(memberAt(xml, 'target', 'path'))}/${volume}`;
  if (there !== moved.path || path !== moved.path) {
    throw new RefusedError(
      `VirtualDisk "${name}" would be ${there} there and is ${moved.path} here; the paths must be equal`,
    );
  }
  const isOurs = move?.nodeName === parts.nodeName && move.operationUid === operation.metadata.uid;
  if (move !== undefined && !isOurs) {
    throw new RefusedError(`VirtualDisk "${name}" has a second volume on node ${move.nodeName} still`);
  }
  const hold = parts.fileHolds.take(new Map([[path, 'write']]), `VirtualDisk ${name} is being copied here`);
  if (hold.busy !== undefined) throw new RefusedError(hold.busy);
  const write = (noted: DiskMove | null, metadata: ObjectMeta): Promise<VirtualDisk> =>
    parts.disks.mergePatch(refOf(disk), { metadata, status: { move: noted } }, { subresource: 'status', signal });
  try {
    const stands = (await fileExists(path)) || (await findVolume(pool, volume, signal)) !== undefined;
    if (stands && !isOurs) {
      throw new RefusedError(`${path} exists there and is not this disk's; it would be overwritten`);
    }
    if (stands) {
      // A libvirtd that was killed has not seen it yet.
      await pool.refresh({ signal });
      await removeVolume(pool, volume, undefined, signal);
    }
    const { name: operationName = '', uid: operationUid = '' } = operation.metadata;
    const note: DiskMove = {
      ...{ nodeName: parts.nodeName, state: 'Copying', operation: operationName, operationUid },
      ...{ pool: poolName, volume, path },
    };
    // Looking at a pool may take long: meanwhile this migration may have been given up, and another have noted its volume.
    const noted = await write(note, { uid, resourceVersion });
    if (noted.status?.move?.operationUid !== operationUid) {
      throw new RefusedError('the API server drops status.move of VirtualDisks: their CRD is of an older version');
    }
    try {
      await createVolume(pool, disk, { volume, type, format: moved.format, bytes: moved.bytes ?? 0 }, signal);
    } catch (error) {
      // Somebody made a file of that name in this very moment: it is theirs, and must not be removed as ours.
      if (error instanceof LibvirtError && /exists? already|already exists?/i.test(error.message))
        await write(null, { uid });
      throw error;
    }
  } finally {
    hold.release();
  }
}

async function createVolume(
  pool: Pool,
  disk: VirtualDisk,
  { volume, type, format, bytes }: Record<'volume' | 'type' | 'format', string> & { readonly bytes: number },
  signal: AbortSignal,
): Promise<void> {
  // What it lay over comes with its content, and its size is what the guest sees now.
  const { capacity: _capacity, allocation: _allocation, backingStore: _below, ...rest } = disk.spec.volume ?? {};
  const plain = { ...disk, spec: { ...disk.spec, volume: rest } };
  const xml = volumeXml(plain, volume, format, bytes, type, { backing: undefined, copyOf: undefined });
  const made = await pool.createVolume(xml, { signal, timeoutMs: makeMs });
  const { capacityBytes } = await made.info({ signal });
  if (capacityBytes !== bytes) {
    throw new RefusedError(
      `the volume for VirtualDisk "${disk.metadata.name ?? ''}" has ${capacityBytes} bytes, not ${bytes}`,
    );
  }
}

async function activePool(libvirt: Libvirt, name: string, disk: string, signal: AbortSignal): Promise<Pool> {
  try {
    const pool = await libvirt.pools.byName(name, { signal });
    if (await pool.isActive({ signal })) return pool;
  } catch (error) {
    if (!isNotFound(error)) throw error;
    throw new RefusedError(`there is no pool "${name}" for VirtualDisk "${disk}"`, { cause: error });
  }
  throw new RefusedError(`the pool "${name}" for VirtualDisk "${disk}" is not active there`);
}

/** VirtualDisks as they will be when the machine is here: for whoever looks where the files of its volumes are. */
export function disksOnceHere(
  { disks, nodeName }: Pick<MachineReconcilerOptions, 'disks' | 'nodeName'>,
  moved: readonly MovedDisk[],
): Pick<MachineReconcilerOptions['disks'], 'find' | 'get' | 'create'> {
  const names = new Set(moved.flatMap(({ disk, copy }) => (disk === undefined || !copy ? [] : [disk])));
  const asHere = (disk: VirtualDisk): VirtualDisk =>
    names.has(disk.metadata.name ?? '') ? { ...disk, status: { ...disk.status, nodeName } } : disk;
  return {
    find: async (...args) => {
      const disk = await disks.find(...args);
      return disk === undefined ? undefined : asHere(disk);
    },
    get: async (...args) => asHere(await disks.get(...args)),
    create: (...args) => disks.create(...args),
  };
}
