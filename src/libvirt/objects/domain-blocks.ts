import type { CallOptions, Connection } from '../connection.ts';
import type { NonnullDomain } from '../protocol.gen.ts';
import { typedParameters } from '../typed-parameter.ts';
import { blockAbortFlags, blockCommitFlags, blockCopyFlags } from './domain-flags.ts';
import { affectFlags, flagBits, stringsOkay, type AffectOptions, type Flags } from './flags.ts';
import { valuesOf, wordAt, type Value } from './values.ts';

/** virDomainBlockJobType, by number. */
export const blockJobTypes = ['unknown', 'pull', 'copy', 'commit', 'active-commit', 'backup'] as const;

/** virDomainDiskErrorCode, by number. */
const diskErrors = ['none', 'unspecified', 'no-space'] as const;

/** A job on a disk. Bandwidth in bytes per second, 0 for no limit; `cur` of `end` is done, in the job's own units. */
export interface BlockJobInfo {
  readonly type: (typeof blockJobTypes)[number];
  readonly bandwidthBytes: number;
  readonly cur: number;
  readonly end: number;
}

/** virDomainBlockInfo, in bytes. */
export interface BlockInfo {
  readonly capacityBytes: number;
  readonly allocationBytes: number;
  readonly physicalBytes: number;
}

/** Limits of a disk: libvirt's VIR_DOMAIN_BLOCK_IOTUNE_… names, 0 for none. */
export type BlockIoTune = Readonly<Record<string, number | string>>;

/** The disks of a domain. A disk is named by its target (`vda`), a member of its chain by `vda[1]`. */
export class DomainBlocks {
  readonly #rpc: Connection;
  readonly #dom: NonnullDomain;

  constructor(rpc: Connection, dom: NonnullDomain) {
    this.#rpc = rpc;
    this.#dom = dom;
  }

  /** virDomainGetBlockInfo. */
  async info(disk: string, options: CallOptions = {}): Promise<BlockInfo> {
    const info = await this.#rpc.call('domainGetBlockInfo', { dom: this.#dom, path: disk, flags: 0 }, options);
    return {
      capacityBytes: Number(info.capacity),
      allocationBytes: Number(info.allocation),
      physicalBytes: Number(info.physical),
    };
  }

  /** virDomainGetBlockJobInfo; undefined when none runs. */
  async job(disk: string, options: CallOptions = {}): Promise<BlockJobInfo | undefined> {
    const args = { dom: this.#dom, path: disk, flags: 1 };
    const info = await this.#rpc.call('domainGetBlockJobInfo', args, options);
    if (info.found === 0) return undefined;
    return {
      type: wordAt(blockJobTypes, info.type),
      bandwidthBytes: Number(info.bandwidth),
      cur: Number(info.cur),
      end: Number(info.end),
    };
  }

  /** virDomainBlockJobAbort. `pivot` ends a ready copy or active commit on its new image. */
  async abort(disk: string, options: Flags<typeof blockAbortFlags> & CallOptions = {}): Promise<void> {
    const args = { dom: this.#dom, path: disk, flags: flagBits(blockAbortFlags, options) };
    await this.#rpc.call('domainBlockJobAbort', args, options);
  }

  /** virDomainBlockJobSetSpeed, in bytes per second. */
  async setSpeed(disk: string, bytesPerSecond: number, options: CallOptions = {}): Promise<void> {
    const args = { dom: this.#dom, path: disk, bandwidth: BigInt(bytesPerSecond), flags: 1 };
    await this.#rpc.call('domainBlockJobSetSpeed', args, options);
  }

  /** virDomainBlockCommit: `top` into `base`; the whole chain into its lowest image unless given. */
  async commit(
    disk: string,
    options: Flags<typeof blockCommitFlags> & { base?: string; top?: string; bandwidth?: number } & CallOptions = {},
  ): Promise<void> {
    const { base = null, top = null, bandwidth = 0 } = options;
    const flags = flagBits(blockCommitFlags, options);
    const args = { dom: this.#dom, disk, base, top, bandwidth: BigInt(bandwidth), flags };
    await this.#rpc.call('domainBlockCommit', args, options);
  }

  /** virDomainBlockPull, or virDomainBlockRebase when `base` says where to stop. Bandwidth in bytes per second. */
  async pull(disk: string, options: { base?: string; bandwidthBytes?: number } & CallOptions = {}): Promise<void> {
    const args = { dom: this.#dom, path: disk, bandwidth: BigInt(options.bandwidthBytes ?? 0), flags: 64 };
    if (options.base === undefined) await this.#rpc.call('domainBlockPull', args, options);
    else await this.#rpc.call('domainBlockRebase', { ...args, base: options.base }, options);
  }

  /**
   * virDomainBlockCopy: mirrors a disk into the one that `destinationXml` (`<disk>`) describes, until `abort`.
   * Bandwidth in bytes per second, granularity and buffer in bytes.
   */
  async copy(
    disk: string,
    destinationXml: string,
    options: Flags<typeof blockCopyFlags> & {
      bandwidthBytes?: number;
      granularityBytes?: number;
      bufferBytes?: number;
    } & CallOptions = {},
  ): Promise<void> {
    const { bandwidthBytes: bandwidth, granularityBytes: granularity, bufferBytes } = options;
    const params = typedParameters(
      { bandwidth, granularity, 'buf-size': bufferBytes },
      { bandwidth: 'ullong', granularity: 'uint', 'buf-size': 'ullong' },
    );
    const args = { dom: this.#dom, path: disk, destxml: destinationXml, params };
    await this.#rpc.call('domainBlockCopy', { ...args, flags: flagBits(blockCopyFlags, options) }, options);
  }

  /** virDomainBlockResize of a running domain's disk, in bytes. */
  async resize(disk: string, sizeBytes: number, options: CallOptions = {}): Promise<void> {
    const args = { dom: this.#dom, disk, size: BigInt(sizeBytes), flags: 1 };
    await this.#rpc.call('domainBlockResize', args, options);
  }

  /** virDomainSetBlockThreshold: one `block-threshold` event when a write passes it. */
  async setThreshold(disk: string, thresholdBytes: number, options: CallOptions = {}): Promise<void> {
    const args = { dom: this.#dom, dev: disk, threshold: BigInt(thresholdBytes), flags: 0 };
    await this.#rpc.call('domainSetBlockThreshold', args, options);
  }

  /** virDomainGetBlockIoTune. */
  async ioTune(disk: string, options: AffectOptions & CallOptions = {}): Promise<Record<string, Value>> {
    // A driver tells how many it has when none is asked for.
    const args = { dom: this.#dom, disk, flags: flagBits(affectFlags, options) | stringsOkay };
    const { nparams } = await this.#rpc.call('domainGetBlockIoTune', { ...args, nparams: 0 }, options);
    return valuesOf((await this.#rpc.call('domainGetBlockIoTune', { ...args, nparams }, options)).params);
  }

  /** virDomainSetBlockIoTune: `{ total_bytes_sec: 1e6 }`. */
  async setIoTune(disk: string, tune: BlockIoTune, options: AffectOptions & CallOptions = {}): Promise<void> {
    const values = Object.entries(tune).map(
      ([name, value]) => [name, typeof value === 'number' ? BigInt(value) : value] as const,
    );
    const params = typedParameters(Object.fromEntries(values));
    const args = { dom: this.#dom, disk, params, flags: flagBits(affectFlags, options) };
    await this.#rpc.call('domainSetBlockIoTune', args, options);
  }

  /** virDomainGetDiskErrors: the disks that stopped on an error. */
  async errors(options: CallOptions = {}): Promise<{ disk: string; error: string }[]> {
    const maximum = { dom: this.#dom, maxerrors: 256, flags: 0 };
    const { errors } = await this.#rpc.call('domainGetDiskErrors', maximum, options);
    return errors.map(({ disk, error }) => ({ disk, error: wordAt(diskErrors, error) }));
  }
}
