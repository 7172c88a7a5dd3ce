/**
 * Which of the addresses that machines ask for (`spec.interfaces[].ip`) the DHCP server of a network gives them, and why
 * others are refused. An address belongs to one machine of the network, on whatever node: the older one has it. Pure.
 */
import { listAt, type HostEntry } from './network-definition.ts';
import { memberAt, textOf, type DataObject } from '../virtual-machine/same-value.ts';
import { subnetsOf } from '../../api/network-claims.ts';
import { canonicalIp, parseIp, rangeContains } from '../../base/ip-address.ts';

/** An interface of a machine that is plugged into a network. */
export interface Plug {
  /** Its name in spec.interfaces. */
  readonly interface: string;
  readonly mac: string;
  readonly ip?: string | undefined;
}

/** A machine that names a network. */
export interface NetworkUser {
  readonly namespace: string;
  readonly name: string;
  /** Where it is; empty when it is not placed yet. */
  readonly nodeName: string;
  /** The name of its domain. */
  readonly domain: string;
  /** As metadata has it. */
  readonly createdAt: string;
  readonly plugs: readonly Plug[];
}

/** What came of the addresses that machines ask for. */
export interface Reservations {
  /** For the DHCP server of this node. */
  readonly hosts: readonly HostEntry[];
  /** Why not, by {@link plugKey}. */
  readonly refused: ReadonlyMap<string, string>;
}

/**
 * Names an interface of a machine: two machines may, by mistake, have one MAC address.
 *
 * @param machine As namespace/name.
 */
export function plugKey(machine: string, mac: string): string {
  return `${machine} ${mac.toLowerCase()}`;
}

/**
 * Decides over the addresses.
 *
 * @param network As spec and libvirt have it, without any reservation.
 * @param nodeName The node whose DHCP server is asked.
 */
export function reserveAddresses(network: DataObject, users: readonly NetworkUser[], nodeName: string): Reservations {
  const subnets = subnetsOf(network);
  const ips = listAt(network, 'ip');
  const owners = new Map<string, { readonly owner: string; readonly mac: string }>();
  for (const ip of ips) {
    owners.set(textOf(memberAt(ip, 'address')), { owner: 'the network itself', mac: '' });
    for (const host of listAt(ip, 'dhcp', 'host')) {
      const mac = textOf(memberAt(host, 'mac'));
      owners.set(textOf(memberAt(host, 'ip')), { owner: `the DHCP host entry of ${mac || 'the network'}`, mac });
    }
  }
  const hosts: HostEntry[] = [];
  const refused = new Map<string, string>();
  const holders = new Map<string, string>();
  for (const user of [...users].sort(byAge)) {
    for (const plug of user.plugs) {
      const machine = `${user.namespace}/${user.name}`;
      const mac = plug.mac.toLowerCase();
      const holder = holders.get(mac) ?? machine;
      holders.set(mac, holder);
      if (plug.ip === undefined) continue;
      const ip = canonicalIp(plug.ip);
      const refuse = (why: string): unknown => refused.set(plugKey(machine, mac), why);
      const address = parseIp(ip);
      const there = owners.get(ip);
      const subnet = address === undefined ? undefined : subnets.find(({ range }) => rangeContains(range, address));
      // A DHCP server tells guests apart by their MAC addresses: the second would take the first one's away.
      if (holder !== machine) refuse(`its MAC address ${mac} is that of virtual machine "${holder}"`);
      else if (there !== undefined && there.mac !== mac) refuse(`${ip} is that of ${there.owner}`);
      else if (subnet === undefined) {
        const known = subnets.map(({ text }) => text).join(', ');
        refuse(`${ip} is in no subnet of the network${known === '' ? ', which has none' : ` (${known})`}`);
      } else {
        owners.set(ip, { owner: `virtual machine "${machine}"`, mac });
        if (user.nodeName !== nodeName) continue;
        const of = textOf(memberAt(ips[Number(/\d+/.exec(subnet.path)?.[0])], 'address'));
        hosts.push({ subnet: of, ...(address?.family === 6 ? { name: user.name } : { mac }), ip });
      }
    }
  }
  return { hosts, refused };
}

function byAge(a: NetworkUser, b: NetworkUser): number {
  const [left, right] = [a, b].map(({ createdAt, namespace, name }) => `${createdAt} ${namespace} ${name}`);
  return (left ?? '') < (right ?? '') ? -1 : 1;
}
