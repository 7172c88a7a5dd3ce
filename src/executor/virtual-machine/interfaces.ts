/** `spec.interfaces` as libvirt's `<interface>` elements. */
import { createHash } from 'node:crypto';
import { NotReadyError } from './not-ready-error.ts';
import { isList, memberAt, textOf, type Data, type DataObject } from './same-value.ts';
import { machineUuid } from '../../api/machine-uuid.ts';
import type { NetworkInterface, VirtualMachine } from '../../api/virtual-machine.ts';
import { networkName, type VirtualNetwork } from '../../api/virtual-network.ts';
import type { ResourceClient } from '../../kube/resource-client.ts';

/** An interface that is to be plugged into a network. */
export interface PlugQuestion {
  /** As namespace/name. */
  readonly machine: string;
  readonly mac: string;
  /** The address that it asks for. */
  readonly ip: string | undefined;
  /** Whether it is plugged in already. */
  readonly isPlugged: boolean;
}

/** What the networks of this node say (../virtual-network/plug-board.ts): why an interface cannot be plugged in. */
export interface Plugs {
  readonly obstacle: (key: string, plug: PlugQuestion) => string | undefined;
}

/** Where the machine runs; left out where its domain is only thought of. */
export interface InterfacePlace {
  readonly plugs: Plugs;
  /** The running domain: what it is plugged into it stays plugged into. */
  readonly live: DataObject | undefined;
}

/**
 * Resolves all interfaces of a machine.
 *
 * @throws NotReadyError when a VirtualNetwork is not there yet, or does not take the interface.
 */
export async function resolveInterfaces(
  machine: VirtualMachine,
  networks: ResourceClient<VirtualNetwork>,
  signal: AbortSignal,
  place?: InterfacePlace,
): Promise<DataObject[]> {
  const { namespace = '' } = machine.metadata;
  const uid = machineUuid(machine);
  const plugged = new Set(
    listOf(memberAt(place?.live, 'devices', 'interface')).map((one) =>
      plugName(textOf(memberAt(one, 'source', 'network')), textOf(memberAt(one, 'mac', 'address'))),
    ),
  );
  const found: DataObject[] = [];
  for (const entry of machine.spec.interfaces ?? []) {
    const name = entry.virtualNetwork;
    let network: string | undefined;
    if (name !== undefined) {
      const object = await networks.find({ namespace, name }, { signal });
      if (object === undefined) {
        throw notReady(`interface ${entry.name}: there is no VirtualNetwork "${name}"`);
      }
      network = networkName(object);
      const mac = macOf(entry, uid);
      const isPlugged = plugged.has(plugName(network, mac));
      const isGoing = typeof object.metadata.deletionTimestamp === 'string';
      if (isGoing && !isPlugged && place !== undefined) {
        throw notReady(`interface ${entry.name}: VirtualNetwork "${name}" is being deleted`);
      }
      const obstacle = place?.plugs.obstacle(`${namespace}/${name}`, {
        ...{ machine: `${namespace}/${machine.metadata.name ?? ''}`, mac, ip: entry.ip, isPlugged },
      });
      if (obstacle !== undefined) throw notReady(`interface ${entry.name}: VirtualNetwork "${name}": ${obstacle}`);
    }
    found.push(interfaceDevice(entry, uid, network));
  }
  return found;
}

function notReady(message: string): NotReadyError {
  return new NotReadyError('NetworkNotReady', 'ErrorNetwork', message);
}

function plugName(network: string, mac: string): string {
  return `${mac.toLowerCase()} ${network}`;
}

function listOf(value: Data | undefined): readonly Data[] {
  return isList(value) ? value : [];
}

/** The MAC address of an interface: its own, or the generated one. */
export function macOf(entry: NetworkInterface, uid: string): string {
  const given = entry.mac ?? textOf(memberAt(entry.device as DataObject | undefined, 'mac', 'address'));
  return (given === '' ? stableMac(uid, entry.name) : given).toLowerCase();
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
    mac: { address: macOf(entry, uid) },
    model: { type: entry.model ?? 'virtio' },
    mtu: mtu === undefined ? undefined : { size: mtu },
    link: linkState === undefined ? undefined : { state: linkState },
    bandwidth: bandwidth,
    vlan:
      vlan === undefined
        ? undefined
        : {
            // libvirt's schema has the word `yes` only.
            ...(vlan.trunk === true ? { trunk: 'yes' } : {}),
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
