/**
 * What a network takes for itself on a node: the name of its bridge and its subnets; and who is in the way. Pure: the
 * executor asks with what is on its node, admission with the other VirtualNetworks (rules-others.ts).
 */
import type { VirtualNetwork } from './virtual-network.ts';
import { formatIp, parseIp, prefixOfNetmask, rangesOverlap, subnetOf, type IpRange } from '../base/ip-address.ts';

/** A subnet of a network. */
export interface SubnetClaim {
  /** Where it was said, as `ip[0]`. */
  readonly path: string;
  readonly range: IpRange;
  /** As `192.168.5.0/24`. */
  readonly text: string;
}

/** What somebody has on a node. */
export interface NetworkClaim {
  /** Who, in words: `VirtualNetwork "shop/front"`, `the network device "eth0"`. */
  readonly owner: string;
  /** The name of the network device that it makes, or is. */
  readonly device?: string | undefined;
  readonly subnets: readonly SubnetClaim[];
}

/** Two that want the same. */
export interface NetworkClash {
  readonly reason: 'BridgeInUse' | 'SubnetOverlaps';
  /** Below spec.network, as `bridge.name`. */
  readonly path: string;
  readonly message: string;
}

/** The parts of libvirt's network that are looked at. */
export interface NetworkDocument {
  readonly bridge?: { readonly name?: unknown } | undefined;
  readonly forward?: { readonly mode?: unknown } | undefined;
  readonly ip?: readonly {
    readonly address?: unknown;
    readonly prefix?: unknown;
    readonly netmask?: unknown;
  }[];
}

/** The modes in which libvirt makes a bridge of its own (https://libvirt.org/formatnetwork.html#connectivity). */
const bridgedModes: readonly unknown[] = ['nat', 'route', 'open'];

/** Whether libvirt makes a bridge for a network: it does not for those that use what the node has. */
export function makesBridge(network: NetworkDocument): boolean {
  return network.forward === undefined || bridgedModes.includes(network.forward.mode ?? 'nat');
}

/** What a network document takes. */
export function claimOf(owner: string, network: NetworkDocument): NetworkClaim {
  const name = network.bridge?.name;
  const device = makesBridge(network) && typeof name === 'string' && !name.includes('%') ? name : undefined;
  return { owner, device, subnets: subnetsOf(network) };
}

/** The subnets of a network's `<ip>` elements; those that cannot be read are left out. */
export function subnetsOf(network: NetworkDocument): SubnetClaim[] {
  return (network.ip ?? []).flatMap((ip, index): SubnetClaim[] => {
    const address = typeof ip.address === 'string' ? parseIp(ip.address) : undefined;
    if (address === undefined) return [];
    const prefix = prefixOf(ip, address.family, address.value);
    if (prefix === undefined) return [];
    const range = subnetOf(address, prefix);
    const text = `${formatIp({ family: range.family, value: range.first })}/${prefix}`;
    return [{ path: `ip[${index}]`, range, text }];
  });
}

/** As libvirt: prefix, else netmask, else the address' class (virNetworkIPDefPrefix); 64 for IPv6. */
function prefixOf(
  ip: { readonly prefix?: unknown; readonly netmask?: unknown },
  family: 4 | 6,
  value: bigint,
): number | undefined {
  if (ip.prefix !== undefined) return Number(ip.prefix);
  if (typeof ip.netmask === 'string') return prefixOfNetmask(ip.netmask);
  if (family === 6) return 64;
  const first = value >> 24n;
  return first < 128n ? 8 : first < 192n ? 16 : 24;
}

/** What a VirtualNetwork takes. */
export function claimOfNetwork({ metadata, spec }: VirtualNetwork): NetworkClaim {
  const key = [metadata.namespace ?? '', metadata.name ?? ''].filter((part) => part !== '').join('/');
  return claimOf(`VirtualNetwork "${key}"`, spec.network ?? {});
}

/** Whom a network would clash with. */
export function networkClashes(mine: NetworkClaim, others: readonly NetworkClaim[]): NetworkClash[] {
  const found: NetworkClash[] = [];
  for (const other of others) {
    if (mine.device !== undefined && mine.device === other.device) {
      const message = `the bridge "${mine.device}" is that of ${other.owner}`;
      found.push({ reason: 'BridgeInUse', path: 'bridge.name', message });
    }
    for (const subnet of mine.subnets) {
      const there = other.subnets.find(({ range }) => rangesOverlap(range, subnet.range));
      if (there === undefined) continue;
      const message = `${subnet.text} overlaps with ${there.text} of ${other.owner}`;
      found.push({ reason: 'SubnetOverlaps', path: subnet.path, message });
    }
  }
  return found;
}

/** Who of two comes first where both want the same: the older; of the same second by name. */
export function comesFirst(a: VirtualNetwork, b: VirtualNetwork): boolean {
  const [left, right] = [a, b].map(({ metadata }) =>
    [metadata.creationTimestamp ?? '9', metadata.namespace ?? '', metadata.name ?? ''].join(' '),
  );
  return (left ?? '') < (right ?? '');
}
