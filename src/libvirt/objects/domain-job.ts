import type { CallOptions, Connection } from '../connection.ts';
import type { NonnullDomain } from '../protocol.gen.ts';
import { typedParameters, type TypedParameter } from '../typed-parameter.ts';
import { jobStatsFlags, migrateFlags } from './domain-flags.ts';
import { flagBits, type Flags } from './flags.ts';
import { valuesOf, wordAt, type Values } from './values.ts';

/** virDomainJobType, by number. */
const jobTypes = ['none', 'bounded', 'unbounded', 'completed', 'failed', 'cancelled'] as const;
/** virDomainJobOperation, by number. */
const jobOperations = [
  ...(['unknown', 'start', 'save', 'restore', 'migration-in', 'migration-out', 'snapshot'] as const),
  ...(['snapshot-revert', 'dump', 'backup', 'snapshot-delete'] as const),
] as const;

/** How far a long operation is. Times in milliseconds, sizes in bytes; what the driver does not know is missing. */
export interface JobStats {
  readonly type: (typeof jobTypes)[number] | 'unknown';
  readonly operation: (typeof jobOperations)[number];
  readonly elapsedMs?: number;
  readonly remainingMs?: number;
  readonly totalBytes?: number;
  readonly processedBytes?: number;
  readonly remainingBytes?: number;
  /** The guest's stand-still at the end of a live migration. */
  readonly downtimeMs?: number;
  /** Everything, under libvirt's own names. */
  readonly raw: Values;
}

/** Options of {@link DomainJob.migrateToUri}, after virDomainMigrateToURI3. */
export interface MigrateOptions extends Omit<Flags<typeof migrateFlags>, 'peer2peer'>, CallOptions {
  /** The hypervisor's own address on the other side, as `tcp://10.0.0.2`; libvirt finds one unless given. */
  readonly migrateUri?: string;
  /** The name on the other side. */
  readonly name?: string;
  /** The configuration on the other side, live and persistent. */
  readonly xml?: string;
  readonly persistentXml?: string;
  /** In MiB per second. */
  readonly bandwidthMiB?: number;
  /** The address that the other side listens on. */
  readonly listenAddress?: string;
  /** Targets of the disks to copy, as `vda`; with `nonSharedDisk` or `nonSharedInc`. */
  readonly disks?: readonly string[];
  /** Where the disks are sent: `tcp://…` or `unix:///…`. */
  readonly disksUri?: string;
  /** Streams of a `parallel` migration. */
  readonly connections?: number;
  /** Compression methods, as `zstd`. */
  readonly compression?: readonly string[];
}

/** Decodes virDomainGetJobStats and the `job-completed` event. */
export function jobStatsOf(type: number, params: readonly TypedParameter[]): JobStats {
  const raw = valuesOf(params);
  const number = (name: string): number | undefined => (typeof raw[name] === 'number' ? raw[name] : undefined);
  const known = {
    elapsedMs: number('time_elapsed'),
    remainingMs: number('time_remaining'),
    totalBytes: number('data_total') ?? number('disk_total'),
    processedBytes: number('data_processed') ?? number('disk_processed'),
    remainingBytes: number('data_remaining') ?? number('disk_remaining'),
    downtimeMs: number('downtime') ?? number('downtime_net'),
  };
  return {
    type: wordAt(jobTypes, type),
    operation: wordAt(jobOperations, number('operation') ?? 0),
    ...Object.fromEntries(Object.entries(known).filter(([, value]) => value !== undefined)),
    raw,
  };
}

/** Long operations of a domain: migration, and the progress of it, of save, dump, snapshot and backup. */
export class DomainJob {
  readonly #rpc: Connection;
  readonly #dom: NonnullDomain;

  constructor(rpc: Connection, dom: NonnullDomain) {
    this.#rpc = rpc;
    this.#dom = dom;
  }

  /** virDomainGetJobStats. `completed` asks for the last one that ended, which is told once. */
  async stats(options: Flags<typeof jobStatsFlags> & CallOptions = {}): Promise<JobStats> {
    const args = { dom: this.#dom, flags: flagBits(jobStatsFlags, options) };
    const { type, params } = await this.#rpc.call('domainGetJobStats', args, options);
    return jobStatsOf(type, params);
  }

  /** virDomainAbortJob. */
  async abort(options: CallOptions = {}): Promise<void> {
    await this.#rpc.call('domainAbortJob', { dom: this.#dom }, options);
  }

  /**
   * Live migration, peer to peer: this libvirtd connects to the other one, which must be able to resolve
   * `destinationUri` (virDomainMigrateToURI3). It may take long: give `timeoutMs`, and watch {@link stats}. When the
   * outcome is unknown, look on both sides.
   */
  async migrateToUri(destinationUri: string, options: MigrateOptions = {}): Promise<void> {
    const params = typedParameters(
      {
        migrate_uri: options.migrateUri,
        destination_name: options.name,
        destination_xml: options.xml,
        persistent_xml: options.persistentXml,
        bandwidth: options.bandwidthMiB,
        listen_address: options.listenAddress,
        migrate_disks: options.disks,
        disks_uri: options.disksUri,
        'parallel.connections': options.connections,
        compression: options.compression,
      },
      { bandwidth: 'ullong' },
    );
    const flags = flagBits(migrateFlags, { ...options, peer2peer: true });
    const args = { dom: this.#dom, dconnuri: destinationUri, params, cookieIn: new Uint8Array(), flags };
    await this.#rpc.call('domainMigratePerform3Params', args, options);
  }

  /** virDomainMigrateSetMaxDowntime, in milliseconds. */
  async setMaxDowntime(downtimeMs: number, options: CallOptions = {}): Promise<void> {
    const args = { dom: this.#dom, downtime: BigInt(downtimeMs), flags: 0 };
    await this.#rpc.call('domainMigrateSetMaxDowntime', args, options);
  }

  /** virDomainMigrateSetMaxSpeed, in MiB per second. */
  async setMaxSpeed(bandwidthMiB: number, options: CallOptions = {}): Promise<void> {
    const args = { dom: this.#dom, bandwidth: BigInt(bandwidthMiB), flags: 0 };
    await this.#rpc.call('domainMigrateSetMaxSpeed', args, options);
  }

  /** virDomainMigrateStartPostCopy, of a migration with `postcopy`. */
  async startPostCopy(options: CallOptions = {}): Promise<void> {
    await this.#rpc.call('domainMigrateStartPostCopy', { dom: this.#dom, flags: 0 }, options);
  }
}
