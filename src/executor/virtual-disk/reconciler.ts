/**
 * VirtualDisk on the node that has it: made, grown, and deleted.
 *
 *   no node yet ─▶ first machine's node ─▶ Creating (the name is in status before the volume is made) ─▶ Ready
 *
 * A volume that status names as being made is ours and incomplete: it is removed and made again. A volume of that name
 * that status does not know is somebody's data: it is never touched. A volume that was ready and is missing is told, and
 * never made anew.
 */
import { domainsWith } from './disk-users.ts';
import { formatOf, volumeName, volumeXml, wantedBytes, type BackingFile } from './volume-definition.ts';
import { mergePatchOf } from '../status-patch.ts';
import { memberAt, textOf, type DataObject } from '../virtual-machine/same-value.ts';
import { namesOf } from '../virtual-pool/names-of.ts';
import { poolName, readPool } from '../virtual-pool/pool-definition.ts';
import { matchesLabels, selectedNodes } from '../virtual-pool/selected-nodes.ts';
import {
  defaultPoolName,
  isPassing,
  libvirtOf,
  problemOf,
  StorageProblem,
  type StorageContext,
} from '../virtual-pool/storage-context.ts';
import { analyse } from '../../analyser/analyse.ts';
import { formatBytes, formatBytesRounded } from '../../api/quantity.ts';
import type { VirtualDisk, VirtualDiskStatus } from '../../api/virtual-disk.ts';
import type { VirtualPool } from '../../api/virtual-pool.ts';
import { parseObjectKey, refOf } from '../../kube/object.ts';
import { isNotFound as isObjectGone } from '../../kube/status-error.ts';
import { isNotFound } from '../../libvirt/errors.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';
import type { Pool } from '../../libvirt/objects/pools.ts';
import type { Volume } from '../../libvirt/objects/volume.ts';
import { setCondition } from '../../reconcile/conditions.ts';
import type { ReconcileContext, ReconcileResult } from '../../reconcile/controller.ts';
import { addFinalizer, hasFinalizer, isBeingDeleted, removeFinalizer } from '../../reconcile/finalizers.ts';
import { TerminalError } from '../../reconcile/terminal-error.ts';

/** Keeps the object until its volume is gone. */
export const diskFinalizer = 'virtctl.dev/disk';

/** Copying, preallocating and wiping take as long as disks are large. */
const longMs = 24 * 60 * 60_000;
/** How often a disk that waits is looked at, beside the events that tell of it. */
const waitMs = 10_000;
/** How often sizes are looked at. */
const lookMs = 5 * 60_000;

/** What a volume begins with. */
interface Origin {
  readonly bytes: number;
  /** The volume is an overlay over it. */
  readonly backing?: BackingFile | undefined;
  /** The volume is a copy of it. */
  readonly copyOf?: Volume | undefined;
}

/** Where a source is, and the format that it was made in. */
interface Known {
  readonly path: string;
  readonly format: string | undefined;
}

/** Reconciles the disks of a node. */
export class DiskReconciler {
  readonly #context: StorageContext;

  constructor(context: StorageContext) {
    this.#context = context;
  }

  /** Does what is next for a disk, named by its key. */
  async reconcile(key: string, { signal }: ReconcileContext): Promise<ReconcileResult | undefined> {
    const { disks, pools } = this.#context;
    let disk = await disks.find(parseObjectKey(key), { signal });
    if (disk === undefined) return undefined;
    const pool = await pools.find({ name: disk.spec.pool ?? defaultPoolName }, { signal });
    const home = this.#homeOf(disk, pool);
    if (home !== this.#context.nodeName) {
      if (home === undefined && this.#isFirstNode()) await this.#wait(disk, pool, signal);
      return undefined;
    }
    if (isBeingDeleted(disk)) return this.#delete(disk, signal);
    try {
      const there = await this.#poolHere(disk, pool, signal);
      if (there === undefined) throw new StorageProblem('PoolNotReady', this.#poolProblem(disk, pool));
      if (disk.status?.path === undefined) {
        disk = await addFinalizer(disks, disk, diskFinalizer, signal);
        await this.#make(disk, pool, there, signal);
        return { requeueAfterMs: 0 };
      }
      return await this.#keep(disk, there, signal);
    } catch (error) {
      if (isPassing(error, signal)) throw error;
      const problem = problemOf(error, 'CreateFailed', `pool ${disk.spec.pool ?? defaultPoolName}`);
      await this.#report(disk, { ready: problem, ...(problem.isFinal ? { phase: 'Failed' } : {}) }, signal);
      if (problem.isFinal) throw new TerminalError(problem.message, { cause: problem });
      throw problem;
    }
  }

  /** The node that has the disk or is to make it; undefined while nobody knows. */
  #homeOf(disk: VirtualDisk, pool: VirtualPool | undefined): string | undefined {
    const { namespace = '', name = '' } = disk.metadata;
    const given = [disk.status?.nodeName, disk.spec.nodeName].find((one) => one !== undefined && one !== '');
    if (given !== undefined) return given;
    const nodes = selectedNodes(pool?.spec.nodeSelector, this.#context.nodes());
    const users = this.#context
      .usersOf('VirtualDisk', namespace, name)
      .map(({ nodeName }) => nodeName)
      .filter((one) => one !== '')
      .sort();
    if (users[0] !== undefined) return users[0];
    if (pool?.spec.shared === true && (disk.status?.path !== undefined || disk.spec.bindingMode === 'Immediate')) {
      return nodes[0];
    }
    return disk.spec.bindingMode === 'Immediate' && nodes.length === 1 ? nodes[0] : undefined;
  }

  /** One node speaks for what belongs to none. */
  #isFirstNode(): boolean {
    const names = this.#context.nodes().map(({ name }) => name);
    return names.sort()[0] === this.#context.nodeName;
  }

  async #wait(disk: VirtualDisk, pool: VirtualPool | undefined, signal: AbortSignal): Promise<void> {
    if (isBeingDeleted(disk)) {
      if (hasFinalizer(disk, diskFinalizer)) await removeFinalizer(this.#context.disks, disk, diskFinalizer, signal);
      return;
    }
    const [phase, ready] =
      pool === undefined
        ? (['Pending', new StorageProblem('PoolNotReady', this.#poolProblem(disk, pool))] as const)
        : disk.spec.bindingMode === 'Immediate'
          ? (['Pending', new StorageProblem('WaitingForConsumer', 'spec.nodeName has to say on which node')] as const)
          : ([
              'WaitForFirstConsumer',
              new StorageProblem('WaitingForConsumer', 'it is made where the first machine that uses it is placed'),
            ] as const);
    await this.#report(disk, { phase, ready }, signal);
  }

  #poolProblem(disk: VirtualDisk, pool: VirtualPool | undefined): string {
    const name = disk.spec.pool ?? defaultPoolName;
    if (pool === undefined) return `there is no VirtualPool "${name}"`;
    const line = pool.status?.nodes?.find(({ nodeName }) => nodeName === this.#context.nodeName);
    const labels = this.#context.nodes().find((one) => one.name === this.#context.nodeName)?.labels ?? {};
    if (!matchesLabels(pool.spec.nodeSelector, labels)) {
      return `VirtualPool "${name}" is not on node ${this.#context.nodeName}`;
    }
    return `VirtualPool "${name}" is ${line?.state ?? 'absent'} on node ${this.#context.nodeName}${line?.message === undefined ? '' : `: ${line.message}`}`;
  }

  async #poolHere(disk: VirtualDisk, pool: VirtualPool | undefined, signal: AbortSignal): Promise<Pool | undefined> {
    const name = disk.status?.pool ?? (pool === undefined ? undefined : poolName(pool));
    if (name === undefined) return undefined;
    try {
      const there = await libvirtOf(this.#context).pools.byName(name, { signal });
      return (await there.isActive({ signal })) ? there : undefined;
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  /** Makes the volume. */
  async #make(disk: VirtualDisk, pool: VirtualPool | undefined, there: Pool, signal: AbortSignal): Promise<void> {
    const type = textOf(readPool(await there.xml({ signal }))['type']);
    const imported = disk.spec.source?.import;
    if (imported?.volume !== undefined) {
      const volume = await findVolume(there, imported.volume, signal);
      if (volume === undefined) {
        throw new StorageProblem('SourceNotReady', `there is no volume "${imported.volume}" in pool ${there.name}`);
      }
      const path = await volume.path({ signal });
      const other = this.#context
        .knownDisks()
        .find((one) => one.status?.path === path && one.metadata.uid !== disk.metadata.uid && this.#isOnThisNode(one));
      if (other !== undefined) {
        const { namespace = '', name = '' } = other.metadata;
        throw new StorageProblem('SourceNotReady', `the volume is that of VirtualDisk ${namespace}/${name} already`);
      }
      await this.#done(disk, pool, there, volume, signal);
      return;
    }
    const name = volumeName(disk, type);
    const format = formatOf(disk, type);
    const origin = await this.#origin(disk, format, signal);
    const isOurs = disk.status?.phase === 'Creating' && disk.status.volume === name;
    const found = await findVolume(there, name, signal);
    if (found !== undefined && !isOurs) {
      throw new StorageProblem(
        'CreateFailed',
        `there is a volume "${name}" in pool ${there.name} already, which this disk did not make; ` +
          'import it with source.import.volume, or delete it',
      );
    }
    const nodeName = this.#context.nodeName;
    const ready = new StorageProblem('Creating', '');
    const started = await this.#report(
      disk,
      { phase: 'Creating', ready, status: { nodeName, pool: there.name, volume: name } },
      signal,
    );
    if (found !== undefined) await found.delete({ signal });
    const xml = volumeXml(disk, name, format, origin.bytes, origin.backing);
    const flags = {
      ...(disk.spec.preallocation === 'Metadata' ? { preallocMetadata: true } : {}),
      signal,
      timeoutMs: longMs,
    };
    // A connection of its own: a daemon takes a few calls of one connection at a time only.
    const own = await libvirtOf(this.#context).duplicate(signal);
    let volume: Volume;
    try {
      const ownPool = await own.pools.byName(there.name, { signal });
      volume =
        origin.copyOf === undefined
          ? await ownPool.createVolume(xml, flags)
          : await ownPool.cloneVolume(xml, origin.copyOf, flags);
    } finally {
      await own.close();
    }
    volume = await there.volume(name, { signal });
    const { capacityBytes } = await volume.info({ signal });
    if (capacityBytes < origin.bytes) await volume.resize(origin.bytes, { signal, timeoutMs: longMs });
    await this.#done(started, pool, there, volume, signal);
  }

  #isOnThisNode(disk: VirtualDisk): boolean {
    return disk.status?.nodeName === this.#context.nodeName || (disk.status?.nodeName ?? '') === '';
  }

  /** What the volume begins with. */
  async #origin(disk: VirtualDisk, format: string, signal: AbortSignal): Promise<Origin> {
    const { namespace } = disk.metadata;
    const { image, clone, snapshot, import: imported } = disk.spec.source ?? {};
    const wanted = wantedBytes(disk);
    const libvirt = libvirtOf(this.#context);
    if (snapshot !== undefined) {
      throw new StorageProblem('SourceNotReady', 'disks of snapshots cannot be copied yet', { isFinal: true });
    }
    if (image === undefined && clone === undefined && imported?.path === undefined) {
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
      ({ path, format: known } = await this.#imagePath(namespace, image.name, signal));
      mode = image.mode ?? 'Copy';
    } else if (clone !== undefined) {
      ({ path, format: known } = await this.#clonePath(libvirt, namespace, clone, signal));
      mode = clone.mode ?? 'Copy';
    } else path = imported?.path ?? '';
    const source = await volumeAt(libvirt, path, signal);
    const { capacityBytes } = await source.info({ signal });
    const sourceXml = analyse(await source.xml({ signal })).value as DataObject;
    const sourceFormat = textOf(memberAt(sourceXml, 'target', 'format', 'type'));
    if (imported !== undefined) refuseForeign(sourceXml, imported.format, sourceFormat, path);
    if (known !== undefined && sourceFormat !== known) {
      const message = `its source claims to be ${sourceFormat}, but was made as ${known}: it is not copied`;
      throw new StorageProblem('CreateFailed', message, { isFinal: true });
    }
    if (wanted !== undefined && wanted < capacityBytes) {
      throw new StorageProblem(
        'CreateFailed',
        `its source is ${formatBytesRounded(capacityBytes)} large and does not fit into ${formatBytesRounded(wanted)}`,
        { isFinal: true },
      );
    }
    const bytes = Math.max(wanted ?? 0, capacityBytes);
    if (mode === 'Copy') return { bytes, copyOf: source };
    if (format !== 'qcow2') {
      throw new StorageProblem('CreateFailed', `an overlay has to be qcow2, not ${format}`, { isFinal: true });
    }
    return { bytes, backing: { path, format: sourceFormat === '' ? 'raw' : sourceFormat } };
  }

  async #imagePath(namespace: string | undefined, name: string, signal: AbortSignal): Promise<Known> {
    const image = await this.#context.images.find({ namespace, name }, { signal });
    if (image === undefined) throw new StorageProblem('SourceNotReady', `there is no VirtualImage "${name}"`);
    if (isBeingDeleted(image)) throw new StorageProblem('SourceNotReady', `VirtualImage "${name}" is being deleted`);
    const line = image.status?.nodes?.find((one) => one.nodeName === '' || one.nodeName === this.#context.nodeName);
    if (line?.path === undefined || line.phase !== 'Ready') {
      const why = line?.message === undefined ? '' : `: ${line.message}`;
      throw new StorageProblem(
        'SourceNotReady',
        `VirtualImage "${name}" is ${line?.phase ?? 'not on this node'}${why}`,
      );
    }
    return { path: line.path, format: image.status?.format };
  }

  async #clonePath(
    libvirt: Libvirt,
    namespace: string | undefined,
    { name, mode }: { readonly name: string; readonly mode?: string | undefined },
    signal: AbortSignal,
  ): Promise<Known> {
    const source = await this.#context.disks.find({ namespace, name }, { signal });
    if (source === undefined) throw new StorageProblem('SourceNotReady', `there is no VirtualDisk "${name}"`);
    const { path, phase } = source.status ?? {};
    if (path === undefined || phase !== 'Ready' || isBeingDeleted(source)) {
      throw new StorageProblem('SourceNotReady', `VirtualDisk "${name}" is ${phase ?? 'Pending'}`);
    }
    if (!this.#isOnThisNode(source)) {
      const where = source.status?.nodeName ?? '';
      throw new StorageProblem('SourceNotReady', `VirtualDisk "${name}" is on node ${where}`);
    }
    const writers = await domainsWith(libvirt, path, true, signal);
    if (writers.length > 0) {
      const names = writers.map(({ domain }) => domain.name).join(', ');
      throw new StorageProblem('SourceNotReady', `VirtualDisk "${name}" is written to by ${names}; stop it first`);
    }
    const users = this.#context.usersOf('VirtualDisk', namespace ?? '', name);
    if (mode === 'Overlay' && users.length > 0) {
      const names = namesOf(users.map((one) => `VirtualMachine ${one.name}`));
      throw new StorageProblem('SourceNotReady', `VirtualDisk "${name}" is used by ${names}, which would change it`);
    }
    return { path, format: source.status?.format };
  }

  /** The volume is complete: from now on it may be used. */
  async #done(
    disk: VirtualDisk,
    pool: VirtualPool | undefined,
    there: Pool,
    volume: Volume,
    signal: AbortSignal,
  ): Promise<void> {
    const status = {
      ...(await describe(volume, signal)),
      pool: there.name,
      volume: volume.name,
      nodeName: pool?.spec.shared === true ? '' : this.#context.nodeName,
    };
    await this.#report(disk, { phase: 'Ready', status }, signal);
  }

  /** Keeps a volume that is there as spec says. */
  async #keep(disk: VirtualDisk, there: Pool, signal: AbortSignal): Promise<ReconcileResult> {
    const name = disk.status?.volume ?? '';
    let volume = await findVolume(there, name, signal);
    if (volume === undefined) {
      await there.refresh({ signal });
      volume = await findVolume(there, name, signal);
    }
    if (volume === undefined) {
      const message = `volume "${name}" is no longer in pool ${there.name}; it is not made anew, since its data is lost`;
      await this.#report(disk, { phase: 'Failed', ready: new StorageProblem('VolumeMissing', message) }, signal);
      return { requeueAfterMs: waitMs };
    }
    let status = await describe(volume, signal);
    const recorded = disk.status?.format;
    if (recorded !== undefined && recorded !== status.format) {
      // A guest can write another format's header into a raw disk, to have the host follow its backing file.
      const message = `the volume claims to be ${status.format}, but was made as ${recorded}: its size is left as it is`;
      const refusal = new StorageProblem('ResizeFailed', message);
      await this.#report(disk, { phase: 'Ready', status: { allocation: status.allocation }, refusal }, signal);
      return { requeueAfterMs: lookMs };
    }
    const is = status.bytes;
    const wanted = wantedBytes(disk);
    let refusal: StorageProblem | undefined;
    if (wanted !== undefined && wanted !== is) {
      refusal = await this.#resize(disk, volume, status.path, is, wanted, signal);
      status = await describe(volume, signal);
    }
    await this.#report(disk, { phase: 'Ready', status, refusal }, signal);
    return { requeueAfterMs: refusal === undefined ? lookMs : waitMs };
  }

  /** @returns Why it was not done. */
  async #resize(
    disk: VirtualDisk,
    volume: Volume,
    path: string,
    is: number,
    wanted: number,
    signal: AbortSignal,
  ): Promise<StorageProblem | undefined> {
    const isShrink = wanted < is;
    const change = `from ${formatBytesRounded(is)} to ${formatBytesRounded(wanted)}`;
    if (isShrink && disk.spec.allowShrink !== true) {
      return new StorageProblem(
        'ShrinkRefused',
        `shrinking ${change} destroys what is stored behind the new end; set allowShrink: true to do it nevertheless`,
      );
    }
    const [running] = await domainsWith(libvirtOf(this.#context), path, true, signal);
    if (running !== undefined && isShrink) {
      return new StorageProblem('ShrinkRefused', `shrinking ${change} has to wait until ${running.domain.name} is off`);
    }
    const overlays = this.#overlaysOf(disk, path);
    if (overlays.length > 0 && isShrink) {
      return new StorageProblem(
        'ShrinkRefused',
        `shrinking ${change} would harm ${namesOf(overlays)}, which lie over it`,
      );
    }
    try {
      if (running?.target !== undefined) await running.domain.blocks.resize(running.target, wanted, { signal });
      else if (running === undefined) {
        await volume.resize(wanted, { ...(isShrink ? { shrink: true } : {}), signal, timeoutMs: longMs });
      }
      return undefined;
    } catch (error) {
      if (isPassing(error, signal)) throw error;
      return problemOf(error, 'ResizeFailed', `pool ${volume.pool}`);
    }
  }

  /** Disks of this node that lie over a path. */
  #overlaysOf(disk: VirtualDisk, path: string | undefined): string[] {
    if (path === undefined) return [];
    return this.#context
      .knownDisks()
      .filter((one) => one.metadata.uid !== disk.metadata.uid && one.status?.backingChain?.includes(path) === true)
      .filter((one) => this.#isOnThisNode(one))
      .map(({ metadata }) => `VirtualDisk ${metadata.namespace ?? ''}/${metadata.name ?? ''}`)
      .sort();
  }

  async #delete(disk: VirtualDisk, signal: AbortSignal): Promise<ReconcileResult | undefined> {
    if (!hasFinalizer(disk, diskFinalizer)) return undefined;
    const { namespace = '', name = '' } = disk.metadata;
    const { path } = disk.status ?? {};
    const libvirt = libvirtOf(this.#context);
    const machines = this.#context.usersOf('VirtualDisk', namespace, name).map((one) => `VirtualMachine ${one.name}`);
    const domains =
      path === undefined || machines.length > 0
        ? []
        : (await domainsWith(libvirt, path, false, signal)).map(({ domain }) => `domain ${domain.name}`);
    const users = [...machines, ...domains, ...this.#overlaysOf(disk, path)];
    if (users.length > 0) {
      await this.#report(disk, { phase: 'Deleting', waitsFor: users }, signal);
      return { requeueAfterMs: waitMs };
    }
    const isKept = disk.spec.reclaimPolicy === 'Retain' && path !== undefined;
    const { pool: poolAt, volume: volumeAt } = disk.status ?? {};
    let current = disk;
    if (!isKept && poolAt !== undefined && volumeAt !== undefined) {
      try {
        const there = await this.#poolHere(disk, undefined, signal);
        if (there === undefined) throw new StorageProblem('PoolNotReady', `pool ${poolAt} does not run`);
        const volume = await findVolume(there, volumeAt, signal);
        if (volume !== undefined) {
          if (disk.spec.wipe !== undefined) {
            current = await this.#report(disk, { phase: 'Wiping' }, signal);
            // libvirt wipes as much as it believes to be allocated, and believes what it saw last: let it look.
            await volume.info({ signal });
            await volume.wipe({ algorithm: disk.spec.wipe, signal, timeoutMs: longMs });
          }
          await volume.delete({ signal, timeoutMs: longMs });
        }
      } catch (error) {
        if (isPassing(error, signal)) throw error;
        const problem = problemOf(error, 'CreateFailed', `pool ${poolAt}`);
        await this.#report(current, { phase: 'Deleting', ready: problem }, signal);
        throw problem;
      }
    }
    await removeFinalizer(this.#context.disks, current, diskFinalizer, signal);
    return undefined;
  }

  /** Writes status; @returns the object as it is now. */
  async #report(disk: VirtualDisk, news: News, signal: AbortSignal): Promise<VirtualDisk> {
    const nowMs = this.#context.clock.now();
    const { generation, namespace = '', name = '', resourceVersion, uid } = disk.metadata;
    const before = disk.status ?? {};
    const fields = { ...news.status, bytes: undefined };
    const phase = news.phase ?? before.phase ?? 'Pending';
    const machines = this.#context
      .usersOf('VirtualDisk', namespace, name)
      .map((one) => ({ kind: 'VirtualMachine', name: one.name }));
    const overlays = this.#overlaysOf(disk, fields.path ?? before.path).map((one) => ({
      kind: 'VirtualDisk',
      name: one.slice(one.indexOf('/') + 1),
      readOnly: true,
    }));
    const usedBy = [...machines, ...overlays];
    const isReady = phase === 'Ready' && news.ready === undefined;
    const problem = news.ready ?? news.refusal;
    const observed = { observedGeneration: generation };
    let conditions = setCondition(
      before.conditions,
      isReady
        ? { type: 'Ready', status: true, reason: 'Available', ...observed }
        : {
            type: 'Ready',
            status: false,
            reason: news.ready?.reason ?? phase,
            message: news.ready?.message,
            ...observed,
          },
      nowMs,
    );
    const waits = news.waitsFor ?? [];
    const message = waits.length > 0 ? `deletion waits for ${namesOf(waits)}` : '';
    const isUsed = usedBy.length > 0 || waits.length > 0;
    const reason = isUsed ? 'InUse' : 'NotInUse';
    conditions = setCondition(conditions, { type: 'InUse', status: isUsed, reason, message, ...observed }, nowMs);
    if (news.refusal !== undefined || conditions.some(({ type }) => type === 'Resizing')) {
      conditions = setCondition(
        conditions,
        {
          type: 'Resizing',
          status: false,
          reason: news.refusal?.reason ?? 'Available',
          message: news.refusal?.message,
          ...observed,
        },
        nowMs,
      );
    }
    const told = waits.length > 0 ? message : problem?.message;
    const after = {
      ...before,
      ...fields,
      ...(generation === undefined ? {} : observed),
      phase,
      usedBy,
      message: told === '' ? undefined : told,
      conditions,
    };
    const patch = mergePatchOf(disk.status, after);
    if (patch === undefined) return disk;
    try {
      return await this.#context.disks.mergePatch(
        refOf(disk),
        { metadata: { resourceVersion, uid }, status: patch },
        { subresource: 'status', signal },
      );
    } catch (error) {
      if (isObjectGone(error)) return disk;
      throw error;
    }
  }
}

/** What a step found out. */
interface News {
  readonly phase?: VirtualDiskStatus['phase'];
  /** Why it is not ready. */
  readonly ready?: StorageProblem | undefined;
  /** Why its size is not as spec says, though it can be used. */
  readonly refusal?: StorageProblem | undefined;
  /** What deleting it waits for. */
  readonly waitsFor?: readonly string[];
  readonly status?: Partial<VirtualDiskStatus> & { readonly bytes?: number };
}

async function findVolume(pool: Pool, name: string, signal: AbortSignal): Promise<Volume | undefined> {
  try {
    return await pool.volume(name, { signal });
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
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

/** What libvirt says of a volume. */
async function describe(volume: Volume, signal: AbortSignal) {
  const info = await volume.info({ signal });
  const xml = analyse(await volume.xml({ signal })).value as DataObject;
  const backing = textOf(memberAt(xml, 'backingStore', 'path'));
  const format = textOf(memberAt(xml, 'target', 'format', 'type'));
  return {
    bytes: info.capacityBytes,
    path: await volume.path({ signal }),
    key: volume.key,
    format: format === '' ? 'raw' : format,
    capacity: formatBytes(info.capacityBytes),
    allocation: formatBytes(info.allocationBytes),
    backingChain: backing === '' ? [] : [backing],
  };
}
