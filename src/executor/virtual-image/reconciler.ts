/**
 * VirtualImage on one node: its file is brought to the spool folder, checked, inspected, converted, and sent into the pool
 * through libvirt; and its line in status.nodes.
 *
 *   Downloading (spool, resumable) ─▶ checksum ─▶ unpack ─▶ inspect ─▶ Converting (volume is named in status) ─▶ Ready
 *
 * As with disks, a volume that status does not know to be in the making is never touched.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { decompress } from './decompress.ts';
import { inspectImage, runLimited } from './inspect-image.ts';
import { copyIn, download, sizeOf, verify } from './receive-file.ts';
import { webCredentials } from './web-credentials.ts';
import { mergePatchOf } from '../status-patch.ts';
import { namesOf } from '../virtual-pool/names-of.ts';
import { poolName } from '../virtual-pool/pool-definition.ts';
import { selectedNodes } from '../virtual-pool/selected-nodes.ts';
import {
  defaultPoolName,
  isPassing,
  libvirtOf,
  problemOf,
  StorageProblem,
  type StorageContext,
} from '../virtual-pool/storage-context.ts';
import { formatBytes, parseQuantity } from '../../api/quantity.ts';
import type { VirtualImage, VirtualImageStatus } from '../../api/virtual-image.ts';
import { FailedError, toError } from '../../base/errors.ts';
import { toKubernetesTime } from '../../base/clock.ts';
import { render } from '../../convertor/render.ts';
import { parseObjectKey, refOf } from '../../kube/object.ts';
import { isNotFound } from '../../libvirt/errors.ts';
import type { Pool } from '../../libvirt/objects/pools.ts';
import type { Volume } from '../../libvirt/objects/volume.ts';
import { setCondition } from '../../reconcile/conditions.ts';
import type { ReconcileContext, ReconcileResult } from '../../reconcile/controller.ts';
import { addFinalizer, hasFinalizer, isBeingDeleted, removeFinalizer } from '../../reconcile/finalizers.ts';
import { TerminalError } from '../../reconcile/terminal-error.ts';

/** Keeps the object until no node has the image any more. */
export const imageFinalizer = 'virtctl.dev/image';

type NodeLine = NonNullable<VirtualImageStatus['nodes']>[number];

const longMs = 24 * 60 * 60_000;
const defaultMaxBytes = 2 * 1024 ** 4;
/** How often progress is told. */
const progressMs = 1_000;

/** Reconciles the images of a node. */
export class ImageReconciler {
  readonly #context: StorageContext;

  constructor(context: StorageContext) {
    this.#context = context;
  }

  /** Does what is next for an image, named by its key. */
  async reconcile(key: string, { signal }: ReconcileContext): Promise<ReconcileResult | undefined> {
    const { images, pools, nodeName } = this.#context;
    let image = await images.find(parseObjectKey(key), { signal });
    if (image === undefined) return undefined;
    const pool = await pools.find({ name: image.spec.pool ?? defaultPoolName }, { signal });
    const selected = selectedNodes(
      image.spec.nodeSelector,
      selectedNodes(pool?.spec.nodeSelector, this.#context.nodes()).flatMap((name) =>
        this.#context.nodes().filter((node) => node.name === name),
      ),
    );
    const isShared = pool?.spec.shared === true;
    const lineName = isShared ? '' : nodeName;
    const isMine = isShared ? selected[0] === nodeName : selected.includes(nodeName);
    const mine = image.status?.nodes?.find((one) => one.nodeName === lineName);
    if (isBeingDeleted(image))
      return isMine || mine !== undefined ? this.#delete(image, lineName, mine, signal) : undefined;
    if (!isMine || mine?.phase === 'Ready') return undefined;
    const from = image.spec.source.file?.nodeName;
    if (from !== undefined && from !== '' && from !== nodeName) return undefined;
    let phase: NodeLine['phase'] = 'Pending';
    try {
      if (pool === undefined)
        throw new StorageProblem('PoolNotReady', `there is no VirtualPool "${image.spec.pool ?? defaultPoolName}"`);
      const there = await this.#poolHere(poolName(pool), signal);
      image = await addFinalizer(images, image, imageFinalizer, signal);
      phase = 'Downloading';
      await this.#make(image, lineName, there, signal);
      return undefined;
    } catch (error) {
      if (isPassing(error, signal)) throw error;
      const problem = problemOf(
        error,
        'DownloadFailed',
        `pool ${image.spec.pool ?? defaultPoolName} or ${this.#context.spoolFolder}`,
      );
      const fresh = (await images.find(refOf(image), { signal })) ?? image;
      const old = fresh.status?.nodes?.find((one) => one.nodeName === lineName);
      // A volume in the making stays known as ours.
      const told = problem.isFinal ? 'Failed' : old?.phase === 'Converting' ? 'Converting' : phase;
      await this.#report(
        fresh,
        { ...old, nodeName: lineName, phase: told, message: problem.message },
        { problem },
        signal,
      );
      if (!problem.isFinal) throw problem;
      // What was refused is not kept.
      await rm(this.#folder(image), { recursive: true, force: true });
      throw new TerminalError(problem.message, { cause: problem });
    }
  }

  #folder(image: VirtualImage): string {
    const { uid = '' } = image.metadata;
    if (!/^[A-Za-z0-9-]{1,64}$/.test(uid)) throw new FailedError(`"${uid}" cannot be a UID`);
    return join(this.#context.spoolFolder, uid);
  }

  async #poolHere(name: string, signal: AbortSignal): Promise<Pool> {
    try {
      const pool = await libvirtOf(this.#context).pools.byName(name, { signal });
      if (await pool.isActive({ signal })) return pool;
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
    throw new StorageProblem('PoolNotReady', `pool ${name} does not run on node ${this.#context.nodeName}`);
  }

  async #make(image: VirtualImage, lineName: string, there: Pool, signal: AbortSignal): Promise<void> {
    const { http, file, upload } = image.spec.source;
    if (upload !== undefined || (http === undefined && file === undefined)) {
      const message = `a source of type ${upload === undefined ? 'disk' : 'upload'} cannot be taken yet`;
      throw new StorageProblem('SourceNotReady', message, { isFinal: true });
    }
    const folder = this.#folder(image);
    const path = join(folder, 'file');
    const maxBytes = parseQuantity(image.spec.maxVirtualSize ?? '') ?? defaultMaxBytes;
    const old = image.status?.nodes?.find((one) => one.nodeName === lineName);
    const wasConverting = old?.phase === 'Converting';
    let current = image;
    if (!wasConverting) {
      current = await this.#report(image, { nodeName: lineName, phase: 'Downloading' }, {}, signal);
    }
    let toldMs = this.#context.clock.monotonicMs();
    const onBytes = async (done: number, total: number | undefined): Promise<void> => {
      const nowMs = this.#context.clock.monotonicMs();
      if (wasConverting || nowMs - toldMs < progressMs) return;
      toldMs = nowMs;
      const percent =
        total === undefined || total === 0 ? {} : { totalBytes: total, percent: Math.floor((done * 100) / total) };
      const fresh = await this.#context.images.get(refOf(image), { signal });
      const progress = { transferredBytes: done, ...percent };
      current = await this.#report(fresh, { nodeName: lineName, phase: 'Downloading', progress }, {}, signal);
    };
    if (http !== undefined) {
      const credentials = await webCredentials(this.#context, image.metadata.namespace, http, signal);
      await download(http.url, path, maxBytes, onBytes, credentials, signal);
    }
    if (file !== undefined) await copyIn(file.path, path);
    const checksum = await verify(path, http?.checksum ?? file?.checksum, signal);
    const unpacked = await decompress(path, image.spec.compression ?? 'auto', maxBytes, signal);
    const found = await inspectImage(unpacked, image.spec.sourceFormat, maxBytes, signal);
    const format = image.spec.format ?? 'qcow2';
    // What calls itself raw must not look like anything else: the pool would find that, and follow its backing file.
    if (found.format === 'raw') await inspectImage(unpacked, undefined, maxBytes, signal);
    const { namespace = 'default', name = '' } = image.metadata;
    const volumeName = `${namespace}.${name}.${format}`;
    const present = await findVolume(there, volumeName, signal);
    if (present !== undefined && !wasConverting) {
      const message = `there is a volume "${volumeName}" in pool ${there.name} already, which this image did not make`;
      throw new StorageProblem('DownloadFailed', message);
    }
    const facts = { checksum, sourceFormat: found.format, format };
    current = await this.#context.images.get(refOf(image), { signal });
    current = await this.#report(current, { nodeName: lineName, phase: 'Converting' }, { facts }, signal);
    if (present !== undefined) await present.delete({ signal });
    let made = unpacked;
    if (found.format !== format) {
      made = join(folder, 'converted');
      await runLimited('qemu-img', ['convert', '-f', found.format, '-O', format, unpacked, made], longMs, signal);
    }
    const placed = await this.#send(made, volumeName, there, signal);
    const size = formatBytes((await sizeOf(made)) ?? 0);
    const ready = { ...facts, size, virtualSize: formatBytes(found.virtualBytes) };
    await this.#report(current, { nodeName: lineName, phase: 'Ready', path: placed }, { facts: ready }, signal);
    await rm(folder, { recursive: true, force: true });
  }

  /** Sends a file into the pool. */
  async #send(file: string, name: string, there: Pool, signal: AbortSignal): Promise<string> {
    const bytes = (await sizeOf(file)) ?? 0;
    // As raw, so that what arrives is what was sent, byte for byte; the pool finds the format out afterwards.
    const value = {
      name,
      capacity: { unit: 'bytes', value: bytes },
      allocation: { unit: 'bytes', value: 0 },
      target: { format: { type: 'raw' } },
    };
    // A connection of its own: a slow disk holds up everything on it.
    const own = await libvirtOf(this.#context).duplicate(signal);
    try {
      const pool = await own.pools.byName(there.name, { signal });
      const volume = await pool.createVolume(render('storagevol', value), { signal, timeoutMs: longMs });
      await volume.upload(file, { sparse: true, signal });
      await pool.refresh({ signal, timeoutMs: longMs });
      return await (await pool.volume(name, { signal })).path({ signal });
    } finally {
      await own.close();
    }
  }

  async #delete(
    image: VirtualImage,
    lineName: string,
    mine: NodeLine | undefined,
    signal: AbortSignal,
  ): Promise<ReconcileResult | undefined> {
    if (!hasFinalizer(image, imageFinalizer)) return undefined;
    const { namespace = '', name = '' } = image.metadata;
    const users = this.#usersOf(image).map((one) => `${one.kind} ${one.name}`);
    if (users.length > 0) {
      const message = `deletion waits for ${namesOf(users)}`;
      if (mine !== undefined) await this.#report(image, mine, { message }, signal);
      return { requeueAfterMs: 10_000 };
    }
    let current = image;
    if (mine !== undefined) {
      const pool = await this.#context.pools.find({ name: image.spec.pool ?? defaultPoolName }, { signal });
      if (pool !== undefined && (mine.path !== undefined || mine.phase === 'Converting')) {
        const there = await this.#poolHere(poolName(pool), signal);
        const volume = await findVolume(there, `${namespace}.${name}.${image.spec.format ?? 'qcow2'}`, signal);
        if (volume !== undefined) await volume.delete({ signal, timeoutMs: longMs });
      }
      await rm(this.#folder(image), { recursive: true, force: true });
      current = await this.#report(image, undefined, { gone: lineName }, signal);
    }
    const known = new Set(['', ...this.#context.nodes().map((node) => node.name)]);
    if ((current.status?.nodes ?? []).some((one) => known.has(one.nodeName))) return { requeueAfterMs: 10_000 };
    await removeFinalizer(this.#context.images, current, imageFinalizer, signal);
    return undefined;
  }

  /** Machines that name it, and disks that lie over it. */
  #usersOf(image: VirtualImage): { kind: string; name: string }[] {
    const { namespace = '', name = '' } = image.metadata;
    const paths = new Set((image.status?.nodes ?? []).flatMap(({ path }) => (path === undefined ? [] : [path])));
    const machines = this.#context.usersOf('VirtualImage', namespace, name);
    const disks = this.#context
      .knownDisks()
      .filter(({ status }) => status?.backingChain?.some((path) => paths.has(path)) === true);
    return [
      ...machines.map((one) => ({ kind: 'VirtualMachine', name: one.name })),
      ...disks.map(({ metadata }) => ({ kind: 'VirtualDisk', name: metadata.name ?? '' })),
    ];
  }

  async #report(
    image: VirtualImage,
    line: NodeLine | undefined,
    news: News,
    signal: AbortSignal,
  ): Promise<VirtualImage> {
    const nowMs = this.#context.clock.now();
    const before = image.status ?? {};
    const lineName = line?.nodeName ?? news.gone ?? '';
    const others = (before.nodes ?? []).filter((one) => one.nodeName !== lineName);
    const dated = line === undefined ? [] : [{ ...line, lastUpdateTime: toKubernetesTime(nowMs) }];
    const nodes = [...others, ...dated].sort((a, b) => (a.nodeName < b.nodeName ? -1 : 1));
    const ready = nodes.filter(({ phase }) => phase === 'Ready');
    const isReady = ready.length > 0 && ready.length === nodes.length;
    const order = ['Failed', 'Pending', 'WaitForUpload', 'Downloading', 'Converting', 'Ready'];
    const furthest = [...nodes].sort((a, b) => order.indexOf(b.phase ?? '') - order.indexOf(a.phase ?? ''))[0];
    const generation = image.metadata.generation;
    const message = news.problem?.message ?? news.message ?? nodes.find((one) => one.message !== undefined)?.message;
    const after = {
      ...before,
      ...news.facts,
      ...(generation === undefined ? {} : { observedGeneration: generation }),
      phase: isBeingDeleted(image) ? 'Deleting' : (furthest?.phase ?? 'Pending'),
      progress: furthest?.progress,
      nodes,
      usedBy: this.#usersOf(image),
      message,
      conditions: setCondition(
        before.conditions,
        {
          type: 'Ready',
          status: isReady,
          reason: isReady ? 'Available' : (news.problem?.reason ?? furthest?.phase ?? 'Pending'),
          message: isReady ? '' : message,
          observedGeneration: generation,
        },
        nowMs,
      ),
    };
    const patch = mergePatchOf(image.status, after);
    if (patch === undefined) return image;
    const { resourceVersion, uid } = image.metadata;
    return this.#context.images.mergePatch(
      refOf(image),
      { metadata: { resourceVersion, uid }, status: patch },
      { subresource: 'status', signal },
    );
  }
}

/** What a step found out. */
interface News {
  readonly problem?: StorageProblem;
  readonly message?: string;
  readonly facts?: Partial<VirtualImageStatus>;
  /** The line that goes. */
  readonly gone?: string;
}

async function findVolume(pool: Pool, name: string, signal: AbortSignal): Promise<Volume | undefined> {
  try {
    return await pool.volume(name, { signal });
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw toError(error);
  }
}
