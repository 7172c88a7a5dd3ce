import type { CallOptions, Connection } from '../connection.ts';
import { flagBits, type Flags } from './flags.ts';

/** virConnectListAllNodeDeviceFlags. */
export const listNodeDevicesFlags = {
  capSystem: 1,
  capPciDev: 2,
  capUsbDev: 4,
  capUsbInterface: 8,
  capNet: 16,
  capScsiHost: 32,
  capScsiTarget: 64,
  capScsi: 128,
  capStorage: 256,
  capFcHost: 512,
  capVports: 1024,
  capScsiGeneric: 2048,
  capDrm: 4096,
  capMdevTypes: 8192,
  capMdev: 16384,
  capCcwDev: 32768,
  capCssDev: 65536,
  capVdpa: 131072,
  inactive: 0x4000_0000,
  active: 0x8000_0000,
} as const;

/** A device of the host. */
export class NodeDevice {
  readonly #rpc: Connection;
  /** As `pci_0000_00_1f_2`. */
  readonly name: string;

  constructor(rpc: Connection, name: string) {
    this.#rpc = rpc;
    this.name = name;
  }

  async xml(options: CallOptions = {}): Promise<string> {
    return (await this.#rpc.call('nodeDeviceGetXmlDesc', { name: this.name, flags: 0 }, options)).xml;
  }

  async parent(options: CallOptions = {}): Promise<string | undefined> {
    const { parentName } = await this.#rpc.call('nodeDeviceGetParent', { name: this.name }, options);
    return parentName ?? undefined;
  }

  /** virNodeDeviceDetachFlags: from the host's driver, to be given to a guest. */
  async detach(options: { driver?: string } & CallOptions = {}): Promise<void> {
    const args = { name: this.name, driverName: options.driver ?? null, flags: 0 };
    await this.#rpc.call('nodeDeviceDetachFlags', args, options);
  }

  /** virNodeDeviceReAttach: back to the host. */
  async reattach(options: CallOptions = {}): Promise<void> {
    await this.#rpc.call('nodeDeviceReAttach', { name: this.name }, options);
  }

  async reset(options: CallOptions = {}): Promise<void> {
    await this.#rpc.call('nodeDeviceReset', { name: this.name }, options);
  }

  /** virNodeDeviceDestroy: a mediated or virtual device. */
  async destroy(options: CallOptions = {}): Promise<void> {
    await this.#rpc.call('nodeDeviceDestroy', { name: this.name }, options);
  }
}

/** The devices of a host. */
export class NodeDevices {
  readonly #rpc: Connection;

  constructor(rpc: Connection) {
    this.#rpc = rpc;
  }

  /** virConnectListAllNodeDevices. */
  async list(options: Flags<typeof listNodeDevicesFlags> & CallOptions = {}): Promise<NodeDevice[]> {
    const args = { needResults: 1, flags: flagBits(listNodeDevicesFlags, options) };
    const { devices } = await this.#rpc.call('connectListAllNodeDevices', args, options);
    return devices.map(({ name }) => new NodeDevice(this.#rpc, name));
  }

  async byName(name: string, options: CallOptions = {}): Promise<NodeDevice> {
    const { dev } = await this.#rpc.call('nodeDeviceLookupByName', { name }, options);
    return new NodeDevice(this.#rpc, dev.name);
  }

  /** virNodeDeviceCreateXML. */
  async createXml(xml: string, options: CallOptions = {}): Promise<NodeDevice> {
    const { dev } = await this.#rpc.call('nodeDeviceCreateXml', { xmlDesc: xml, flags: 0 }, options);
    return new NodeDevice(this.#rpc, dev.name);
  }
}
