/** `spec.interfaces` as libvirt's `<interface>` elements. */
import { createHash } from 'node:crypto';
import { NotReadyError } from './not-ready-error.ts';
import type { Data, DataObject } from './same-value.ts';
import type { NetworkInterface, VirtualMachine } from '../../api/virtual-machine.ts';
import { networkName, type VirtualNetwork } from '../../api/virtual-network.ts';
import type { ResourceClient } from '../../kube/resource-client.ts';

/**
 * Resolves all interfaces of a machine.
 *
 * @throws NotReadyError when a VirtualNetwork is not there yet.
 */
export async function resolveInterfaces(
  machine: VirtualMachine,
  networks: ResourceClient<VirtualNetwork>,
  signal: AbortSignal,
): Promise<DataObject[]> {
  const { namespace, uid = '' } = machine.metadata;
  const found: DataObject[] = [];
  for (const entry of machine.spec.interfaces ?? []) {
    const name = entry.virtualNetwork;
    let network: string | undefined;
    if (name !== undefined) {
      const object = await networks.find({ namespace, name }, { signal });
      if (object === undefined) {
        const message = `interface ${entry.name}: there is no VirtualNetwork "${name}"`;
        throw new NotReadyError('NetworkNotReady', 'ErrorNetwork', message);
      }
      network = networkName(object);
    }
    found.push(interfaceDevice(entry, uid, network));
  }
  return found;
}

/**
 * A MAC address that an interface keeps for its life: from the machine's UID and the interface's name, in QEMU's range.
 */
export function stableMac(uid: string, name: string): string {
  const digest = createHash('sha256').update(`${uid}/${name}`).digest();
  return ['52', '54', '00', ...[0, 1, 2].map((index) => (digest[index] ?? 0).toString(16).padStart(2, '0'))].join(':');
}

/**
 * The element of an interface.
 *
 * @param uid The machine's UID.
 * @param network The name of the libvirt network behind `virtualNetwork`.
 */
export function interfaceDevice(entry: NetworkInterface, uid: string, network: string | undefined): DataObject {
  const { mtu, linkState, bandwidth, vlan, nwfilter, bootOrder, device } = entry;
  const own: Record<string, Data | undefined> = {
    ...sourceOf(entry, network),
    mac: { address: (entry.mac ?? stableMac(uid, entry.name)).toLowerCase() },
    model: { type: entry.model ?? 'virtio' },
    mtu: mtu === undefined ? undefined : { size: mtu },
    link: linkState === undefined ? undefined : { state: linkState },
    bandwidth: bandwidth,
    vlan:
      vlan === undefined
        ? undefined
        : {
            ...(vlan.trunk === undefined ? {} : { trunk: vlan.trunk }),
            tag: vlan.tags.map((id, index) => ({
              id,
              ...(index === 0 && vlan.nativeMode !== undefined ? { nativeMode: vlan.nativeMode } : {}),
            })),
          },
    filterref:
      nwfilter === undefined
        ? undefined
        : {
            filter: nwfilter.name,
            parameter: Object.entries(nwfilter.parameters ?? {}).map(([name, value]) => ({ name, value })),
          },
    boot: bootOrder === undefined ? undefined : { order: bootOrder },
  };
  return { ...dropUndefined(own), ...(device as DataObject | undefined) };
}

function sourceOf(entry: NetworkInterface, network: string | undefined): DataObject {
  if (entry.virtualNetwork !== undefined) {
    const portgroup = entry.portgroup === undefined ? {} : { portgroup: entry.portgroup };
    return { type: 'network', source: { network: network ?? entry.virtualNetwork, ...portgroup } };
  }
  if (entry.bridge !== undefined) return { type: 'bridge', source: { bridge: entry.bridge } };
  if (entry.direct !== undefined) {
    return { type: 'direct', source: { dev: entry.direct.dev, mode: entry.direct.mode ?? 'bridge' } };
  }
  const user = entry.user ?? {};
  if (user.backend !== 'passt') return { type: 'user' };
  const forwards = user.portForwards ?? [];
  const byProtocol = new Map<string, typeof forwards>();
  for (const forward of forwards) {
    const key = `${forward.protocol ?? 'tcp'} ${forward.hostAddress ?? '127.0.0.1'}`;
    byProtocol.set(key, [...(byProtocol.get(key) ?? []), forward]);
  }
  return {
    type: 'user',
    backend: { type: 'passt' },
    portForward: [...byProtocol].map(([key, ports]) => {
      const [proto = 'tcp', address = '127.0.0.1'] = key.split(' ');
      return { proto, address, range: ports.map(({ hostPort, guestPort }) => ({ start: hostPort, to: guestPort })) };
    }),
  };
}

function dropUndefined(object: Readonly<Record<string, Data | undefined>>): DataObject {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));
}
