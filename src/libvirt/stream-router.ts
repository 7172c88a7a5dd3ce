import type { Duplex } from 'node:stream';
import { ProtocolError } from './errors.ts';
import type { FrameHeader } from './frame-reader.ts';
import type { Outbox } from './outbox.ts';
import { procedures, programs, VirNetMessageStatus, VirNetMessageType, type Procedures } from './protocol.gen.ts';
import { readRemoteError } from './remote-error.ts';
import { LibvirtStream, type StreamOptions } from './stream.ts';
import { XdrReader } from './xdr-reader.ts';

/** Calls that were given up and whose late answer may open a stream to be aborted: so many are remembered. */
const maxAbandoned = 1024;

/** The streams of a connection: routes their packets, and stops the connection's reading while one of them is full. */
export class StreamRouter {
  readonly #socket: Duplex;
  readonly #outbox: Outbox;
  /** @throws ConnectionError when the connection is over. */
  readonly #assertOpen: () => void;
  readonly #streams = new Map<number, LibvirtStream>();
  readonly #full = new Set<LibvirtStream>();
  readonly #abandoned = new Set<number>();

  constructor(socket: Duplex, outbox: Outbox, assertOpen: () => void) {
    this.#socket = socket;
    this.#outbox = outbox;
    this.#assertOpen = assertOpen;
  }

  /** Streams that are not over. */
  get size(): number {
    return this.#streams.size;
  }

  /** Whether a full stream keeps the connection from reading. */
  get isFull(): boolean {
    return this.#full.size > 0;
  }

  /** Whether a stream has the serial. */
  has(serial: number): boolean {
    return this.#streams.has(serial);
  }

  /** Makes the stream of a call that was just sent, so that no data which comes with its reply is lost. */
  open(name: keyof Procedures, serial: number, options: StreamOptions): LibvirtStream {
    const [program, procedure] = procedures[name];
    const stream: LibvirtStream = new LibvirtStream(
      name,
      {
        send: (type, status, data) => {
          this.#assertOpen();
          const payload =
            data === undefined ? undefined : (writer: { unpadded(bytes: Uint8Array): void }) => writer.unpadded(data);
          this.#outbox.add({ program, procedure, type, serial, status, payload });
        },
        drained: () => this.#outbox.drained(),
        full: (isFull) => this.#setFull(stream, isFull),
        over: () => {
          this.#setFull(stream, false);
          this.#streams.delete(serial);
        },
      },
      options,
    );
    this.#streams.set(serial, stream);
    return stream;
  }

  /** The call of a stream was given up: should it be answered after all, its stream is aborted. */
  abandon(serial: number): void {
    this.#abandoned.add(serial);
    if (this.#abandoned.size <= maxAbandoned) return;
    for (const oldest of this.#abandoned) {
      this.#abandoned.delete(oldest);
      break;
    }
  }

  /** A reply for which nobody waits. */
  lateReply(header: FrameHeader): void {
    if (!this.#abandoned.delete(header.serial) || header.status !== VirNetMessageStatus.VIR_NET_OK) return;
    this.#outbox.add({
      program: header.program === programs.qemu.program ? 'qemu' : 'remote',
      procedure: header.procedure,
      type: VirNetMessageType.VIR_NET_STREAM,
      serial: header.serial,
      status: VirNetMessageStatus.VIR_NET_ERROR,
    });
  }

  /**
   * Takes a packet of a stream. One of a stream that is over was under way when it ended, and is dropped.
   *
   * @throws ProtocolError where the packet cannot be.
   */
  route(header: FrameHeader, payload: Buffer): void {
    const stream = this.#streams.get(header.serial);
    if (stream === undefined) return;
    if (header.status === VirNetMessageStatus.VIR_NET_ERROR) {
      stream.remoteError(readRemoteError(stream.procedure, payload));
    } else if (header.status === VirNetMessageStatus.VIR_NET_OK) {
      stream.remoteFinished();
    } else if (header.type === VirNetMessageType.VIR_NET_STREAM) {
      stream.remoteData(payload);
    } else {
      const length = new XdrReader(payload).hyper();
      if (length < 0n) throw new ProtocolError(`malformed message: a hole of ${String(length)} bytes`);
      stream.remoteHole(length);
    }
  }

  /** The connection is over, and all streams with it. */
  end(error: Error): void {
    this.#abandoned.clear();
    for (const stream of [...this.#streams.values()]) stream.fail(error);
  }

  #setFull(stream: LibvirtStream, isFull: boolean): void {
    if (isFull) {
      this.#full.add(stream);
      this.#socket.pause();
    } else if (this.#full.delete(stream) && this.#full.size === 0 && !this.#socket.destroyed) {
      this.#socket.resume();
    }
  }
}
