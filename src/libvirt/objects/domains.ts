import type { CallOptions, Connection } from '../connection.ts';
import { defineFlags, listDomainsFlags, saveFlags, startFlags, statsFlags, xmlFlags } from './domain-flags.ts';
import { domainStatsOf, statsGroups, type DomainStats, type StatsGroup } from './domain-stats.ts';
import { Domain } from './domain.ts';
import { flagBits, type Flags } from './flags.ts';
import { uuidToBytes } from './uuid.ts';

/** The domains of a host. Errors are those of Connection.call; a lookup that finds nothing throws `isNotFound`. */
export class Domains {
  readonly #rpc: Connection;

  constructor(rpc: Connection) {
    this.#rpc = rpc;
  }

  /** virConnectListAllDomains: all, or those that match. Flags of one kind are alternatives, kinds combine. */
  async list(options: Flags<typeof listDomainsFlags> & CallOptions = {}): Promise<Domain[]> {
    const args = { needResults: 1, flags: flagBits(listDomainsFlags, options) };
    const { domains } = await this.#rpc.call('connectListAllDomains', args, options);
    return domains.map((ref) => new Domain(this.#rpc, ref));
  }

  async byName(name: string, options: CallOptions = {}): Promise<Domain> {
    return new Domain(this.#rpc, (await this.#rpc.call('domainLookupByName', { name }, options)).dom);
  }

  async byUuid(uuid: string, options: CallOptions = {}): Promise<Domain> {
    const args = { uuid: uuidToBytes(uuid) };
    return new Domain(this.#rpc, (await this.#rpc.call('domainLookupByUuid', args, options)).dom);
  }

  async byId(id: number, options: CallOptions = {}): Promise<Domain> {
    return new Domain(this.#rpc, (await this.#rpc.call('domainLookupById', { id }, options)).dom);
  }

  /** virDomainDefineXMLFlags: makes it, or replaces the configuration of the one with this name and UUID. */
  async defineXml(xml: string, options: Flags<typeof defineFlags> & CallOptions = {}): Promise<Domain> {
    const args = { xml, flags: flagBits(defineFlags, options) };
    return new Domain(this.#rpc, (await this.#rpc.call('domainDefineXmlFlags', args, options)).dom);
  }

  /** virDomainCreateXML: starts a transient domain. */
  async createXml(xml: string, options: Flags<typeof startFlags> & CallOptions = {}): Promise<Domain> {
    const args = { xmlDesc: xml, flags: flagBits(startFlags, options) };
    return new Domain(this.#rpc, (await this.#rpc.call('domainCreateXml', args, options)).dom);
  }

  /** virDomainRestoreFlags: goes on from what Domain.save wrote. */
  async restore(path: string, options: Flags<typeof saveFlags> & { xml?: string } & CallOptions = {}): Promise<void> {
    const args = { from: path, dxml: options.xml ?? null, flags: flagBits(saveFlags, options) };
    await this.#rpc.call('domainRestoreFlags', args, options);
  }

  /** virConnectGetAllDomainStats: many domains in one call; no group means all that the driver has. */
  async stats(
    groups: readonly StatsGroup[] = [],
    options: Flags<typeof statsFlags> & { domains?: readonly Domain[] } & CallOptions = {},
  ): Promise<DomainStats[]> {
    const stats = groups.reduce((bits, group) => bits | statsGroups[group], 0);
    const doms = (options.domains ?? []).map(({ ref }) => ref);
    const args = { doms, stats, flags: flagBits(statsFlags, options) };
    const { retStats } = await this.#rpc.call('connectGetAllDomainStats', args, options);
    return retStats.map(domainStatsOf);
  }

  /** virConnectDomainXMLFromNative and …ToNative: `qemu-argv` and the like. */
  async xmlToNative(format: string, xml: string, options: CallOptions = {}): Promise<string> {
    const args = { nativeFormat: format, domainXml: xml, flags: 0 };
    return (await this.#rpc.call('connectDomainXmlToNative', args, options)).nativeConfig;
  }

  /** virDomainSaveImageGetXMLDesc. */
  async savedXml(path: string, options: { secure?: boolean } & CallOptions = {}): Promise<string> {
    const args = { file: path, flags: options.secure === true ? xmlFlags.secure : 0 };
    return (await this.#rpc.call('domainSaveImageGetXmlDesc', args, options)).xml;
  }
}
