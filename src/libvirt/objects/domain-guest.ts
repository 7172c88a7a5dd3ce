import type { CallOptions, Connection } from '../connection.ts';
import type { NonnullDomain } from '../protocol.gen.ts';
import { guestInfoFlags } from './domain-flags.ts';
import { flagBits, type Flags } from './flags.ts';
import { indexOf, valuesOf, type Values } from './values.ts';

/** virDomainInterfaceAddressesSource, by number. */
const addressSources = ['lease', 'agent', 'arp'] as const;

/** Where addresses are known from: libvirt's dnsmasq, the guest agent, or the host's neighbours. */
export type AddressSource = (typeof addressSources)[number];

/** A network card of a guest. */
export interface GuestInterface {
  /** The guest's name for it (`agent`), or the host's (`vnet0`). */
  readonly name: string;
  readonly mac: string | undefined;
  readonly addresses: readonly {
    readonly family: 'ipv4' | 'ipv6';
    readonly address: string;
    readonly prefix: number;
  }[];
}

/** A file system of a guest. */
export interface GuestFileSystem {
  readonly mountpoint: string;
  readonly name: string;
  readonly type: string;
  readonly disks: readonly string[];
}

/**
 * What the guest says of itself. All but addresses from leases and ARP needs the guest agent; without it the errors
 * are `isAgentUnavailable`.
 */
export class DomainGuest {
  readonly #rpc: Connection;
  readonly #dom: NonnullDomain;

  constructor(rpc: Connection, dom: NonnullDomain) {
    this.#rpc = rpc;
    this.#dom = dom;
  }

  /**
   * A command of the guest agent, as `{ execute: 'guest-ping' }`; taints the domain (virDomainQemuAgentCommand).
   *
   * @param options.agentTimeoutSeconds How long libvirt waits for the agent.
   * @returns The `return` member.
   */
  async command(command: object, options: { agentTimeoutSeconds?: number } & CallOptions = {}): Promise<unknown> {
    const timeout = options.agentTimeoutSeconds ?? 5;
    const args = { dom: this.#dom, cmd: JSON.stringify(command), timeout, flags: 0 };
    const { result } = await this.#rpc.call('qemuDomainAgentCommand', args, options);
    return result === null ? undefined : (JSON.parse(result) as { return?: unknown }).return;
  }

  /** virDomainAgentSetResponseTimeout, in seconds: how long other calls wait for the agent. */
  async setTimeout(seconds: number, options: CallOptions = {}): Promise<void> {
    await this.#rpc.call('domainAgentSetResponseTimeout', { dom: this.#dom, timeout: seconds, flags: 0 }, options);
  }

  /** virDomainInterfaceAddresses. */
  async interfaceAddresses(source: AddressSource, options: CallOptions = {}): Promise<GuestInterface[]> {
    const args = { dom: this.#dom, source: indexOf(addressSources, source), flags: 0 };
    const { ifaces } = await this.#rpc.call('domainInterfaceAddresses', args, options);
    return ifaces.map(({ name, hwaddr, addrs }) => ({
      name,
      mac: hwaddr ?? undefined,
      addresses: addrs.map(({ type, addr, prefix }) => ({
        family: type === 0 ? ('ipv4' as const) : ('ipv6' as const),
        address: addr,
        prefix,
      })),
    }));
  }

  /** virDomainGetHostname. */
  async hostname(options: { source?: 'lease' | 'agent' } & CallOptions = {}): Promise<string> {
    const flags = options.source === undefined ? 0 : options.source === 'lease' ? 1 : 2;
    return (await this.#rpc.call('domainGetHostname', { dom: this.#dom, flags }, options)).hostname;
  }

  /** virDomainGetGuestInfo, under libvirt's names: `os.id`, `fs.0.mountpoint`. No flag means all. */
  async info(options: Flags<typeof guestInfoFlags> & CallOptions = {}): Promise<Values> {
    const args = { dom: this.#dom, types: flagBits(guestInfoFlags, options), flags: 0 };
    return valuesOf((await this.#rpc.call('domainGetGuestInfo', args, options)).params);
  }

  /** virDomainGetFSInfo. */
  async fileSystems(options: CallOptions = {}): Promise<GuestFileSystem[]> {
    const { info } = await this.#rpc.call('domainGetFsinfo', { dom: this.#dom, flags: 0 }, options);
    return info.map(({ mountpoint, name, fstype, devAliases }) => ({
      mountpoint,
      name,
      type: fstype,
      disks: devAliases,
    }));
  }

  /** virDomainFSFreeze: how many were frozen; all unless mount points are given. */
  async freeze(mountpoints: readonly string[] = [], options: CallOptions = {}): Promise<number> {
    const args = { dom: this.#dom, mountpoints, flags: 0 };
    return (await this.#rpc.call('domainFsfreeze', args, options)).filesystems;
  }

  /** virDomainFSThaw: how many were thawed. */
  async thaw(mountpoints: readonly string[] = [], options: CallOptions = {}): Promise<number> {
    const args = { dom: this.#dom, mountpoints, flags: 0 };
    return (await this.#rpc.call('domainFsthaw', args, options)).filesystems;
  }

  /** virDomainFSTrim: free blocks of at least `minimumBytes`. */
  async trim(options: { mountpoint?: string; minimumBytes?: number } & CallOptions = {}): Promise<void> {
    const { mountpoint = null, minimumBytes = 0 } = options;
    const args = { dom: this.#dom, mountPoint: mountpoint, minimum: BigInt(minimumBytes), flags: 0 };
    await this.#rpc.call('domainFstrim', args, options);
  }

  /** virDomainSetUserPassword. `encrypted` takes what crypt(3) made. */
  async setUserPassword(
    user: string,
    password: string,
    options: { encrypted?: boolean } & CallOptions = {},
  ): Promise<void> {
    const args = { dom: this.#dom, user, password, flags: options.encrypted === true ? 1 : 0 };
    await this.#rpc.call('domainSetUserPassword', args, options);
  }

  /** virDomainAuthorizedSSHKeysGet. */
  async sshKeys(user: string, options: CallOptions = {}): Promise<readonly string[]> {
    return (await this.#rpc.call('domainAuthorizedSshKeysGet', { dom: this.#dom, user, flags: 0 }, options)).keys;
  }

  /** virDomainAuthorizedSSHKeysSet: replaces them, or with `change` adds to or removes from them. */
  async setSshKeys(
    user: string,
    keys: readonly string[],
    options: { change?: 'append' | 'remove' } & CallOptions = {},
  ): Promise<void> {
    const flags = options.change === undefined ? 0 : options.change === 'append' ? 1 : 2;
    await this.#rpc.call('domainAuthorizedSshKeysSet', { dom: this.#dom, user, keys, flags }, options);
  }

  /** virDomainGetTime, in milliseconds since 1970. */
  async time(options: CallOptions = {}): Promise<number> {
    const { seconds, nseconds } = await this.#rpc.call('domainGetTime', { dom: this.#dom, flags: 0 }, options);
    return Number(seconds) * 1000 + nseconds / 1e6;
  }

  /** virDomainSetTime: to milliseconds since 1970, or from its own hardware clock. */
  async setTime(ms: number | 'from-hardware-clock', options: CallOptions = {}): Promise<void> {
    const isSync = ms === 'from-hardware-clock';
    const seconds = isSync ? 0n : BigInt(Math.floor(ms / 1000));
    const nseconds = isSync ? 0 : Math.round((ms % 1000) * 1e6);
    await this.#rpc.call('domainSetTime', { dom: this.#dom, seconds, nseconds, flags: isSync ? 1 : 0 }, options);
  }

  /** virDomainSetGuestVcpus: `0,2-3` on or off inside the guest. */
  async setVcpus(processors: string, on: boolean, options: CallOptions = {}): Promise<void> {
    const args = { dom: this.#dom, cpumap: processors, state: on ? 1 : 0, flags: 0 };
    await this.#rpc.call('domainSetGuestVcpus', args, options);
  }

  /** virDomainPMSuspendForDuration: the guest suspends itself. */
  async pmSuspend(target: 'memory' | 'disk' | 'hybrid', options: CallOptions = {}): Promise<void> {
    const args = { target: indexOf(['memory', 'disk', 'hybrid'], target), duration: 0n, flags: 0 };
    await this.#rpc.call('domainPmSuspendForDuration', { dom: this.#dom, ...args }, options);
  }
}
