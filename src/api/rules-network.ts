/** The rules of VirtualNetworks, and of the addresses that machines ask for in them. */
import type { Problems } from './problem.ts';
import { checkLibvirtName, checkOverlay, type RuleInput } from './rules.ts';
import { checkLabelSelector } from './rules-scheduling.ts';
import type { NetworkInterface, VirtualMachine } from './virtual-machine.ts';
import { claimOfNetwork, networkClashes, subnetsOf } from './network-claims.ts';
import { networkName, type VirtualNetwork } from './virtual-network.ts';
import { canonicalIp, parseIp, prefixOfNetmask, rangeContains, rangesOverlap } from '../base/ip-address.ts';
import type { Network, NetworkIp } from '../model/types.gen.ts';

/** The rules of a VirtualNetwork beyond its schema. */
export function checkNetwork({ object, old, lookup, problems }: RuleInput<VirtualNetwork>): void {
  const { spec } = object;
  const given = spec.network?.name;
  checkLibvirtName(networkName(object), given === undefined ? 'metadata.name' : 'spec.network.name', problems);
  const bridge = spec.network?.bridge?.name;
  if (bridge !== undefined && (bridge.length > 15 || /[/\s]/.test(bridge))) {
    problems.add(
      'spec.network.bridge.name',
      'Invalid',
      'a network device has at most 15 characters, no slash and no space',
    );
  }
  checkLabelSelector(spec.nodeSelector, 'spec.nodeSelector', problems);
  checkOverlay('network', spec.overlay, problems);
  if (old !== undefined && given !== old.spec.network?.name) {
    problems.add('spec.network.name', 'Forbidden', 'cannot be changed');
  }
  checkSubnets(spec.network ?? {}, problems);
  warnOfClashes(object, lookup?.networks?.() ?? [], problems);
}

/** What libvirt refuses in any case (src/conf/network_conf.c): told with its place. */
function checkSubnets(network: Network, problems: Problems): void {
  const subnets = subnetsOf(network);
  for (const [index, ip] of (network.ip ?? []).entries()) {
    const path = `spec.network.ip[${index}]`;
    const address = ip.address === undefined ? undefined : parseIp(ip.address);
    if (ip.netmask !== undefined && ip.prefix !== undefined) {
      problems.add(`${path}.netmask`, 'Invalid', 'expected only one of prefix and netmask');
    } else if (ip.netmask !== undefined && (address?.family === 6 || prefixOfNetmask(ip.netmask) === undefined)) {
      problems.add(`${path}.netmask`, 'Invalid', `${ip.netmask} is not an IPv4 netmask; IPv6 has prefix`);
    } else if (address !== undefined && (ip.prefix ?? 0) > (address.family === 4 ? 32 : 128)) {
      problems.add(`${path}.prefix`, 'Invalid', `${ip.prefix ?? ''} is too long for an IPv${address.family} address`);
    }
    const subnet = subnets.find((one) => one.path === `ip[${index}]`);
    const twin = subnets.find((one) => one.path < `ip[${index}]` && subnet && rangesOverlap(one.range, subnet.range));
    if (subnet !== undefined && twin !== undefined) {
      problems.add(
        `${path}.address`,
        'Invalid',
        `${subnet.text} overlaps with ${twin.text} of spec.network.${twin.path}`,
      );
    }
    checkDhcp(ip, path, subnet, problems);
  }
}

function checkDhcp(
  { dhcp }: NetworkIp,
  path: string,
  subnet: ReturnType<typeof subnetsOf>[number] | undefined,
  problems: Problems,
): void {
  const check = (text: string | undefined, at: string): void => {
    if (text === undefined) return;
    const address = parseIp(text);
    // The schema knows what an address is.
    if (subnet !== undefined && address !== undefined && !rangeContains(subnet.range, address)) {
      problems.add(at, 'Invalid', `${text} is not in ${subnet.text}`);
    }
  };
  for (const [index, { start, end }] of (dhcp?.range ?? []).entries()) {
    const at = `${path}.dhcp.range[${index}]`;
    check(start, `${at}.start`);
    check(end, `${at}.end`);
    const [first, last] = [parseIp(start ?? ''), parseIp(end ?? '')];
    if (first !== undefined && last !== undefined && first.family === last.family && last.value < first.value) {
      problems.add(`${at}.end`, 'Invalid', `${end ?? ''} is before ${start ?? ''}`);
    }
  }
  const seen = new Map<string, number>();
  for (const [index, { ip, mac }] of (dhcp?.host ?? []).entries()) {
    const at = `${path}.dhcp.host[${index}]`;
    check(ip, `${at}.ip`);
    for (const [key, value] of [
      ['ip', ip === undefined ? undefined : canonicalIp(ip)],
      ['mac', mac?.toLowerCase()],
    ] as const) {
      if (value === undefined) continue;
      const before = seen.get(value);
      if (before !== undefined) problems.add(`${at}.${key}`, 'Duplicate', `${value} is in host[${before}] already`);
      else seen.set(value, index);
    }
  }
}

/** Only a warning: which nodes are selected, and what they have beside, is known to their executors. */
function warnOfClashes(object: VirtualNetwork, others: Iterable<VirtualNetwork>, problems: Problems): void {
  const mine = claimOfNetwork(object);
  for (const other of others) {
    const { name, namespace, deletionTimestamp } = other.metadata;
    if (name === object.metadata.name && namespace === object.metadata.namespace) continue;
    if (typeof deletionTimestamp === 'string') continue;
    for (const { path, message } of networkClashes(mine, [claimOfNetwork(other)])) {
      problems.warn(`spec.network.${path}`, 'Duplicate', `${message}: a node can have one of them only`);
    }
  }
}

/** An address in a network belongs to one machine. */
export function checkAddresses({ object, old, lookup, problems }: RuleInput<VirtualMachine>): void {
  const { name, namespace = '' } = object.metadata;
  const before = new Set(addressesOf(old).map(({ key }) => key));
  const mine = new Map<string, number>();
  for (const { key, network, ip, index } of addressesOf(object)) {
    const path = `spec.interfaces[${index}].ip`;
    const first = mine.get(key);
    if (first === undefined) mine.set(key, index);
    else problems.add(path, 'Duplicate', `${ip} is in spec.interfaces[${first}] already`);
    // What was there before is for the executor to sort out.
    if (before.has(key)) continue;
    for (const other of lookup?.usersOfNetwork?.(namespace, network) ?? []) {
      if (other.metadata.name === name || !addressesOf(other).some((one) => one.key === key)) continue;
      const who = `VirtualMachine "${other.metadata.name ?? ''}"`;
      problems.add(path, 'Forbidden', `${ip} of VirtualNetwork "${network}" is that of ${who}`);
      break;
    }
  }
}

/** Guests of one network that have one MAC address disturb each other; who never run at once may. */
export function checkMacs({ object, lookup, problems }: RuleInput<VirtualMachine>): void {
  const { name, namespace = '' } = object.metadata;
  for (const [index, one] of (object.spec.interfaces ?? []).entries()) {
    const mac = givenMac(one);
    if (one.virtualNetwork === undefined || mac === undefined) continue;
    for (const other of lookup?.usersOfNetwork?.(namespace, one.virtualNetwork) ?? []) {
      const has = (other.spec.interfaces ?? []).some(
        (theirs) => theirs.virtualNetwork === one.virtualNetwork && givenMac(theirs) === mac,
      );
      if (other.metadata.name === name || !has) continue;
      const who = `VirtualMachine "${other.metadata.name ?? ''}"`;
      const message = `${mac} is that of ${who} too: only one of them can run in VirtualNetwork "${one.virtualNetwork}"`;
      problems.warn(`spec.interfaces[${index}].mac`, 'Duplicate', message);
      break;
    }
  }
}

function givenMac({ mac, device }: NetworkInterface): string | undefined {
  return (mac ?? device?.mac?.address)?.toLowerCase();
}

function addressesOf(machine: VirtualMachine | undefined) {
  return (machine?.spec.interfaces ?? []).flatMap(({ virtualNetwork, ip }, index) => {
    if (virtualNetwork === undefined || ip === undefined) return [];
    return [{ key: `${virtualNetwork} ${canonicalIp(ip)}`, network: virtualNetwork, ip, index }];
  });
}
