import type { CallOptions, Connection } from '../connection.ts';
import type { NonnullStoragePool } from '../protocol.gen.ts';
import { flagBits, type Flags } from './flags.ts';
import { uuidToBytes, uuidToString } from './uuid.ts';
import { wordAt } from './values.ts';
import { Volume } from './volume.ts';

/** virConnectListAllStoragePoolsFlags. */
export const listPoolsFlags = {
  inactive: 1,
  active: 2,
  persistent: 4,
  transient: 8,
  autostart: 16,
  noAutostart: 32,
  dir: 64,
  fs: 128,
  netfs: 256,
  logical: 512,
  disk: 1024,
  iscsi: 2048,
  scsi: 4096,
  mpath: 8192,
  rbd: 16384,
  sheepdog: 32768,
  gluster: 65536,
  zfs: 131072,
  vstorage: 262144,
  iscsiDirect: 524288,
} as const;

/** virStoragePoolBuildFlags. */
export const poolBuildFlags = { repair: 1, resize: 2, noOverwrite: 4, overwrite: 8 } as const;

/** virStoragePoolCreateFlags. */
export const poolCreateFlags = { withBuild: 1, withBuildOverwrite: 2, withBuildNoOverwrite: 4 } as const;

/** virStorageVolCreateFlags. */
export const volumeCreateFlags = { preallocMetadata: 1, reflink: 2, validate: 4 } as const;

/** virStoragePoolState, by number. */
const poolStates = ['inactive', 'building', 'running', 'degraded', 'inaccessible'] as const;

/** virStoragePoolInfo, in bytes. */
export interface PoolInfo {
  readonly state: (typeof poolStates)[number] | 'unknown';
  readonly capacityBytes: number;
  readonly allocationBytes: number;
  readonly availableBytes: number;
}

/** A libvirt storage pool. */
export class Pool {
  readonly #rpc: Connection;
  readonly ref: NonnullStoragePool;

  constructor(rpc: Connection, ref: NonnullStoragePool) {
    this.#rpc = rpc;
    this.ref = ref;
  }

  get name(): string {
    return this.ref.name;
  }

  get uuid(): string {
    return uuidToString(this.ref.uuid);
  }

  /** virStoragePoolGetXMLDesc. */
  async xml(options: { inactive?: boolean } & CallOptions = {}): Promise<string> {
    const args = { pool: this.ref, flags: options.inactive === true ? 1 : 0 };
    return (await this.#rpc.call('storagePoolGetXmlDesc', args, options)).xml;
  }

  /** virStoragePoolGetInfo. */
  async info(options: CallOptions = {}): Promise<PoolInfo> {
    const info = await this.#rpc.call('storagePoolGetInfo', { pool: this.ref }, options);
    return {
      state: wordAt(poolStates, info.state),
      capacityBytes: Number(info.capacity),
      allocationBytes: Number(info.allocation),
      availableBytes: Number(info.available),
    };
  }

  /** virStoragePoolBuild: makes the directory, the file system, the volume group. */
  async build(options: Flags<typeof poolBuildFlags> & CallOptions = {}): Promise<void> {
    await this.#rpc.call('storagePoolBuild', { pool: this.ref, flags: flagBits(poolBuildFlags, options) }, options);
  }

  /** virStoragePoolCreate: starts it. */
  async start(options: Flags<typeof poolCreateFlags> & CallOptions = {}): Promise<void> {
    await this.#rpc.call('storagePoolCreate', { pool: this.ref, flags: flagBits(poolCreateFlags, options) }, options);
  }

  /** virStoragePoolDestroy: stops it; its data stays. */
  async destroy(options: CallOptions = {}): Promise<void> {
    await this.#rpc.call('storagePoolDestroy', { pool: this.ref }, options);
  }

  /** virStoragePoolDelete: removes what `build` made. */
  async delete(options: { zeroed?: boolean } & CallOptions = {}): Promise<void> {
    await this.#rpc.call('storagePoolDelete', { pool: this.ref, flags: options.zeroed === true ? 1 : 0 }, options);
  }

  async undefine(options: CallOptions = {}): Promise<void> {
    await this.#rpc.call('storagePoolUndefine', { pool: this.ref }, options);
  }

  /** virStoragePoolRefresh: looks for volumes that came or went. */
  async refresh(options: CallOptions = {}): Promise<void> {
    await this.#rpc.call('storagePoolRefresh', { pool: this.ref, flags: 0 }, options);
  }

  async isActive(options: CallOptions = {}): Promise<boolean> {
    return (await this.#rpc.call('storagePoolIsActive', { pool: this.ref }, options)).active !== 0;
  }

  async isPersistent(options: CallOptions = {}): Promise<boolean> {
    return (await this.#rpc.call('storagePoolIsPersistent', { pool: this.ref }, options)).persistent !== 0;
  }

  async autostart(options: CallOptions = {}): Promise<boolean> {
    return (await this.#rpc.call('storagePoolGetAutostart', { pool: this.ref }, options)).autostart !== 0;
  }

  async setAutostart(enabled: boolean, options: CallOptions = {}): Promise<void> {
    await this.#rpc.call('storagePoolSetAutostart', { pool: this.ref, autostart: enabled ? 1 : 0 }, options);
  }

  /** virStoragePoolListAllVolumes. */
  async volumes(options: CallOptions = {}): Promise<Volume[]> {
    const args = { pool: this.ref, needResults: 1, flags: 0 };
    const { vols } = await this.#rpc.call('storagePoolListAllVolumes', args, options);
    return vols.map((ref) => new Volume(this.#rpc, ref));
  }

  async volume(name: string, options: CallOptions = {}): Promise<Volume> {
    const { vol } = await this.#rpc.call('storageVolLookupByName', { pool: this.ref, name }, options);
    return new Volume(this.#rpc, vol);
  }

  /** virStorageVolCreateXML. */
  async createVolume(xml: string, options: Flags<typeof volumeCreateFlags> & CallOptions = {}): Promise<Volume> {
    const args = { pool: this.ref, xml, flags: flagBits(volumeCreateFlags, options) };
    return new Volume(this.#rpc, (await this.#rpc.call('storageVolCreateXml', args, options)).vol);
  }

  /** virStorageVolCreateXMLFrom: a copy of another volume, converted where the formats differ. */
  async cloneVolume(
    xml: string,
    source: Volume,
    options: Flags<typeof volumeCreateFlags> & CallOptions = {},
  ): Promise<Volume> {
    const args = { pool: this.ref, xml, clonevol: source.ref, flags: flagBits(volumeCreateFlags, options) };
    return new Volume(this.#rpc, (await this.#rpc.call('storageVolCreateXmlFrom', args, options)).vol);
  }
}

/** The storage pools of a host. */
export class Pools {
  readonly #rpc: Connection;

  constructor(rpc: Connection) {
    this.#rpc = rpc;
  }

  /** virConnectListAllStoragePools. */
  async list(options: Flags<typeof listPoolsFlags> & CallOptions = {}): Promise<Pool[]> {
    const args = { needResults: 1, flags: flagBits(listPoolsFlags, options) };
    const { pools } = await this.#rpc.call('connectListAllStoragePools', args, options);
    return pools.map((ref) => new Pool(this.#rpc, ref));
  }

  async byName(name: string, options: CallOptions = {}): Promise<Pool> {
    return new Pool(this.#rpc, (await this.#rpc.call('storagePoolLookupByName', { name }, options)).pool);
  }

  async byUuid(uuid: string, options: CallOptions = {}): Promise<Pool> {
    const args = { uuid: uuidToBytes(uuid) };
    return new Pool(this.#rpc, (await this.#rpc.call('storagePoolLookupByUuid', args, options)).pool);
  }

  /** The pool whose target is this folder of the host. */
  async byTargetPath(path: string, options: CallOptions = {}): Promise<Pool> {
    return new Pool(this.#rpc, (await this.#rpc.call('storagePoolLookupByTargetPath', { path }, options)).pool);
  }

  /** virStoragePoolDefineXML. */
  async defineXml(xml: string, options: { validate?: boolean } & CallOptions = {}): Promise<Pool> {
    const args = { xml, flags: options.validate === true ? 1 : 0 };
    return new Pool(this.#rpc, (await this.#rpc.call('storagePoolDefineXml', args, options)).pool);
  }

  /** virStoragePoolCreateXML: starts a transient pool. */
  async createXml(xml: string, options: Flags<typeof poolCreateFlags> & CallOptions = {}): Promise<Pool> {
    const args = { xml, flags: flagBits(poolCreateFlags, options) };
    return new Pool(this.#rpc, (await this.#rpc.call('storagePoolCreateXml', args, options)).pool);
  }

  /** virStorageVolLookupByPath: in any active pool. */
  async volumeByPath(path: string, options: CallOptions = {}): Promise<Volume> {
    return new Volume(this.#rpc, (await this.#rpc.call('storageVolLookupByPath', { path }, options)).vol);
  }

  /** virStorageVolLookupByKey: in any active pool. */
  async volumeByKey(key: string, options: CallOptions = {}): Promise<Volume> {
    return new Volume(this.#rpc, (await this.#rpc.call('storageVolLookupByKey', { key }, options)).vol);
  }

  /** virConnectFindStoragePoolSources: what a type of pool could be made of, as XML. */
  async findSources(type: string, options: { sourceXml?: string } & CallOptions = {}): Promise<string> {
    const args = { type, srcSpec: options.sourceXml ?? null, flags: 0 };
    return (await this.#rpc.call('connectFindStoragePoolSources', args, options)).xml;
  }

  /** virConnectGetStoragePoolCapabilities, as XML. */
  async capabilities(options: CallOptions = {}): Promise<string> {
    return (await this.#rpc.call('connectGetStoragePoolCapabilities', { flags: 0 }, options)).capabilities;
  }
}
