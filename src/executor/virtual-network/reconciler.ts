/**
 * VirtualNetwork on one node: defined, started, started with the node, changed while it runs where libvirt can; and its
 * line in status.nodes. One reconcile per network at a time reads both sides afresh:
 *
 *   finalizer, line ─▶ whose is it? ─▶ addresses of machines ─▶ clashes ─▶ live changes ─▶ define ─▶ power ─▶ status
 *
 * What is changed live is changed before the definition: our mark in the definition says what the running network was
 * given, and an executor that is killed in between finds the old mark, and does it again. What waits for a restart is
 * told with who is attached, and done at once where nobody is.
 */
import { AttachedGuests } from './attached-guests.ts';
import { isMine, NetworkRound, stop } from './network-round.ts';
import { libvirtOf, NetworkProblem, type NetworkContext } from './network-context.ts';
import { listAt } from './network-definition.ts';
import { networkStatus, type NodeLine } from './network-status.ts';
import { findNetwork, readNetwork } from './network-view.ts';
import type { PlugBoard } from './plug-board.ts';
import { mergePatchOf } from '../status-patch.ts';
import type { LibvirtCallOptions } from '../virtual-machine/domain-view.ts';
import { selectedNodes } from '../virtual-pool/selected-nodes.ts';
import { isPassing } from '../virtual-pool/storage-context.ts';
import { namesOf } from '../virtual-pool/names-of.ts';
import { networkName, type VirtualNetwork } from '../../api/virtual-network.ts';
import { formatProblem, InvalidInputError, toError } from '../../base/errors.ts';
import { parseObjectKey, refOf } from '../../kube/object.ts';
import { isConflict, isNotFound as isObjectGone } from '../../kube/status-error.ts';
import { LibvirtError, OutcomeUnknownError } from '../../libvirt/errors.ts';
import type { ReconcileContext, ReconcileResult } from '../../reconcile/controller.ts';
import { addFinalizer, hasFinalizer, isBeingDeleted, removeFinalizer } from '../../reconcile/finalizers.ts';

/** Keeps the object until no node has the network any more. */
export const networkFinalizer = 'virtctl.dev/network';

/** What is in the way is looked at again after so long, in milliseconds. */
const retryMs = 15_000;
/** Deletion looks again after so long. */
const waitMs = 10_000;
/** libvirt tells of no lease: leases are looked at in this interval after a change, and then ever more seldom. */
const leasesMinMs = 2_000;
const leasesMaxMs = 60_000;
const callTimeoutMs = 30_000;

/** What one look at the node's network came to. */
interface Outcome {
  readonly line: NodeLine;
  readonly problem: NetworkProblem | undefined;
}

/** Reconciles the networks of a node. */
export class NetworkReconciler {
  readonly #context: NetworkContext;
  readonly #guests: AttachedGuests;
  /** What machines may be plugged into. */
  readonly board: PlugBoard;
  /** When a network's leases or guests changed last, in monotonic milliseconds. */
  readonly #stirredMs = new Map<string, number>();

  constructor(context: NetworkContext, board: PlugBoard) {
    this.#context = context;
    this.#guests = new AttachedGuests(context.machineOf);
    this.board = board;
  }

  /** Does what is next for a network, named by its key. */
  async reconcile(key: string, { signal, logger }: ReconcileContext): Promise<ReconcileResult | undefined> {
    const { networks, nodeName } = this.#context;
    // Everything is looked at again when the connection is back.
    if (this.#context.libvirt() === undefined) return undefined;
    const found = await networks.find(parseObjectKey(key), { signal });
    if (found === undefined) {
      this.#forget(key);
      return undefined;
    }
    const mine = lineOf(found, nodeName);
    try {
      if (isBeingDeleted(found)) return await this.#release(found, mine, signal);
      if (!this.#selected(found).includes(nodeName)) {
        this.#forget(key);
        return mine === undefined ? undefined : await this.#leave(found, mine, signal);
      }
      let object = await addFinalizer(networks, found, networkFinalizer, signal);
      // Told before anything is made: another node must not take this one for clean.
      if (mine === undefined) object = await this.#report(object, { nodeName, state: 'Absent' }, [], signal);
      const outcome = await this.#ensure(key, object, mine, signal);
      await this.#report(object, outcome.line, [], signal);
      return { requeueAfterMs: outcome.problem === undefined ? this.#nextLookMs(key, mine, outcome.line) : retryMs };
    } catch (error) {
      if (!isConflict(error)) throw error;
      logger.debug('changed meanwhile, looking again', { error: toError(error) });
      return { requeueAfterMs: 20 };
    }
  }

  #selected(object: VirtualNetwork): string[] {
    return selectedNodes(object.spec.nodeSelector, this.#context.nodes());
  }

  #forget(key: string): void {
    this.#stirredMs.delete(key);
    this.board.forget(key);
  }

  /** Brings the node's network to what spec says. */
  async #ensure(
    key: string,
    object: VirtualNetwork,
    mine: NodeLine | undefined,
    signal: AbortSignal,
  ): Promise<Outcome> {
    const options: LibvirtCallOptions = { signal, timeoutMs: callTimeoutMs };
    const round = new NetworkRound(this.#context, this.#guests, object, options);
    let problem: NetworkProblem | undefined;
    try {
      await round.run();
    } catch (error) {
      if (isPassing(error, signal)) throw error;
      if (error instanceof OutcomeUnknownError) throw error;
      problem = problemOf(error);
      if (mine?.message !== problem.message) round.event('Warning', problem.reason, 'Apply', problem.message);
    }
    const line = await round.describe(problem);
    this.board.set(key, {
      network: round.isOwn ? networkName(object) : '',
      isLive: line.state === 'Active',
      message: line.message ?? (line.state === 'Active' ? '' : 'it is not started'),
      hosts: listAt(round.view?.live, 'ip').flatMap((ip) => listAt(ip, 'dhcp', 'host')),
      refused: round.reservations.refused,
    });
    return { line, problem };
  }

  /** Soon after something changed, and then ever more seldom. */
  #nextLookMs(key: string, before: NodeLine | undefined, after: NodeLine): number {
    const nowMs = this.#context.clock.monotonicMs();
    const told = ({ leases, attached, state }: NodeLine): string => JSON.stringify([leases, attached, state]);
    const isNew = before === undefined || told(before) !== told(after) || !this.#stirredMs.has(key);
    if (isNew) this.#stirredMs.set(key, nowMs);
    const quietMs = nowMs - (this.#stirredMs.get(key) ?? nowMs);
    return Math.min(leasesMaxMs, Math.max(leasesMinMs, quietMs / 8));
  }

  /** The object is to go. */
  async #release(
    object: VirtualNetwork,
    mine: NodeLine | undefined,
    signal: AbortSignal,
  ): Promise<ReconcileResult | undefined> {
    if (!hasFinalizer(object, networkFinalizer)) return undefined;
    const users = await this.#usersOf(object, undefined, mine !== undefined, signal);
    if (users.length > 0) {
      if (mine !== undefined) await this.#report(object, mine, users, signal);
      return { requeueAfterMs: waitMs };
    }
    if (mine !== undefined) await this.#remove(object, mine, signal);
    // What a node that is gone for good had is nobody's to remove.
    const known = new Set(this.#context.nodes().map(({ name }) => name));
    const fresh = await this.#context.networks.find(refOf(object), { signal });
    if (fresh === undefined) return undefined;
    if ((fresh.status?.nodes ?? []).some(({ nodeName }) => known.has(nodeName))) return { requeueAfterMs: waitMs };
    await removeFinalizer(this.#context.networks, fresh, networkFinalizer, signal);
    return undefined;
  }

  /** The node is no longer selected. */
  async #leave(object: VirtualNetwork, mine: NodeLine, signal: AbortSignal): Promise<ReconcileResult | undefined> {
    const users = await this.#usersOf(object, this.#context.nodeName, true, signal);
    if (users.length === 0) {
      await this.#remove(object, mine, signal);
      return undefined;
    }
    const message = `the node is no longer selected, but the network is in use by ${namesOf(users)}`;
    await this.#report(object, { ...mine, reason: 'InUse', message }, [], signal);
    return { requeueAfterMs: waitMs };
  }

  /** Machines that name the network, and guests that are plugged into it on this node. */
  async #usersOf(
    object: VirtualNetwork,
    nodeName: string | undefined,
    isHere: boolean,
    signal: AbortSignal,
  ): Promise<string[]> {
    const { namespace = '', name = '' } = object.metadata;
    const machines = this.#context
      .usersOf(namespace, name)
      .filter((user) => nodeName === undefined || user.nodeName === nodeName)
      .map((user) => `${user.namespace}/${user.name}`);
    const options = { signal, timeoutMs: callTimeoutMs };
    const there = isHere ? await findNetwork(libvirtOf(this.#context), networkName(object), options) : undefined;
    const view = there === undefined ? undefined : await readNetwork(there, options);
    const guests =
      view?.live === undefined || !isMine(object, view) ? [] : await this.#guests.of(view.network, options);
    return [...new Set([...machines, ...guests.map(({ who }) => who)])].sort();
  }

  /** Stops and undefines the node's network, and takes its line away. */
  async #remove(object: VirtualNetwork, mine: NodeLine, signal: AbortSignal): Promise<void> {
    const options = { signal, timeoutMs: callTimeoutMs };
    try {
      const there = await findNetwork(libvirtOf(this.#context), networkName(object), options);
      const view = there === undefined ? undefined : await readNetwork(there, options);
      // Somebody else's of this name was never ours.
      if (view !== undefined && isMine(object, view)) {
        if (view.live !== undefined) await stop(view.network, options);
        if (view.isPersistent) await view.network.undefine(options);
        this.#event(object, 'Normal', 'Removed', 'Remove', `removed from node ${this.#context.nodeName}`);
      }
    } catch (error) {
      if (isPassing(error, signal) || !(error instanceof LibvirtError)) throw error;
      const message = `cannot be removed: ${error.message}`;
      await this.#report(object, { ...mine, reason: 'RemoveFailed', message }, [], signal);
      throw error;
    }
    await this.#report(object, undefined, [], signal);
    this.#forget(`${object.metadata.namespace ?? ''}/${object.metadata.name ?? ''}`);
  }

  /** Writes the node's line; the object as it is then. */
  async #report(
    object: VirtualNetwork,
    line: NodeLine | undefined,
    waitsFor: readonly string[],
    signal: AbortSignal,
  ): Promise<VirtualNetwork> {
    const { nodeName, clock, networks } = this.#context;
    const nowMs = clock.now();
    const after = networkStatus(object, { nodeName, line, selected: this.#selected(object), waitsFor, nowMs });
    const patch = mergePatchOf(object.status, after);
    if (patch === undefined) return object;
    const { resourceVersion, uid } = object.metadata;
    try {
      return await networks.mergePatch(
        refOf(object),
        { metadata: { resourceVersion, uid }, status: patch },
        { subresource: 'status', signal },
      );
    } catch (error) {
      if (!isObjectGone(error)) throw error;
      return object;
    }
  }

  #event(object: VirtualNetwork, type: 'Normal' | 'Warning', reason: string, action: string, note: string): void {
    this.#context.record({ regarding: object, type, reason, action, note });
  }
}

function lineOf(object: VirtualNetwork, nodeName: string): NodeLine | undefined {
  return object.status?.nodes?.find((one) => one.nodeName === nodeName);
}

/** What goes into status for whatever was thrown. */
function problemOf(thrown: unknown): NetworkProblem {
  if (thrown instanceof NetworkProblem) return thrown;
  const cause = toError(thrown);
  const message =
    cause instanceof InvalidInputError && cause.problems.length > 0
      ? cause.problems.map(formatProblem).join('; ')
      : cause.message;
  return new NetworkProblem('DefineFailed', message, { cause });
}
