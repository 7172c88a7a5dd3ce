/**
 * The entry of src/controller: what watches over the whole cluster. `virtctl controller` runs it, any number of times,
 * and `virtctl standalone` in its process.
 *
 *   API server ──▶ Caches (informers) ──┬─▶ Admission ◀── webhook server ◀── API server     in every one
 *                                       │
 *                                       ├─▶ NodeHealth          Hypervisors and machines     in the leader
 *                                       ├─▶ OperationReaper     finished operations          in the leader
 *                                       ├─▶ SnapshotSchedule    snapshots by the clock       in the leader
 *                                       ├─▶ FinalizerKeeper     finalizers asked for         in the leader
 *                                       ├─▶ NodeSwitch          machines that have moved     in the leader
 *                                       ├─▶ ForcedStops         pools that run again         in the leader
 *                                       └─▶ ValidatingWebhookConfiguration                   in the leader
 *
 * It ends when its signal aborts. No machine depends on it: while none runs, nothing is started, stopped or moved.
 */
import { setMaxListeners } from 'node:events';
import { Caches } from './caches.ts';
import { FinalizerKeeper } from './finalizer-keeper.ts';
import { ForcedStops } from './forced-stops.ts';
import { NodeHealth } from './node-health.ts';
import { NodeSwitch } from './node-switch.ts';
import { OperationReaper } from './operation-reaper.ts';
import { SnapshotSchedule } from './snapshot-schedule.ts';
import { startWebhook, type WebhookOptions } from './webhook/webhook.ts';
import type { Hypervisor } from '../api/hypervisor.ts';
import { resourceOfKind } from '../api/kinds.ts';
import type { VirtualMachine } from '../api/virtual-machine.ts';
import type { VirtualMachineOperation } from '../api/virtual-machine-operation.ts';
import type { VirtualMachineSnapshot } from '../api/virtual-machine-snapshot.ts';
import type { VirtualPool } from '../api/virtual-pool.ts';
import { backoffMs, reconnectBackoff } from '../base/backoff.ts';
import { systemClock, type Clock } from '../base/clock.ts';
import { FailedError, toError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { Informer } from '../kube/informer.ts';
import type { KubeClient } from '../kube/kube-client.ts';
import { builtin } from '../kube/resource-type.ts';
import { isAlreadyExists } from '../kube/status-error.ts';
import { Controller, type ControllerOptions as ControlLoopOptions } from '../reconcile/controller.ts';
import { EventRecorder, type KubeEvent } from '../reconcile/event-recorder.ts';
import { LeaderElector, LeadershipLostError, type LeaderElectionOptions } from '../reconcile/leader-election.ts';
import type { Lease } from '../reconcile/lease.ts';

/** The namespace of the control plane's own objects: the leader's Lease and the webhook's Secret. */
export const systemNamespace = 'virtctl-system';

/** Options of {@link runController}. */
export interface ControllerOptions {
  /** The API server; not closed by the controller. */
  readonly client: KubeClient;
  /** Names this one among all controllers; no two may share it. */
  readonly identity: string;
  /** The namespace of its Lease and Secret, made when missing; `virtctl-system` when left out. */
  readonly namespace?: string | undefined;
  /** The admission webhook; none when left out, as for the embedded server, which checks by itself. */
  readonly webhook?: WebhookOptions | undefined;
  readonly logger: Logger;
  readonly clock?: Clock | undefined;
  readonly random?: (() => number) | undefined;
  /** Other times for the leader's election, for tests. */
  readonly election?: Pick<LeaderElectionOptions, 'leaseDurationMs' | 'renewDeadlineMs' | 'retryPeriodMs'> | undefined;
  /** Is told when it leads and its caches are full. */
  readonly onLeading?: (() => void) | undefined;
}

/**
 * Runs a controller until the signal aborts.
 *
 * @throws UnreachableError when the webhook's address cannot be listened on; nothing that the API server does ends it.
 */
export async function runController(options: ControllerOptions, signal: AbortSignal): Promise<void> {
  const { client, identity, logger, namespace = systemNamespace } = options;
  const clock = options.clock ?? systemClock;
  const random = options.random ?? Math.random;
  const caches = new Caches(client, { logger, clock });
  const webhook =
    options.webhook === undefined
      ? undefined
      : await startWebhook({ ...options.webhook, client, caches, namespace, clock, logger });
  const recorder = new EventRecorder({
    events: client.resource<KubeEvent>(builtin.events),
    controller: 'virtctl.dev/controller',
    instance: identity.slice(0, 128),
    clock,
    random,
    logger,
  });
  // Background work ends after the reconcilers: they may need it to end well.
  const background = new AbortController();
  // One listener for each informer, and more while they wait.
  setMaxListeners(64, background.signal);
  const running = [caches.run(background.signal), recorder.run(background.signal)];
  try {
    await makeNamespace(options, namespace, clock, random, signal);
    const keeping = webhook?.keepCertificates(background.signal);
    if (keeping !== undefined) running.push(keeping);
    await caches.synced(signal);
    const lead = async (leading: AbortSignal): Promise<void> => {
      options.onLeading?.();
      const parts: Parts = { client, caches, recorder, clock, logger };
      const snapshots = snapshotSchedule(parts);
      await Promise.all([
        ...[nodeHealth, operationReaper, finalizerKeeper, nodeSwitch, forcedStops].map((make) =>
          runLoop(make(parts), parts, leading),
        ),
        snapshots.cache.run(leading),
        runLoop(snapshots, parts, leading),
        webhook?.keepConfiguration(leading),
      ]);
    };
    while (!isAborted(signal)) {
      const elector = new LeaderElector({
        leases: client.resource<Lease>(builtin.leases),
        ref: { namespace, name: 'virtctl-controller' },
        identity,
        makeNamespace: (until) => makeNamespace(options, namespace, clock, random, until),
        clock,
        random,
        logger,
        ...options.election,
      });
      try {
        await elector.run(lead, signal);
      } catch (error) {
        if (!(error instanceof LeadershipLostError)) throw error;
        logger.warn('no longer the leader', { error });
      }
    }
  } catch (error) {
    if (!isAborted(signal)) throw error;
  } finally {
    background.abort(signal.reason ?? new FailedError('the controller ends'));
    await Promise.allSettled(running);
    await webhook?.close();
    logger.info('ended');
  }
}

interface Parts {
  readonly client: KubeClient;
  readonly caches: Caches;
  readonly recorder: EventRecorder;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A reconciler and where its keys come from. */
interface Loop extends Pick<ControlLoopOptions, 'name' | 'reconcile' | 'concurrency'> {
  /** Calls back with every key to look at; returns how to stop. */
  readonly follow: (enqueue: (key: string) => void) => () => void;
  /** Resolves when enough is known to reconcile; at once when left out. */
  readonly ready?: (signal: AbortSignal) => Promise<void>;
}

async function runLoop(
  { follow, ready, ...options }: Loop,
  { logger, clock }: Pick<Parts, 'logger' | 'clock'>,
  signal: AbortSignal,
): Promise<void> {
  const loop = new Controller({ ...options, logger, clock });
  const stop = follow((key) => loop.enqueue(key));
  try {
    await ready?.(signal);
    await loop.run(signal);
  } finally {
    stop();
  }
}

function nodeHealth({ client, caches, recorder, clock }: Parts): Loop {
  const health = new NodeHealth({
    caches,
    leases: client.resource<Lease>(builtin.leases),
    machines: client.resource<VirtualMachine>(resourceOfKind('VirtualMachine')),
    hypervisors: client.resource<Hypervisor>(resourceOfKind('Hypervisor')),
    recorder,
    clock,
  });
  return {
    name: 'node-health',
    reconcile: (node, context) => health.reconcile(node, context),
    concurrency: 4,
    follow: (enqueue) => health.follow(enqueue),
  };
}

function operationReaper({ client, caches, clock }: Parts): Loop {
  const operations = client.resource<VirtualMachineOperation>(resourceOfKind('VirtualMachineOperation'));
  const reaper = new OperationReaper({ caches, operations, clock });
  return {
    name: 'operation-reaper',
    reconcile: (key, context) => reaper.reconcile(key, context),
    follow: (enqueue) => reaper.follow(enqueue),
  };
}

function finalizerKeeper({ client, caches }: Parts): Loop {
  const keeper = new FinalizerKeeper(client, caches);
  return {
    name: 'finalizer-keeper',
    reconcile: (key, context) => keeper.reconcile(key, context.signal),
    concurrency: 4,
    follow: (enqueue) => keeper.follow(enqueue),
  };
}

function forcedStops({ client, caches }: Parts): Loop {
  const stops = new ForcedStops(client.resource<VirtualPool>(resourceOfKind('VirtualPool')), caches);
  return {
    name: 'forced-stops',
    reconcile: (key, context) => stops.reconcile(key, context.signal),
    follow: (enqueue) => stops.follow(enqueue),
  };
}

function nodeSwitch({ client, caches }: Parts): Loop {
  const machines = client.resource<VirtualMachine>(resourceOfKind('VirtualMachine'));
  const nodeSwitch = new NodeSwitch({ caches, machines });
  return {
    name: 'node-switch',
    reconcile: (key, context) => nodeSwitch.reconcile(key, context.signal),
    follow: (enqueue) => nodeSwitch.follow(enqueue),
  };
}

/** Its snapshots it keeps for itself: nobody else here looks at more of them than their names. */
function snapshotSchedule({ client, caches, recorder, clock, logger }: Parts): Loop & {
  readonly cache: Informer<VirtualMachineSnapshot>;
} {
  const snapshots = client.resource<VirtualMachineSnapshot>(resourceOfKind('VirtualMachineSnapshot'));
  const cache = new Informer<VirtualMachineSnapshot>({ source: snapshots, logger, clock });
  const schedule = new SnapshotSchedule({
    cache,
    snapshots,
    hasMachine: (key) => caches.machines.get(key) !== undefined,
    record: (event) => recorder.record(event),
    clock,
  });
  return {
    name: 'snapshot-schedule',
    reconcile: (key, context) => schedule.reconcile(key, context),
    follow: (enqueue) => schedule.follow(enqueue),
    ready: (signal) => cache.synced(signal),
    cache,
  };
}

/** Tries until it is there: the API server may be starting. */
async function makeNamespace(
  { client, logger }: ControllerOptions,
  name: string,
  clock: Clock,
  random: () => number,
  signal: AbortSignal,
): Promise<void> {
  const namespaces = client.resource(builtin.namespaces);
  for (let attempt = 0; ; attempt += 1) {
    try {
      const found = await namespaces.find({ name }, { signal });
      if (found === undefined)
        await namespaces.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } }, { signal });
      return;
    } catch (error) {
      signal.throwIfAborted();
      if (isAlreadyExists(error)) return;
      logger.warn('cannot make the namespace, trying again', { name, error: toError(error) });
      await clock.sleep(backoffMs(reconnectBackoff, attempt, random), signal);
    }
  }
}

/** A function, because the compiler does not know that a signal changes while one waits. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}
