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
import { AttachedGuests, type AttachedGuest } from './attached-guests.ts';
import { planUpdates } from './live-updates.ts';
import { during, libvirtOf, NetworkProblem, type NetworkContext } from './network-context.ts';
import {
  asJson,
  bridgeOf,
  compareNetwork,
  differencesOf,
  listAt,
  markFor,
  mergeNetwork,
  networkXml,
  notKept,
  wantedNetwork,
} from './network-definition.ts';
import type { NetworkMark } from './network-mark.ts';
import { networkStatus, type NodeLine } from './network-status.ts';
import { findNetwork, readLive, readNetwork, type NetworkView } from './network-view.ts';
import { deviceOf, readNodeClaims } from './node-claims.ts';
import type { PlugBoard } from './plug-board.ts';
import { reserveAddresses, type Reservations } from './reservations.ts';
import { mergePatchOf } from '../status-patch.ts';
import type { Difference } from '../virtual-machine/compare.ts';
import type { LibvirtCallOptions } from '../virtual-machine/domain-view.ts';
import { memberAt, type DataObject } from '../virtual-machine/same-value.ts';
import { selectedNodes } from '../virtual-pool/selected-nodes.ts';
import { isPassing } from '../virtual-pool/storage-context.ts';
import { namesOf } from '../virtual-pool/names-of.ts';
import { claimOf, claimOfNetwork, comesFirst, networkClashes, type NetworkClaim } from '../../api/network-claims.ts';
import { networkName, restartAnnotation, type VirtualNetwork } from '../../api/virtual-network.ts';
import { toKubernetesTime } from '../../base/clock.ts';
import { formatProblem, InvalidInputError, toError } from '../../base/errors.ts';
import { parseObjectKey, refOf } from '../../kube/object.ts';
import { isConflict, isNotFound as isObjectGone } from '../../kube/status-error.ts';
import { isNotFound, isNotRunning, LibvirtError, OutcomeUnknownError } from '../../libvirt/errors.ts';
import type { DhcpLease, Network } from '../../libvirt/objects/networks.ts';
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
/** More leases, and more guests, are not told: of one node, and of all of a network. An object has at most 1.5 MB. */
const maxTold = { ofNode: 512, ofNetwork: 4096, atLeast: 16 };
const callTimeoutMs = 30_000;

/** What one look at the node's network came to. */
interface Outcome {
  readonly line: NodeLine;
  readonly problem: NetworkProblem | undefined;
}

/** What live changes came to. */
interface LiveOutcome {
  readonly live: DataObject;
  readonly done: readonly string[];
  readonly left: readonly Difference[];
  /** libvirt's words. */
  readonly refused: readonly string[];
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
      await this.#report(object, { ...mine, reason: 'InUse', message }, [], signal);
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

/** One look at one network: what is there, and the steps towards what is asked for. */
class NetworkRound {
  readonly #context: NetworkContext;
  readonly #guests: AttachedGuests;
  readonly #object: VirtualNetwork;
  readonly #options: LibvirtCallOptions;
  view: NetworkView | undefined;
  /** Whether the network of this name is ours. */
  isOwn = false;
  reservations: Reservations = { hosts: [], refused: new Map() };
  #left: readonly Difference[] = [];
  #refused: readonly string[] = [];
  #drift: readonly string[] = [];

  constructor(context: NetworkContext, guests: AttachedGuests, object: VirtualNetwork, options: LibvirtCallOptions) {
    this.#context = context;
    this.#guests = guests;
    this.#object = object;
    this.#options = options;
  }

  async run(): Promise<void> {
    const object = this.#object;
    await this.#read();
    if (this.view !== undefined) assertOwn(object, this.view);
    this.isOwn = true;
    const { namespace = '', name = '' } = object.metadata;
    const { view } = this;
    const applied = view?.mark?.applied ?? {};
    const plain = wantedNetwork(object, view?.network.uuid, [], applied);
    const base = mergeNetwork(applied, plain, view?.inactive);
    this.reservations = reserveAddresses(base, this.#context.usersOf(namespace, name), this.#context.nodeName);
    const wanted = wantedNetwork(object, view?.network.uuid, this.reservations.hosts, applied);
    await this.#findClashes(base);
    await this.#apply(wanted);
    await this.#power(wanted);
    const autostart = object.spec.autostart ?? true;
    if (this.view !== undefined && this.view.autostart !== autostart) {
      const { network } = this.view;
      await during('DefineFailed', () => network.setAutostart(autostart, this.#options));
      this.view = { ...this.view, autostart };
    }
  }

  async #read(): Promise<void> {
    const found = await findNetwork(libvirtOf(this.#context), networkName(this.#object), this.#options);
    this.view = found === undefined ? undefined : await readNetwork(found, this.#options);
  }

  /** Before libvirt finds out half of it, with half the words. */
  async #findClashes(base: DataObject): Promise<void> {
    const mine = claimOf('', base);
    const { view } = this;
    const had = view === undefined ? undefined : claimOf('', view.inactive);
    if (view?.live !== undefined && had !== undefined && sameClaim(mine, had)) return;
    const name = networkName(this.#object);
    const there = await readNodeClaims(this.#context, name, deviceOf(view?.live), mine.device, this.#options);
    const known = new Set(there.networks.map(({ uid }) => uid));
    const { nodeName, nodes } = this.#context;
    const older = this.#context
      .known()
      .filter(
        (other) =>
          other.metadata.uid !== this.#object.metadata.uid &&
          !known.has(other.metadata.uid) &&
          !isBeingDeleted(other) &&
          comesFirst(other, this.#object) &&
          selectedNodes(other.spec.nodeSelector, nodes()).includes(nodeName),
      );
    const [clash] = networkClashes(mine, [...there.networks, ...older.map(claimOfNetwork), ...there.devices]);
    if (clash !== undefined) throw new NetworkProblem(clash.reason, `spec.network.${clash.path}: ${clash.message}`);
  }

  /** Changes the running network where libvirt can, and then its definition. */
  async #apply(wanted: DataObject): Promise<void> {
    const object = this.#object;
    const { view } = this;
    const drift = view === undefined ? undefined : compareNetwork(object, wanted, view);
    const isReportOnly = drift?.isChanged === false && object.spec.driftPolicy === 'Report';
    const live = view?.live === undefined ? undefined : await this.#changeLive(view, view.live, wanted, isReportOnly);
    if (view !== undefined && live !== undefined) this.view = { ...view, live: live.live };
    this.#left = isReportOnly ? [] : (live?.left ?? []);
    this.#refused = live?.refused ?? [];
    const paths = [...new Set([...(drift?.differences ?? []).map(({ path }) => path), ...(live?.done ?? [])])];
    if (isReportOnly) {
      this.#drift = [...new Set([...paths, ...(live?.left ?? []).map(({ path }) => path)])];
      if (this.#drift.length > 0) {
        this.event('Warning', 'Drifted', 'Compare', `changed behind our back: ${this.#drift.join(', ')}`);
      }
      return;
    }
    const before = view?.mark;
    const given = this.#left.length === 0 ? wanted : mergeNetwork({}, wanted, before?.given ?? {});
    if (drift?.needsDefine === false && asJson(before?.given ?? {}) === asJson(given)) {
      if (paths.length > 0) this.event('Warning', 'DriftCorrected', 'Change', `put right: ${paths.join(', ')}`);
      return;
    }
    const ignored = drift?.isChanged === false ? (before?.ignored ?? []) : [];
    await this.#define(wanted, markFor(object, wanted, { given, ignored, restartedAt: this.#restartedAt() }));
    if (view === undefined) {
      this.event('Normal', 'Defined', 'Define', `defined ${networkName(object)} on node ${this.#context.nodeName}`);
    } else if (drift?.isChanged === false && paths.length > 0) {
      this.event('Warning', 'DriftCorrected', 'Define', `changed behind our back and put right: ${paths.join(', ')}`);
    } else if ((live?.done ?? []).length > 0) {
      this.event('Normal', 'LiveChanged', 'Change', `changed in the running network: ${(live?.done ?? []).join(', ')}`);
    }
  }

  /** The restart that counts as done: the one that is asked for, when there is nothing to restart yet. */
  #restartedAt(): string | undefined {
    const { view } = this;
    return view?.mark === undefined || view.live === undefined
      ? this.#object.metadata.annotations?.[restartAnnotation]
      : view.mark.restartedAt;
  }

  async #changeLive(
    { network, mark, inactive }: NetworkView,
    live: DataObject,
    wanted: DataObject,
    isReportOnly: boolean,
  ): Promise<LiveOutcome> {
    const given = mark?.given ?? {};
    const reference = mergeNetwork(mark?.applied ?? {}, wanted, inactive);
    const ignored = new Set((mark?.ignored ?? []).map(({ path }) => path));
    const compare = (now: DataObject): Difference[] =>
      differencesOf(wanted, given, now, reference).filter(({ path }) => !ignored.has(path));
    const before = compare(live);
    const updates = before.length === 0 || isReportOnly ? [] : planUpdates(live, mergeNetwork(given, wanted, live));
    if (updates.length === 0) return { live, done: [], left: before, refused: [] };
    const refused: string[] = [];
    for (const { command, section, xml, parentIndex, path } of updates) {
      try {
        const at = parentIndex === undefined ? {} : { parentIndex };
        await network.update(command, section, xml, { live: true, ...at, ...this.#options });
      } catch (error) {
        if (!(error instanceof LibvirtError)) throw error;
        refused.push(`${path}: ${error.message}`);
      }
    }
    const after = await readLive(network, this.#options);
    const left = compare(after);
    const still = new Set(left.map(({ path }) => path));
    return { live: after, done: before.map(({ path }) => path).filter((path) => !still.has(path)), left, refused };
  }

  async #define(wanted: DataObject, mark: NetworkMark): Promise<void> {
    const { networks } = libvirtOf(this.#context);
    const xml = networkXml(this.#object, wanted, this.view, mark);
    const network = await during('DefineFailed', () => networks.defineXml(xml, this.#options));
    this.view = await readNetwork(network, this.#options);
    if (this.view === undefined) return;
    const ignored = notKept(wanted, this.view.inactive);
    if (asJson(ignored as never) === asJson(mark.ignored as never)) return;
    const noted = networkXml(this.#object, wanted, this.view, { ...mark, ignored });
    await during('DefineFailed', () => networks.defineXml(noted, this.#options));
    this.view = await readNetwork(network, this.#options);
  }

  async #power(wanted: DataObject): Promise<void> {
    const { view } = this;
    const object = this.#object;
    if (view === undefined) return;
    const { network } = view;
    if (object.spec.active === false) {
      if (view.live === undefined) return;
      await during('StartFailed', () => stop(network, this.#options));
      this.#left = [];
      this.event('Normal', 'Stopped', 'Stop', `stopped on node ${this.#context.nodeName}`);
    } else if (view.live === undefined) {
      await during('StartFailed', () => network.start(this.#options));
      this.event('Normal', 'Started', 'Start', `started on node ${this.#context.nodeName}`);
    } else {
      const asked = object.metadata.annotations?.[restartAnnotation];
      const isAsked = asked !== undefined && view.mark !== undefined && view.mark.restartedAt !== asked;
      const isFree = this.#left.length > 0 && (await this.#guests.of(network, this.#options)).length === 0;
      if (!isAsked && !isFree) return;
      await during('StartFailed', () => stop(network, this.#options));
      this.view = { ...view, live: undefined };
      const { ignored } = view.mark ?? { ignored: [] };
      await this.#define(wanted, markFor(object, wanted, { given: wanted, ignored, restartedAt: asked }));
      await during('StartFailed', () => network.start(this.#options));
      const why = isAsked
        ? 'as asked for'
        : `nobody was attached; for ${this.#left.map(({ path }) => path).join(', ')}`;
      this.event('Normal', 'Restarted', 'Restart', `restarted on node ${this.#context.nodeName}: ${why}`);
      this.#left = [];
    }
    await this.#read();
  }

  /** The node's line in status. */
  async describe(problem: NetworkProblem | undefined): Promise<NodeLine> {
    const { nodeName } = this.#context;
    const { generation } = this.#object.metadata;
    const told = problem === undefined ? {} : { reason: problem.reason, message: problem.message };
    const { view } = this;
    if (view === undefined || !this.isOwn) return { nodeName, state: 'Absent', ...told };
    const { network } = view;
    const attached = view.live === undefined ? [] : namesAttached(await this.#guests.of(network, this.#options));
    const leases = view.live === undefined ? [] : await leasesOf(network, view.live, this.#options);
    const limit = this.#toldOfNode();
    const leftOut = (list: readonly unknown[]): number => Math.max(0, list.length - limit);
    const bridge = bridgeOf(view.live ?? view.inactive);
    const ignored = (view.mark?.ignored ?? []).map(({ path }) => path);
    const restartRequired = [...new Set(this.#left.map(({ path }) => path))];
    return {
      nodeName,
      state: view.live === undefined ? 'Inactive' : 'Active',
      name: network.name,
      uuid: network.uuid,
      ...(bridge === '' ? {} : { bridge }),
      persistent: view.isPersistent,
      autostart: view.autostart,
      ...(view.mark?.restartedAt === undefined ? {} : { restartedAt: view.mark.restartedAt }),
      ...(problem === undefined && generation !== undefined ? { observedGeneration: generation } : {}),
      ...(restartRequired.length === 0 ? {} : { restartRequired }),
      ...(this.#drift.length === 0 ? {} : { drift: [...this.#drift] }),
      ...(ignored.length === 0 ? {} : { ignored }),
      ...(attached.length === 0 ? {} : { attached: attached.slice(0, limit) }),
      ...(leftOut(attached) === 0 ? {} : { attachedLeftOut: leftOut(attached) }),
      ...(leases.length === 0 ? {} : { leases: leases.slice(0, limit).map(toStatus) }),
      ...(leftOut(leases) === 0 ? {} : { leasesLeftOut: leftOut(leases) }),
      ...(this.#refused.length === 0 || restartRequired.length === 0 ? {} : { refused: this.#refused.join('; ') }),
      ...told,
    };
  }

  /** How many leases, and how many guests, the line of one node has at most. */
  #toldOfNode(): number {
    const nodes = Math.max(1, this.#context.nodes().length);
    return Math.min(maxTold.ofNode, Math.max(maxTold.atLeast, Math.floor(maxTold.ofNetwork / nodes)));
  }

  event(type: 'Normal' | 'Warning', reason: string, action: string, note: string): void {
    this.#context.record({ regarding: this.#object, type, reason, action, note });
  }
}

function lineOf(object: VirtualNetwork, nodeName: string): NodeLine | undefined {
  return object.status?.nodes?.find((one) => one.nodeName === nodeName);
}

/** Whether a network carries our mark for this object, or its UUID. */
function isMine(object: VirtualNetwork, { mark, network }: NetworkView): boolean {
  const { uid, namespace, name } = object.metadata;
  if (mark === undefined) return network.uuid === uid?.toLowerCase();
  return mark.uid === uid || (mark.namespace === namespace && mark.name === name);
}

/** A network without a mark is taken over where spec names it; one with another's mark never. */
function assertOwn(object: VirtualNetwork, view: NetworkView): void {
  const { name, uuid } = view.network;
  const given = object.spec.network?.uuid?.toLowerCase();
  if (given !== undefined && given !== uuid) {
    throw new NetworkProblem('ForeignNetwork', `the network "${name}" of this node has the UUID ${uuid}, not ${given}`);
  }
  if (isMine(object, view)) return;
  if (view.mark !== undefined) {
    const owner = `VirtualNetwork "${view.mark.namespace}/${view.mark.name}"`;
    throw new NetworkProblem('ForeignNetwork', `the network "${name}" of this node is that of ${owner}`);
  }
  if (object.spec.network?.name === name || given === uuid) return;
  throw new NetworkProblem(
    'ForeignNetwork',
    `the network "${name}" of this node belongs to somebody else; spec.network.name takes it over`,
  );
}

function sameClaim(a: NetworkClaim, b: NetworkClaim): boolean {
  const text = ({ device, subnets }: NetworkClaim): string =>
    [device ?? '', ...subnets.map((subnet) => subnet.text)].join(' ');
  return text(a) === text(b);
}

async function stop(network: Network, options: LibvirtCallOptions): Promise<void> {
  try {
    await network.destroy(options);
  } catch (error) {
    if (!isNotRunning(error)) throw error;
  }
}

/** Leases by address; none where libvirt runs no DHCP server. */
async function leasesOf(
  network: Network,
  live: DataObject,
  options: LibvirtCallOptions,
): Promise<readonly DhcpLease[]> {
  if (!listAt(live, 'ip').some((ip) => memberAt(ip, 'dhcp') !== undefined)) return [];
  try {
    const leases = await network.leases(options);
    return leases.sort((a, b) => (a.address < b.address ? -1 : 1));
  } catch (error) {
    // Stopped meanwhile, or a driver without leases.
    if (isNotFound(error) || error instanceof LibvirtError) return [];
    throw error;
  }
}

function toStatus(lease: DhcpLease): NonNullable<NodeLine['leases']>[number] {
  return {
    mac: lease.mac ?? '',
    ip: lease.address,
    prefix: lease.prefix,
    ...(lease.hostname === undefined ? {} : { hostname: lease.hostname }),
    ...(lease.clientId === undefined ? {} : { clientId: lease.clientId }),
    ...(lease.expiresAt === undefined ? {} : { expiresAt: toKubernetesTime(lease.expiresAt) }),
  };
}

function namesAttached(guests: readonly AttachedGuest[]): string[] {
  return [...new Set(guests.map(({ who }) => who))].sort();
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
