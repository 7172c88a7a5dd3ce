/**
 * libvirt in its own terms: a host's domains, networks, pools, secrets, devices and filters as objects with methods,
 * over one RPC connection. Everything here is a thin layer: one method is one call (or two, where libvirt must first
 * be asked how much there is), with flags as options, words instead of numbers and units in names. Nothing is cached.
 *
 *     const libvirt = await openLibvirt('qemu:///system');
 *     for (const domain of await libvirt.domains.list({ active: true })) console.log(domain.name);
 *     await libvirt.close();
 *
 * What this layer lacks can be called through `libvirt.rpc`. supervisor.ts keeps one connected.
 */
import { connect, type ConnectOptions } from './connect.ts';
import type { Connection } from './connection.ts';
import { Domains } from './objects/domains.ts';
import { Networks } from './objects/networks.ts';
import { NodeDevices } from './objects/node-devices.ts';
import { Node } from './objects/node.ts';
import { NwFilters } from './objects/nwfilters.ts';
import { Pools } from './objects/pools.ts';
import { Secrets } from './objects/secrets.ts';
import { watchKinds, type EventFeed, type FeedOptions, type WatchedKind } from './event-feed.ts';

/** See the head of this file. */
export class Libvirt {
  /** Every procedure of the protocol. */
  readonly rpc: Connection;
  readonly domains: Domains;
  readonly networks: Networks;
  readonly pools: Pools;
  readonly secrets: Secrets;
  readonly nodeDevices: NodeDevices;
  readonly nwfilters: NwFilters;
  /** The host and its hypervisor. */
  readonly node: Node;

  /** @param rpc Belongs to this object from now on. */
  constructor(rpc: Connection) {
    this.rpc = rpc;
    this.domains = new Domains(rpc);
    this.networks = new Networks(rpc);
    this.pools = new Pools(rpc);
    this.secrets = new Secrets(rpc);
    this.nodeDevices = new NodeDevices(rpc);
    this.nwfilters = new NwFilters(rpc);
    this.node = new Node(rpc);
  }

  /**
   * Events of several kinds in one bounded queue, from the moment that this resolves. Break out of the loop, abort
   * the signal or `close` the feed to end it.
   *
   * @throws LibvirtError where the driver does not know one of the kinds, unless `skipUnsupported`.
   */
  watch<Kind extends WatchedKind>(kinds: readonly Kind[], options: FeedOptions = {}): Promise<EventFeed<Kind>> {
    return watchKinds(this.rpc, kinds, options);
  }

  /** Another connection to the same place, for long transfers and long operations. */
  async duplicate(signal?: AbortSignal): Promise<Libvirt> {
    return new Libvirt(await this.rpc.duplicate(signal));
  }

  /** Ends the connection; see Connection.close. */
  close(): Promise<void> {
    return this.rpc.close();
  }
}

/** Connects; see {@link connect} for URIs and errors. */
export async function openLibvirt(uri: string, options: ConnectOptions = {}): Promise<Libvirt> {
  return new Libvirt(await connect(uri, options));
}
