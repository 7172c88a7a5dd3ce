/** What the ways to an image share: its place in the spool, its line in status, and how a file of it gets into the pool. */
import { createHash } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { runLimited } from './inspect-image.ts';
import { sizeOf } from './receive-file.ts';
import { reportImage, type ImageNews, type NodeLine } from './report-image.ts';
import { libvirtOf, longMs, StorageProblem, type StorageContext } from '../virtual-pool/storage-context.ts';
import { findVolume } from '../virtual-disk/volume-facts.ts';
import { imageVolumeName } from '../../api/image-upload.ts';
import { parseQuantity } from '../../api/quantity.ts';
import type { VirtualImage } from '../../api/virtual-image.ts';
import { ConflictError, FailedError } from '../../base/errors.ts';
import { render } from '../../convertor/render.ts';
import { refOf } from '../../kube/object.ts';
import type { Pool } from '../../libvirt/objects/pools.ts';
import type { Volume } from '../../libvirt/objects/volume.ts';

const defaultMaxBytes = 2 * 1024 ** 4;
const chunkBytes = 1 << 20;

/** One image that is being brought to this node. */
export interface ImageWork {
  readonly context: StorageContext;
  /** As it was when the work began; status is read afresh for each report. */
  readonly image: VirtualImage;
  /** Whose line in status it is: this node's, or the empty one of a shared pool. */
  readonly lineName: string;
  readonly pool: Pool;
  /** Where its files lie while they are on their way. */
  readonly folder: string;
  /** The volume that it becomes. */
  readonly volumeName: string;
  /** The format that it becomes. */
  readonly format: 'qcow2' | 'raw';
  /** More is not taken. */
  readonly maxBytes: number;
  /** The line as it was when the work began. */
  readonly before: NodeLine | undefined;
  readonly signal: AbortSignal;
}

/** The folder of an image in the spool. */
export function spoolFolder(context: StorageContext, image: VirtualImage): string {
  const { uid = '' } = image.metadata;
  if (!/^[A-Za-z0-9-]{1,64}$/.test(uid)) throw new FailedError(`"${uid}" cannot be a UID`);
  return join(context.spoolFolder, uid);
}

/** Makes an {@link ImageWork}. */
export function imageWork(
  context: StorageContext,
  image: VirtualImage,
  lineName: string,
  pool: Pool,
  signal: AbortSignal,
): ImageWork {
  return {
    ...{ context, image, lineName, pool, signal },
    folder: spoolFolder(context, image),
    volumeName: imageVolumeName(image),
    format: image.spec.format ?? 'qcow2',
    maxBytes: parseQuantity(image.spec.maxVirtualSize ?? '') ?? defaultMaxBytes,
    before: image.status?.nodes?.find((one) => one.nodeName === lineName),
  };
}

/**
 * An image as it is now.
 *
 * @throws ConflictError when it is gone: what was brought here for it is nothing that another one of its name may have.
 */
export async function sameImage(
  context: StorageContext,
  image: VirtualImage,
  signal: AbortSignal,
): Promise<VirtualImage> {
  const fresh = await context.images.find(refOf(image), { signal });
  if (fresh !== undefined && fresh.metadata.uid === image.metadata.uid) return fresh;
  throw new ConflictError(`VirtualImage ${image.metadata.name ?? ''} is gone meanwhile`);
}

/** Writes the image's line in status, over what is there now. */
export async function tell(work: ImageWork, line: Omit<NodeLine, 'nodeName'>, news: ImageNews = {}): Promise<void> {
  const { context, image, lineName, signal } = work;
  const fresh = await sameImage(context, image, signal);
  await reportImage(context, fresh, { ...line, nodeName: lineName }, news, signal);
}

/**
 * The volume of this image that is there already.
 *
 * @param isOurs Whether status says that it is in the making.
 * @throws StorageProblem when it is there and not ours.
 */
export async function ownVolume(work: ImageWork, isOurs: boolean): Promise<Volume | undefined> {
  const present = await findVolume(work.pool, work.volumeName, work.signal);
  if (present === undefined || isOurs) return present;
  const message = `there is a volume "${work.volumeName}" in pool ${work.pool.name} already, which this image did not make`;
  throw new StorageProblem('DownloadFailed', message);
}

/**
 * Converts a file in the spool; the outcome is there only when it is complete.
 *
 * @param isOnly It will be the only one that there is: it has to outlast a power cut. Else the source stays until the end.
 */
export async function convert(work: ImageWork, from: string, format: string, isOnly: boolean): Promise<string> {
  const made = join(work.folder, 'converted');
  // Bounded memory: its header is somebody's.
  const args = ['--as=4294967296', 'qemu-img', 'convert', '-f', format, '-O', work.format, from, `${made}.part`];
  try {
    await runLimited('prlimit', args, longMs, work.signal);
  } catch (error) {
    // What it has taken is needed by those who try again.
    await rm(`${made}.part`, { force: true });
    throw error;
  }
  if (isOnly) {
    const file = await open(`${made}.part`, 'r');
    await file.sync().finally(() => file.close());
  }
  await rename(`${made}.part`, made);
  return made;
}

/** Sends a file into the pool as the image's volume; @returns where it is there, and its checksum as it was sent. */
export async function sendFile(work: ImageWork, file: string): Promise<{ path: string; checksum: string }> {
  const { signal, volumeName: name } = work;
  const bytes = (await sizeOf(file)) ?? 0;
  // As raw, so that what arrives is what was sent, byte for byte; the pool finds the format out afterwards.
  const value = {
    name,
    capacity: { unit: 'bytes', value: bytes },
    allocation: { unit: 'bytes', value: 0 },
    target: { format: { type: 'raw' } },
  };
  const hash = createHash('sha256');
  // A connection of its own: a slow disk holds up everything on it.
  const own = await libvirtOf(work.context).duplicate(signal);
  try {
    const pool = await own.pools.byName(work.pool.name, { signal });
    const volume = await pool.createVolume(render('storagevol', value), { signal, timeoutMs: longMs });
    await volume.upload(
      hashed(file, (chunk) => hash.update(chunk)),
      { sparse: true, signal },
    );
    await pool.refresh({ signal, timeoutMs: longMs });
    const path = await (await pool.volume(name, { signal })).path({ signal });
    return { path, checksum: `sha256:${hash.digest('hex')}` };
  } finally {
    await own.close();
  }
}

async function* hashed(path: string, take: (chunk: Buffer) => void): AsyncGenerator<Buffer> {
  const file = await open(path, 'r');
  try {
    for (;;) {
      const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(chunkBytes), 0, chunkBytes, null);
      if (bytesRead === 0) return;
      const chunk = buffer.subarray(0, bytesRead);
      take(chunk);
      yield chunk;
    }
  } finally {
    await file.close();
  }
}
