/**
 * An image that somebody sends: `virtctl image upload` makes the volume and fills it through libvirt, and says so in an
 * annotation. Then the executor checks it where it lies, and converts it where it has another format.
 *
 *   WaitForUpload (the volume's name is ours from here on) ─▶ Converting ─▶ Ready
 *                                                       └──▶ Failed: refused and removed; another upload may come
 */
import { constants } from 'node:fs';
import { access, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { BrokenFileError, decompress } from './decompress.ts';
import { convert, ownVolume, sendFile, tell, type ImageWork } from './image-work.ts';
import { sizeOf, verify } from './receive-file.ts';
import type { NodeLine } from './report-image.ts';
import { inspect } from './take-file.ts';
import { isPassing, problemOf, StorageProblem } from '../virtual-pool/storage-context.ts';
import { arrivedOtherwise, uploadOf, type ImageUpload } from '../../api/image-upload.ts';
import { formatBytes, formatBytesRounded } from '../../api/quantity.ts';
import type { Volume } from '../../libvirt/objects/volume.ts';
import type { ReconcileResult } from '../../reconcile/controller.ts';

/** How often it is looked how much of an upload is there, in milliseconds. */
const lookMs = 3_000;

/** Phases in which the volume, where there is one, is ours. */
const own: ReadonlySet<NodeLine['phase']> = new Set(['WaitForUpload', 'Converting']);

/**
 * Does what is next.
 *
 * @returns When to look again; undefined when it is ready, or when only another upload can change anything.
 * @throws StorageProblem when what was sent must not be taken.
 */
export async function takeUpload(work: ImageWork): Promise<ReconcileResult | undefined> {
  const { image, before, signal } = work;
  const upload = uploadOf(image);
  const isForUs = upload !== undefined && (work.lineName === '' || upload.nodeName === work.context.nodeName);
  // Refused, or given up: nothing changes until somebody sends it again.
  if (before?.phase === 'Failed' && (!isForUs || upload.state === 'Complete')) return undefined;
  const present = await ownVolume(work, own.has(before?.phase) || before?.phase === 'Failed');
  if (!isForUs || upload.state === 'Uploading' || present === undefined) {
    await tellWaiting(work, isForUs ? upload : undefined, present);
    return isForUs ? { requeueAfterMs: lookMs } : undefined;
  }
  await tell(work, { phase: 'Converting' });
  try {
    await takeIn(work, upload, present);
    return undefined;
  } catch (error) {
    if (isPassing(error, signal)) throw error;
    const problem = problemOf(error, 'UploadFailed', `pool ${work.pool.name} or ${work.context.spoolFolder}`);
    // What was refused is not kept, under a name that machines and people would find.
    if (problem.isFinal) await present.delete({ signal });
    throw problem;
  }
}

async function tellWaiting(
  work: ImageWork,
  upload: ImageUpload | undefined,
  present: Volume | undefined,
): Promise<void> {
  const { name = '' } = work.image.metadata;
  const command = `virtctl image upload ${name} FILE`;
  if (upload === undefined) {
    await tell(work, { phase: 'WaitForUpload', message: `send it with ${command}` });
    return;
  }
  if (upload.state === 'Complete') {
    await tell(work, {
      phase: 'WaitForUpload',
      message: `what was sent is no longer there; send it again: ${command}`,
    });
    return;
  }
  const transferredBytes =
    present === undefined ? 0 : Math.min((await present.info({ signal: work.signal })).allocationBytes, upload.bytes);
  const percent = upload.bytes === 0 ? 0 : Math.floor((transferredBytes * 100) / upload.bytes);
  const message =
    `an upload of ${formatBytesRounded(upload.bytes)} to node ${upload.nodeName} has begun; ` +
    `if it was cut off, the same command goes on with it: ${command}`;
  await tell(work, {
    phase: 'WaitForUpload',
    progress: { transferredBytes, totalBytes: upload.bytes, percent },
    message,
  });
}

async function takeIn(work: ImageWork, upload: ImageUpload, volume: Volume): Promise<void> {
  const { image, folder, signal, maxBytes } = work;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const finished = join(folder, 'converted');
  const sent = join(folder, 'sent');
  const path = await volume.path({ signal });
  let made = (await sizeOf(finished)) === undefined ? undefined : finished;
  let facts = {};
  if (made === undefined) {
    const isHere = await isReadable(path);
    const from = isHere ? path : sent;
    if (!isHere) await volume.download(sent, { lengthBytes: upload.bytes, sparse: true, signal });
    // A volume of whole extents is longer than what was sent.
    const found = await verify(from, upload.checksum, signal, upload.bytes).catch((error: unknown) => {
      if (!(error instanceof StorageProblem)) throw error;
      const message = `${arrivedOtherwise}: ${error.message}`;
      throw new StorageProblem('ChecksumMismatch', message, { cause: error, isFinal: true });
    });
    const wanted = image.spec.source.upload?.checksum;
    const checksum =
      wanted === undefined || wanted === 'none' ? found : await verify(from, wanted, signal, upload.bytes);
    const compression = image.spec.compression ?? 'auto';
    const unpacked = await decompress(from, `${sent}.unpacked`, compression, maxBytes, signal).catch(
      (error: unknown) => {
        if (!(error instanceof BrokenFileError)) throw error;
        // It arrived as it was sent: only another upload can change anything.
        throw new StorageProblem('UploadFailed', error.message, { cause: error, isFinal: true });
      },
    );
    const inspected = await inspect(work, unpacked);
    facts = {
      checksum,
      sourceFormat: inspected.format,
      format: work.format,
      virtualSize: formatBytes(inspected.virtualBytes),
    };
    await tell(work, { phase: 'Converting' }, { facts });
    if (unpacked === path && inspected.format === work.format) {
      // It lies where it belongs already.
      await work.pool.refresh({ signal });
      await tell(
        work,
        { phase: 'Ready', path, checksum: found },
        { facts: { ...facts, size: formatBytes(upload.bytes) } },
      );
      await rm(folder, { recursive: true, force: true });
      return;
    }
    made = inspected.format === work.format ? unpacked : await convert(work, unpacked, inspected.format, true);
  }
  // From here on the spool has all of it, also for an executor that starts anew.
  await volume.delete({ signal });
  const placed = await sendFile(work, made);
  const size = formatBytes((await sizeOf(made)) ?? 0);
  await tell(work, { phase: 'Ready', path: placed.path, checksum: placed.checksum }, { facts: { ...facts, size } });
  await rm(folder, { recursive: true, force: true });
}

async function isReadable(path: string): Promise<boolean> {
  try {
    await access(path, constants.R_OK);
    return true;
  } catch (error) {
    // Of a pool over the network, or out of our sight: libvirt can read it.
    if (['ENOENT', 'EACCES', 'EPERM', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return false;
    throw error;
  }
}
