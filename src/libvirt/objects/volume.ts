import type { CallOptions, Connection } from '../connection.ts';
import type { NonnullStorageVol } from '../protocol.gen.ts';
import type { LibvirtStream, StreamOptions } from '../stream.ts';
import { flagBits, type Flags } from './flags.ts';
import { indexOf, wordAt } from './values.ts';
import { download, upload, type TransferOptions, type VolumeSink, type VolumeSource } from './volume-transfer.ts';

/** virStorageVolDeleteFlags. */
export const volumeDeleteFlags = { zeroed: 1, withSnapshots: 2 } as const;

/** virStorageVolResizeFlags. */
export const volumeResizeFlags = { allocate: 1, delta: 2, shrink: 4 } as const;

/** virStorageVolType and virStorageVolWipeAlgorithm, by number. */
const volumeTypes = ['file', 'block', 'dir', 'network', 'netdir', 'ploop'] as const;
const wipeAlgorithms = [
  ...(['zero', 'nnsa', 'dod', 'bsi', 'gutmann', 'schneier', 'pfitzner7', 'pfitzner33', 'random', 'trim'] as const),
] as const;

/** virStorageVolInfo, in bytes. */
export interface VolumeInfo {
  readonly type: (typeof volumeTypes)[number] | 'unknown';
  readonly capacityBytes: number;
  /** On disk; with `physical` the size of the file. */
  readonly allocationBytes: number;
}

/** Which part of a volume a transfer is about. */
export interface TransferRange {
  /** Default 0. */
  readonly offsetBytes?: number;
  /** Default up to the end. */
  readonly lengthBytes?: number;
  /**
   * Holes travel as holes. Into a volume that holds data already, what lies under a hole stays as it is (so does
   * virsh's --sparse): use it for new volumes.
   */
  readonly sparse?: boolean;
}

/** A libvirt storage volume. */
export class Volume {
  readonly #rpc: Connection;
  readonly ref: NonnullStorageVol;

  constructor(rpc: Connection, ref: NonnullStorageVol) {
    this.#rpc = rpc;
    this.ref = ref;
  }

  get name(): string {
    return this.ref.name;
  }

  /** The name of its pool. */
  get pool(): string {
    return this.ref.pool;
  }

  /** Unique on the host; for files their path. */
  get key(): string {
    return this.ref.key;
  }

  async xml(options: CallOptions = {}): Promise<string> {
    return (await this.#rpc.call('storageVolGetXmlDesc', { vol: this.ref, flags: 0 }, options)).xml;
  }

  async path(options: CallOptions = {}): Promise<string> {
    return (await this.#rpc.call('storageVolGetPath', { vol: this.ref }, options)).name;
  }

  /** virStorageVolGetInfoFlags. */
  async info(options: { physical?: boolean } & CallOptions = {}): Promise<VolumeInfo> {
    const args = { vol: this.ref, flags: options.physical === true ? 1 : 0 };
    const info = await this.#rpc.call('storageVolGetInfoFlags', args, options);
    return {
      type: wordAt(volumeTypes, info.type),
      capacityBytes: Number(info.capacity),
      allocationBytes: Number(info.allocation),
    };
  }

  /** virStorageVolDelete. */
  async delete(options: Flags<typeof volumeDeleteFlags> & CallOptions = {}): Promise<void> {
    const args = { vol: this.ref, flags: flagBits(volumeDeleteFlags, options) };
    await this.#rpc.call('storageVolDelete', args, options);
  }

  /** virStorageVolResize, to bytes, or with `delta` by bytes. */
  async resize(sizeBytes: number, options: Flags<typeof volumeResizeFlags> & CallOptions = {}): Promise<void> {
    const args = { vol: this.ref, capacity: BigInt(sizeBytes), flags: flagBits(volumeResizeFlags, options) };
    await this.#rpc.call('storageVolResize', args, options);
  }

  /** virStorageVolWipePattern. Long: give `timeoutMs`. */
  async wipe(options: { algorithm?: (typeof wipeAlgorithms)[number] } & CallOptions = {}): Promise<void> {
    const algorithm = indexOf(wipeAlgorithms, options.algorithm ?? 'zero');
    await this.#rpc.call('storageVolWipePattern', { vol: this.ref, algorithm, flags: 0 }, options);
  }

  /** virStorageVolUpload: the bare stream. `finish` it, or the daemon counts the upload as given up. */
  async openUpload(options: TransferRange & CallOptions & StreamOptions = {}): Promise<LibvirtStream> {
    return (await this.#rpc.openStream('storageVolUpload', this.#transferArgs(options), options)).stream;
  }

  /** virStorageVolDownload: the bare stream. */
  async openDownload(options: TransferRange & CallOptions & StreamOptions = {}): Promise<LibvirtStream> {
    return (await this.#rpc.openStream('storageVolDownload', this.#transferArgs(options), options)).stream;
  }

  /**
   * Writes a volume's content from a file of this machine (its path) or from what a source yields; resolves when the
   * daemon has confirmed all of it. A slow source holds up nothing; a slow reader of a download does hold up its
   * connection: use Libvirt.duplicate for long transfers.
   *
   * @returns How many bytes were written, holes included.
   */
  async upload(source: VolumeSource, options: TransferRange & TransferOptions & CallOptions = {}): Promise<number> {
    return upload(await this.openUpload(options), source, { ...options, sparse: options.sparse === true });
  }

  /**
   * Reads a volume's content into a file of this machine (its path, which is truncated first) or a sink.
   *
   * @returns How many bytes it is long, holes included.
   */
  async download(sink: VolumeSink, options: TransferRange & TransferOptions & CallOptions = {}): Promise<number> {
    return download(await this.openDownload(options), sink, options);
  }

  #transferArgs({ offsetBytes = 0, lengthBytes = 0, sparse }: TransferRange) {
    return {
      vol: this.ref,
      offset: BigInt(offsetBytes),
      length: BigInt(lengthBytes),
      flags: sparse === true ? 1 : 0,
    };
  }
}
