/**
 * The entry of src/executor/virtual-network: the networks of a node. It watches VirtualNetworks, and feeds the reconciler
 * that makes libvirt's networks what they say. Called by executor.ts.
 *
 *   VirtualNetworks, Hypervisors ──informers──┐
 *   machines that name a network ─────────────┼─▶ Controller ─▶ NetworkReconciler ─▶ libvirt, status
 *   libvirt's network events ─────────────────┘                        └─▶ PlugBoard ─▶ machines may start
 *
 *   pure:     canonical-network, network-definition (what is wanted, merging), live-updates (virNetworkUpdate),
 *             reservations (static addresses), network-status;  src/api/network-claims (clashes)
 *   with I/O: network-view, node-claims, attached-guests, network-round (one look at one network), reconciler
 */
import { hostname, networkInterfaces } from 'node:os';
import type { NetworkContext } from './network-context.ts';
import { PlugBoard } from './plug-board.ts';
import { NetworkReconciler } from './reconciler.ts';
import { sweepDetours } from '../virtual-machine/replug-interfaces.ts';
import type { Hypervisor } from '../../api/hypervisor.ts';
import { resourceOfKind } from '../../api/kinds.ts';
import type { NetworkClaim } from '../../api/network-claims.ts';
import { networkName, restartAnnotation, type VirtualNetwork } from '../../api/virtual-network.ts';
import type { Clock } from '../../base/clock.ts';
import { toError } from '../../base/errors.ts';
import { parseIp, subnetOf } from '../../base/ip-address.ts';
import type { Logger } from '../../base/logger.ts';
import { Informer, type CacheChange } from '../../kube/informer.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import { objectKey, type KubeObject } from '../../kube/object.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';
import { Controller, type ReconcileRecord } from '../../reconcile/controller.ts';

/** Options of {@link NetworkAgent}. */
export interface NetworkAgentOptions {
  readonly client: KubeClient;
  readonly nodeName: string;
  readonly libvirt: () => Libvirt | undefined;
  readonly usersOf: NetworkContext['usersOf'];
  readonly machineOf: NetworkContext['machineOf'];
  readonly record: NetworkContext['record'];
  /** Is told of a network, as namespace/name, of which machines of this node may want to know. */
  readonly onPlugs: (key: string) => void;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly onReconciled: (record: ReconcileRecord) => void;
}

/** How long it may take to look for what was left behind. */
const sweepTimeoutMs = 10_000;

/** See the head of this file. */
export class NetworkAgent {
  readonly #networks: Informer<VirtualNetwork>;
  readonly #nodes: Informer<Hypervisor>;
  readonly #controller: Controller;
  readonly #onPlugs: (key: string) => void;
  readonly #libvirt: () => Libvirt | undefined;
  readonly #logger: Logger;
  /** What machines may be plugged into. */
  readonly board: PlugBoard;

  constructor(options: NetworkAgentOptions) {
    const { client, nodeName, libvirt, usersOf, machineOf, record, onPlugs, logger, clock, onReconciled } = options;
    this.#networks = new Informer<VirtualNetwork>({
      source: client.resource<VirtualNetwork>(resourceOfKind('VirtualNetwork')),
      logger,
      clock,
      // Leases are many, and a reconcile reads the whole object anyway.
      transform: ({ apiVersion, kind, metadata, spec }) => ({
        apiVersion,
        kind,
        metadata: { ...metadata, managedFields: undefined },
        spec,
      }),
    });
    this.#nodes = new Informer<Hypervisor>({
      source: client.resource<Hypervisor>(resourceOfKind('Hypervisor')),
      logger,
      clock,
      transform: ({ apiVersion, kind, metadata: { name, labels, resourceVersion } }) => ({
        apiVersion,
        kind,
        metadata: { name, labels, resourceVersion },
        spec: {},
      }),
    });
    this.#onPlugs = onPlugs;
    this.#libvirt = libvirt;
    this.#logger = logger;
    this.board = new PlugBoard(onPlugs);
    const context: NetworkContext = {
      nodeName,
      networks: client.resource<VirtualNetwork>(resourceOfKind('VirtualNetwork')),
      nodes: () =>
        this.#nodes.list().map(({ metadata }) => ({ name: metadata.name ?? '', labels: metadata.labels ?? {} })),
      known: () => this.#networks.list(),
      usersOf,
      machineOf,
      host: hostDevices,
      libvirt,
      record,
      clock,
    };
    const reconciler = new NetworkReconciler(context, this.board);
    this.#controller = new Controller({
      name: 'virtualnetwork',
      reconcile: (key, reconcileContext) => reconciler.reconcile(key, reconcileContext),
      logger,
      clock,
      // One at a time: two that clash must see each other.
      concurrency: 1,
      onReconciled,
    });
    this.#networks.onChange((change) => {
      if (isNews(change)) this.#controller.enqueue(objectKey(change.object));
      // What was in the way of others may be gone.
      if (change.type === 'deleted') this.resynchronise();
    });
    this.#nodes.onChange((change) => {
      // Which nodes are selected may be different now.
      if (change.type !== 'updated' || !isSameLabels(change.before, change.object)) this.resynchronise();
    });
  }

  /** Looks at everything afresh: after libvirt was away, or something that many depend on changed. */
  resynchronise(): void {
    for (const network of this.#networks.list()) this.#controller.enqueue(objectKey(network));
  }

  /** A machine that names a network (namespace/name) came, went or changed, or its domain did. */
  noticeUser(key: string): void {
    if (this.#networks.get(key) !== undefined) this.#controller.enqueue(key);
  }

  /** libvirt tells of a network; of one that is nobody's too, for it may be in somebody's way. */
  noticeNetwork(name: string, event: string): void {
    const named = this.#networks.list().filter((one) => networkName(one) === name);
    if (named.length === 0) this.resynchronise();
    for (const network of named) {
      this.#controller.enqueue(objectKey(network));
      // Whoever was plugged in has no bridge any more, or can be plugged in again.
      if (event === 'started' || event === 'stopped') this.#onPlugs(objectKey(network));
    }
  }

  /** Fills the caches and follows the API server until the signal aborts. It outlives {@link run}. */
  async follow(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#networks.run(signal), this.#nodes.run(signal)]);
  }

  /** Works until the signal aborts; call it when libvirt is connected. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#networks.synced(signal), this.#nodes.synced(signal)]);
    await this.#sweep(signal);
    await this.#controller.run(signal);
  }

  /** What an executor that was killed left behind. */
  async #sweep(signal: AbortSignal): Promise<void> {
    const libvirt = this.#libvirt();
    if (libvirt === undefined) return;
    try {
      await sweepDetours(libvirt, { signal, timeoutMs: sweepTimeoutMs });
    } catch (error) {
      if (signal.aborted) return;
      this.#logger.warn('cannot take networks of the moment away', { error: toError(error) });
    }
  }

  /** For metrics. */
  stats(): ReturnType<Controller['stats']> {
    return this.#controller.stats();
  }
}

/** Status is our own writing, or another executor's: only what somebody wants is news. */
function isNews(change: CacheChange<KubeObject>): boolean {
  if (change.type !== 'updated') return true;
  const [before, after] = [change.before.metadata, change.object.metadata];
  return (
    before.generation !== after.generation ||
    before.deletionTimestamp !== after.deletionTimestamp ||
    before.annotations?.[restartAnnotation] !== after.annotations?.[restartAnnotation]
  );
}

function isSameLabels(a: KubeObject, b: KubeObject): boolean {
  return JSON.stringify(a.metadata.labels ?? {}) === JSON.stringify(b.metadata.labels ?? {});
}

/** The network devices of this host, with their subnets. Addresses of one machine only (/32, /128) are no subnets. */
function hostDevices(): { name: string; devices: NetworkClaim[] } {
  const devices = Object.entries(networkInterfaces()).map(([device, addresses]): NetworkClaim => {
    const subnets = (addresses ?? []).flatMap(({ cidr, scopeid }) => {
      const [text = '', prefix] = (cidr ?? '').split('/');
      const address = parseIp(text);
      const bits = address?.family === 6 ? 128 : 32;
      const isLinkLocal = scopeid !== undefined && scopeid !== 0;
      if (address === undefined || prefix === undefined || Number(prefix) === bits || isLinkLocal) return [];
      return [{ path: 'ip', range: subnetOf(address, Number(prefix)), text: cidr ?? '' }];
    });
    return { owner: `the node's network device "${device}"`, device, subnets };
  });
  return { name: hostname(), devices };
}
