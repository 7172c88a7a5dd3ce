/**
 * A network as libvirt is given it: libvirt's own definition, with what spec sets put in and what it no longer sets taken
 * out (as with machines: ../virtual-machine/merge.ts), our mark, and the overlay. Pure.
 */
import { canonicalNetwork } from './canonical-network.ts';
import { foreignMetadata, markXml, type NetworkMark } from './network-mark.ts';
import type { NetworkView } from './network-view.ts';
import { compareRemoved, compareWanted, type Difference } from '../virtual-machine/compare.ts';
import { isKnown, toKnown } from '../virtual-machine/definition.ts';
import { movePath } from '../virtual-machine/desired-domain.ts';
import type { KnownDifference } from '../virtual-machine/domain-metadata.ts';
import { canonical, contains } from '../virtual-machine/list-identity.ts';
import { mergeDomain } from '../virtual-machine/merge.ts';
import { isList, isObject, memberAt, textOf, type Data, type DataObject } from '../virtual-machine/same-value.ts';
import { makesBridge } from '../../api/network-claims.ts';
import { networkName, type VirtualNetwork } from '../../api/virtual-network.ts';
import { render, type OverlayEntry } from '../../convertor/render.ts';

/** An address that the DHCP server always gives one machine. */
export interface HostEntry {
  /** The `<ip>` element it is in, by its address. */
  readonly subnet: string;
  /** For IPv4. */
  readonly mac?: string;
  /** For IPv6: the host name that the guest gives. */
  readonly name?: string;
  readonly ip: string;
}

/**
 * What a network is to be: what spec says, and the addresses that machines reserve.
 *
 * @param uuid Of the network that exists already.
 * @param applied What was asked for before: a subnet that only a reservation was asked for in stays when that goes.
 */
export function wantedNetwork(
  object: VirtualNetwork,
  uuid: string | undefined,
  hosts: readonly HostEntry[],
  applied: DataObject = {},
): DataObject {
  const given = canonicalNetwork((object.spec.network ?? {}) as DataObject);
  const own = uuid ?? object.metadata.uid;
  const wanted: DataObject = {
    ...given,
    name: networkName(object),
    ...(given['uuid'] === undefined && own !== undefined ? { uuid: own } : {}),
  };
  return hosts.reduce(withHost, withSubnets(wanted, applied));
}

/** Names the subnets, and the DHCP servers, that reservations alone named before: they are not ours to take away. */
function withSubnets(wanted: DataObject, applied: DataObject): DataObject {
  const isReserved = (ip: DataObject): boolean =>
    isObject(ip['dhcp']) && Object.keys(ip['dhcp']).every((key) => key === 'host');
  const ips = listAt(wanted, 'ip');
  const named = ips.map((ip) => {
    const before = listAt(applied, 'ip').find((one) => memberAt(one, 'address') === memberAt(ip, 'address'));
    if (!isObject(ip) || !isObject(before) || ip['dhcp'] !== undefined || !isReserved(before)) return ip;
    return { ...ip, dhcp: { host: [] } };
  });
  const others = listAt(applied, 'ip').flatMap((ip): DataObject[] => {
    if (!isObject(ip) || !isReserved(ip) || Object.keys(ip).some((key) => key !== 'address' && key !== 'dhcp'))
      return [];
    const isNamed = ips.some((one) => memberAt(one, 'address') === ip['address']);
    return isNamed ? [] : [{ ...ip, dhcp: { host: [] } }];
  });
  // Where spec says what subnets there are, it says all of them.
  const all = ips.length > 0 ? named : others;
  return all.length === 0 ? wanted : { ...wanted, ip: all };
}

function withHost(network: DataObject, { subnet, ...host }: HostEntry): DataObject {
  const ips = listAt(network, 'ip');
  const at = ips.findIndex((ip) => memberAt(ip, 'address') === subnet);
  const ip = at < 0 ? { address: subnet } : (ips[at] as DataObject);
  const dhcp = isObject(ip['dhcp']) ? ip['dhcp'] : {};
  const entries = listAt(dhcp, 'host');
  const same = (entry: Data): boolean => host.mac !== undefined && memberAt(entry, 'mac') === host.mac;
  // An entry of spec for this very machine keeps what else it says.
  const hosts = entries.some(same)
    ? entries.map((entry) => (same(entry) && isObject(entry) ? { ...entry, ...host } : entry))
    : [...entries, host];
  const changed = { ...ip, dhcp: { ...dhcp, host: hosts } };
  return { ...network, ip: at < 0 ? [...ips, changed] : ips.map((one, index) => (index === at ? changed : one)) };
}

/** What differs. */
export interface NetworkDrift {
  readonly differences: readonly Difference[];
  /** Whether what is asked for changed since it was applied: then a difference is no drift. */
  readonly isChanged: boolean;
  readonly needsDefine: boolean;
}

/** Compares the definition with what is asked for. */
export function compareNetwork(object: VirtualNetwork, wanted: DataObject, view: NetworkView): NetworkDrift {
  const { mark, inactive } = view;
  const differences = differencesOf(wanted, mark?.applied ?? {}, inactive).filter(
    (one) => !isKnown(one, mark?.ignored ?? []),
  );
  const isChanged =
    mark === undefined ||
    asJson(mark.applied) !== asJson(wanted) ||
    asJson(memberAt(mark.spec, 'overlay') ?? []) !== asJson(plain(object.spec.overlay ?? []));
  const isMarkOld =
    mark?.uid !== object.metadata.uid ||
    mark?.namespace !== object.metadata.namespace ||
    mark?.name !== object.metadata.name ||
    asJson(mark?.spec ?? {}) !== asJson(plain(object.spec));
  return {
    differences,
    isChanged,
    needsDefine: differences.length > 0 || isChanged || isMarkOld || !view.isPersistent,
  };
}

/**
 * Where a network is otherwise than asked for, with paths below spec.network.
 *
 * @param applied What it was given before: what of it is no longer wanted must go.
 * @param reference What stands in the place of a removed field by default.
 */
export function differencesOf(
  wanted: DataObject,
  applied: DataObject,
  actual: DataObject,
  reference?: DataObject,
): Difference[] {
  const [left, right] = [{ network: wanted }, { network: actual }];
  const old = { network: applied };
  const base = reference === undefined ? undefined : { network: reference };
  return [...compareWanted(left, right), ...compareRemoved(old, left, right, base)]
    .filter(({ to, from }) => !(from === undefined && isNothing(to)))
    .map((one) => ({ ...one, path: one.path.slice('network.'.length) }));
}

/** What libvirt writes nothing for: no, zero, and elements with nothing in them. */
function isNothing(value: Data | undefined): boolean {
  if (isList(value)) return value.every(isNothing);
  if (isObject(value)) return Object.values(value).every(isNothing);
  return value === undefined || value === false || value === 0;
}

/** libvirt's definition with what is wanted put in. */
export function mergeNetwork(applied: DataObject, wanted: DataObject, current: DataObject | undefined): DataObject {
  if (current === undefined) return wanted;
  // What libvirt keeps of a bridge of its own (a MAC address, STP, its domain) it refuses for one of the host's.
  const isHosts = wanted['forward'] !== undefined && !makesBridge(wanted);
  if (isHosts && makesBridge(current)) return wanted;
  const merged = mergeDomain({ network: applied }, { network: wanted }, { network: current })['network'];
  if (!isObject(merged)) return wanted;
  const ips = listAt(merged, 'ip').map((ip) => {
    if (!isObject(ip)) return ip;
    const own = listAt(wanted, 'ip').find((one) => memberAt(one, 'address') === ip['address']);
    return withoutClashes(withOneMask(ip, own), own);
  });
  return ips.length === 0 ? merged : { ...merged, ip: ips };
}

/** libvirt takes prefix or netmask, not both: the one that is wanted. */
function withOneMask(ip: DataObject, own: Data | undefined): DataObject {
  const drop =
    memberAt(own, 'prefix') !== undefined ? 'netmask' : memberAt(own, 'netmask') !== undefined ? 'prefix' : '';
  return Object.fromEntries(Object.entries(ip).filter(([key]) => key !== drop));
}

/** Host entries of others that have the MAC or IP address of one that is wanted go: dnsmasq takes each once. */
function withoutClashes(ip: DataObject, own: Data | undefined): DataObject {
  const dhcp = ip['dhcp'];
  const wanted = listAt(memberAt(own, 'dhcp'), 'host');
  if (!isObject(dhcp) || wanted.length === 0) return ip;
  const isWanted = (host: Data): boolean => wanted.some((one) => contains('network.ip.dhcp.host', one, host));
  const clashes = (host: Data): boolean =>
    wanted.some((one) =>
      ['mac', 'ip'].some((key) => memberAt(one, key) !== undefined && memberAt(one, key) === memberAt(host, key)),
    );
  const hosts = listAt(dhcp, 'host').filter((host) => isWanted(host) || !clashes(host));
  return { ...ip, dhcp: { ...dhcp, host: hosts } };
}

/** The XML that defines a network. */
export function networkXml(
  object: VirtualNetwork,
  wanted: DataObject,
  view: NetworkView | undefined,
  mark: NetworkMark,
): string {
  const merged = mergeNetwork(view?.mark?.applied ?? {}, wanted, view?.inactive);
  const own = object.spec.network?.metadata;
  const others = own ?? view?.foreignMetadata ?? [];
  const value = { ...merged, metadata: [markXml(mark), ...foreignMetadata(others)] };
  return render('network', value, overlayOf(object, wanted, merged, view), {
    path: 'spec.network',
    overlayPath: 'spec.overlay',
    pretty: false,
  });
}

/** The mark of a network as it is asked for. */
export function markFor(
  object: VirtualNetwork,
  applied: DataObject,
  rest: Pick<NetworkMark, 'given' | 'ignored' | 'restartedAt'>,
): NetworkMark {
  return {
    namespace: object.metadata.namespace ?? 'default',
    name: object.metadata.name ?? '',
    uid: object.metadata.uid ?? '',
    generation: object.metadata.generation ?? 0,
    spec: plain(object.spec),
    applied,
    ...rest,
  };
}

/** What libvirt did not keep of a definition, for the mark. */
export function notKept(wanted: DataObject, inactive: DataObject): KnownDifference[] {
  return differencesOf(wanted, {}, inactive).map(toKnown);
}

/** The overlay of spec, and what libvirt has that the tables do not know, each at its place in the merged network. */
function overlayOf(
  object: VirtualNetwork,
  wanted: DataObject,
  merged: DataObject,
  view: NetworkView | undefined,
): OverlayEntry[] {
  const own = asOverlay(object.spec.overlay).map((entry) => moved(entry, wanted, merged) ?? entry);
  const before = asOverlay(memberAt(view?.mark?.spec, 'overlay')).map(nameOf);
  const taken = new Set([...own.map(nameOf), ...before]);
  const theirs = (view?.overlay ?? []).flatMap((entry) => {
    const here = moved(entry, view?.inactive ?? {}, merged);
    return here === undefined || taken.has(nameOf(here)) ? [] : [here];
  });
  return [...theirs, ...own];
}

function moved(entry: OverlayEntry, from: DataObject, to: DataObject): OverlayEntry | undefined {
  const at = entry.at === '' ? 'network' : `network.${entry.at}`;
  const found = movePath(at, { network: from }, { network: to });
  return found === undefined ? undefined : { ...entry, at: found.slice('network.'.length) };
}

function nameOf({ at, xml, attributes }: OverlayEntry): string {
  const element = xml === undefined ? '' : (/<\s*([^\s/>]+)/.exec(xml)?.[1] ?? xml);
  return `${at} ${element} ${Object.keys(attributes ?? {}).join(' ')}`;
}

function asOverlay(value: unknown): OverlayEntry[] {
  return Array.isArray(value) ? (value as OverlayEntry[]) : [];
}

/** The list at a path; empty where there is none. */
export function listAt(value: Data | undefined, ...keys: readonly string[]): readonly Data[] {
  const found = memberAt(value, ...keys);
  return isList(found) ? found : [];
}

/** Values as text, for comparing: the order of keys does not count. */
export function asJson(value: Data): string {
  return JSON.stringify(canonical(value));
}

/** An object of the API as plain data. */
function plain(value: unknown): Data {
  return JSON.parse(JSON.stringify(value ?? {})) as Data;
}

/** The name of a network's bridge or, without one, of nothing. */
export function bridgeOf(network: DataObject | undefined): string {
  return textOf(memberAt(network, 'bridge', 'name'));
}
