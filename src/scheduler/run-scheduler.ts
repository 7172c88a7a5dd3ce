import { MigrationTargets } from './migration-targets.ts';
import { Scheduler } from './scheduler.ts';
import { Snapshot } from './snapshot.ts';
import { openNamespaces } from './watch-namespaces.ts';
import { PodWatch } from './watch-pods.ts';
import type { Hypervisor } from '../api/hypervisor.ts';
import { resourceOfKind } from '../api/kinds.ts';
import type { VirtualDisk } from '../api/virtual-disk.ts';
import type { VirtualImage } from '../api/virtual-image.ts';
import type { VirtualMachineOperation } from '../api/virtual-machine-operation.ts';
import type { VirtualMachineSnapshot } from '../api/virtual-machine-snapshot.ts';
import type { VirtualMachine } from '../api/virtual-machine.ts';
import type { VirtualNetwork } from '../api/virtual-network.ts';
import type { VirtualPool } from '../api/virtual-pool.ts';
import { backoffMs, reconnectBackoff } from '../base/backoff.ts';
import { systemClock } from '../base/clock.ts';
import { toError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { Informer } from '../kube/informer.ts';
import type { KubeClient } from '../kube/kube-client.ts';
import type { KubeObject } from '../kube/object.ts';
import { builtin } from '../kube/resource-type.ts';
import type { ResourceClient } from '../kube/resource-client.ts';
import { isAlreadyExists, statusOf } from '../kube/status-error.ts';
import { EventRecorder, type KubeEvent } from '../reconcile/event-recorder.ts';
import { LeaderElector, LeadershipLostError, type LeaderElectionOptions } from '../reconcile/leader-election.ts';
import type { Lease } from '../reconcile/lease.ts';

/** Options of {@link placeMachines}. */
export interface PlaceMachinesOptions {
  /** The API server; not closed by the scheduler. */
  readonly client: KubeClient;
  /** Names this process among schedulers; no two may share it. */
  readonly identity: string;
  /** A word that is new each time, among all schedulers. */
  readonly newToken: () => string;
  readonly logger: Logger;
}

/** Options of {@link runScheduler}. */
export interface RunSchedulerOptions extends PlaceMachinesOptions {
  /** The namespace of the leader's lease; made when it is not there. */
  readonly namespace: string;
  /** Other times for the leader's election, for tests. */
  readonly election?: Pick<LeaderElectionOptions, 'leaseDurationMs' | 'renewDeadlineMs' | 'retryPeriodMs'> | undefined;
}

/** Runs a scheduler until the signal aborts: waits to lead, places machines, and waits again when the lead is lost. */
export async function runScheduler(options: RunSchedulerOptions, signal: AbortSignal): Promise<void> {
  const { client, identity, namespace, logger } = options;
  await ensureNamespace(client, namespace, logger, signal);
  while (!signal.aborted) {
    const elector = new LeaderElector({
      leases: client.resource<Lease>(builtin.leases),
      ref: { namespace, name: 'virtctl-scheduler' },
      identity,
      makeNamespace: (until) => ensureNamespace(client, namespace, logger, until),
      clock: systemClock,
      random: Math.random,
      logger,
      ...options.election,
    });
    try {
      await elector.run((leading) => placeMachines(options, leading), signal);
    } catch (error) {
      if (!(error instanceof LeadershipLostError)) throw error;
      logger.warn('lost the lead', { error: toError(error) });
    }
  }
}

/**
 * Places machines until the signal aborts, without asking whether somebody else does: two at a time book nothing twice,
 * but stand in each other's way.
 */
export async function placeMachines(
  { client, identity, logger, newToken }: PlaceMachinesOptions,
  signal: AbortSignal,
): Promise<void> {
  const recorder = new EventRecorder({
    events: client.resource<KubeEvent>(builtin.events),
    controller: 'virtctl.dev/scheduler',
    instance: identity.slice(0, 128),
    clock: systemClock,
    random: Math.random,
    logger,
  });
  const machines = client.resource<VirtualMachine>(resourceOfKind('VirtualMachine'));
  const hypervisors = client.resource<Hypervisor>(resourceOfKind('Hypervisor'));
  const informer = <T extends KubeObject>(source: ResourceClient<T>): Informer<T> =>
    new Informer<T>({ source, logger });
  const nodeInformer = informer(hypervisors);
  const machineInformer = informer(machines);
  const disks = informer(client.resource<VirtualDisk>(resourceOfKind('VirtualDisk')));
  const images = informer(client.resource<VirtualImage>(resourceOfKind('VirtualImage')));
  const pools = informer(client.resource<VirtualPool>(resourceOfKind('VirtualPool')));
  const networks = informer(client.resource<VirtualNetwork>(resourceOfKind('VirtualNetwork')));
  const machineSnapshots = informer(client.resource<VirtualMachineSnapshot>(resourceOfKind('VirtualMachineSnapshot')));
  const snapshot = new Snapshot({
    disk: (namespace, name) => disks.get(`${namespace}/${name}`),
    image: (namespace, name) => images.get(`${namespace}/${name}`),
    pool: (name) => pools.get(name),
    network: (namespace, name) => networks.get(`${namespace}/${name}`),
    machineSnapshot: (namespace, name) => machineSnapshots.get(`${namespace}/${name}`),
  });
  const record = recorder.record.bind(recorder);
  const operations = client.resource<VirtualMachineOperation>(resourceOfKind('VirtualMachineOperation'));
  const scheduler = new Scheduler({
    snapshot,
    machines,
    hypervisors,
    operations,
    clock: systemClock,
    logger,
    newToken,
    record,
    random: Math.random,
  });
  const moves = informer(operations);
  const targets = new MigrationTargets({
    ...{ snapshot, operations, logger },
    reserve: scheduler.reserveMove.bind(scheduler),
    release: scheduler.releaseMove.bind(scheduler),
  });
  const all = [nodeInformer, machineInformer, disks, images, pools, networks, machineSnapshots, moves];
  const running = [recorder.run(signal), ...all.map((one) => one.run(signal))];
  // Nothing is decided before everything is known.
  try {
    const [pods, namespaces] = await Promise.all([
      PodWatch.open(client, logger, signal),
      openNamespaces(client, logger, signal),
      ...all.map((one) => one.synced(signal)),
    ]);
    snapshot.seesNamespaces = namespaces !== undefined;
    if (namespaces !== undefined) {
      running.push(namespaces.run(signal));
      await namespaces.synced(signal);
      namespaces.onChange((change) => scheduler.onNamespace(change));
    }
    if (pods !== undefined) {
      running.push(pods.run(signal));
      await pods.synced(signal);
      pods.follow((node, requests) => scheduler.onPods(node, requests));
    }
  } catch (error) {
    if (!signal.aborted) throw error;
    await Promise.all(running);
    return;
  }
  nodeInformer.onChange((change) => scheduler.onNode(change));
  machineInformer.onChange((change) => scheduler.onMachine(change));
  disks.onChange((change) => scheduler.onNamed('VirtualDisk', change));
  images.onChange((change) => scheduler.onNamed('VirtualImage', change));
  pools.onChange((change) => scheduler.onNamed('VirtualPool', change));
  networks.onChange((change) => scheduler.onNamed('VirtualNetwork', change));
  machineSnapshots.onChange((change) => scheduler.onNamed('VirtualMachineSnapshot', change));
  targets.follow(moves, signal);
  await scheduler.run(signal);
  await Promise.all(running);
}

/** Tries until it is known to be there, or that it may not be made here: then the lease's own error says what is wrong. */
async function ensureNamespace(client: KubeClient, name: string, logger: Logger, signal: AbortSignal): Promise<void> {
  const namespaces = client.resource(builtin.namespaces);
  for (let attempt = 0; !signal.aborted; attempt += 1) {
    try {
      if ((await namespaces.find({ name }, { signal })) !== undefined) return;
      await namespaces.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } }, { signal });
      return;
    } catch (error) {
      if (isAborted(signal) || isAlreadyExists(error) || statusOf(error)?.code === 403) return;
      logger.warn('cannot make the namespace, trying again', { name, error: toError(error) });
      await systemClock.sleep(backoffMs(reconnectBackoff, attempt, Math.random), signal).catch(() => undefined);
    }
  }
}

/** A function, because the compiler does not know that a signal changes while one waits. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}
