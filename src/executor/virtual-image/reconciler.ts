/**
 * VirtualImage on one node: its file is brought to the spool folder, checked, inspected, converted, and sent into the pool
 * through libvirt; and its line in status.nodes.
 *
 *   Downloading (spool, resumable) ─▶ checksum ─▶ unpack ─▶ inspect ─▶ Converting (volume is named in status) ─▶ Ready
 *
 * As with disks, a volume that status does not know to be in the making is never touched.
 */
import { rm } from 'node:fs/promises';
import { imageWork, sameImage, spoolFolder, type ImageWork } from './image-work.ts';
import { reportImage, usersOfImage, type NodeLine } from './report-image.ts';
import { takeDisk } from './take-disk.ts';
import { takeFile } from './take-file.ts';
import { takeUpload } from './take-upload.ts';
import { rawFiles } from '../virtual-disk/disk-places.ts';
import { domainsWith } from '../virtual-disk/disk-users.ts';
import { filesOver, lookAgainMs } from '../virtual-disk/unknown-overlays.ts';
import { findVolume } from '../virtual-disk/volume-facts.ts';
import { selectedNodes } from '../virtual-pool/selected-nodes.ts';
import {
  defaultPoolName,
  isPassing,
  libvirtOf,
  lookAfterMs,
  longMs,
  problemOf,
  StorageProblem,
  waitMs,
  type StorageContext,
} from '../virtual-pool/storage-context.ts';
import { imageVolumeName, libvirtPoolName } from '../../api/image-upload.ts';
import type { VirtualImage } from '../../api/virtual-image.ts';
import { parseObjectKey } from '../../kube/object.ts';
import { isNotFound } from '../../libvirt/errors.ts';
import type { Pool } from '../../libvirt/objects/pools.ts';
import type { ReconcileContext, ReconcileResult } from '../../reconcile/controller.ts';
import { addFinalizer, hasFinalizer, isBeingDeleted, removeFinalizer } from '../../reconcile/finalizers.ts';
import { TerminalError } from '../../reconcile/terminal-error.ts';

/** Keeps the object until no node has the image any more. */
export const imageFinalizer = 'virtctl.dev/image';

/** Phases in which a volume of the image's name is its own, although it is not ready. */
const ownPhases: ReadonlySet<NodeLine['phase']> = new Set(['Converting', 'WaitForUpload']);

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
    // Without the pool, its lines tell what it was.
    const wasShared = pool === undefined && image.status?.nodes?.some((one) => one.nodeName === '') === true;
    const isShared = pool?.spec.shared === true || wasShared;
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
      const there = await this.#poolHere(libvirtPoolName(pool), signal);
      image = await addFinalizer(images, image, imageFinalizer, signal);
      if (image.spec.source.http !== undefined) phase = 'Downloading';
      return await take(imageWork(this.#context, image, lineName, there, signal));
    } catch (error) {
      if (isPassing(error, signal)) throw error;
      const problem = problemOf(
        error,
        'DownloadFailed',
        `pool ${image.spec.pool ?? defaultPoolName} or ${this.#context.spoolFolder}`,
      );
      const fresh = await sameImage(this.#context, image, signal);
      const old = fresh.status?.nodes?.find((one) => one.nodeName === lineName);
      // What was begun is known as ours in those phases only: it goes before they do.
      if (problem.isFinal && old !== undefined && ownPhases.has(old.phase))
        await this.#deleteVolume(fresh, old, signal);
      // A volume in the making stays known as ours.
      const told = problem.isFinal ? 'Failed' : ownPhases.has(old?.phase) ? old?.phase : phase;
      await reportImage(
        this.#context,
        fresh,
        { ...old, nodeName: lineName, phase: told, message: problem.message },
        { problem },
        signal,
      );
      const afterMs = lookAfterMs(problem);
      if (afterMs !== undefined) return { requeueAfterMs: afterMs };
      if (!problem.isFinal) throw problem;
      // What was refused is not kept.
      await rm(spoolFolder(this.#context, image), { recursive: true, force: true });
      throw new TerminalError(problem.message, { cause: problem });
    }
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

  async #delete(
    image: VirtualImage,
    lineName: string,
    mine: NodeLine | undefined,
    signal: AbortSignal,
  ): Promise<ReconcileResult | undefined> {
    if (!hasFinalizer(image, imageFinalizer)) return undefined;
    const objects = usersOfImage(this.#context, image).map((one) => `${one.kind} ${one.name}`);
    const users = objects.length > 0 || mine?.path === undefined ? objects : await this.#domainsWith(mine.path, signal);
    const waitFor = async (whom: readonly string[]): Promise<ReconcileResult> => {
      const line = mine?.phase === 'Ready' ? { ...mine, message: undefined } : mine;
      if (line !== undefined) await reportImage(this.#context, image, line, { waitsFor: whom }, signal);
      return { requeueAfterMs: waitMs };
    };
    if (users.length > 0) return waitFor(users);
    let current = image;
    if (mine !== undefined) {
      try {
        const hasVolume = mine.path !== undefined || ownPhases.has(mine.phase);
        const over = hasVolume ? await this.#deleteVolume(image, mine, signal) : [];
        if (over.length > 0) return await waitFor(over.map((file) => `file ${file}`));
      } catch (error) {
        if (isPassing(error, signal)) throw error;
        const problem = problemOf(error, 'DeleteFailed', `pool ${image.spec.pool ?? defaultPoolName}`);
        const message = `deletion waits: ${problem.message}`;
        await reportImage(this.#context, image, { ...mine, message }, { problem, message }, signal);
        if (problem.reason === 'PoolNotReady') return { requeueAfterMs: waitMs };
        if (problem.reason === 'RefreshFailed') return { requeueAfterMs: lookAgainMs };
        throw problem;
      }
      await rm(spoolFolder(this.#context, image), { recursive: true, force: true });
      current = await reportImage(this.#context, image, undefined, { gone: lineName }, signal);
    }
    const known = new Set(['', ...this.#context.nodes().map((node) => node.name)]);
    if ((current.status?.nodes ?? []).some((one) => known.has(one.nodeName))) return { requeueAfterMs: waitMs };
    await removeFinalizer(this.#context.images, current, imageFinalizer, signal);
    const note = 'the image is gone from all nodes';
    this.#context.record({ regarding: image, type: 'Normal', reason: 'Deleted', action: 'Delete', note });
    return undefined;
  }

  /** What no object of ours tells: a domain of somebody else, or one that names the file by its path. */
  async #domainsWith(path: string, signal: AbortSignal): Promise<string[]> {
    const users = await domainsWith(libvirtOf(this.#context), path, false, signal);
    return users.map(({ domain }) => `domain ${domain.name}`);
  }

  /**
   * Removes the volume, unless files of the pool lie over it.
   *
   * @returns Those files.
   * @throws StorageProblem PoolNotReady while the pool does not run, RefreshFailed while it cannot be looked through.
   */
  async #deleteVolume(image: VirtualImage, mine: NodeLine, signal: AbortSignal): Promise<readonly string[]> {
    const name = image.spec.pool ?? defaultPoolName;
    const pool = await this.#context.pools.find({ name }, { signal });
    if (pool === undefined) {
      // What libvirt calls the pool, and whether it is still there, is known to nobody.
      const where = mine.nodeName === '' ? '' : ` on node ${mine.nodeName}`;
      const note = `${mine.path ?? imageVolumeName(image)} is left${where}: there is no VirtualPool "${name}" any more`;
      this.#context.record({ regarding: image, type: 'Warning', reason: 'VolumeLeft', action: 'Delete', note });
      return [];
    }
    const there = await this.#poolHere(libvirtPoolName(pool), signal);
    const over = mine.path === undefined ? [] : await filesOver(there, mine.path, signal, rawFiles(this.#context));
    if (over.length > 0) return over;
    const volume = await findVolume(there, imageVolumeName(image), signal);
    if (volume !== undefined) await volume.delete({ signal, timeoutMs: longMs });
    return [];
  }
}

/** Brings it here, from wherever it comes. */
async function take(work: ImageWork): Promise<ReconcileResult | undefined> {
  const { upload, disk } = work.image.spec.source;
  if (upload !== undefined) return takeUpload(work);
  if (disk !== undefined) await takeDisk(work, disk.name);
  else await takeFile(work);
  return undefined;
}
