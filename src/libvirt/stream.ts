import { onAbort } from '../base/abort.ts';
import { toError } from '../base/errors.ts';
import { AsyncQueue } from './async-queue.ts';
import { ConnectionError, OutcomeUnknownError, type LibvirtError } from './errors.ts';
import { limits, VirNetMessageStatus, VirNetMessageType } from './protocol.gen.ts';

/** How a stream buffers. */
export interface StreamOptions {
  /** Reading from the daemon stops while more bytes than this wait to be taken. 1 MiB. */
  readonly highWaterBytes?: number | undefined;
}

/** What a stream carries: data, or a hole of a sparse file (only where the call asked for holes by its flag). */
export type StreamPiece =
  { readonly type: 'data'; readonly data: Buffer } | { readonly type: 'hole'; readonly length: bigint };

/** What a stream needs of its connection. */
export interface StreamChannel {
  /** @throws ConnectionError where the connection is over. */
  readonly send: (type: number, status: number, payload?: Uint8Array) => void;
  /** Resolves when the socket takes more, or is over. */
  readonly drained: () => Promise<void>;
  /** Says whether the stream's queue is full. */
  readonly full: (isFull: boolean) => void;
  /** The stream is over on both sides. */
  readonly over: () => void;
}

/** Longest data of one message: what libvirt's own client sends at most, for the sake of old daemons. */
const maxDataBytes = limits.VIR_NET_MESSAGE_LEGACY_PAYLOAD_MAX;
/** What a piece costs beside its data, in bytes, so that a stream of holes or of single bytes is bounded too. */
const pieceBytes = 256;

/**
 * Data beside a call: console, volume upload and download, screenshot.
 *
 * Reading is iterating: {@link pieces} yields data and holes, the stream itself data alone. Writing is {@link write}
 * and {@link writeHole}, which resolve when the socket takes more. {@link finish} ends our side and waits for the
 * daemon's word that all is well: an upload is on disk only then. {@link abort} gives up.
 *
 *     open ──finish()──▶ finishing ──daemon's OK──▶ over        data may still come while finishing (half-closed)
 *       │                    └──────daemon's error─▶ over (throws)
 *       ├──data of length 0 (end of file)─▶ readers end; finish() still waits for the OK
 *       └──abort()─▶ over; what still comes is dropped
 */
export class LibvirtStream implements AsyncIterable<Buffer, undefined> {
  /** The procedure that opened it. */
  readonly procedure: string;
  readonly #channel: StreamChannel;
  readonly #highWater: number;
  readonly #queue = new AsyncQueue<StreamPiece>();
  #queuedBytes = 0;
  #isFull = false;
  #state: 'open' | 'finishing' | 'aborting' | 'over' = 'open';
  #error: Error | undefined;
  #settled: { resolve: () => void; reject: (error: Error) => void } | undefined;
  #finished: Promise<void> | undefined;

  constructor(procedure: string, channel: StreamChannel, options: StreamOptions) {
    this.procedure = procedure;
    this.#channel = channel;
    this.#highWater = options.highWaterBytes ?? 1_048_576;
  }

  /** Whether data can be written. */
  get isOpen(): boolean {
    return this.#state === 'open';
  }

  /** What waits to be read, in bytes, with 256 for each piece. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /**
   * Data and holes in order, until the daemon has no more; finishes the stream then. Leaving the loop early aborts it.
   *
   * @throws LibvirtError the daemon's reason; ConnectionError when the connection ends first.
   */
  async *pieces(): AsyncGenerator<StreamPiece, undefined> {
    let complete = false;
    try {
      for (;;) {
        const next = await this.#queue.next();
        if (next.done === true) break;
        this.#taken(costOf(next.value));
        yield next.value;
      }
      complete = true;
      // The daemon keeps a stream until its end is acknowledged.
      if (this.#error === undefined) await this.finish();
    } finally {
      if (!complete) this.abort();
    }
    return undefined;
  }

  /** The data alone. Holes, which come only where the call asked for them, are left out. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer, undefined> {
    for await (const piece of this.pieces()) if (piece.type === 'data') yield piece.data;
    return undefined;
  }

  /**
   * Writes data; resolves when more can be written. The data may be reused afterwards.
   *
   * @throws LibvirtError where the daemon gave the stream up; ConnectionError where the stream or connection is over.
   */
  async write(data: Uint8Array): Promise<void> {
    for (let at = 0; at < data.length; at += maxDataBytes) {
      this.#assertWritable();
      this.#channel.send(
        VirNetMessageType.VIR_NET_STREAM,
        VirNetMessageStatus.VIR_NET_CONTINUE,
        data.subarray(at, at + maxDataBytes),
      );
      await this.#channel.drained();
    }
    this.#assertWritable();
  }

  /** Writes a hole of `length` bytes, where the call's flags said that there may be holes. */
  async writeHole(length: bigint): Promise<void> {
    this.#assertWritable();
    const payload = Buffer.alloc(12);
    payload.writeBigInt64BE(length, 0);
    this.#channel.send(VirNetMessageType.VIR_NET_STREAM_HOLE, VirNetMessageStatus.VIR_NET_CONTINUE, payload);
    await this.#channel.drained();
    this.#assertWritable();
  }

  /**
   * Ends our side, and waits until the daemon has ended its own. What it still sends can be read meanwhile, and must
   * be where it is more than the queue holds.
   *
   * @throws LibvirtError where the transfer failed; OutcomeUnknownError where the signal aborted first.
   */
  async finish(signal?: AbortSignal): Promise<void> {
    if (this.#error !== undefined) throw this.#error;
    if (this.#state === 'open') {
      this.#state = 'finishing';
      this.#finished = new Promise((resolve, reject) => {
        this.#settled = { resolve, reject };
      });
      // Also when nobody awaits it any more, an error must not count as unhandled: pieces() reports it too.
      this.#finished.catch(() => undefined);
      this.#channel.send(VirNetMessageType.VIR_NET_STREAM, VirNetMessageStatus.VIR_NET_OK);
    }
    const finished = this.#finished ?? Promise.resolve();
    if (signal === undefined) return finished;
    const forget = onAbort(signal, () => {
      const options: ErrorOptions = { cause: signal.reason };
      this.abort(new OutcomeUnknownError(this.procedure, 'aborted', `${this.procedure}: given up`, options));
    });
    try {
      await finished;
    } finally {
      forget();
    }
  }

  /** Gives the stream up. Whoever reads or waits gets `reason`; without one reading just ends. */
  abort(reason?: unknown): void {
    if (this.#state === 'over' || this.#state === 'aborting') return;
    const error = reason === undefined ? undefined : toError(reason);
    this.#error = error ?? new ConnectionError(`${this.procedure}: the stream was aborted`);
    this.#state = 'aborting';
    this.#queue.clear();
    this.#taken(this.#queuedBytes);
    this.#queue.end(error);
    this.#settled?.reject(this.#error);
    // The daemon confirms with an error of its own; until then the serial stays ours.
    this.#channel.send(VirNetMessageType.VIR_NET_STREAM, VirNetMessageStatus.VIR_NET_ERROR);
  }

  // For the connection.

  /** Data came; none means the end of the file. */
  remoteData(data: Buffer): void {
    if (this.#state === 'aborting' || this.#state === 'over') return;
    if (data.length === 0) this.#queue.end();
    else this.#add({ type: 'data', data });
  }

  /** A hole came. */
  remoteHole(length: bigint): void {
    if (this.#state === 'aborting' || this.#state === 'over') return;
    this.#add({ type: 'hole', length });
  }

  /** The daemon ended its side. */
  remoteFinished(): void {
    this.#end(undefined);
  }

  /** The daemon gave the stream up, or confirms that we did. */
  remoteError(error: LibvirtError): void {
    this.#end(error);
  }

  /** The connection ended, or the call failed. */
  fail(error: Error): void {
    this.#end(error);
  }

  #end(error: Error | undefined): void {
    if (this.#state === 'over') return;
    const aborted = this.#state === 'aborting';
    this.#state = 'over';
    if (!aborted) {
      this.#error ??= error;
      this.#queue.end(error);
      if (error === undefined) this.#settled?.resolve();
      else this.#settled?.reject(error);
    }
    this.#channel.over();
  }

  #add(piece: StreamPiece): void {
    this.#queuedBytes += costOf(piece);
    this.#queue.push(piece);
    if (this.#queuedBytes > this.#highWater && !this.#isFull) {
      this.#isFull = true;
      this.#channel.full(true);
    }
  }

  #taken(bytes: number): void {
    this.#queuedBytes -= bytes;
    if (!this.#isFull || this.#queuedBytes > this.#highWater / 2) return;
    this.#isFull = false;
    this.#channel.full(false);
  }

  #assertWritable(): void {
    if (this.#error !== undefined) throw this.#error;
    if (this.#state !== 'open') throw new ConnectionError(`${this.procedure}: the stream was finished`);
  }
}

function costOf(piece: StreamPiece): number {
  return pieceBytes + (piece.type === 'data' ? piece.data.length : 0);
}
