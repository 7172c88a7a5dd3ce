/**
 * Storage on one node: the reconcilers of VirtualPool, VirtualImage and VirtualDisk with their caches and queues. The
 * executor (../executor.ts) makes one, runs it, and tells it what happens to machines and to the connection.
 *
 *   pools, images, disks, Hypervisors ──▶ keys ──▶ PoolReconciler, ImageReconciler, DiskReconciler ──▶ libvirt
 *   machines that name disks ────────────┘                                                        └──▶ status
 */
import { defaultPool, readPool } from './pool-definition.ts';
import { PoolReconciler } from './reconciler.ts';
import { defaultPoolName, type StorageContext, type StorageUser } from './storage-context.ts';
import type { FileHolds } from '../virtual-disk/file-holds.ts';
import { DiskSecrets } from '../virtual-disk/disk-secrets.ts';
import { DiskReconciler } from '../virtual-disk/reconciler.ts';
import { ImageReconciler } from '../virtual-image/reconciler.ts';
import { memberAt, textOf } from '../virtual-machine/same-value.ts';
import type { SecretObject } from '../virtual-machine/volumes.ts';
import type { Hypervisor } from '../../api/hypervisor.ts';
import { uploadAnnotation } from '../../api/image-upload.ts';
import { resourceOfKind } from '../../api/kinds.ts';
import type { VirtualDisk } from '../../api/virtual-disk.ts';
import type { VirtualImage } from '../../api/virtual-image.ts';
import type { VirtualMachine } from '../../api/virtual-machine.ts';
import type { VirtualMachineOperation } from '../../api/virtual-machine-operation.ts';
import type { VirtualMachineSnapshot } from '../../api/virtual-machine-snapshot.ts';
import { forceStopAnnotation, refreshAnnotation, type VirtualPool } from '../../api/virtual-pool.ts';
import type { Clock } from '../../base/clock.ts';
import { toError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import { Informer, type CacheChange } from '../../kube/informer.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import { objectKey, type KubeObject } from '../../kube/object.ts';
import { builtin } from '../../kube/resource-type.ts';
import { isAlreadyExists } from '../../kube/status-error.ts';
import { isNotFound } from '../../libvirt/errors.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';
import { Controller, type ReconcileRecord } from '../../reconcile/controller.ts';

/** Options of {@link StorageAgent}. */
export interface StorageAgentOptions {
  readonly client: KubeClient;
  readonly nodeName: string;
  /** Where files lie while they are on their way. */
  readonly spoolFolder: string;
  readonly libvirt: () => Libvirt | undefined;
  /** Files that somebody works on. */
  readonly fileHolds: FileHolds;
  /** The machines that name a disk or an image. */
  readonly usersOf: StorageContext['usersOf'];
  /** Is told of every change of a disk or an image: its kind and `namespace/name`. */
  readonly onObject: (kind: 'VirtualDisk' | 'VirtualImage', key: string) => void;
  /** Takes what happened, as Kubernetes Events. */
  readonly record: StorageContext['record'];
  readonly logger: Logger;
  readonly clock: Clock;
  readonly onReconciled: (record: ReconcileRecord) => void;
}

/** A copy may take as long as disks are large. */
const copyMs = 24 * 60 * 60_000;
/** The folder of the pool `default`, as libvirt's own tools have it. */
const defaultPath = '/var/lib/libvirt/images';

/** See the head of this file. */
export class StorageAgent {
  readonly #options: StorageAgentOptions;
  readonly #pools: Informer<VirtualPool>;
  readonly #nodes: Informer<Hypervisor>;
  readonly #disks: Informer<VirtualDisk>;
  readonly #images: Informer<VirtualImage>;
  readonly #context: StorageContext;
  readonly #poolController: Controller;
  readonly #diskController: Controller;
  readonly #imageController: Controller;

  constructor(options: StorageAgentOptions) {
    this.#options = options;
    const { client, nodeName, spoolFolder, logger, clock, onReconciled, libvirt, fileHolds, usersOf, record } = options;
    const informer = <T extends KubeObject>(kind: string, transform?: (object: T) => T): Informer<T> =>
      new Informer<T>({
        source: client.resource<T>(resourceOfKind(kind)),
        logger,
        clock,
        ...(transform === undefined ? {} : { transform }),
      });
    this.#pools = informer('VirtualPool');
    this.#disks = informer('VirtualDisk');
    this.#images = informer('VirtualImage');
    this.#nodes = informer('Hypervisor', ({ apiVersion, kind, metadata: { name, labels, resourceVersion } }) => ({
      apiVersion,
      kind,
      metadata: { name, labels, resourceVersion },
      spec: {},
    }));
    this.#context = {
      nodeName,
      spoolFolder,
      pools: client.resource<VirtualPool>(resourceOfKind('VirtualPool')),
      disks: client.resource<VirtualDisk>(resourceOfKind('VirtualDisk')),
      images: client.resource<VirtualImage>(resourceOfKind('VirtualImage')),
      machines: client.resource<VirtualMachine>(resourceOfKind('VirtualMachine')),
      snapshots: client.resource<VirtualMachineSnapshot>(resourceOfKind('VirtualMachineSnapshot')),
      operations: client.resource<VirtualMachineOperation>(resourceOfKind('VirtualMachineOperation')),
      secrets: client.resource<SecretObject>(builtin.secrets),
      partitioning: new Map(),
      diskSecrets: new DiskSecrets({ secrets: client.resource<SecretObject>(builtin.secrets), libvirt }),
      hypervisors: client.resource<Hypervisor>(resourceOfKind('Hypervisor')),
      nodes: () =>
        this.#nodes.list().map(({ metadata }) => ({ name: metadata.name ?? '', labels: metadata.labels ?? {} })),
      knownDisks: () => this.#disks.list(),
      knownImages: () => this.#images.list(),
      usersOf: (kind, namespace, name): readonly StorageUser[] => usersOf(kind, namespace, name),
      libvirt,
      fileHolds,
      record,
      clock,
    };
    const pools = new PoolReconciler(this.#context);
    this.#poolController = new Controller({
      name: 'virtualpool',
      reconcile: (key, context) => pools.reconcile(key, context),
      logger,
      clock,
      concurrency: 2,
      // Making a file system can take long.
      timeoutMs: 60 * 60_000,
      onReconciled,
    });
    const disks = new DiskReconciler(this.#context);
    this.#diskController = new Controller({
      name: 'virtualdisk',
      reconcile: (key, context) => disks.reconcile(key, context),
      logger,
      clock,
      concurrency: 4,
      timeoutMs: copyMs,
      onReconciled,
    });
    const images = new ImageReconciler(this.#context);
    this.#imageController = new Controller({
      name: 'virtualimage',
      reconcile: (key, context) => images.reconcile(key, context),
      logger,
      clock,
      concurrency: 2,
      timeoutMs: copyMs,
      onReconciled,
    });
    this.#watch();
  }

  /** Looks at everything afresh: after libvirt was away. */
  resynchronise(): void {
    for (const pool of this.#pools.list()) this.#poolController.enqueue(objectKey(pool));
    for (const disk of this.#disks.list()) this.#diskController.enqueue(objectKey(disk));
    for (const image of this.#images.list()) this.#imageController.enqueue(objectKey(image));
  }

  /** A machine that names these came, went or changed: `VirtualDisk/root`, in its namespace. */
  noticeUser(namespace: string, references: readonly string[]): void {
    for (const reference of references) {
      const [kind, name] = reference.split('/');
      if (kind === 'VirtualDisk') this.#diskController.enqueue(`${namespace}/${name ?? ''}`);
      if (kind === 'VirtualImage') this.#imageController.enqueue(`${namespace}/${name ?? ''}`);
    }
  }

  /** Fills the caches and follows the API server until the signal aborts. It outlives {@link run}. */
  async follow(signal: AbortSignal): Promise<void> {
    await Promise.all(this.#caches.map((cache) => cache.run(signal)));
  }

  /** Resolves once the caches are full. */
  async synced(signal: AbortSignal): Promise<void> {
    await Promise.all(this.#caches.map((cache) => cache.synced(signal)));
  }

  /** Works until the signal aborts; call it when libvirt is connected. */
  async run(signal: AbortSignal): Promise<void> {
    await this.synced(signal);
    await this.#ensureDefault(signal);
    await Promise.all(this.#controllers.map((controller) => controller.run(signal)));
  }

  get #caches() {
    return [this.#pools, this.#nodes, this.#disks, this.#images];
  }

  get #controllers(): readonly Controller[] {
    return [this.#poolController, this.#diskController, this.#imageController];
  }

  #watch(): void {
    this.#pools.onChange((change) => {
      const { object } = change;
      const isAsked = [refreshAnnotation, forceStopAnnotation].some((name) => isOtherAnnotation(change, name));
      if (isNews(change) || isAsked) this.#poolController.enqueue(objectKey(object));
      for (const disk of this.#disks.list()) {
        if (poolOf(disk) === object.metadata.name && disk.status?.path === undefined) {
          this.#diskController.enqueue(objectKey(disk));
        }
      }
    });
    this.#nodes.onChange((change) => {
      // Which nodes are selected may be different now.
      if (change.type !== 'updated' || !isSameLabels(change.before, change.object)) this.resynchronise();
    });
    this.#disks.onChange((change) => {
      const { type, object } = change;
      this.#options.onObject('VirtualDisk', objectKey(object));
      if (type === 'deleted' || type === 'added') this.#poolController.enqueue(poolOf(object));
      if (isNews(change) || isMoved(change)) this.#diskController.enqueue(objectKey(object));
      // What it lies over may be free now; what is made of it can be made.
      const [namespace = '', ...bases] = [
        object.metadata.namespace,
        object.spec.source?.clone?.name,
        ...this.#disks.list().flatMap((one) => (isCloneOf(one, object) ? [one.metadata.name] : [])),
      ];
      for (const image of this.#images.list()) {
        const isOfIt = image.status?.phase !== 'Ready' && image.spec.source.disk?.name === object.metadata.name;
        if (isOfIt && image.metadata.namespace === namespace) this.#imageController.enqueue(objectKey(image));
      }
      const image = object.spec.source?.image?.name;
      if (type === 'deleted' && image !== undefined) this.#imageController.enqueue(`${namespace}/${image}`);
      for (const base of bases) if (base !== undefined) this.#diskController.enqueue(`${namespace}/${base}`);
    });
    this.#images.onChange((change) => {
      const { type, object } = change;
      this.#options.onObject('VirtualImage', objectKey(object));
      if (type === 'deleted' || type === 'added') this.#poolController.enqueue(poolOf(object));
      if (isNews(change) || isOtherAnnotation(change, uploadAnnotation))
        this.#imageController.enqueue(objectKey(object));
      for (const disk of this.#disks.list()) {
        const isOfIt =
          disk.status?.path === undefined &&
          disk.metadata.namespace === object.metadata.namespace &&
          disk.spec.source?.image?.name === object.metadata.name;
        if (isOfIt) this.#diskController.enqueue(objectKey(disk));
      }
    });
  }

  /** Every node has a pool `default`, until somebody says otherwise by making it themselves. */
  async #ensureDefault(signal: AbortSignal): Promise<void> {
    const { pools } = this.#context;
    try {
      if ((await pools.find({ name: defaultPoolName }, { signal })) !== undefined) return;
      await pools.create(defaultPool(await this.#defaultPath(signal)), { signal });
    } catch (error) {
      if (isAlreadyExists(error) || signal.aborted) return;
      this.#options.logger.warn('cannot make the VirtualPool default', { error: toError(error) });
    }
  }

  async #defaultPath(signal: AbortSignal): Promise<string> {
    const libvirt = this.#options.libvirt();
    if (libvirt === undefined) return defaultPath;
    try {
      const pool = await libvirt.pools.byName(defaultPoolName, { signal });
      const xml = readPool(await pool.xml({ inactive: true, signal }));
      const path = textOf(memberAt(xml, 'target', 'path'));
      return textOf(xml['type']) === 'dir' && path !== '' ? path : defaultPath;
    } catch (error) {
      if (isNotFound(error)) return defaultPath;
      throw error;
    }
  }
}

function isCloneOf(one: VirtualDisk, source: VirtualDisk): boolean {
  return (
    one.status?.path === undefined &&
    one.metadata.namespace === source.metadata.namespace &&
    one.spec.source?.clone?.name === source.metadata.name
  );
}

function poolOf({ spec }: VirtualDisk | VirtualImage): string {
  return spec.pool ?? defaultPoolName;
}

/** Status is our own writing, or another executor's: only what somebody wants is news. */
function isNews(change: CacheChange<KubeObject>): boolean {
  if (change.type !== 'updated') return true;
  const [before, after] = [change.before.metadata, change.object.metadata];
  return before.generation !== after.generation || before.deletionTimestamp !== after.deletionTimestamp;
}

/** A migration took a disk to another node, or is about to: both have something to do. */
function isMoved(change: CacheChange<VirtualDisk>): boolean {
  if (change.type !== 'updated') return false;
  const [before, after] = [change.before.status, change.object.status];
  return before?.nodeName !== after?.nodeName || JSON.stringify(before?.move) !== JSON.stringify(after?.move);
}

/** Somebody asks for something in an annotation. */
function isOtherAnnotation(change: CacheChange<KubeObject>, name: string): boolean {
  if (change.type !== 'updated') return false;
  return change.before.metadata.annotations?.[name] !== change.object.metadata.annotations?.[name];
}

function isSameLabels(a: KubeObject, b: KubeObject): boolean {
  return JSON.stringify(a.metadata.labels ?? {}) === JSON.stringify(b.metadata.labels ?? {});
}
