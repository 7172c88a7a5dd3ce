/** What a new disk begins with: nothing, an image, another disk, a file of the node. */
import { domainsWith } from './disk-users.ts';
import { isOnThisNode } from './disk-places.ts';
import { snapshotFile } from './snapshot-origin.ts';
import { imageFormat } from './volume-facts.ts';
import { wantedBytes, type BackingFile } from './volume-definition.ts';
import { memberAt, textOf, type DataObject } from '../virtual-machine/same-value.ts';
import { namesOf } from '../virtual-pool/names-of.ts';
import { libvirtOf, StorageProblem, type StorageContext } from '../virtual-pool/storage-context.ts';
import { analyse } from '../../analyser/analyse.ts';
import { formatBytesRounded } from '../../api/quantity.ts';
import type { VirtualDisk } from '../../api/virtual-disk.ts';
import { isNotFound } from '../../libvirt/errors.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';
import type { Volume } from '../../libvirt/objects/volume.ts';
import { isBeingDeleted } from '../../reconcile/finalizers.ts';

/** What a volume begins with. */
export interface Origin {
  readonly bytes: number;
  /** The volume is an overlay over it. */
  readonly backing?: BackingFile | undefined;
  /** The volume is a copy of it. */
  readonly copyOf?: Volume | undefined;
  /** The file that is read. */
  readonly path?: string | undefined;
  /** The volume is a copy of a snapshot inside of a qcow2 file. */
  readonly inside?: { readonly path: string; readonly snapshot: string } | undefined;
}

/** Where a source is, and the format that it was made in. */
interface Known {
  readonly path: string;
  readonly format: string | undefined;
}

/**
 * What the volume begins with.
 *
 * @param format The format that the volume is made in.
 * @throws StorageProblem when the source is not there yet, does not fit, or cannot be trusted.
 */
export async function originOf(
  context: StorageContext,
  disk: VirtualDisk,
  format: string,
  signal: AbortSignal,
): Promise<Origin> {
  const { namespace } = disk.metadata;
  const { image, clone, snapshot, import: imported } = disk.spec.source ?? {};
  const wanted = wantedBytes(disk);
  const libvirt = libvirtOf(context);
  if (image === undefined && clone === undefined && snapshot === undefined && imported?.path === undefined) {
    const given = disk.spec.volume?.capacity;
    const bytes = wanted ?? Number(given?.value ?? 0);
    if (wanted === undefined && given?.unit !== undefined && given.unit !== 'bytes') {
      throw new StorageProblem('CreateFailed', 'spec.capacity has to say how large it is', { isFinal: true });
    }
    if (bytes <= 0) throw new StorageProblem('CreateFailed', 'spec.capacity is required', { isFinal: true });
    return { bytes };
  }
  let path: string;
  let known: string | undefined;
  let mode: 'Copy' | 'Overlay' = 'Copy';
  if (image !== undefined) {
    ({ path, format: known } = await imageFile(context, namespace, image.name, signal));
    mode = image.mode ?? 'Copy';
  } else if (clone !== undefined) {
    ({ path, format: known } = await cloneFile(context, libvirt, namespace, clone, signal));
    mode = clone.mode ?? 'Copy';
  } else if (snapshot !== undefined) {
    const found = await snapshotFile(context, libvirt, namespace, snapshot, signal);
    if (found.inside !== undefined) {
      if (wanted !== undefined && wanted < found.inside.bytes) throw tooSmall(found.inside.bytes, wanted);
      return { bytes: Math.max(wanted ?? 0, found.inside.bytes), inside: found.inside, path: found.inside.path };
    }
    ({ path, format: known } = found);
    mode = snapshot.mode ?? 'Copy';
  } else path = imported?.path ?? '';
  const source = await trustedSource(libvirt, path, known, signal);
  const { capacityBytes, format: sourceFormat } = source;
  if (imported !== undefined) refuseForeign(source.xml, imported.format, sourceFormat, path);
  if (wanted !== undefined && wanted < capacityBytes) throw tooSmall(capacityBytes, wanted);
  const bytes = Math.max(wanted ?? 0, capacityBytes);
  if (mode === 'Copy') return { bytes, copyOf: source.volume, path };
  if (format !== 'qcow2') {
    throw new StorageProblem('CreateFailed', `an overlay has to be qcow2, not ${format}`, { isFinal: true });
  }
  return { bytes, backing: { path, format: sourceFormat === '' ? 'raw' : sourceFormat } };
}

function tooSmall(sourceBytes: number, wanted: number): StorageProblem {
  const message = `its source is ${formatBytesRounded(sourceBytes)} large and does not fit into ${formatBytesRounded(wanted)}`;
  return new StorageProblem('CreateFailed', message, { isFinal: true });
}

/** A volume that may be copied. */
export interface TrustedSource {
  readonly volume: Volume;
  readonly capacityBytes: number;
  readonly format: string;
  readonly xml: DataObject;
}

/**
 * The volume at a path, if it is what it was made as: a guest can write another format's header into a raw disk.
 *
 * @param known The format that it was made in; undefined when nobody knows.
 * @throws StorageProblem when it is in no pool, or claims to be something else.
 */
export async function trustedSource(
  libvirt: Libvirt,
  path: string,
  known: string | undefined,
  signal: AbortSignal,
): Promise<TrustedSource> {
  const volume = await volumeAt(libvirt, path, signal);
  const { capacityBytes } = await volume.info({ signal });
  const xml = analyse(await volume.xml({ signal })).value as DataObject;
  const format = imageFormat(textOf(memberAt(xml, 'target', 'format', 'type')));
  if (memberAt(xml, 'target', 'encryption') !== undefined) {
    // libvirt looks at the pool, forgets which secret the volume has, and then cannot read it.
    const message = `its source ${path} is encrypted, and libvirt reads what is encrypted for guests only: copy it in a guest`;
    throw new StorageProblem('CreateFailed', message, { isFinal: true });
  }
  if (known !== undefined && format !== known) {
    const message = `its source claims to be ${format}, but was made as ${known}: it is not copied`;
    throw new StorageProblem('CreateFailed', message, { isFinal: true });
  }
  return { volume, capacityBytes, format, xml };
}

async function imageFile(
  context: StorageContext,
  namespace: string | undefined,
  name: string,
  signal: AbortSignal,
): Promise<Known> {
  const image = await context.images.find({ namespace, name }, { signal });
  if (image === undefined) throw new StorageProblem('SourceNotReady', `there is no VirtualImage "${name}"`);
  if (isBeingDeleted(image)) throw new StorageProblem('SourceNotReady', `VirtualImage "${name}" is being deleted`);
  const line = image.status?.nodes?.find((one) => one.nodeName === '' || one.nodeName === context.nodeName);
  if (line?.path === undefined || line.phase !== 'Ready') {
    const why = line?.message === undefined ? '' : `: ${line.message}`;
    throw new StorageProblem('SourceNotReady', `VirtualImage "${name}" is ${line?.phase ?? 'not on this node'}${why}`);
  }
  return { path: line.path, format: image.status?.format };
}

/**
 * Where a VirtualDisk that is to be copied is.
 *
 * @throws StorageProblem while it is not there, or somebody writes to it.
 */
export async function cloneFile(
  context: StorageContext,
  libvirt: Libvirt,
  namespace: string | undefined,
  { name, mode }: { readonly name: string; readonly mode?: string | undefined },
  signal: AbortSignal,
): Promise<Known> {
  const source = await context.disks.find({ namespace, name }, { signal });
  if (source === undefined) throw new StorageProblem('SourceNotReady', `there is no VirtualDisk "${name}"`);
  const { path, phase } = source.status ?? {};
  if (path === undefined || phase !== 'Ready' || isBeingDeleted(source)) {
    throw new StorageProblem('SourceNotReady', `VirtualDisk "${name}" is ${phase ?? 'Pending'}`);
  }
  if (!isOnThisNode(context, source)) {
    const where = source.status?.nodeName ?? '';
    throw new StorageProblem('SourceNotReady', `VirtualDisk "${name}" is on node ${where}`);
  }
  const writers = await domainsWith(libvirt, path, true, signal);
  if (writers.length > 0) {
    const names = writers.map(({ domain }) => domain.name).join(', ');
    throw new StorageProblem('SourceNotReady', `VirtualDisk "${name}" is written to by ${names}; stop it first`);
  }
  const users = context.usersOf('VirtualDisk', namespace ?? '', name);
  if (mode === 'Overlay' && users.length > 0) {
    const names = namesOf(users.map((one) => `VirtualMachine ${one.name}`));
    throw new StorageProblem('SourceNotReady', `VirtualDisk "${name}" is used by ${names}, which would change it`);
  }
  return { path, format: source.status?.format };
}

async function volumeAt(libvirt: Libvirt, path: string, signal: AbortSignal): Promise<Volume> {
  try {
    return await libvirt.pools.volumeByPath(path, { signal });
  } catch (error) {
    if (!isNotFound(error)) throw error;
    const message = `${path} is in no active pool of the node; a VirtualPool on its folder makes it known to libvirt`;
    throw new StorageProblem('SourceNotReady', message, { cause: error });
  }
}

/** A file of unknown origin must not read other files of the host through its backing file. */
function refuseForeign(xml: DataObject, given: string | undefined, found: string, path: string): void {
  const backing = textOf(memberAt(xml, 'backingStore', 'path'));
  if (backing !== '') {
    const message = `${path} lies over ${backing}, which would be copied too; merge them with qemu-img convert first`;
    throw new StorageProblem('CreateFailed', message, { isFinal: true });
  }
  if (given !== undefined && given !== found) {
    const message = `${path} is ${found}, not ${given}`;
    throw new StorageProblem('CreateFailed', message, { isFinal: true });
  }
}
