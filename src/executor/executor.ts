/**
 * The entry of src/executor: the agent of one node. `virtctl executor` runs it, and `virtctl standalone` in its process.
 *
 *   API server ──▶ ExecutorCaches (machines, operations, snapshots) ──┐
 *                                                                    ├─▶ keys ─▶ Controller ─▶ MachineReconciler
 *   libvirt ─────▶ supervisor (events, resynchronise) ───────────────┘                           ─▶ OperationReaper (TTL)
 *
 *   beside: NetworkAgent, StorageAgent (kinds that machines name), HypervisorKeeper (object, Lease), EventRecorder, metrics
 *
 *   virtual-machine/             a machine's domain              virtual-machine-operation/   one verb, once
 *   virtual-network/             networks                        virtual-pool/                pools; beside it disks, images
 *   hypervisor/                  the node's object, KVM          metrics/                     Prometheus, health
 *
 * It ends when its signal aborts: the steps at hand come to their end, and no guest is touched.
 */
import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { join } from 'node:path';
import { keepNodeLease } from './hypervisor/keep-node-lease.ts';
import { ExecutorCaches } from './executor-caches.ts';
import { HypervisorKeeper } from './hypervisor/hypervisor-keeper.ts';
import { isFinished, type SlimMachine } from './machine-index.ts';
import { executorMetrics } from './metrics/executor-metrics.ts';
import { Counter, Histogram } from './metrics/exposition.ts';
import { openOutlet, type Outlet } from './metrics/outlet.ts';
import { DiskSecrets } from './virtual-disk/disk-secrets.ts';
import { FileHolds } from './virtual-disk/file-holds.ts';
import { Media } from './virtual-machine/media.ts';
import { MigrationReceiver } from './migration/receive-machine.ts';
import { MachineReconciler } from './virtual-machine/reconciler.ts';
import type { MachineReconcilerOptions } from './virtual-machine/round.ts';
import type { ConfigMapObject, SecretObject } from './virtual-machine/volumes.ts';
import { NetworkAgent } from './virtual-network/network-agent.ts';
import { LongWork } from './virtual-machine-snapshot/long-work.ts';
import { MachineSnapshots } from './virtual-machine-snapshot/machine-snapshots.ts';
import { machineKeyOf } from './virtual-machine-snapshot/snapshot-context.ts';
import { sweepScratch } from './plan/sweep-scratch.ts';
import { StorageAgent } from './virtual-pool/storage-agent.ts';
import type { Hypervisor } from '../api/hypervisor.ts';
import { resourceOfKind } from '../api/kinds.ts';
import type { VirtualDisk } from '../api/virtual-disk.ts';
import type { VirtualImage } from '../api/virtual-image.ts';
import type { VirtualMachineOperation } from '../api/virtual-machine-operation.ts';
import type { VirtualMachineSnapshot } from '../api/virtual-machine-snapshot.ts';
import type { VirtualMachine } from '../api/virtual-machine.ts';
import type { VirtualNetwork } from '../api/virtual-network.ts';
import { systemClock, type Clock } from '../base/clock.ts';
import { FailedError, toError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { WakeableSleep } from '../base/wakeable-sleep.ts';
import type { CacheChange } from '../kube/informer.ts';
import type { KubeClient } from '../kube/kube-client.ts';
import { objectKey, parseObjectKey } from '../kube/object.ts';
import { builtin } from '../kube/resource-type.ts';
import { isNotFound } from '../kube/status-error.ts';
import type { DecodedEvent } from '../libvirt/decode-event.ts';
import type { ConnectOptions } from '../libvirt/connect.ts';
import { supervise } from '../libvirt/supervisor.ts';
import { Controller, type ReconcileRecord } from '../reconcile/controller.ts';
import { EventRecorder, type EventRecord, type KubeEvent } from '../reconcile/event-recorder.ts';

/** Options of {@link runExecutor}. */
export interface ExecutorOptions {
  /** The API server; not closed by the executor. */
  readonly client: KubeClient;
  /** The node's name: that of its Hypervisor, and what machines have in spec.nodeName. */
  readonly nodeName: string;
  /** Where libvirt is, as `qemu:///system`. */
  readonly uri: string;
  /** Where files of machines are made, as `/var/lib/virtctl`. */
  readonly dataFolder: string;
  /** Host and port of the metrics; none when left out. */
  readonly metricsAddress?: string | undefined;
  /** Seconds without a sign of life after which the controller takes the node for lost; 40 when left out. */
  readonly leaseSeconds?: number | undefined;
  /** How other nodes' libvirtds reach this node's, for migration; `qemu+tls://NODE/system` when left out. */
  readonly migrationUri?: string | undefined;
  readonly logger: Logger;
  readonly clock?: Clock | undefined;
  readonly connect?: ConnectOptions | undefined;
  /** Is told when it works: informers are filled and libvirt is connected. */
  readonly onReady?: ((where: { readonly metricsUrl: string | undefined }) => void) | undefined;
}

/** Events that may mean that a machine is no longer as it was. */
const eventKinds = [
  'domain.lifecycle',
  'domain.reboot',
  'domain.watchdog',
  'domain.ioErrorReason',
  'domain.diskChange',
  'domain.trayChange',
  'domain.pmWakeup',
  'domain.pmSuspend',
  'domain.deviceAdded',
  'domain.deviceRemoved',
  'domain.deviceRemovalFailed',
  'domain.tunable',
  'domain.balloonChange',
  'domain.agentLifecycle',
  'domain.metadataChange',
  'network.lifecycle',
] as const;

/** Every machine is looked at this often even if nothing happens, in milliseconds. */
const resyncMs = 10 * 60_000;
/** How often the Hypervisor's status is looked over. */
const hypervisorMs = 5 * 60_000;
/** Machines that are worked on at the same time. */
const concurrency = 16;

/**
 * Runs the executor of a node until the signal aborts.
 *
 * @throws when the metrics' address cannot be listened on; nothing else that the API server or libvirt does ends it.
 */
export async function runExecutor(options: ExecutorOptions, signal: AbortSignal): Promise<void> {
  await new Executor(options).run(signal);
}

class Executor {
  readonly #options: ExecutorOptions;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #recorder: EventRecorder;
  readonly #caches: ExecutorCaches;
  readonly #snapshotWork = new LongWork();
  readonly #orphans: Controller;
  readonly #supervisor: ReturnType<typeof supervise<(typeof eventKinds)[number]>>;
  readonly #stop = new AbortController();
  readonly #keeper: HypervisorKeeper;
  readonly #storage: StorageAgent;
  readonly #networks: NetworkAgent;
  readonly #controller: Controller;
  readonly #receiver: Controller;
  readonly #reaper: Controller;
  readonly #reconciles = new Counter();
  readonly #durations = new Histogram();
  readonly #events = new Counter();
  #allowsEmulation: boolean | undefined;
  #wantedOfNode: string | undefined;
  readonly #keeperPause: WakeableSleep;
  #connects = 0;

  constructor(options: ExecutorOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#keeperPause = new WakeableSleep(this.#clock);
    this.#logger = options.logger.with({ node: options.nodeName });
    const { client, nodeName, uri } = options;
    const clock = this.#clock;
    const logger = this.#logger;
    this.#recorder = new EventRecorder({
      events: client.resource<KubeEvent>(builtin.events),
      controller: 'virtctl.dev/executor',
      instance: nodeName.slice(0, 128),
      clock,
      random: Math.random,
      logger,
    });
    this.#caches = new ExecutorCaches(client, nodeName, { logger, clock });
    this.#supervisor = supervise({
      uri,
      kinds: eventKinds,
      logger,
      clock,
      signal: this.#stop.signal,
      ...(options.connect === undefined ? {} : { connect: options.connect }),
    });
    this.#keeper = new HypervisorKeeper({
      nodeName,
      uri,
      folder: join(options.dataFolder, 'probe'),
      hypervisors: client.resource<Hypervisor>(resourceOfKind('Hypervisor')),
      libvirt: () => this.#supervisor.current,
      allocation: () => this.#caches.allocation(),
      ownDomains: () => new Set(this.#caches.ownMachines().map(({ spec }) => spec.uuid)),
      knowsMachines: () => this.#caches.knowsMachines,
      isOwned: (owner) => this.#caches.isOwned(owner),
      record: (event) => record(event),
      newId: randomUUID,
      clock,
      logger,
    });
    const operations = client.resource<VirtualMachineOperation>(resourceOfKind('VirtualMachineOperation'));
    const record = (event: EventRecord): void => {
      this.#events.add({ type: event.type, reason: event.reason });
      this.#recorder.record(event);
    };
    const onReconciled = (reconciled: ReconcileRecord): void => this.#count(reconciled);
    this.#networks = new NetworkAgent({
      client,
      nodeName,
      libvirt: () => this.#supervisor.current,
      usersOf: (namespace, name) => this.#caches.networkUsers(namespace, name),
      machineOf: (domain) => {
        const machine = this.#caches.ownMachineOf(domain);
        return machine === undefined ? undefined : objectKey(machine);
      },
      record,
      onPlugs: (key) => this.#enqueueUsers('VirtualNetwork', key),
      logger,
      clock,
      onReconciled,
    });
    const fileHolds = new FileHolds();
    const snapshots = new MachineSnapshots({
      nodeName,
      folder: join(options.dataFolder, 'snapshots'),
      snapshots: client.resource<VirtualMachineSnapshot>(resourceOfKind('VirtualMachineSnapshot')),
      disks: client.resource<VirtualDisk>(resourceOfKind('VirtualDisk')),
      machines: client.resource<VirtualMachine>(resourceOfKind('VirtualMachine')),
      operations,
      namesOf: (key) => this.#caches.snapshotsOf(key),
      wake: (key) => this.#controller.enqueue(key),
      record,
      clock,
      work: this.#snapshotWork,
      fileHolds,
    });
    const parts: MachineReconcilerOptions = {
      nodeName,
      machines: client.resource<VirtualMachine>(resourceOfKind('VirtualMachine')),
      operations,
      disks: client.resource<VirtualDisk>(resourceOfKind('VirtualDisk')),
      images: client.resource<VirtualImage>(resourceOfKind('VirtualImage')),
      networks: client.resource<VirtualNetwork>(resourceOfKind('VirtualNetwork')),
      plugs: this.#networks.board,
      secrets: client.resource<SecretObject>(builtin.secrets),
      configMaps: client.resource<ConfigMapObject>(builtin.configMaps),
      media: new Media(join(options.dataFolder, 'machines')),
      diskSecrets: new DiskSecrets({
        secrets: client.resource<SecretObject>(builtin.secrets),
        libvirt: () => this.#supervisor.current,
      }),
      fileHolds,
      diskUsers: (namespace, name) => this.#caches.usersOf('VirtualDisk', namespace, name),
      snapshots,
      libvirt: () => this.#supervisor.current,
      openOperations: (key) => this.#caches.openOperations(key),
      traits: () => this.#keeper.traits,
      record,
      clock,
      newId: randomUUID,
    };
    const reconciler = new MachineReconciler(parts);
    const receiver = new MigrationReceiver({
      parts,
      migrationUri: options.migrationUri ?? `qemu+tls://${nodeName}/system`,
    });
    this.#receiver = new Controller({
      name: 'migration',
      reconcile: (key, context) => receiver.reconcile(key, context),
      logger,
      clock,
      concurrency,
      onReconciled,
    });
    this.#controller = new Controller({
      name: 'virtualmachine',
      reconcile: (key, context) => reconciler.reconcile(key, context),
      logger,
      clock,
      concurrency,
      onReconciled,
    });
    this.#storage = new StorageAgent({
      client,
      nodeName,
      spoolFolder: join(options.dataFolder, 'images'),
      fileHolds,
      libvirt: () => this.#supervisor.current,
      usersOf: (kind, namespace, name) => this.#caches.usersOf(kind, namespace, name),
      onObject: (kind, key) => this.#enqueueUsers(kind, key),
      record,
      logger,
      clock,
      onReconciled,
    });
    this.#orphans = new Controller({
      name: 'virtualmachinesnapshot',
      reconcile: (key, context) => snapshots.reconcileOrphan(key, this.#supervisor.current, context.signal),
      logger,
      clock,
      onReconciled,
    });
    this.#reaper = new Controller({
      name: 'virtualmachineoperation',
      reconcile: async (key, context) => {
        const waitMs = this.#caches.ttlLeftMs(key);
        if (waitMs === undefined || waitMs > 0) return { requeueAfterMs: waitMs };
        const uid = this.#caches.operations.get(key)?.metadata.uid;
        try {
          await operations.delete(parseObjectKey(key), { preconditions: { uid }, signal: context.signal });
        } catch (error) {
          if (!isNotFound(error)) throw error;
        }
        return undefined;
      },
      logger,
      clock,
      onReconciled,
    });
  }

  async run(signal: AbortSignal): Promise<void> {
    const { onReady, client, nodeName, leaseSeconds } = this.#options;
    const outlet = await this.#openOutlet();
    // Background work ends after the reconcilers: they may need it to end well.
    const background = new AbortController();
    // Each cache waits for its end several times: more than the ten that Node takes for a leak.
    setMaxListeners(100, background.signal, signal);
    this.#watchCaches();
    const running = [
      this.#caches.run(background.signal),
      this.#recorder.run(background.signal),
      this.#storage.follow(background.signal),
      this.#networks.follow(background.signal),
      this.#followLibvirt(),
      this.#keepHypervisor(background.signal),
      this.#sweepScratch(background.signal),
      keepNodeLease({ client, nodeName, leaseSeconds, clock: this.#clock, logger: this.#logger }, background.signal),
    ];
    try {
      await this.#synced(signal);
      await this.#supervisor.connected(signal);
      this.#logger.info('ready', { uri: this.#options.uri, metrics: outlet?.url });
      onReady?.({ metricsUrl: outlet?.url });
      await Promise.all([
        this.#controller.run(signal),
        this.#receiver.run(signal),
        this.#reaper.run(signal),
        this.#orphans.run(signal),
        this.#storage.run(signal),
        this.#networks.run(signal),
      ]);
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      background.abort(signal.reason ?? new FailedError('the executor ends'));
      this.#stop.abort();
      await this.#snapshotWork.close();
      await Promise.allSettled(running);
      await this.#supervisor.close();
      await outlet?.close();
      this.#logger.info('ended; guests run on');
    }
  }

  /** @throws as openOutlet; what was begun is ended then, so that the process ends too. */
  async #openOutlet(): Promise<Outlet | undefined> {
    const { metricsAddress } = this.#options;
    if (metricsAddress === undefined) return undefined;
    try {
      return await openOutlet({
        address: metricsAddress,
        metrics: (inner) => this.#metrics(inner),
        health: () => undefined,
        readiness: () => this.#problem(),
        logger: this.#logger,
      });
    } catch (error) {
      this.#stop.abort();
      await this.#supervisor.close();
      throw error;
    }
  }

  /** The caches are full, and it is known whether KVM works: before that a reconcile would decide too early. */
  async #synced(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#caches.synced(signal), this.#storage.synced(signal)]);
    const libvirt = await this.#supervisor.connected(signal);
    try {
      await this.#keeper.prepare(libvirt, signal);
      await this.#keeper.refresh(signal);
    } catch (error) {
      if (signal.aborted) throw error;
      this.#logger.warn('cannot describe the node yet', { error: toError(error) });
    }
  }

  #watchCaches(): void {
    const { nodeName } = this.#options;
    this.#caches.machines.onChange((change) => {
      const { object } = change;
      this.#noticeNetworkUser(change);
      const before = change.type === 'updated' ? change.before.spec.references : [];
      this.#storage.noticeUser(object.metadata.namespace ?? '', [...new Set([...before, ...object.spec.references])]);
      if (object.spec.asks === nodeName && change.type !== 'deleted') this.#controller.enqueue(objectKey(object));
      const was = change.type === 'updated' ? change.before.spec.nodeName : '';
      if (object.spec.nodeName !== nodeName && was !== nodeName) return;
      // A domain may have lost its machine, or found it again.
      if (change.type === 'deleted' || this.#keeper.orphans > 0) this.#keeperPause.wake();
      // Status is our own writing: only what somebody wants is news, and that the controller takes this node for lost.
      if (
        change.type === 'updated' &&
        !object.spec.lost &&
        change.before.spec.digest === object.spec.digest &&
        change.before.metadata.deletionTimestamp === object.metadata.deletionTimestamp
      ) {
        return;
      }
      this.#controller.enqueue(objectKey(object));
    });
    this.#caches.snapshots.onChange((change) => {
      const { object } = change;
      const [before, after] = [change.type === 'updated' ? change.before.metadata : undefined, object.metadata];
      // Status is our own writing.
      const isNews = before?.generation !== after.generation || before?.deletionTimestamp !== after.deletionTimestamp;
      if (change.type === 'deleted' || !isNews) return;
      const machine = this.#caches.machines.get(machineKeyOf(object));
      if (machine?.spec.nodeName === nodeName) this.#controller.enqueue(machineKeyOf(object));
      else if (machine === undefined) this.#orphans.enqueue(objectKey(object));
    });
    this.#caches.operations.onChange(({ type, object }) => {
      if (type === 'deleted') return;
      const { namespace = '' } = object.metadata;
      const machine = `${namespace}/${object.spec.virtualMachine}`;
      if (object.spec.nodes.includes(nodeName)) {
        this.#receiver.enqueue(objectKey(object));
        // The volumes that it is over for can go.
        if (isFinished(object))
          this.#storage.noticeUser(namespace, this.#caches.machines.get(machine)?.spec.references ?? []);
      }
      if (this.#caches.machines.get(machine)?.spec.nodeName !== nodeName) return;
      if (isFinished(object)) this.#reaper.enqueue(objectKey(object));
      else this.#controller.enqueue(machine);
    });
    this.#caches.hypervisors.onChange(({ type, object }) => {
      if (type === 'deleted') {
        this.#keeperPause.wake();
        return;
      }
      this.#keeper.observe(object);
      // What the administrator wants of the node changes what it offers; status is the keeper's own writing.
      const wanted = JSON.stringify(object.spec);
      if (wanted === this.#wantedOfNode) return;
      this.#wantedOfNode = wanted;
      this.#keeperPause.wake();
      const allows = object.spec.allowEmulation === true;
      if (allows === this.#allowsEmulation) return;
      this.#allowsEmulation = allows;
      this.#enqueueAll();
    });
  }

  /** The machines of this node that name an object. */
  #enqueueUsers(kind: string, key: string): void {
    const { namespace = '', name } = parseObjectKey(key);
    for (const machine of this.#caches.machines.byIndex('reference', `${namespace}/${kind}/${name}`)) {
      if (machine.spec.nodeName === this.#options.nodeName) this.#controller.enqueue(objectKey(machine));
    }
  }

  /** The networks that a machine names, or named, want to know that its interfaces or its node changed. */
  #noticeNetworkUser(change: CacheChange<SlimMachine>): void {
    const { type, object } = change;
    const before = type === 'updated' ? change.before.spec : undefined;
    if (before !== undefined && before.digest === object.spec.digest) return;
    const { namespace = '' } = object.metadata;
    const names = [...object.spec.plugs, ...(before?.plugs ?? [])].map(({ network }) => network);
    for (const name of new Set(names)) this.#networks.noticeUser(`${namespace}/${name}`);
  }

  #enqueueAll(): void {
    this.#storage.resynchronise();
    this.#networks.resynchronise();
    for (const machine of this.#caches.ownMachines()) {
      this.#controller.enqueue(objectKey(machine));
    }
    for (const machine of this.#caches.machines.list()) {
      if (machine.spec.asks === this.#options.nodeName) this.#controller.enqueue(objectKey(machine));
    }
    for (const snapshot of this.#caches.snapshots.list()) {
      if (this.#caches.machines.get(machineKeyOf(snapshot)) === undefined) this.#orphans.enqueue(objectKey(snapshot));
    }
    for (const operation of this.#caches.operations.list()) {
      if (operation.spec.nodes.includes(this.#options.nodeName)) this.#receiver.enqueue(objectKey(operation));
      if (isFinished(operation)) this.#reaper.enqueue(objectKey(operation));
    }
  }

  async #followLibvirt(): Promise<void> {
    for await (const signal of this.#supervisor) {
      switch (signal.type) {
        case 'resynchronise':
          this.#connects += 1;
          this.#logger.info('connected to libvirt', { reason: signal.reason });
          this.#keeperPause.wake();
          this.#enqueueAll();
          break;
        case 'disconnected':
          this.#keeperPause.wake();
          break;
        case 'event':
          this.#noticeEvent(signal.event);
          break;
      }
    }
  }

  #noticeEvent(event: DecodedEvent<(typeof eventKinds)[number]>): void {
    if (event.kind === 'network.lifecycle') {
      this.#networks.noticeNetwork(event.network.name, event.event);
      return;
    }
    // Our own marks are written by reconciles, and need none.
    if (event.kind === 'domain.metadataChange' && event.type === 'element') return;
    for (const machine of this.#caches.machinesOfDomain(event.domain)) {
      if (machine.spec.nodeName !== this.#options.nodeName) continue;
      this.#controller.enqueue(objectKey(machine));
      // Who is plugged in is another now.
      const { namespace = '' } = machine.metadata;
      for (const { network } of machine.spec.plugs) this.#networks.noticeUser(`${namespace}/${network}`);
    }
  }

  /** What killed plans left on this node; once, for the connection that is there first. */
  async #sweepScratch(signal: AbortSignal): Promise<void> {
    try {
      const libvirt = await this.#supervisor.connected(signal);
      await sweepScratch(libvirt, this.#clock, this.#logger, signal);
    } catch (error) {
      if (!isAborted(signal)) this.#logger.warn('cannot take scratch definitions away', { error: toError(error) });
    }
  }

  async #keepHypervisor(signal: AbortSignal): Promise<void> {
    const resync = { atMs: this.#clock.monotonicMs() + resyncMs };
    while (!signal.aborted) {
      let waitMs = hypervisorMs;
      const couldKvm = this.#keeper.traits.kvmUsable;
      this.#keeperPause.begin();
      try {
        await this.#keeper.refresh(signal);
        waitMs = Math.min(waitMs, this.#keeper.probeInMs ?? Infinity);
        // Machines may have waited for it.
        if (this.#keeper.traits.kvmUsable !== couldKvm) this.#enqueueAll();
      } catch (error) {
        if (isAborted(signal)) return;
        this.#logger.warn('cannot keep the Hypervisor object', { error: toError(error) });
        waitMs = 10_000;
      }
      if (this.#clock.monotonicMs() >= resync.atMs) {
        resync.atMs += resyncMs;
        this.#spreadAll();
      }
      await this.#keeperPause.sleep(waitMs, signal);
    }
  }

  /** All machines, one after the other over the interval: no burst every ten minutes. */
  #spreadAll(): void {
    const machines = this.#caches.ownMachines();
    machines.forEach((machine, index) => {
      this.#controller.enqueueAfter(objectKey(machine), (index * hypervisorMs) / machines.length);
    });
  }

  #problem(): string | undefined {
    if (this.#supervisor.current === undefined) return 'not connected to libvirt';
    const health = this.#caches.machines.health();
    if (!health.synced) return 'the machines are not known yet';
    return health.lastError === undefined ? undefined : `the API server is away: ${health.lastError.message}`;
  }

  #count({ controller, outcome, durationMs }: ReconcileRecord): void {
    this.#reconciles.add({ controller, outcome });
    this.#durations.observe({ controller }, durationMs / 1000);
  }

  async #metrics(signal: AbortSignal): Promise<string> {
    const queues = [
      { controller: 'virtualmachine', ...this.#controller.stats() },
      { controller: 'virtualmachineoperation', ...this.#reaper.stats() },
      { controller: 'virtualnetwork', ...this.#networks.stats() },
    ];
    const libvirt = this.#supervisor.current;
    const stats =
      libvirt === undefined
        ? []
        : await libvirt.domains.stats(['state', 'cpu', 'balloon', 'vcpu', 'interface', 'block'], {
            nowait: true,
            signal,
          });
    return executorMetrics({
      queues,
      reconciles: this.#reconciles,
      durations: this.#durations,
      events: this.#events,
      isConnected: libvirt !== undefined,
      connects: this.#connects,
      orphans: this.#keeper.orphans,
      machines: this.#caches.allocation().machines,
      stats,
      machineOf: (uuid) => {
        const machine = this.#caches.ownMachineWith(uuid);
        if (machine === undefined) return undefined;
        return { namespace: machine.metadata.namespace ?? '', name: machine.metadata.name ?? '' };
      },
    });
  }
}

/** A function, because the compiler does not know that a signal changes while one waits. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}
