/** What else of a host machines can be given: bridges to be plugged into, devices to have. */
import { readdir, readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import type { HypervisorStatus } from '../../api/hypervisor.ts';
import { toError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import { LibvirtError } from '../../libvirt/errors.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';
import { parseElement, type XmlElement } from '../../xml/element.ts';
import { maxReportedBytes } from '../../xml/reader.ts';

type HostDevice = NonNullable<HypervisorStatus['hostDevices']>[number];

interface Options {
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
}

/** What of a Hypervisor's status {@link readInventory} knows; what cannot be asked for is left out. */
export type HostInventory = Pick<HypervisorStatus, 'networks' | 'pools' | 'bridges' | 'hostDevices'>;

/** What a Hypervisor's status lists at most. */
const maxNetworks = 512;
const maxPools = 512;
const maxDevices = 512;
const maxBridges = 256;
/** Descriptions are asked for so many at a time. */
const batch = 16;
/** The Linux Foundation's own USB devices are the root hubs. */
const rootHubVendor = '0x1d6b';
const networkFolder = '/sys/class/net';

/**
 * Asks for all of it. A driver that is away (a split daemon of networks, storage or node devices) is no error: the
 * machines are not.
 */
export async function readInventory(libvirt: Libvirt, logger: Logger, options: Options): Promise<HostInventory> {
  const ask = async <T extends HostInventory>(what: string, read: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await read();
    } catch (error) {
      options.signal?.throwIfAborted();
      logger.debug(`cannot list ${what}`, { error: toError(error) });
      return undefined;
    }
  };
  const [networks, pools, hostDevices] = await Promise.all([
    ask('networks', () => readNetworks(libvirt, options)),
    ask('pools', () => readPools(libvirt, options)),
    ask('devices', async () => ({ hostDevices: await readHostDevices(libvirt, options) })),
  ]);
  const bridges = await ask('bridges', async () => {
    const ofNetworks = new Set((networks?.networks ?? []).map(({ bridge }) => bridge));
    const all = await readBridges(libvirt, options);
    return all === undefined ? {} : { bridges: all.filter((name) => !ofNetworks.has(name)) };
  });
  return { ...networks, ...pools, ...hostDevices, ...bridges };
}

async function readNetworks(libvirt: Libvirt, options: Options): Promise<HostInventory> {
  const active = new Set((await libvirt.networks.list({ active: true, ...options })).map(({ name }) => name));
  const all = (await libvirt.networks.list(options)).slice(0, maxNetworks);
  const networks = await Promise.all(
    all.map(async (network) => {
      const bridge = await network.bridgeName(options).catch((error: unknown) => {
        // One that hands out the host's devices has none.
        if (error instanceof LibvirtError) return undefined;
        throw error;
      });
      const { name } = network;
      return { name, active: active.has(name), ...(bridge === undefined ? {} : { bridge }) };
    }),
  );
  return { networks };
}

async function readPools(libvirt: Libvirt, options: Options): Promise<HostInventory> {
  const all = (await libvirt.pools.list(options)).slice(0, maxPools);
  const pools = await Promise.all(all.map(async (pool) => ({ name: pool.name, active: await pool.isActive(options) })));
  return { pools };
}

/**
 * The devices that can be given to a machine: PCI devices with an IOMMU group that are not bridges, USB devices that
 * are not hubs, and mediated devices.
 *
 * @throws LibvirtError where libvirt has no driver of node devices.
 */
export async function readHostDevices(libvirt: Libvirt, options: Options): Promise<HostDevice[]> {
  const flags = { capPciDev: true, capUsbDev: true, capMdev: true };
  const all = await libvirt.nodeDevices.list({ ...flags, ...options });
  const found: HostDevice[] = [];
  for (let at = 0; at < all.length && found.length < maxDevices; at += batch) {
    const xmls = await Promise.all(all.slice(at, at + batch).map((device) => device.xml(options)));
    for (const xml of xmls) {
      const device = hostDevice(parseElement(xml, { maxBytes: maxReportedBytes }));
      if (device !== undefined) found.push(device);
    }
  }
  return found.slice(0, maxDevices).sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** What `<device>` of a node device tells (https://libvirt.org/formatnode.html); undefined for what no machine can have. */
export function hostDevice(device: XmlElement): HostDevice | undefined {
  const name = text(child(device, 'name'));
  const capability = child(device, 'capability');
  const type = capability?.attributes.get('type') ?? '';
  const product = child(capability, 'product');
  const vendorID = child(capability, 'vendor')?.attributes.get('id');
  const told = {
    name,
    capability: type,
    ...(text(product) === '' ? {} : { product: text(product).slice(0, 256) }),
    ...(vendorID === undefined ? {} : { vendorID }),
    ...(product?.attributes.has('id') === true ? { productID: product.attributes.get('id') ?? '' } : {}),
  };
  const group = child(capability, 'iommuGroup')?.attributes.get('number');
  switch (type) {
    case 'pci':
      // A bridge (class 0x06) goes with what is behind it; without an IOMMU group nothing can be given away.
      return group === undefined || text(child(capability, 'class')).startsWith('0x06')
        ? undefined
        : { ...told, iommuGroup: Number(group) };
    case 'usb_device':
      return vendorID === undefined || vendorID === rootHubVendor ? undefined : told;
    case 'mdev':
      return { ...told, ...(group === undefined ? {} : { iommuGroup: Number(group) }) };
    default:
      return undefined;
  }
}

/**
 * The host's bridges, Linux and Open vSwitch; undefined when they cannot be seen from here: libvirt is on another host,
 * or in another network namespace, which the host name tells apart.
 */
export async function readBridges(libvirt: Libvirt, options: Options): Promise<string[] | undefined> {
  if ((await libvirt.node.hostname(options)) !== hostname()) return undefined;
  const names = await readdir(networkFolder);
  const bridges = await Promise.all(names.map(async (name) => ((await isBridge(name)) ? [name] : [])));
  return bridges.flat().sort().slice(0, maxBridges);
}

async function isBridge(name: string): Promise<boolean> {
  // `DEVTYPE=bridge`; Open vSwitch's internal ports, its bridges among them, are `openvswitch`.
  try {
    return /^DEVTYPE=(bridge|openvswitch)$/m.test(await readFile(`${networkFolder}/${name}/uevent`, 'utf8'));
  } catch (error) {
    // Gone since the folder was read.
    if (['ENOENT', 'ENODEV', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return false;
    throw error;
  }
}

function child(element: XmlElement | undefined, name: string): XmlElement | undefined {
  return element?.children.find((one) => one.name === name);
}

function text(element: XmlElement | undefined): string {
  return element?.text.trim() ?? '';
}
