/**
 * Whether nodes live, told by their executors' leases. A node whose lease was not renewed for as long as it says (40 s)
 * gets Ready=Unknown, and its machines say that nobody knows: printableStatus Unknown, Ready Unknown with the reason
 * NodeLost. Nothing else happens. Their guests most likely run on, so nothing is started elsewhere, whatever the time;
 * `spec` is never written here.
 *
 *   Lease renewed ──▶ alive      Hypervisor: Ready as LibvirtConnected says; machines: their executor writes them again
 *   nothing for 40 s ─▶ asked once more of the API server itself ─▶ lost
 *
 * Clocks of different machines are never compared: what counts is when a change of a lease was *seen*. A controller that
 * lost the API server sees nothing, and so asks before it believes.
 */
import type { Caches } from './caches.ts';
import type { Hypervisor } from '../api/hypervisor.ts';
import { hypervisorConditions, hypervisorReasons, leaseNamespace } from '../api/hypervisor.ts';
import type { Condition } from '../api/meta.ts';
import { findCondition } from '../api/meta.ts';
import type { VirtualMachine } from '../api/virtual-machine.ts';
import { virtualMachineConditions, virtualMachineReasons } from '../api/virtual-machine.ts';
import type { Clock } from '../base/clock.ts';
import { toError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { refOf } from '../kube/object.ts';
import type { ResourceClient } from '../kube/resource-client.ts';
import { isNotFound } from '../kube/status-error.ts';
import { setCondition } from '../reconcile/conditions.ts';
import type { ReconcileContext, ReconcileResult } from '../reconcile/controller.ts';
import type { EventRecorder } from '../reconcile/event-recorder.ts';
import type { Lease } from '../reconcile/lease.ts';

/** Options of {@link NodeHealth}. */
export interface NodeHealthOptions {
  readonly caches: Pick<Caches, 'machines' | 'hypervisors' | 'leases'>;
  readonly leases: Pick<ResourceClient<Lease>, 'find'>;
  readonly machines: Pick<ResourceClient<VirtualMachine>, 'mergePatch'>;
  readonly hypervisors: Pick<ResourceClient<Hypervisor>, 'mergePatch'>;
  readonly recorder: Pick<EventRecorder, 'record'>;
  readonly clock: Clock;
}

interface Sign {
  /** The lease's renewTime; undefined while there is none. */
  readonly renewTime: string | undefined;
  /** What it was before, the last times. */
  readonly before: readonly string[];
  /** When it was seen to have changed, by the monotonic clock. */
  readonly atMs: number;
  /** Whether it was seen to change at all: until then a node that is lost stays so. */
  readonly moved: boolean;
}

/** The life of a lease that does not say, in seconds: as a kubelet's. */
const defaultSeconds = 40;
/** As many renewals are remembered: a cache that is behind by more gives a lost node another 40 s. */
const maxBefore = 32;
/** A lost node's machines are looked at again this often, in milliseconds. */
const lostMs = 10_000;

/** See the head of this file. Made anew for each time of leadership: what was seen before is too old. */
export class NodeHealth {
  readonly #options: NodeHealthOptions;
  readonly #signs = new Map<string, Sign>();
  readonly #lost = new Set<string>();

  constructor(options: NodeHealthOptions) {
    this.#options = options;
  }

  /**
   * Has nodes looked at whenever their leases, objects or machines come or go.
   *
   * @returns Stops it.
   */
  follow(enqueue: (node: string) => void): () => void {
    const { machines, hypervisors, leases } = this.#options.caches;
    const stops = [
      leases.onChange(({ type, object }) => {
        const node = object.metadata.name ?? '';
        if (type !== 'deleted') this.#see(node, object);
        // The life of a node that is well is looked at when its lease would end.
        if (type !== 'updated' || this.#lost.has(node)) enqueue(node);
      }),
      hypervisors.onChange(({ type, object }) => {
        if (type !== 'updated' || findCondition(object.status, hypervisorConditions.Ready)?.status === 'Unknown') {
          enqueue(object.metadata.name ?? '');
        }
      }),
      machines.onChange((change) => {
        const node = change.object.spec.nodeName ?? '';
        if (node === '' || change.type === 'deleted') return;
        if (change.type === 'updated' && change.before.spec.nodeName === node) return;
        enqueue(node);
      }),
    ];
    return () => {
      for (const stop of stops) stop();
    };
  }

  /** Looks at one node. */
  async reconcile(
    node: string,
    { signal, logger }: Pick<ReconcileContext, 'signal' | 'logger'>,
  ): Promise<ReconcileResult | undefined> {
    const { caches, leases } = this.#options;
    const hypervisor = caches.hypervisors.get(node);
    const machines = caches.machines.byIndex('node', node);
    let lease = caches.leases.get(`${leaseNamespace}/${node}`);
    if (hypervisor === undefined && lease === undefined && machines.length === 0) {
      this.#signs.delete(node);
      this.#lost.delete(node);
      return undefined;
    }
    let sign = this.#see(node, lease);
    if (this.#leftMs(sign, lease) <= 0) {
      lease = await leases.find({ namespace: leaseNamespace, name: node }, { signal });
      sign = this.#see(node, lease);
    }
    const leftMs = this.#leftMs(sign, lease);
    if (leftMs > 0) {
      if (sign.moved) await this.#heal(node, hypervisor, signal, logger);
      return { requeueAfterMs: leftMs + 1 };
    }
    if (!this.#lost.has(node)) logger.warn('a node is lost', { node, machines: machines.length });
    this.#lost.add(node);
    const since = sign.renewTime === undefined ? 'has no lease' : `has not renewed its lease since ${sign.renewTime}`;
    const message = `the executor of ${node} ${since}; its guests run on as far as is known`;
    if (hypervisor !== undefined) await this.#mark(hypervisor, message, signal);
    await this.#markMachines(node, machines, message, signal);
    return { requeueAfterMs: lostMs };
  }

  #see(node: string, lease: Lease | undefined): Sign {
    const known = this.#signs.get(node);
    const renewTime = lease?.spec?.renewTime;
    if (known !== undefined && (renewTime === undefined || known.renewTime === renewTime)) return known;
    // The API server's answer may be newer than the cache: never go back to what was before. Which that is does not tell the
    // time itself, as a node's clock may be put back.
    if (known !== undefined && renewTime !== undefined && known.before.includes(renewTime)) return known;
    const before = [...(known?.before ?? []), ...(known?.renewTime === undefined ? [] : [known.renewTime])];
    const atMs = this.#options.clock.monotonicMs();
    const sign = { renewTime, before: before.slice(-maxBefore), atMs, moved: known !== undefined };
    this.#signs.set(node, sign);
    return sign;
  }

  #leftMs(sign: Sign, lease: Lease | undefined): number {
    const lifeMs = (lease?.spec?.leaseDurationSeconds ?? defaultSeconds) * 1000;
    return sign.atMs + lifeMs - this.#options.clock.monotonicMs();
  }

  async #heal(node: string, hypervisor: Hypervisor | undefined, signal: AbortSignal, logger: Logger): Promise<void> {
    if (this.#lost.delete(node)) logger.info('a node is back', { node });
    const ready = findCondition(hypervisor?.status, hypervisorConditions.Ready);
    if (hypervisor === undefined || ready?.reason !== hypervisorReasons.LeaseExpired) return;
    // Its executor says the rest when it looks at itself again; libvirt was, or was not, connected when it last did.
    const libvirt = findCondition(hypervisor.status, hypervisorConditions.LibvirtConnected);
    const connected = libvirt?.status === 'True';
    await this.#writeReady(
      hypervisor,
      {
        type: hypervisorConditions.Ready,
        status: connected,
        reason: connected ? hypervisorReasons.Ready : hypervisorReasons.Disconnected,
        observedGeneration: ready.observedGeneration,
      },
      signal,
    );
    const note = 'the executor renews its lease again';
    this.#options.recorder.record({ regarding: hypervisor, type: 'Normal', reason: 'NodeBack', action: 'Watch', note });
  }

  async #mark(hypervisor: Hypervisor, message: string, signal: AbortSignal): Promise<void> {
    const before = findCondition(hypervisor.status, hypervisorConditions.Ready);
    const written = await this.#writeReady(
      hypervisor,
      {
        type: hypervisorConditions.Ready,
        status: 'Unknown',
        reason: hypervisorReasons.LeaseExpired,
        message,
        observedGeneration: before?.observedGeneration,
      },
      signal,
    );
    if (!written || before?.reason === hypervisorReasons.LeaseExpired) return;
    const reason = hypervisorReasons.LeaseExpired;
    this.#options.recorder.record({ regarding: hypervisor, type: 'Warning', reason, action: 'Watch', note: message });
  }

  async #writeReady(
    hypervisor: Hypervisor,
    update: Parameters<typeof setCondition<Condition>>[1],
    signal: AbortSignal,
  ): Promise<boolean> {
    const before = hypervisor.status?.conditions;
    const conditions = setCondition<Condition>(before, update, this.#options.clock.now());
    if (conditions === before) return false;
    await this.#options.hypervisors.mergePatch(
      refOf(hypervisor),
      { metadata: preconditions(hypervisor), status: { conditions } },
      { subresource: 'status', signal },
    );
    return true;
  }

  /** All of them, then the first failure: one conflict must not keep the others from saying so. */
  async #markMachines(
    node: string,
    machines: readonly VirtualMachine[],
    message: string,
    signal: AbortSignal,
  ): Promise<void> {
    const failures: Error[] = [];
    for (const machine of machines) {
      if (machine.spec.nodeName !== node) continue;
      try {
        await this.#markMachine(machine, message, signal);
      } catch (error) {
        signal.throwIfAborted();
        if (!isNotFound(error)) failures.push(toError(error));
      }
    }
    const [first] = failures;
    if (first !== undefined) throw first;
  }

  async #markMachine(machine: VirtualMachine, message: string, signal: AbortSignal): Promise<void> {
    const before = machine.status?.conditions;
    const ready = findCondition(machine.status, virtualMachineConditions.Ready);
    const conditions = setCondition<Condition>(
      before,
      {
        type: virtualMachineConditions.Ready,
        status: 'Unknown',
        reason: virtualMachineReasons.NodeLost,
        message,
        observedGeneration: ready?.observedGeneration,
      },
      this.#options.clock.now(),
    );
    if (conditions === before && machine.status?.printableStatus === 'Unknown') return;
    await this.#options.machines.mergePatch(
      refOf(machine),
      // A conflict where the executor wrote in between: then it lives.
      { metadata: preconditions(machine), status: { printableStatus: 'Unknown', conditions } },
      { subresource: 'status', signal },
    );
    if (ready?.reason === virtualMachineReasons.NodeLost) return;
    const reason = virtualMachineReasons.NodeLost;
    this.#options.recorder.record({ regarding: machine, type: 'Warning', reason, action: 'Watch', note: message });
  }
}

function preconditions({ metadata }: Hypervisor | VirtualMachine): object {
  return { uid: metadata.uid, resourceVersion: metadata.resourceVersion };
}
