/** What status tells of a running domain: addresses, consoles, the guest. Each question that fails is left out. */
import { devicesOf, type DomainView, type LibvirtCallOptions } from './domain-view.ts';
import { isAgentConnected } from './power.ts';
import { memberAt, textOf, type DataObject } from './same-value.ts';
import { macOf } from './interfaces.ts';
import { machineUuid } from '../../api/machine-uuid.ts';
import type { VirtualMachine, VirtualMachineStatus } from '../../api/virtual-machine.ts';
import { LibvirtError } from '../../libvirt/errors.ts';
import type { AddressSource } from '../../libvirt/objects/domain-guest.ts';

type Interfaces = NonNullable<VirtualMachineStatus['interfaces']>;
type Graphics = NonNullable<VirtualMachineStatus['graphics']>;

/** How long the agent may take for an answer; it is a guest's program. */
const agentTimeoutMs = 5_000;

/** The network interfaces of a running domain, with the addresses that agent, leases or ARP know. */
export async function observeInterfaces(
  machine: VirtualMachine,
  view: DomainView,
  options: LibvirtCallOptions,
): Promise<Interfaces> {
  const devices = devicesOf(view.live ?? view.inactive, 'interface');
  if (devices.length === 0) return [];
  const uid = machineUuid(machine);
  const names = new Map((machine.spec.interfaces ?? []).map((entry) => [macOf(entry, uid), entry.name]));
  const found = new Map<string, { ips: Set<string>; source: AddressSource; guestDevice?: string }>();
  if (view.live !== undefined) {
    const hasNetwork = devices.some(({ type }) => type === 'network');
    const sources: AddressSource[] = [
      ...(isAgentConnected(view.live) ? (['agent'] as const) : []),
      ...(hasNetwork ? (['lease'] as const) : []),
      'arp',
    ];
    for (const source of sources) {
      // Each interface for itself: that one has a lease says nothing of another on a bridge of the host.
      if (devices.every((device) => found.has(addressOf(device)))) break;
      for (const entry of await addresses(view, source, options)) {
        const mac = entry.mac?.toLowerCase();
        const ips = entry.addresses.map(({ address }) => address).filter(isUseful);
        if (mac === undefined || ips.length === 0) continue;
        const known = found.get(mac);
        // The agent knows best; what leases and ARP add is only what it does not tell.
        if (known !== undefined && known.source !== source) continue;
        const here = known ?? { ips: new Set<string>(), source };
        for (const ip of ips) here.ips.add(ip);
        if (source === 'agent') here.guestDevice = entry.name;
        found.set(mac, here);
      }
    }
  }
  return devices.flatMap((device): Interfaces[number][] => {
    const mac = addressOf(device);
    if (mac === '') return [];
    const [name, known] = [names.get(mac), found.get(mac)];
    const target = textOf(memberAt(device, 'target', 'dev'));
    const model = textOf(memberAt(device, 'model', 'type'));
    return [
      {
        mac,
        ...(name === undefined ? {} : { name }),
        ...(known === undefined ? {} : { ips: [...known.ips], source: known.source }),
        ...(known?.guestDevice === undefined ? {} : { guestDevice: known.guestDevice }),
        ...(target === '' || view.live === undefined ? {} : { device: target }),
        ...(model === '' ? {} : { model }),
        linkState: memberAt(device, 'link', 'state') === 'down' ? 'down' : 'up',
      },
    ];
  });
}

function addressOf(device: DataObject): string {
  return textOf(memberAt(device, 'mac', 'address')).toLowerCase();
}

async function addresses(
  { domain }: DomainView,
  source: AddressSource,
  options: LibvirtCallOptions,
): Promise<Awaited<ReturnType<typeof domain.guest.interfaceAddresses>>> {
  try {
    return await domain.guest.interfaceAddresses(source, { ...options, timeoutMs: agentTimeoutMs });
  } catch (error) {
    // A source that does not know, or a guest that just ended: another source, or another time.
    if (error instanceof LibvirtError) return [];
    throw error;
  }
}

/** Loopback and link-local addresses lead nowhere. */
function isUseful(ip: string): boolean {
  return !/^(127\.|::1$|fe80:|169\.254\.)/i.test(ip);
}

/** The graphical consoles of a running domain. */
export function observeGraphics(live: DataObject | undefined): Graphics {
  return devicesOf(live, 'graphics').map((device) => {
    const port = (key: string): number | undefined => {
      const number = Number(textOf(device[key]));
      return Number.isInteger(number) && number > 0 ? number : undefined;
    };
    const [main, tls, websocket] = [port('port'), port('tlsPort'), port('websocket')];
    const [listen, socket] = [textOf(device['listen']), textOf(device['socket'])];
    return {
      type: textOf(device['type']),
      ...(listen === '' ? {} : { listen }),
      ...(main === undefined ? {} : { port: main }),
      ...(tls === undefined ? {} : { tlsPort: tls }),
      ...(websocket === undefined ? {} : { websocket }),
      ...(socket === '' ? {} : { socket }),
    };
  });
}

/** What the guest agent tells of the guest; undefined while it does not answer. */
export async function observeGuest(
  { domain }: DomainView,
  options: LibvirtCallOptions,
): Promise<VirtualMachineStatus['guest'] | undefined> {
  try {
    const info = await domain.guest.info({
      os: true,
      hostname: true,
      timezone: true,
      ...options,
      timeoutMs: agentTimeoutMs,
    });
    const text = (name: string): string | undefined => {
      const value = info[name];
      return typeof value === 'string' && value !== '' ? value.slice(0, 256) : undefined;
    };
    const guest = {
      hostname: text('hostname'),
      osId: text('os.id'),
      osName: text('os.pretty-name') ?? text('os.name'),
      osVersion: text('os.version-id') ?? text('os.version'),
      kernelRelease: text('os.kernel-release'),
      timezone: text('timezone.name'),
    };
    const known = Object.entries(guest).filter(([, value]) => value !== undefined);
    return known.length === 0 ? undefined : Object.fromEntries(known);
  } catch (error) {
    if (error instanceof LibvirtError) return undefined;
    throw error;
  }
}
