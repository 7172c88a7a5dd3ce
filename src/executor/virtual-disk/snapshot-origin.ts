/** The disks of snapshots as sources of new disks, and the snapshots that keep a disk. */
import { isInUse, readHeader } from '../virtual-machine-snapshot/image-files.ts';
import { StorageProblem, type StorageContext } from '../virtual-pool/storage-context.ts';
import type { VirtualDisk } from '../../api/virtual-disk.ts';
import { isNotFound } from '../../libvirt/errors.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';
import { isBeingDeleted } from '../../reconcile/finalizers.ts';

/** Where the disk of a snapshot is. */
export interface SnapshotFile {
  readonly path: string;
  readonly format: string;
  /** It is inside of the file, beside what the file has now. */
  readonly inside?: { readonly path: string; readonly snapshot: string; readonly bytes: number };
}

/**
 * Finds the disk of a snapshot.
 *
 * @throws StorageProblem when the snapshot is not there, is being merged, or lies in a file that a guest writes to.
 */
export async function snapshotFile(
  context: StorageContext,
  libvirt: Libvirt,
  namespace: string | undefined,
  { name, volume }: { readonly name: string; readonly volume: string },
  signal: AbortSignal,
): Promise<SnapshotFile> {
  const waiting = (message: string): StorageProblem => new StorageProblem('SourceNotReady', message);
  const snapshot = await context.snapshots.find({ namespace, name }, { signal });
  if (snapshot === undefined) throw waiting(`there is no VirtualMachineSnapshot "${name}"`);
  const { phase, nodeName, disks = [], name: inside = '' } = snapshot.status ?? {};
  if (isBeingDeleted(snapshot)) throw waiting(`VirtualMachineSnapshot "${name}" is being deleted`);
  if (phase !== 'Ready') throw waiting(`VirtualMachineSnapshot "${name}" is ${phase ?? 'Pending'}`);
  if (nodeName !== context.nodeName) throw waiting(`VirtualMachineSnapshot "${name}" is on node ${nodeName ?? ''}`);
  const disk = disks.find((one) => one.name === volume || one.target === volume);
  if (disk?.path === undefined || disk.mode === 'None') {
    const known = disks.filter(({ mode }) => mode !== 'None').map((one) => one.name ?? one.target);
    throw new StorageProblem(
      'CreateFailed',
      `VirtualMachineSnapshot "${name}" has no disk "${volume}", but ${known.join(', ')}`,
      { isFinal: true },
    );
  }
  const { path, format = 'raw' } = disk;
  if (disk.mode !== 'Internal') {
    await knowFile(libvirt, path, signal);
    return { path, format };
  }
  if (await isInUse(path, 'qcow2', signal)) {
    throw waiting(
      `the snapshot lies in ${path}, which a guest writes to; stop VirtualMachine ${snapshot.spec.virtualMachine} first`,
    );
  }
  const { virtualBytes, isEncrypted } = await readHeader(path, 'qcow2', signal);
  if (isEncrypted) {
    const message = `the snapshot lies in ${path}, which is encrypted: it cannot be copied out of it`;
    throw new StorageProblem('CreateFailed', message, { isFinal: true });
  }
  return { path, format, inside: { path, snapshot: inside, bytes: virtualBytes } };
}

/** A pool knows the files that others made when it looks again. */
async function knowFile(libvirt: Libvirt, path: string, signal: AbortSignal): Promise<void> {
  try {
    await libvirt.pools.volumeByPath(path, { signal });
  } catch (error) {
    if (!isNotFound(error)) throw error;
    const folder = path.slice(0, path.lastIndexOf('/'));
    const pool = await libvirt.pools.byTargetPath(folder, { signal });
    await pool.refresh({ signal });
  }
}

/** The snapshots that have a disk, in words. */
export async function snapshotsOfDisk(
  context: StorageContext,
  disk: VirtualDisk,
  signal: AbortSignal,
): Promise<string[]> {
  const { namespace = '', name = '' } = disk.metadata;
  const { items } = await context.snapshots.listAll({ namespace, signal });
  return items
    .filter(({ status }) => status?.creationTime !== undefined)
    .filter(({ status }) => status?.disks?.some((one) => one.virtualDisk === name && one.mode !== 'None') === true)
    .filter(({ spec }) => spec.retainPolicy !== 'Retain')
    .map(({ metadata }) => `VirtualMachineSnapshot ${metadata.name ?? ''}`);
}
