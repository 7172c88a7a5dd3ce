/** What is on the node already, for finding clashes before libvirt does. */
import { markOf } from './network-mark.ts';
import { libvirtOf, type NetworkContext } from './network-context.ts';
import type { LibvirtCallOptions } from '../virtual-machine/domain-view.ts';
import { memberAt, textOf, type DataObject } from '../virtual-machine/same-value.ts';
import { analyse } from '../../analyser/analyse.ts';
import { claimOf, type NetworkClaim } from '../../api/network-claims.ts';
import { isNotFound, isUnsupported } from '../../libvirt/errors.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';
import type { Network } from '../../libvirt/objects/networks.ts';
import { maxReportedBytes } from '../../xml/reader.ts';

/** A network of the node. */
export interface NodeNetworkClaim extends NetworkClaim {
  /** The VirtualNetwork it belongs to, by its mark. */
  readonly uid: string | undefined;
}

/** What the node has. */
export interface NodeClaims {
  readonly networks: readonly NodeNetworkClaim[];
  readonly devices: readonly NetworkClaim[];
}

/**
 * Reads the networks and the network devices of the node.
 *
 * @param name The network that is asked for: it is not in its own way.
 * @param ownDevice Its bridge, when it runs.
 * @param wantedDevice The bridge it wants.
 */
export async function readNodeClaims(
  context: NetworkContext,
  name: string,
  ownDevice: string,
  wantedDevice: string | undefined,
  options: LibvirtCallOptions,
): Promise<NodeClaims> {
  const libvirt = libvirtOf(context);
  const all = await libvirt.networks.list(options);
  const others = all.filter((network) => network.name !== name);
  const networks = (await Promise.all(others.map((network) => readClaim(network, options)))).flat();
  const bridges = new Set([ownDevice, ...networks.map(({ device }) => device)]);
  const host = context.host();
  // libvirtd of another host, or of another network namespace, has other devices than this process sees.
  const isHere = host.devices.length > 0 && (await libvirt.node.hostname(options)) === host.name;
  const seen = isHere ? host.devices : [];
  const devices = seen.filter(({ device }) => !bridges.has(device));
  if (
    wantedDevice !== undefined &&
    !bridges.has(wantedDevice) &&
    !devices.some(({ device }) => device === wantedDevice) &&
    (await hasDevice(libvirt, wantedDevice, options))
  ) {
    devices.push({ owner: `the node's network device "${wantedDevice}"`, device: wantedDevice, subnets: [] });
  }
  return { networks, devices };
}

async function readClaim(network: Network, options: LibvirtCallOptions): Promise<NodeNetworkClaim[]> {
  try {
    const [isActive, isPersistent] = await Promise.all([network.isActive(options), network.isPersistent(options)]);
    const value = await documentOf(network, isPersistent, options);
    const mark = markOf(value['metadata']);
    const owner =
      mark === undefined ? `libvirt's network "${network.name}"` : `VirtualNetwork "${mark.namespace}/${mark.name}"`;
    const claim = claimOf(owner, value);
    // Two that share a subnet disturb each other only while both run.
    const willRun = isActive || (await network.autostart(options));
    return [{ ...claim, subnets: willRun ? claim.subnets : [], uid: mark?.uid }];
  } catch (error) {
    if (isNotFound(error)) return [];
    throw error;
  }
}

async function documentOf(network: Network, inactive: boolean, options: LibvirtCallOptions): Promise<DataObject> {
  return analyse(await network.xml({ inactive, ...options }), { maxBytes: maxReportedBytes }).value as DataObject;
}

/** Whether the node has a network device of this name. */
async function hasDevice(libvirt: Libvirt, name: string, options: LibvirtCallOptions): Promise<boolean> {
  try {
    const { ifaces } = await libvirt.rpc.call('connectListAllInterfaces', { needResults: 1, flags: 0 }, options);
    return ifaces.some((device) => device.name === name);
  } catch (error) {
    // A daemon without libvirt's interface driver: libvirt itself says so at the start of the network.
    if (isUnsupported(error)) return false;
    throw error;
  }
}

/** The bridge of a network that runs. */
export function deviceOf(live: DataObject | undefined): string {
  return textOf(memberAt(live, 'bridge', 'name'));
}
