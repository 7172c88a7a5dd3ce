/**
 * Guests whose network was stopped and started again: libvirt takes the bridge away with the network, and leaves the tap
 * devices of running guests without one when it makes the next (https://libvirt.org/formatnetwork.html knows no way back;
 * `qemuDomainChangeNet` moves a tap device only when the bridge is another). So they are moved by virDomainUpdateDevice into
 * a network of the moment, and from there into theirs: the guest keeps its card, its addresses and its connections.
 */
import { deviceXml } from './apply-live.ts';
import { devicesOf, type LibvirtCallOptions } from './domain-view.ts';
import { readAgain, tellEvent, type Round } from './round.ts';
import { memberAt, textOf, type DataObject } from './same-value.ts';
import { analyse } from '../../analyser/analyse.ts';
import { makesBridge } from '../../api/network-claims.ts';
import type { FieldChange } from '../../api/virtual-machine.ts';
import { render } from '../../convertor/render.ts';
import { isNotFound, isNotRunning, isUnsupported, LibvirtError } from '../../libvirt/errors.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';
import type { Network } from '../../libvirt/objects/networks.ts';
import { maxReportedBytes } from '../../xml/reader.ts';

/** Networks of the moment have this before the UUID of their guest. */
const detourPrefix = 'virtctl-replug-';

/** What came of looking after a machine's interfaces. */
export interface PlugReport {
  /** What libvirt refused: another start of the machine plugs it in. */
  readonly refused: readonly FieldChange[];
  /** Interfaces whose network does not run, in words. */
  readonly cutOff: readonly string[];
}

/** What libvirt has of a network that guests are in. */
interface Ground {
  readonly network: Network;
  /** The UUIDs of what is plugged in; undefined where libvirt does not tell. */
  readonly ports: ReadonlySet<string> | undefined;
}

/**
 * Plugs the interfaces of a running domain back into networks that were restarted beneath them, and says which have no
 * network at all. Each is looked for by its port: libvirt forgets the ports of a network that stops.
 */
export async function replugInterfaces(round: Round): Promise<PlugReport> {
  const { view, libvirt, options } = round;
  if (view?.live === undefined) return { refused: [], cutOff: [] };
  const detour = `${detourPrefix}${view.domain.uuid}`;
  const refused: FieldChange[] = [];
  const cutOff: string[] = [];
  const done: string[] = [];
  const grounds = new Map<string, Promise<Ground | undefined>>();
  for (const [index, device] of devicesOf(view.live, 'interface').entries()) {
    const port = textOf(memberAt(device, 'source', 'portid'));
    if (device['type'] !== 'network' || port === '') continue;
    const there = textOf(memberAt(device, 'source', 'network'));
    // We were killed on the way: the definition says where it belongs.
    const home = there === detour ? homeOf(device, view.inactive) : there;
    const what = `interface ${nameOf(round, device)}`;
    const ground = await once(grounds, home, () => readGround(libvirt, home, options));
    if (ground === undefined) {
      cutOff.push(`${what}: the network "${home}" does not run`);
      continue;
    }
    const path = `devices.interface[${indexIn(round.wanted, device) ?? index}].source.network`;
    const refuse = (why: string): unknown =>
      refused.push({
        path,
        to: JSON.stringify(home),
        message: `${what} lost the bridge of the network "${home}": ${why}`,
      });
    if (there === home) {
      if (ground.ports === undefined || ground.ports.has(port)) continue;
      const bridge = await bridgeNow(ground.network, options);
      const before = textOf(memberAt(device, 'source', 'bridge'));
      // A bridge of the host keeps its tap devices, and a macvtap its device, whatever becomes of the network.
      if (bridge.name === before && !bridge.isOwn) continue;
      if (bridge.name === '' || before === '') {
        // On the way there libvirt would refuse the second step, and the guest lose what it still has.
        refuse('it is of another kind now, and a running guest cannot follow');
        continue;
      }
    }
    try {
      await replug(round, device, home, detour);
      done.push(`${what} into the network "${home}"`);
    } catch (error) {
      if (!(error instanceof LibvirtError)) throw error;
      refuse(error.message);
    }
  }
  if (done.length > 0) {
    tellEvent(round, 'Normal', 'Replugged', 'Change', `plugged in again after a restart: ${done.join(', ')}`);
    await readAgain(round);
  }
  return { refused, cutOff };
}

/**
 * Takes networks of the moment away that an executor which was killed left behind. One that a guest is still in stays: its
 * machine's next look moves the guest, and takes it away.
 */
export async function sweepDetours(libvirt: Libvirt, options: LibvirtCallOptions): Promise<void> {
  for (const network of await libvirt.networks.list({ transient: true, ...options })) {
    if (!network.name.startsWith(detourPrefix)) continue;
    const ports = await network.ports(options);
    if (ports.length === 0) await endDetour(network, options);
  }
}

/** Moves a tap device into a network of its own, and from there into the one where it belongs. */
async function replug(round: Round, device: DataObject, home: string, detour: string): Promise<void> {
  const { libvirt, options } = round;
  const domain = round.view?.domain;
  if (domain === undefined) return;
  const update = (network: DataObject, changes: DataObject = {}): Promise<void> =>
    domain.updateDevice(deviceXml('interface', { ...device, source: network, ...changes }), { live: true, ...options });
  const portgroup = textOf(memberAt(device, 'source', 'portgroup'));
  const source = { network: home, ...(portgroup === '' ? {} : { portgroup }) };
  const between = await startDetour(libvirt, detour, options);
  try {
    if (memberAt(device, 'source', 'network') !== detour) {
      // It has no port groups, and no bandwidth to share out.
      const plain: DataObject = memberAt(device, 'bandwidth', 'inbound', 'floor') === undefined ? {} : noBandwidth;
      await update({ network: detour }, plain);
    }
    await update(source);
  } finally {
    // A guest that could not be moved on stays where it is until the next look.
    const ports = await between.ports(options);
    if (ports.length === 0) await endDetour(between, options);
  }
}

const noBandwidth = { bandwidth: undefined } as unknown as DataObject;

async function startDetour(libvirt: Libvirt, name: string, options: LibvirtCallOptions): Promise<Network> {
  try {
    return await libvirt.networks.byName(name, options);
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
  // Without an address, so that nothing serves in it; libvirt finds the bridge a free name.
  const network: DataObject = { name, bridge: { stp: false } };
  return libvirt.networks.createXml(render('network', network, [], { pretty: false }), options);
}

async function endDetour(network: Network, options: LibvirtCallOptions): Promise<void> {
  try {
    await network.destroy(options);
  } catch (error) {
    if (!isNotFound(error) && !isNotRunning(error)) throw error;
  }
}

/** A running network and what is plugged into it; undefined when it is off, or not there. */
async function readGround(libvirt: Libvirt, name: string, options: LibvirtCallOptions): Promise<Ground | undefined> {
  try {
    const network = await libvirt.networks.byName(name, options);
    if (!(await network.isActive(options))) return undefined;
    return { network, ports: await portsOf(network, options) };
  } catch (error) {
    if (isNotFound(error) || isNotRunning(error)) return undefined;
    throw error;
  }
}

async function portsOf(network: Network, options: LibvirtCallOptions): Promise<ReadonlySet<string> | undefined> {
  try {
    return new Set((await network.ports(options)).map(({ uuid }) => uuid));
  } catch (error) {
    if (isUnsupported(error)) return undefined;
    throw error;
  }
}

/** The bridge that a running network has, empty when it has none, and whether libvirt makes it. */
async function bridgeNow(
  network: Network,
  options: LibvirtCallOptions,
): Promise<{ readonly name: string; readonly isOwn: boolean }> {
  const { value } = analyse(await network.xml(options), { maxBytes: maxReportedBytes });
  return { name: textOf(memberAt(value as DataObject, 'bridge', 'name')), isOwn: makesBridge(value) };
}

function homeOf(device: DataObject, inactive: DataObject): string {
  const mac = macOf(device);
  const defined = devicesOf(inactive, 'interface').find((one) => macOf(one) === mac);
  return textOf(memberAt(defined, 'source', 'network'));
}

/** Where spec has the interface, its own and those of spec.interfaces in one list. */
function indexIn(wanted: DataObject | undefined, device: DataObject): number | undefined {
  const index = devicesOf(wanted, 'interface').findIndex((one) => macOf(one) === macOf(device));
  return index < 0 ? undefined : index;
}

function macOf(device: DataObject): string {
  return textOf(memberAt(device, 'mac', 'address')).toLowerCase();
}

/** Its name in spec.interfaces, else its MAC address, and the node's end. */
function nameOf(round: Round, device: DataObject): string {
  const mac = macOf(device);
  const known = round.status.next.interfaces?.find((one) => one.mac === mac)?.name ?? mac;
  const target = textOf(memberAt(device, 'target', 'dev'));
  return target === '' ? known : `${known} (${target})`;
}

function once<T>(map: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
  const found = map.get(key) ?? make();
  map.set(key, found);
  return found;
}
