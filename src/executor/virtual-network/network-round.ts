/**
 * One look at one network of the node: what is there, and the steps towards what is asked for (reconciler.ts has their
 * order). Everything is read afresh; what went wrong is thrown, and {@link NetworkRound.describe} tells how it stands.
 */
import type { AttachedGuests } from './attached-guests.ts';
import { type AttachedGuest } from './attached-guests.ts';
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
import type { NodeLine } from './network-status.ts';
import { findNetwork, readLive, readNetwork, type NetworkView } from './network-view.ts';
import { deviceOf, readNodeClaims } from './node-claims.ts';
import { reserveAddresses, type Reservations } from './reservations.ts';
import type { Difference } from '../virtual-machine/compare.ts';
import type { LibvirtCallOptions } from '../virtual-machine/domain-view.ts';
import { memberAt, type DataObject } from '../virtual-machine/same-value.ts';
import { selectedNodes } from '../virtual-pool/selected-nodes.ts';
import { claimOf, claimOfNetwork, comesFirst, networkClashes, type NetworkClaim } from '../../api/network-claims.ts';
import { networkName, restartAnnotation, type VirtualNetwork } from '../../api/virtual-network.ts';
import { toKubernetesTime } from '../../base/clock.ts';
import { isNotFound, isNotRunning, LibvirtError } from '../../libvirt/errors.ts';
import type { DhcpLease, Network } from '../../libvirt/objects/networks.ts';
import { isBeingDeleted } from '../../reconcile/finalizers.ts';

/** What live changes came to. */
interface LiveOutcome {
  readonly live: DataObject;
  readonly done: readonly string[];
  readonly left: readonly Difference[];
  /** libvirt's words. */
  readonly refused: readonly string[];
}

/** More leases, and more guests, are not told: of one node, and of all of a network. An object has at most 1.5 MB. */
const maxTold = { ofNode: 512, ofNetwork: 4096, atLeast: 16 };

/** One look at one network: what is there, and the steps towards what is asked for. */
export class NetworkRound {
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
    // Also for one that cannot be started now.
    const autostart = object.spec.autostart ?? true;
    if (this.view !== undefined && this.view.autostart !== autostart) {
      const { network } = this.view;
      await during('DefineFailed', () => network.setAutostart(autostart, this.#options));
      this.view = { ...this.view, autostart };
    }
    await this.#power(wanted);
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

/** Whether a network carries our mark for this object, or its UUID. */
export function isMine(object: VirtualNetwork, { mark, network }: NetworkView): boolean {
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

/** Stops a network, if it runs. */
export async function stop(network: Network, options: LibvirtCallOptions): Promise<void> {
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
