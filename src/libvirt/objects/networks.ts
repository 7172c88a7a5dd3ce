import type { CallOptions, Connection } from '../connection.ts';
import type { NonnullNetwork, NonnullNetworkPort } from '../protocol.gen.ts';
import { flagBits, type AffectOptions, affectFlags, type Flags } from './flags.ts';
import { uuidToBytes, uuidToString } from './uuid.ts';
import { indexOf } from './values.ts';

/** virConnectListAllNetworksFlags. */
export const listNetworksFlags = {
  inactive: 1,
  active: 2,
  persistent: 4,
  transient: 8,
  autostart: 16,
  noAutostart: 32,
} as const;

/** virNetworkUpdateCommand and virNetworkUpdateSection, by number. */
const updateCommands = ['none', 'modify', 'delete', 'add-last', 'add-first'] as const;
const updateSections = [
  ...(['none', 'bridge', 'domain', 'ip', 'ip-dhcp-host', 'ip-dhcp-range', 'forward', 'forward-interface'] as const),
  ...(['forward-pf', 'portgroup', 'dns-host', 'dns-txt', 'dns-srv'] as const),
] as const;

/** What {@link Network.update} can change (virNetworkUpdateSection). */
export type NetworkSection = Exclude<(typeof updateSections)[number], 'none'>;

/** A lease of libvirt's DHCP server. */
export interface DhcpLease {
  /** The network's bridge. */
  readonly interface: string;
  /** Milliseconds since 1970; undefined when it never expires. */
  readonly expiresAt: number | undefined;
  readonly family: 'ipv4' | 'ipv6';
  readonly mac: string | undefined;
  readonly iaid: string | undefined;
  readonly address: string;
  readonly prefix: number;
  readonly hostname: string | undefined;
  readonly clientId: string | undefined;
}

/** What is plugged into a network: an interface of a guest, most often. */
export class NetworkPort {
  readonly #rpc: Connection;
  readonly #ref: NonnullNetworkPort;

  constructor(rpc: Connection, ref: NonnullNetworkPort) {
    this.#rpc = rpc;
    this.#ref = ref;
  }

  get uuid(): string {
    return uuidToString(this.#ref.uuid);
  }

  /** virNetworkPortGetXMLDesc: whose it is, and its MAC address. */
  async xml(options: CallOptions = {}): Promise<string> {
    return (await this.#rpc.call('networkPortGetXmlDesc', { port: this.#ref, flags: 0 }, options)).xml;
  }
}

/** A libvirt network. */
export class Network {
  readonly #rpc: Connection;
  readonly ref: NonnullNetwork;

  constructor(rpc: Connection, ref: NonnullNetwork) {
    this.#rpc = rpc;
    this.ref = ref;
  }

  get name(): string {
    return this.ref.name;
  }

  get uuid(): string {
    return uuidToString(this.ref.uuid);
  }

  /** virNetworkGetXMLDesc. */
  async xml(options: { inactive?: boolean } & CallOptions = {}): Promise<string> {
    const args = { net: this.ref, flags: options.inactive === true ? 1 : 0 };
    return (await this.#rpc.call('networkGetXmlDesc', args, options)).xml;
  }

  /** virNetworkCreate. */
  async start(options: CallOptions = {}): Promise<void> {
    await this.#rpc.call('networkCreate', { net: this.ref }, options);
  }

  /** virNetworkDestroy: stops it. */
  async destroy(options: CallOptions = {}): Promise<void> {
    await this.#rpc.call('networkDestroy', { net: this.ref }, options);
  }

  async undefine(options: CallOptions = {}): Promise<void> {
    await this.#rpc.call('networkUndefine', { net: this.ref }, options);
  }

  /**
   * virNetworkUpdate: adds, changes or removes one element.
   *
   * @param xml The element: `<host mac='…' ip='…'/>` for `ip-dhcp-host`.
   * @param options.parentIndex Which `<ip>` or `<dns>`; -1, the default, lets libvirt find it.
   */
  async update(
    command: Exclude<(typeof updateCommands)[number], 'none'>,
    section: NetworkSection,
    xml: string,
    options: AffectOptions & { parentIndex?: number } & CallOptions = {},
  ): Promise<void> {
    // Daemons before libvirt 7.2 take the two in the other order, by a mistake in virNetworkUpdate; all
    // that this client supports are newer.
    const args = { command: indexOf(updateCommands, command), section: indexOf(updateSections, section) };
    const { parentIndex = -1 } = options;
    const flags = flagBits(affectFlags, options);
    await this.#rpc.call('networkUpdate', { net: this.ref, ...args, parentIndex, xml, flags }, options);
  }

  /** virNetworkGetDHCPLeases; of one MAC address when it is given. */
  async leases(options: { mac?: string } & CallOptions = {}): Promise<DhcpLease[]> {
    const args = { net: this.ref, mac: options.mac ?? null, needResults: 1, flags: 0 };
    const { leases } = await this.#rpc.call('networkGetDhcpLeases', args, options);
    return leases.map((lease) => ({
      interface: lease.iface,
      expiresAt: lease.expirytime === 0n ? undefined : Number(lease.expirytime) * 1000,
      family: lease.type === 0 ? 'ipv4' : 'ipv6',
      mac: lease.mac ?? undefined,
      iaid: lease.iaid ?? undefined,
      address: lease.ipaddr,
      prefix: lease.prefix,
      hostname: lease.hostname ?? undefined,
      clientId: lease.clientid ?? undefined,
    }));
  }

  /** virNetworkListAllPorts. */
  async ports(options: CallOptions = {}): Promise<NetworkPort[]> {
    const { ports } = await this.#rpc.call(
      'networkListAllPorts',
      { network: this.ref, needResults: 1, flags: 0 },
      options,
    );
    return ports.map((ref) => new NetworkPort(this.#rpc, ref));
  }

  async bridgeName(options: CallOptions = {}): Promise<string> {
    return (await this.#rpc.call('networkGetBridgeName', { net: this.ref }, options)).name;
  }

  async isActive(options: CallOptions = {}): Promise<boolean> {
    return (await this.#rpc.call('networkIsActive', { net: this.ref }, options)).active !== 0;
  }

  async isPersistent(options: CallOptions = {}): Promise<boolean> {
    return (await this.#rpc.call('networkIsPersistent', { net: this.ref }, options)).persistent !== 0;
  }

  async autostart(options: CallOptions = {}): Promise<boolean> {
    return (await this.#rpc.call('networkGetAutostart', { net: this.ref }, options)).autostart !== 0;
  }

  async setAutostart(enabled: boolean, options: CallOptions = {}): Promise<void> {
    await this.#rpc.call('networkSetAutostart', { net: this.ref, autostart: enabled ? 1 : 0 }, options);
  }
}

/** The networks of a host. */
export class Networks {
  readonly #rpc: Connection;

  constructor(rpc: Connection) {
    this.#rpc = rpc;
  }

  /** virConnectListAllNetworks. */
  async list(options: Flags<typeof listNetworksFlags> & CallOptions = {}): Promise<Network[]> {
    const args = { needResults: 1, flags: flagBits(listNetworksFlags, options) };
    const { nets } = await this.#rpc.call('connectListAllNetworks', args, options);
    return nets.map((ref) => new Network(this.#rpc, ref));
  }

  async byName(name: string, options: CallOptions = {}): Promise<Network> {
    return new Network(this.#rpc, (await this.#rpc.call('networkLookupByName', { name }, options)).net);
  }

  async byUuid(uuid: string, options: CallOptions = {}): Promise<Network> {
    const args = { uuid: uuidToBytes(uuid) };
    return new Network(this.#rpc, (await this.#rpc.call('networkLookupByUuid', args, options)).net);
  }

  /** virNetworkDefineXML, or …Flags with `validate`. */
  async defineXml(xml: string, options: { validate?: boolean } & CallOptions = {}): Promise<Network> {
    const { net } =
      options.validate === true
        ? await this.#rpc.call('networkDefineXmlFlags', { xml, flags: 1 }, options)
        : await this.#rpc.call('networkDefineXml', { xml }, options);
    return new Network(this.#rpc, net);
  }

  /** virNetworkCreateXML: starts a transient network. */
  async createXml(xml: string, options: CallOptions = {}): Promise<Network> {
    return new Network(this.#rpc, (await this.#rpc.call('networkCreateXml', { xml }, options)).net);
  }
}
