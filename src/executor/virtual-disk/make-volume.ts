/** The volume of a new disk: made, or taken over; its name is in status before libvirt is asked to make it. */
import { encryptionOf } from './disk-secrets.ts';
import { isOnThisNode } from './disk-places.ts';
import { resizeLuks } from './keep-volume.ts';
import { originOf, type Origin } from './origin.ts';
import { reportDisk } from './report-disk.ts';
import { formatOf, partitionName, volumeName, volumeXml } from './volume-definition.ts';
import { describeVolume, findVolume } from './volume-facts.ts';
import { exportInternal } from '../virtual-machine-snapshot/image-files.ts';
import { isList, memberAt, textOf, type Data } from '../virtual-machine/same-value.ts';
import { readPool } from '../virtual-pool/pool-definition.ts';
import { libvirtOf, longMs, StorageProblem, type StorageContext } from '../virtual-pool/storage-context.ts';
import { imageVolumeName } from '../../api/image-upload.ts';
import type { VirtualDisk } from '../../api/virtual-disk.ts';
import type { VirtualPool } from '../../api/virtual-pool.ts';
import type { Pool } from '../../libvirt/objects/pools.ts';
import type { Volume } from '../../libvirt/objects/volume.ts';

/**
 * Makes the volume, or takes the one that is to be imported.
 *
 * @throws StorageProblem when its source is not there yet, or when the volume is somebody else's.
 */
export async function makeVolume(
  context: StorageContext,
  disk: VirtualDisk,
  pool: VirtualPool | undefined,
  there: Pool,
  signal: AbortSignal,
): Promise<void> {
  const type = textOf(readPool(await there.xml({ signal }))['type']);
  if (type !== 'disk') return makeIn(context, disk, pool, there, type, signal);
  // One at a time: each has the number after those that are there.
  const before = context.partitioning.get(there.name) ?? Promise.resolve();
  const made = before.then(() => makeIn(context, disk, pool, there, type, signal));
  const settled = made.catch(() => undefined);
  context.partitioning.set(there.name, settled);
  try {
    await made;
  } finally {
    if (context.partitioning.get(there.name) === settled) context.partitioning.delete(there.name);
  }
}

async function makeIn(
  context: StorageContext,
  disk: VirtualDisk,
  pool: VirtualPool | undefined,
  there: Pool,
  type: string,
  signal: AbortSignal,
): Promise<void> {
  const imported = disk.spec.source?.import;
  if (imported?.volume !== undefined) {
    const volume = await findVolume(there, imported.volume, signal);
    if (volume === undefined) {
      throw new StorageProblem('SourceNotReady', `there is no volume "${imported.volume}" in pool ${there.name}`);
    }
    const path = await volume.path({ signal });
    const other = context
      .knownDisks()
      .find((one) => one.status?.path === path && one.metadata.uid !== disk.metadata.uid && isOnThisNode(context, one));
    if (other !== undefined) {
      const { namespace = '', name = '' } = other.metadata;
      throw new StorageProblem('SourceNotReady', `the volume is that of VirtualDisk ${namespace}/${name} already`);
    }
    await done(context, disk, pool, there, volume, signal);
    return;
  }
  const name = type === 'disk' ? await nextPartition(context, disk, there, signal) : volumeName(disk, type);
  const format = formatOf(disk, type);
  const origin = await originOf(context, disk, format, signal);
  const rival = ownerOf(context, disk, there.name, name);
  if (rival !== undefined) throw new StorageProblem('CreateFailed', `the volume "${name}" is that of ${rival}`);
  const isOurs = disk.status?.phase === 'Creating' && disk.status.volume === name;
  const found = await findVolume(there, name, signal);
  if (found !== undefined && !isOurs) {
    throw new StorageProblem(
      'CreateFailed',
      `there is a volume "${name}" in pool ${there.name} already, which this disk did not make; ` +
        'import it with source.import.volume, or delete it',
    );
  }
  const nodeName = context.nodeName;
  const ready = new StorageProblem('Creating', '');
  const started = await reportDisk(
    context,
    disk,
    { phase: 'Creating', ready, status: { nodeName, pool: there.name, volume: name } },
    signal,
  );
  const hold = holdSource(context, disk, origin);
  try {
    // The snapshot waits for a copy that status tells of, the start of a machine for one that holds its disk: one that was
    // being merged, or written to, before that must not be copied.
    const { snapshot, clone } = disk.spec.source ?? {};
    if (snapshot !== undefined || clone !== undefined) await originOf(context, disk, format, signal);
    if (found !== undefined) await found.delete({ signal });
    await fillVolume(context, disk, there, { name, format, type, origin }, signal);
  } finally {
    hold.release();
  }
  await done(context, started, pool, there, await there.volume(name, { signal }), signal);
}

/** What is copied is not written to meanwhile: no machine is started with it. */
function holdSource(context: StorageContext, disk: VirtualDisk, { path }: Origin): { readonly release: () => void } {
  const { namespace = '', name = '' } = disk.metadata;
  const files = new Map(path === undefined ? [] : [[path, 'read'] as const]);
  const hold = context.fileHolds.take(
    files,
    `its disk ${path ?? ''} is being copied to VirtualDisk ${namespace}/${name}`,
  );
  if (hold.busy !== undefined) throw new StorageProblem('SourceNotReady', hold.busy);
  return hold;
}

/** Makes the volume with what is to be in it. */
async function fillVolume(
  context: StorageContext,
  disk: VirtualDisk,
  there: Pool,
  what: { readonly name: string; readonly format: string; readonly type: string; readonly origin: Origin },
  signal: AbortSignal,
): Promise<void> {
  const { name, format, type, origin } = what;
  const xml = volumeXml(disk, name, format, origin.bytes, type, origin);
  await context.diskSecrets.ensure(disk, signal);
  const flags = {
    ...(disk.spec.preallocation === 'Metadata' ? { preallocMetadata: true } : {}),
    signal,
    timeoutMs: longMs,
  };
  // A connection of its own: a daemon takes a few calls of one connection at a time only.
  const own = await libvirtOf(context).duplicate(signal);
  try {
    const ownPool = await own.pools.byName(there.name, { signal });
    if (origin.copyOf === undefined) await ownPool.createVolume(xml, flags);
    else await ownPool.cloneVolume(xml, origin.copyOf, flags);
  } finally {
    await own.close();
  }
  const volume = await there.volume(name, { signal });
  if (origin.inside !== undefined) {
    const { path, snapshot } = origin.inside;
    await exportInternal(path, snapshot, { path: await volume.path({ signal }), format }, signal);
  }
  const { capacityBytes } = await volume.info({ signal });
  if (capacityBytes < origin.bytes) {
    if (encryptionOf(disk) === undefined) await volume.resize(origin.bytes, { signal, timeoutMs: longMs });
    else await resizeLuks(context, disk, { path: await volume.path({ signal }), format }, origin.bytes, false, signal);
  }
}

/** The partition that a disk is to be; the one that it was to be when the executor was killed. */
async function nextPartition(
  context: StorageContext,
  disk: VirtualDisk,
  there: Pool,
  signal: AbortSignal,
): Promise<string> {
  if (disk.spec.volume?.name !== undefined) return disk.spec.volume.name;
  const begun = disk.status?.phase === 'Creating' ? disk.status.volume : undefined;
  if (begun !== undefined && ownerOf(context, disk, there.name, begun) === undefined) return begun;
  const device = textOf(memberAt(firstOf(memberAt(readPool(await there.xml({ signal })), 'source', 'device')), 'path'));
  // What another disk is to be comes before it.
  const promised = context
    .knownDisks()
    .filter((one) => one.metadata.uid !== disk.metadata.uid && isOnThisNode(context, one))
    .flatMap(({ status }) => (status?.pool === there.name && status.volume !== undefined ? [status.volume] : []));
  const present = (await there.volumes({ signal })).map((volume) => volume.name);
  const next = partitionName(device, present);
  if (promised.includes(next))
    throw new StorageProblem('CreateFailed', `the partition ${next} is being made for another disk`);
  return next;
}

function firstOf(list: Data | undefined): Data | undefined {
  return isList(list) ? list[0] : list;
}

/** Who has a volume of this name already, or is making it. */
function ownerOf(context: StorageContext, disk: VirtualDisk, pool: string, volume: string): string | undefined {
  const isThat = ({ pool: itsPool, volume: itsVolume }: NonNullable<VirtualDisk['status']>): boolean =>
    itsPool === pool && itsVolume === volume;
  const other = context
    .knownDisks()
    .find((one) => one.metadata.uid !== disk.metadata.uid && isThat(one.status ?? {}) && isOnThisNode(context, one));
  if (other !== undefined) return `VirtualDisk ${other.metadata.namespace ?? ''}/${other.metadata.name ?? ''}`;
  const image = context
    .knownImages()
    .find((one) => (one.spec.pool ?? pool) === pool && imageVolumeName(one) === volume);
  return image === undefined
    ? undefined
    : `VirtualImage ${image.metadata.namespace ?? ''}/${image.metadata.name ?? ''}`;
}

/** The volume is complete: from now on it may be used. */
async function done(
  context: StorageContext,
  disk: VirtualDisk,
  pool: VirtualPool | undefined,
  there: Pool,
  volume: Volume,
  signal: AbortSignal,
): Promise<void> {
  const status = {
    ...(await describeVolume(volume, signal)),
    pool: there.name,
    volume: volume.name,
    // Left out and not empty: kube-apiserver 1.20 makes null of an empty string in a merge patch, and refuses that.
    nodeName: pool?.spec.shared === true ? undefined : context.nodeName,
  };
  await reportDisk(context, disk, { phase: 'Ready', status }, signal);
}
