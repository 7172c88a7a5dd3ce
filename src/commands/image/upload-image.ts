import { createHash, randomUUID } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { imageVolumeName, libvirtPoolName, uploadAnnotation, type ImageUpload } from '../../api/image-upload.ts';
import { virtualImageKind, virtualPoolKind } from '../../api/kinds.ts';
import { apiVersion } from '../../api/meta.ts';
import { assertValid } from '../../api/validate.ts';
import type { VirtualImage, VirtualImageSpec } from '../../api/virtual-image.ts';
import type { VirtualPool } from '../../api/virtual-pool.ts';
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

/** The flags of `virtctl image upload`. */
export interface UploadFlags extends LocalFlags {
  readonly pool?: string;
  readonly format?: 'qcow2' | 'raw';
  readonly sourceFormat?: string;
  readonly checksum?: string;
  readonly timeout: number;
  readonly wait: boolean;
}

const chunkBytes = 1 << 20;
const longMs = 24 * 60 * 60_000;

/**
 * Sends a file as an image. What was begun and cut off is begun anew: the half that came is removed.
 *
 * @throws ConflictError when the image has its content already or comes from elsewhere; FailedError with the executor's
 *   words when it is refused.
 */
export async function uploadImage(context: Context, name: string, file: string, flags: UploadFlags): Promise<void> {
  assertObjectName(name);
  const handle = await openFile(resolve(context.cwd, file));
  try {
    const stats = await handle.stat();
    if (!stats.isFile()) throw new UsageError(`${file} is no file`);
    const { size } = stats;
    if (size === 0) throw new UsageError(`${file} is empty`);
    await withKubeClient(context, flags, (client) =>
      withLocalNode(context, client, flags, (node) => new Upload(context, client, node, flags).run(name, handle, size)),
    );
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

  constructor(context: Context, client: KubeClient, node: LocalNode, flags: UploadFlags) {
    this.#context = context;
    this.#client = client;
    this.#node = node;
    this.#flags = flags;
    this.#images = client.resource<VirtualImage>(resourceTypeOf(virtualImageKind));
  }

  async run(name: string, file: FileHandle, bytes: number): Promise<void> {
    const { signal } = this.#context;
    let image = await this.#ensureImage(name);
    this.#refuseOther(image);
    const upload: ImageUpload = { id: randomUUID(), nodeName: this.#node.nodeName, state: 'Uploading', bytes };
    image = await this.#announce(image, upload);
    image = await this.#until(image, 'the executor to take the upload', (now) => {
      // What was sent before may be taken in meanwhile: then this one is not wanted any more.
      if (now !== undefined) this.#refuseOther(now);
      return this.#phaseOf(now) === 'WaitForUpload';
    });
    const checksum = await this.#send(image, file, bytes);
    image = await this.#announce(image, { ...upload, state: 'Complete', checksum });
    if (this.#flags.wait) {
      image = await this.#until(image, 'the image to be ready', (now) => {
        const line = this.#lineOf(now);
        if (line?.phase === 'Failed') throw new FailedError(`vimg/${name}: ${line.message ?? 'refused'}`);
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

  /** @returns The checksum of what was sent. */
  async #send(image: VirtualImage, file: FileHandle, bytes: number): Promise<string> {
    const { signal } = this.#context;
    const pool = await this.#pool(image.spec.pool);
    const { render } = await import('../../convertor/render.ts');
    const { isNotFound } = await import('../../libvirt/errors.ts');
    const name = imageVolumeName(image);
    try {
      await (await pool.volume(name, { signal })).delete({ signal });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
    const xml = render('storagevol', {
      name,
      capacity: { unit: 'bytes', value: bytes },
      allocation: { unit: 'bytes', value: 0 },
      target: { format: { type: 'raw' } },
    });
    const volume = await pool.createVolume(xml, { signal, timeoutMs: longMs });
    const hash = createHash('sha256');
    const bar = await startTransferBar(this.#context, basename(image.metadata.name ?? ''), bytes);
    try {
      const source = chunksOf(file, bytes, (chunk) => hash.update(chunk));
      await volume.upload(source, { sparse: true, onProgress: bar.onProgress, signal });
    } finally {
      bar.stop();
    }
    return `sha256:${hash.digest('hex')}`;
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
    throw new ConflictError(`vpool/${name} does not run on node ${nodeName}${why}`, {
      hint: `virtctl pool start ${name}, or name another with --pool`,
    });
  }
}

/** Exactly so many bytes of a file, which may be growing. */
async function* chunksOf(file: FileHandle, bytes: number, take: (chunk: Buffer) => void): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes;) {
    const wanted = Math.min(chunkBytes, bytes - at);
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(wanted), 0, wanted, at);
    if (bytesRead === 0) throw new FailedError('the file became shorter while it was read');
    const chunk = buffer.subarray(0, bytesRead);
    take(chunk);
    at += bytesRead;
    yield chunk;
  }
}
