/** An image from a web server or from a file of the node: brought to the spool, checked, and sent into the pool. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { BrokenFileError, decompress } from './decompress.ts';
import { convert, ownVolume, sendFile, tell, type ImageWork } from './image-work.ts';
import { inspectImage, type InspectedImage } from './inspect-image.ts';
import { copyIn, download, sizeOf, verify } from './receive-file.ts';
import { webCredentials } from './web-credentials.ts';
import { formatBytes } from '../../api/quantity.ts';

/** How often progress is told, in milliseconds. */
const progressMs = 1_000;

/**
 * Does all of it; what is done already is not done again.
 *
 * @throws StorageProblem when the file cannot be had, or must not be taken.
 */
export async function takeFile(work: ImageWork): Promise<void> {
  const { context, image, signal, maxBytes } = work;
  const { http, file } = image.spec.source;
  const path = join(work.folder, 'file');
  const wasConverting = work.before?.phase === 'Converting';
  if (!wasConverting) await tell(work, { phase: 'Downloading' });
  let toldMs = context.clock.monotonicMs();
  let toldBytes = 0;
  const onBytes = async (done: number, total: number | undefined): Promise<void> => {
    const nowMs = context.clock.monotonicMs();
    if (wasConverting || nowMs - toldMs < progressMs) return;
    const bytesPerSecond = Math.max(0, Math.round(((done - toldBytes) * 1000) / (nowMs - toldMs)));
    toldMs = nowMs;
    toldBytes = done;
    const percent =
      total === undefined || total === 0 ? {} : { totalBytes: total, percent: Math.floor((done * 100) / total) };
    await tell(work, { phase: 'Downloading', progress: { transferredBytes: done, bytesPerSecond, ...percent } });
  };
  if (http !== undefined) {
    const credentials = await webCredentials(context, image.metadata.namespace, http, signal);
    await download(http.url, path, maxBytes, onBytes, credentials, signal);
  }
  if (file !== undefined) await copyIn(file.path, path, maxBytes);
  const checksum = await verify(path, http?.checksum ?? file?.checksum, signal);
  const compression = image.spec.compression ?? 'auto';
  const unpacked = await decompress(path, `${path}.unpacked`, compression, maxBytes, signal).catch(
    async (error: unknown) => {
      // The source may be mended meanwhile: the next attempt brings it anew.
      if (error instanceof BrokenFileError) await rm(path, { force: true });
      throw error;
    },
  );
  const found = await inspect(work, unpacked);
  const present = await ownVolume(work, wasConverting);
  const facts = { checksum, sourceFormat: found.format, format: work.format };
  await tell(work, { phase: 'Converting' }, { facts });
  await present?.delete({ signal });
  const made = found.format === work.format ? unpacked : await convert(work, unpacked, found.format, false);
  const placed = await sendFile(work, made);
  const size = formatBytes((await sizeOf(made)) ?? 0);
  const ready = { ...facts, size, virtualSize: formatBytes(found.virtualBytes) };
  await tell(work, { phase: 'Ready', path: placed.path, checksum: placed.checksum }, { facts: ready });
  await rm(work.folder, { recursive: true, force: true });
}

/** Looks at a file whose origin is unknown; see {@link inspectImage}. */
export async function inspect(work: ImageWork, path: string): Promise<InspectedImage> {
  const found = await inspectImage(path, work.image.spec.sourceFormat, work.maxBytes, work.signal);
  // What calls itself raw must not look like anything else: the pool would find that, and follow its backing file.
  if (found.format === 'raw') await inspectImage(path, undefined, work.maxBytes, work.signal);
  return found;
}
