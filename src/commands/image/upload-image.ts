import { randomUUID } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { announceOurs } from './announce-ours.ts';
import { keepTrying, type Attempt } from './keep-trying.ts';
import { chunksOf, keptOf, nextCheckpoint, readPrefix, sumOf, type Prefix } from './upload-checkpoint.ts';
import { tellEnd } from './tell-end.ts';
import { takeOverMs, whileOurs } from './while-ours.ts';
import {
  arrivedOtherwise,
  imageVolumeName,
  libvirtPoolName,
  uploadAnnotation,
  uploadOf,
  type ImageUpload,
} from '../../api/image-upload.ts';
import { virtualImageKind, virtualPoolKind } from '../../api/kinds.ts';
import { apiVersion } from '../../api/meta.ts';
import { formatBytesRounded } from '../../api/quantity.ts';
import { assertValid } from '../../api/validate.ts';
import type { VirtualImage, VirtualImageSpec } from '../../api/virtual-image.ts';
import type { VirtualPool } from '../../api/virtual-pool.ts';
import { onAbort } from '../../base/abort.ts';
import { systemClock } from '../../base/clock.ts';
import { ConflictError, FailedError, NotFoundError, UsageError } from '../../base/errors.ts';
import type { Context } from '../../cli/context.ts';
import { withKubeClient } from '../../cli/kube-options.ts';
import type { LocalFlags } from '../../cli/local-domain.ts';
import { withLocalNode, type LocalNode } from '../../cli/local-node.ts';
import { resourceTypeOf } from '../../cli/machine-verb.ts';
import { assertObjectName } from '../../cli/object-name.ts';
import { startTransferBar } from '../../cli/transfer-bar.ts';
import { waitForObject } from '../../cli/wait-for-object.ts';
import { writeResult } from '../../cli/write-result.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import { refOf } from '../../kube/object.ts';
import type { ResourceClient } from '../../kube/resource-client.ts';
import type { Pool } from '../../libvirt/objects/pools.ts';
import type { Volume } from '../../libvirt/objects/volume.ts';

/** The flags of `virtctl image upload`. */
export interface UploadFlags extends LocalFlags {
  readonly pool?: string;
  readonly format?: 'qcow2' | 'raw';
  readonly sourceFormat?: string;
  readonly checksum?: string;
  readonly timeout: number;
  readonly wait: boolean;
}

const longMs = 24 * 60 * 60_000;

/** What was kept of an earlier attempt is damaged: only all of it anew can help. */
class DamagedError extends FailedError {}

/** Does not run now; after a libvirtd that was started anew it soon may. */
class PoolAwayError extends ConflictError {}

/**
 * Sends a file as an image.
 *
 * libvirt confirms it in parts; after each the annotation says how much is there, with the checksum of so much of the
 * file. A connection that is lost is made again, and what was cut off, in this command or an earlier one, goes on behind
 * the last part, if the file still begins with it and the volume is there. Otherwise all of it is sent anew, as it is when
 * the executor finds at the end that the whole is not what was sent.
 *
 * @throws UnreachableError when a connection stays lost for so long as the timeout says; ConflictError when the image has its content already or comes from elsewhere; FailedError with the executor's
 *   words when it is refused.
 */
export async function uploadImage(context: Context, word: string, file: string, flags: UploadFlags): Promise<void> {
  const name = word.replace(/^(image|vimgs?|virtualimages?)(\.virtctl\.dev)?\//i, '');
  assertObjectName(name);
  const handle = await openFile(resolve(context.cwd, file));
  try {
    const stats = await handle.stat();
    if (!stats.isFile()) throw new UsageError(`${file} is no file`);
    const { size } = stats;
    if (size === 0) throw new UsageError(`${file} is empty`);
    await withKubeClient(context, flags, async (client) => {
      /** Of this command's attempts. */
      const ids = new Set<string>();
      const send = (attempt: Attempt): Promise<void> =>
        withLocalNode(context, client, flags, (node) =>
          new Upload(context, client, node, flags, attempt, ids).run(name, handle, size),
        );
      const { signal } = context;
      const policy = { clock: systemClock, random: Math.random, timeoutMs: flags.timeout, signal };
      const say = (text: string): void => void context.stderr.write(`note: vimg/${name}: ${text}\n`);
      const whole = async (attempt: Attempt): Promise<void> => {
        try {
          await send(attempt);
        } catch (error) {
          if (!(error instanceof DamagedError)) throw error;
          // It is refused and removed by now: nothing is kept that could be gone on with.
          say(`${error.message}; sends all of it anew`);
          await send(attempt);
        }
      };
      const isPassing = (error: unknown): boolean => error instanceof PoolAwayError;
      try {
        await keepTrying(whole, { ...policy, say, isPassing });
      } catch (error) {
        const images = client.resource<VirtualImage>(resourceTypeOf(virtualImageKind));
        // Of no concern beside that error: where nobody hears of our end, the next command waits a while.
        await tellEnd(images, { namespace: client.namespace, name }, ids).catch(() => undefined);
        throw error;
      }
    });
  } finally {
    await handle.close();
  }
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause;
    throw new NotFoundError(`there is no file ${path}`, { cause });
  }
}

class Upload {
  readonly #context: Context;
  readonly #client: KubeClient;
  readonly #node: LocalNode;
  readonly #flags: UploadFlags;
  readonly #images: ResourceClient<VirtualImage>;
  readonly #attempt: Attempt;
  readonly #ids: Set<string>;
  #name = '';

  constructor(
    context: Context,
    client: KubeClient,
    node: LocalNode,
    flags: UploadFlags,
    attempt: Attempt,
    ids: Set<string>,
  ) {
    this.#ids = ids;
    this.#attempt = attempt;
    this.#context = context;
    this.#client = client;
    this.#node = node;
    this.#flags = flags;
    this.#images = client.resource<VirtualImage>(resourceTypeOf(virtualImageKind));
  }

  async run(name: string, file: FileHandle, bytes: number): Promise<void> {
    const { signal } = this.#context;
    this.#name = name;
    let image = await this.#ensureImage(name);
    this.#refuseOther(image);
    const pool = await this.#pool(image.spec.pool);
    const kept = await this.#kept(image, pool, file, bytes);
    const upload: ImageUpload = { id: randomUUID(), nodeName: this.#node.nodeName, state: 'Uploading', bytes };
    const before = uploadOf(image);
    image = await this.#announce(image, { ...upload, ...sentOf(kept.prefix) });
    const mayBeSending = before?.state === 'Uploading' && before.isOver !== true && !this.#ids.has(before.id);
    this.#ids.add(upload.id);
    if (kept.volume !== undefined && mayBeSending) {
      this.#say(`an earlier command did not say that it has ended; waits ${takeOverMs / 1000} s until it has`);
      await systemClock.sleep(takeOverMs, signal);
    }
    image = await this.#until(image, 'the executor to take the upload', (now) => {
      // What was sent before may be taken in meanwhile: then this one is not wanted any more.
      if (now !== undefined) this.#refuseOther(now);
      return this.#phaseOf(now) === 'WaitForUpload';
    });
    const volume = kept.volume ?? (await this.#newVolume(image, pool, bytes));
    const current = image;
    const checksum = await whileOurs((ours) => this.#send(current, upload, volume, file, kept.prefix, ours), {
      isOurs: (asked) => this.#isOurs(current, upload, asked),
      clock: systemClock,
      signal,
    });
    image = await announceOurs(this.#images, image, { ...upload, state: 'Complete', checksum }, signal);
    if (this.#flags.wait) {
      image = await this.#until(image, 'the image to be ready', (now) => {
        const line = this.#lineOf(now);
        if (line?.phase === 'Failed') {
          if (kept.volume !== undefined && line.message?.includes(arrivedOtherwise) === true) {
            throw new DamagedError('what was there of an earlier attempt is damaged');
          }
          throw new FailedError(`vimg/${name}: ${line.message ?? 'refused'}`);
        }
        return line?.phase === 'Ready';
      });
    }
    signal.throwIfAborted();
    const said = this.#flags.wait ? 'uploaded' : 'sent; the executor takes it in';
    await writeResult(this.#context, `vimg/${name} ${said} (${checksum})\n`);
  }

  async #ensureImage(name: string): Promise<VirtualImage> {
    const { signal } = this.#context;
    const { pool, format, sourceFormat, checksum } = this.#flags;
    const ref = { namespace: this.#client.namespace, name };
    const found = await this.#images.find(ref, { signal });
    // A pool that is not there or does not run would be waited for in vain.
    await this.#pool(found?.spec.pool ?? pool);
    if (found !== undefined) return found;
    const image: VirtualImage = {
      apiVersion,
      kind: 'VirtualImage',
      metadata: ref,
      spec: {
        source: { upload: checksum === undefined ? {} : { checksum } },
        ...(pool === undefined ? {} : { pool }),
        ...(format === undefined ? {} : { format }),
        ...(sourceFormat === undefined ? {} : { sourceFormat: sourceFormat as VirtualImageSpec['sourceFormat'] }),
      },
    };
    assertValid(image);
    return this.#images.create(image, { signal });
  }

  #refuseOther(image: VirtualImage): void {
    const { name = '' } = image.metadata;
    if (image.spec.source.upload === undefined) {
      throw new ConflictError(`vimg/${name} does not come from an upload`, { hint: 'give another name' });
    }
    const phase = this.#phaseOf(image);
    if (phase === 'Ready') {
      throw new ConflictError(`vimg/${name} has its content on node ${this.#node.nodeName} already`, {
        hint: 'an image never changes; give another name, or delete it first',
      });
    }
    if (phase === 'Converting') {
      throw new ConflictError(`vimg/${name} is being taken in on node ${this.#node.nodeName}`);
    }
  }

  #lineOf(image: VirtualImage | undefined) {
    return image?.status?.nodes?.find(({ nodeName }) => nodeName === '' || nodeName === this.#node.nodeName);
  }

  #phaseOf(image: VirtualImage | undefined): string | undefined {
    return this.#lineOf(image)?.phase;
  }

  async #announce(image: VirtualImage, upload: ImageUpload): Promise<VirtualImage> {
    const annotations = { [uploadAnnotation]: JSON.stringify(upload) };
    const { uid } = image.metadata;
    return this.#images.mergePatch(refOf(image), { metadata: { uid, annotations } }, { signal: this.#context.signal });
  }

  async #until(
    image: VirtualImage,
    what: string,
    holds: (now: VirtualImage | undefined) => boolean,
  ): Promise<VirtualImage> {
    const { name = '' } = image.metadata;
    const { signal } = this.#context;
    const settled = (now: VirtualImage | undefined): boolean => {
      if (now?.metadata.uid !== image.metadata.uid) throw new NotFoundError(`vimg/${name} was deleted meanwhile`);
      return holds(now);
    };
    const full = `${what} (see 'virtctl describe vimg ${name}')`;
    return (
      (await waitForObject(this.#images, refOf(image), settled, {
        signal,
        timeoutMs: this.#flags.timeout,
        what: full,
      })) ?? image
    );
  }

  /** Where to go on: how much of this very file is there, and the volume that has it; nothing of both to begin anew. */
  async #kept(
    image: VirtualImage,
    pool: Pool,
    file: FileHandle,
    bytes: number,
  ): Promise<{ readonly prefix: Prefix; readonly volume?: Volume }> {
    const { signal } = this.#context;
    const { nodeName } = this.#node;
    const nothing = { prefix: await readPrefix(file, 0, signal) };
    const before = uploadOf(image);
    // What was refused is removed.
    if (this.#phaseOf(image) === 'Failed' || before?.nodeName !== nodeName) return nothing;
    const there = keptOf(before);
    if (there === undefined) return nothing;
    const prefix = before.bytes === bytes ? await readPrefix(file, there.bytes, signal) : undefined;
    if (prefix?.checksum !== there.checksum) {
      this.#say(`${formatBytesRounded(there.bytes)} of another file were sent before; begins anew`);
      return nothing;
    }
    const volume = await findVolume(pool, imageVolumeName(image), signal);
    // A hole at its end can have made it longer, nothing of ours shorter.
    if (volume === undefined || (await volume.info({ physical: true, signal })).allocationBytes < there.bytes) {
      this.#say(`the ${formatBytesRounded(there.bytes)} that were sent before are gone; begins anew`);
      return nothing;
    }
    this.#say(`goes on behind the ${formatBytesRounded(there.bytes)} of ${formatBytesRounded(bytes)} that are there`);
    return { prefix, volume };
  }

  async #newVolume(image: VirtualImage, pool: Pool, bytes: number): Promise<Volume> {
    const { signal } = this.#context;
    const { render } = await import('../../convertor/render.ts');
    const name = imageVolumeName(image);
    await (await findVolume(pool, name, signal))?.delete({ signal });
    const xml = render('storagevol', {
      name,
      capacity: { unit: 'bytes', value: bytes },
      allocation: { unit: 'bytes', value: 0 },
      target: { format: { type: 'raw' } },
    });
    this.#attempt.begun();
    return pool.createVolume(xml, { signal, timeoutMs: longMs });
  }

  /** @returns The checksum of the whole file. */
  async #send(
    image: VirtualImage,
    upload: ImageUpload,
    volume: Volume,
    file: FileHandle,
    { bytes: from, hash }: Prefix,
    signal: AbortSignal,
  ): Promise<string> {
    const { bytes } = upload;
    this.#attempt.begun(from === 0 ? undefined : sentText(from, bytes));
    // What waits to be sent must not be, nor hold up the end.
    const forget = onAbort(signal, () => this.#node.libvirt.rpc.destroy());
    const bar = await startTransferBar(this.#context, basename(image.metadata.name ?? ''), bytes, from);
    try {
      bar.onProgress(from);
      for (let at = from; at < bytes;) {
        const offsetBytes = at;
        const end = nextCheckpoint(at, bytes, this.#attempt.losses);
        const onProgress = (sent: number): void => bar.onProgress(offsetBytes + sent);
        await volume.upload(chunksOf(file, at, end, hash), { offsetBytes, sparse: true, onProgress, signal });
        at = end;
        if (at < bytes) {
          const sent = sentOf({ bytes: at, hash, checksum: sumOf(hash) });
          await announceOurs(this.#images, image, { ...upload, ...sent }, signal);
        }
        this.#attempt.progressed(sentText(at, bytes));
      }
    } finally {
      bar.stop();
      forget();
    }
    return sumOf(hash);
  }

  async #isOurs(image: VirtualImage, upload: ImageUpload, signal: AbortSignal): Promise<boolean> {
    const now = await this.#images.find(refOf(image), { signal });
    if (now === undefined || now.metadata.uid !== image.metadata.uid) {
      throw new NotFoundError(`vimg/${this.#name} was deleted meanwhile`);
    }
    return uploadOf(now)?.id === upload.id;
  }

  #say(text: string): void {
    this.#context.stderr.write(`note: vimg/${this.#name}: ${text}\n`);
  }

  /** @throws NotFoundError where there is no such pool, ConflictError where it does not run on this node. */
  async #pool(name = 'default'): Promise<Pool> {
    const { signal } = this.#context;
    const pools = this.#client.resource<VirtualPool>(resourceTypeOf(virtualPoolKind));
    const pool = await pools.get({ name }, { signal });
    const { nodeName, libvirt } = this.#node;
    const { isNotFound } = await import('../../libvirt/errors.ts');
    try {
      const there = await libvirt.pools.byName(libvirtPoolName(pool), { signal });
      if (await there.isActive({ signal })) return there;
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
    const line = pool.status?.nodes?.find((one) => one.nodeName === nodeName);
    const why = line?.message === undefined ? '' : `: ${line.message}`;
    throw new PoolAwayError(`vpool/${name} does not run on node ${nodeName}${why}`, {
      hint: `virtctl pool start ${name}, or name another with --pool`,
    });
  }
}

async function findVolume(pool: Pool, name: string, signal: AbortSignal): Promise<Volume | undefined> {
  const { isNotFound } = await import('../../libvirt/errors.ts');
  try {
    return await pool.volume(name, { signal });
  } catch (error) {
    if (!isNotFound(error)) throw error;
    return undefined;
  }
}

function sentOf({ bytes, checksum }: Prefix): Pick<ImageUpload, 'sent' | 'sentChecksum'> {
  return bytes === 0 ? {} : { sent: bytes, sentChecksum: checksum };
}

function sentText(sent: number, bytes: number): string {
  return `${formatBytesRounded(sent)} of ${formatBytesRounded(bytes)}`;
}
