import type { CallOptions, Connection } from '../connection.ts';
import type { NonnullNwfilter } from '../protocol.gen.ts';
import { uuidToBytes, uuidToString } from './uuid.ts';

/** A libvirt network filter. */
export class NwFilter {
  readonly #rpc: Connection;
  readonly ref: NonnullNwfilter;

  constructor(rpc: Connection, ref: NonnullNwfilter) {
    this.#rpc = rpc;
    this.ref = ref;
  }

  get name(): string {
    return this.ref.name;
  }

  get uuid(): string {
    return uuidToString(this.ref.uuid);
  }

  async xml(options: CallOptions = {}): Promise<string> {
    return (await this.#rpc.call('nwfilterGetXmlDesc', { nwfilter: this.ref, flags: 0 }, options)).xml;
  }

  async undefine(options: CallOptions = {}): Promise<void> {
    await this.#rpc.call('nwfilterUndefine', { nwfilter: this.ref }, options);
  }
}

/** The network filters of a host. */
export class NwFilters {
  readonly #rpc: Connection;

  constructor(rpc: Connection) {
    this.#rpc = rpc;
  }

  async list(options: CallOptions = {}): Promise<NwFilter[]> {
    const { filters } = await this.#rpc.call('connectListAllNwfilters', { needResults: 1, flags: 0 }, options);
    return filters.map((ref) => new NwFilter(this.#rpc, ref));
  }

  async byName(name: string, options: CallOptions = {}): Promise<NwFilter> {
    return new NwFilter(this.#rpc, (await this.#rpc.call('nwfilterLookupByName', { name }, options)).nwfilter);
  }

  async byUuid(uuid: string, options: CallOptions = {}): Promise<NwFilter> {
    const args = { uuid: uuidToBytes(uuid) };
    return new NwFilter(this.#rpc, (await this.#rpc.call('nwfilterLookupByUuid', args, options)).nwfilter);
  }

  /** virNWFilterDefineXML. */
  async defineXml(xml: string, options: CallOptions = {}): Promise<NwFilter> {
    return new NwFilter(this.#rpc, (await this.#rpc.call('nwfilterDefineXml', { xml }, options)).nwfilter);
  }
}
