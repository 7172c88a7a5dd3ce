import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { stat, type FileHandle } from 'node:fs/promises';
import { resolve } from 'node:path';
import { PartFile } from './part-file.ts';
import { virtualDiskKind, virtualImageKind } from '../../api/kinds.ts';
import type { VirtualDisk } from '../../api/virtual-disk.ts';
import type { VirtualImage } from '../../api/virtual-image.ts';
import { ConflictError, FailedError, NotFoundError, UsageError } from '../../base/errors.ts';
import type { Context } from '../../cli/context.ts';
import { withKubeClient } from '../../cli/kube-options.ts';
import type { LocalFlags } from '../../cli/local-domain.ts';
import { withLocalNode, type LocalNode } from '../../cli/local-node.ts';
import { resourceTypeOf } from '../../cli/machine-verb.ts';
import { startTransferBar } from '../../cli/transfer-bar.ts';
import { writeResult } from '../../cli/write-result.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import type { Volume } from '../../libvirt/objects/volume.ts';

/** The flags of `virtctl image download` and `virtctl disk download`. */
export interface DownloadFlags extends LocalFlags {
  readonly force?: boolean;
}

/** What is to be written to a file. */
interface Found {
  readonly label: string;
  readonly path: string;
  /** What the volume was when it was stored, as `sha256:…`; undefined where it may have changed since. */
  readonly checksum: string | undefined;
}

/**
 * Writes an image or a disk to a file, sparse. The file is there under its name only when all of it is, and right.
 *
 * @param preset What a name without `KIND/` is.
 * @throws ConflictError when somebody writes to the disk, or the file exists; FailedError when the checksum differs.
 */
export async function downloadVolume(
  context: Context,
  preset: 'image' | 'disk',
  word: string,
  file: string,
  flags: DownloadFlags,
): Promise<void> {
  const target = file === '-' ? undefined : resolve(context.cwd, file);
  if (target === undefined && context.stdout.isTTY === true) {
    throw new UsageError('a disk is not for a terminal', { hint: 'give a file, or send stdout to a program' });
  }
  const there = target === undefined ? undefined : await kindOf(target);
  if (there === 'folder') throw new UsageError(`${file} is a folder`, { hint: 'name the file in it' });
  if (there === 'other') {
    throw new UsageError(`${file} is no file, and is not replaced by one`, {
      hint: 'give "-" for the file, and send stdout there',
    });
  }
  if (there !== undefined && flags.force !== true) {
    throw new ConflictError(`${target ?? file} exists already`, { hint: 'give --force to overwrite it' });
  }
  const [, kind = preset, name = ''] = /^(?:([^/]+)\/)?([^/]+)$/.exec(word) ?? [];
  const isDisk = ['disk', 'vdisk', 'virtualdisk', 'vdisks', 'virtualdisks'].includes(kind);
  if (!isDisk && !['image', 'vimg', 'virtualimage', 'virtualimages'].includes(kind)) {
    throw new UsageError(`"${word}" is neither an image nor a disk`);
  }
  await withKubeClient(context, flags, (client) =>
    withLocalNode(context, client, flags, async (node) => {
      const found = isDisk ? await findDisk(context, client, node, name) : await findImage(context, client, node, name);
      const volume = await node.libvirt.pools.volumeByPath(found.path, { signal: context.signal });
      if (target === undefined) {
        const { bytes, checksum } = await sendOn(context, volume, found);
        context.stderr.write(`${found.label} written to stdout (${bytes} bytes, ${checksum})\n`);
        return;
      }
      const { bytes, checksum } = await receive(context, volume, target, found, flags.force === true);
      await writeResult(context, `${found.label} written to ${file} (${bytes} bytes, ${checksum})\n`);
    }),
  );
}

async function findImage(context: Context, client: KubeClient, node: LocalNode, name: string): Promise<Found> {
  const images = client.resource<VirtualImage>(resourceTypeOf(virtualImageKind));
  const image = await images.get({ namespace: client.namespace, name }, { signal: context.signal });
  const lines = image.status?.nodes ?? [];
  const line = lines.find(({ nodeName }) => nodeName === '' || nodeName === node.nodeName);
  if (line?.path === undefined || line.phase !== 'Ready') {
    const elsewhere = lines.filter(({ phase }) => phase === 'Ready').map(({ nodeName }) => nodeName);
    throw new NotFoundError(`vimg/${name} is not on node ${node.nodeName}`, {
      hint: elsewhere.length === 0 ? `it is ${line?.phase ?? 'Pending'}` : `run this on ${elsewhere.join(' or ')}`,
    });
  }
  return { label: `vimg/${name}`, path: line.path, checksum: line.checksum };
}

async function findDisk(context: Context, client: KubeClient, node: LocalNode, name: string): Promise<Found> {
  const { signal } = context;
  const disks = client.resource<VirtualDisk>(resourceTypeOf(virtualDiskKind));
  const disk = await disks.get({ namespace: client.namespace, name }, { signal });
  const { path, phase, nodeName = '', backingChain = [] } = disk.status ?? {};
  if (path === undefined || phase !== 'Ready') throw new ConflictError(`vdisk/${name} is ${phase ?? 'Pending'}`);
  if (nodeName !== '' && nodeName !== node.nodeName) {
    throw new NotFoundError(`vdisk/${name} is not on node ${node.nodeName}`, { hint: `run this on node ${nodeName}` });
  }
  if (backingChain.length > 0) {
    throw new ConflictError(`vdisk/${name} holds only what differs from ${backingChain[0] ?? ''}`, {
      hint: 'make a full copy first: a VirtualDisk with spec.source.clone, mode Copy',
    });
  }
  const { domainsWith } = await import('../../executor/virtual-disk/disk-users.ts');
  const writers = await domainsWith(node.libvirt, path, true, signal);
  if (writers.length > 0) {
    throw new ConflictError(`vdisk/${name} is written to by ${writers.map(({ domain }) => domain.name).join(', ')}`, {
      hint: 'stop it first, or make a snapshot and a disk from it',
    });
  }
  return { label: `vdisk/${name}`, path, checksum: undefined };
}

async function receive(
  context: Context,
  volume: Volume,
  target: string,
  { label, checksum: wanted }: Found,
  isForced: boolean,
): Promise<{ bytes: number; checksum: string }> {
  const { signal } = context;
  const { allocationBytes } = await volume.info({ physical: true, signal });
  const algorithm = algorithmOf(wanted);
  const hash = createHash(algorithm);
  const bar = await startTransferBar(context, label, allocationBytes);
  try {
    const part = await PartFile.create(target);
    try {
      const bytes = await volume.download(
        async (piece) => {
          if (piece.type === 'hole') hashZeros(hash, piece.length);
          else {
            hash.update(piece.data);
            await writeAll(part.handle, piece.data, piece.position);
          }
        },
        { sparse: true, onProgress: bar.onProgress, signal },
      );
      // A hole at the end has written nothing.
      await part.handle.truncate(bytes);
      const checksum = compared(`${algorithm}:${hash.digest('hex')}`, wanted, label);
      await part.keep(isForced);
      return { bytes, checksum };
    } catch (error) {
      await part.discard();
      throw error;
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') {
      throw new FailedError(`there is no space left for ${target}`, { cause: error, hint: 'nothing of it was kept' });
    }
    throw error;
  } finally {
    bar.stop();
  }
}

/** Writes all of it to stdout, holes as zeros: what reads there cannot seek. */
async function sendOn(
  context: Context,
  volume: Volume,
  { label, checksum: wanted }: Found,
): Promise<{ bytes: number; checksum: string }> {
  const { signal } = context;
  const { allocationBytes } = await volume.info({ physical: true, signal });
  const algorithm = algorithmOf(wanted);
  const hash = createHash(algorithm);
  const bar = await startTransferBar(context, label, allocationBytes);
  try {
    const bytes = await volume.download(
      async (piece) => {
        if (piece.type === 'data') return put(context, hash, piece.data);
        for (let left = piece.length; left > 0; left -= zeros.length) {
          await put(context, hash, zeros.subarray(0, Math.min(left, zeros.length)));
        }
      },
      { sparse: true, onProgress: bar.onProgress, signal },
    );
    return { bytes, checksum: compared(`${algorithm}:${hash.digest('hex')}`, wanted, label) };
  } finally {
    bar.stop();
  }
}

async function put(context: Context, hash: ReturnType<typeof createHash>, data: Buffer): Promise<void> {
  hash.update(data);
  const { stdout, signal } = context;
  signal.throwIfAborted();
  if (stdout.destroyed) throw new FailedError('who reads stdout is gone');
  // The buffer of a piece is used again.
  if (!stdout.write(Buffer.from(data))) await once(stdout, 'drain', { signal });
}

function algorithmOf(checksum: string | undefined): 'sha256' | 'sha512' {
  return checksum?.startsWith('sha512:') === true ? 'sha512' : 'sha256';
}

/** @throws FailedError when it is not what was stored. */
function compared(checksum: string, wanted: string | undefined, label: string): string {
  if (wanted === undefined || wanted === checksum) return checksum;
  throw new FailedError(`what arrived is not ${label}: its checksum is ${checksum}, not ${wanted}`, {
    hint: 'the volume was changed or damaged in the pool; delete the image and make it anew',
  });
}

const zeros = Buffer.alloc(1 << 20);

function hashZeros(hash: ReturnType<typeof createHash>, length: number): void {
  for (let left = length; left > 0; left -= zeros.length) hash.update(zeros.subarray(0, Math.min(left, zeros.length)));
}

async function writeAll(file: FileHandle, data: Buffer, position: number): Promise<void> {
  for (let at = 0; at < data.length;) {
    at += (await file.write(data, at, data.length - at, position + at)).bytesWritten;
  }
}

async function kindOf(path: string): Promise<'file' | 'folder' | 'other' | undefined> {
  try {
    const there = await stat(path);
    return there.isDirectory() ? 'folder' : there.isFile() ? 'file' : 'other';
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
