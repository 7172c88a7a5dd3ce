import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { limits, programs } from './protocol.gen.ts';
import { XdrWriter } from './xdr-writer.ts';

/** One message to be sent. */
export interface OutgoingMessage {
  readonly program: keyof typeof programs;
  readonly procedure: number;
  /** VirNetMessageType. */
  readonly type: number;
  readonly serial: number;
  /** VirNetMessageStatus. */
  readonly status: number;
  /** Writes what comes behind the header. */
  readonly payload?: ((writer: XdrWriter) => void) | undefined;
}

/** While more bytes than this wait, whoever can wait should. */
const highWaterBytes = 65_536;

/**
 * The sending half of a connection: all messages of one turn of the event loop leave in one write.
 *
 * Not so over TLS, where each leaves in a record of its own. libvirtd takes a record from its socket, reads one message
 * of it, and when it has as many calls as it takes from a client does not look at the rest until the socket has more:
 * calls that share a record would wait for the next ping.
 */
export class Outbox {
  readonly #socket: Duplex;
  readonly #onFlush: () => void;
  readonly #writer = new XdrWriter(limits.VIR_NET_MESSAGE_MAX + limits.VIR_NET_MESSAGE_LEN_MAX);
  readonly #separate: boolean;
  #scheduled = false;
  #waiting: (() => void)[] = [];
  /** Messages that wait for a record of their own. */
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #writing = false;
  #ending = false;

  /** @param onFlush Called when everything added so far is handed to the socket. */
  constructor(socket: Duplex, onFlush: () => void) {
    this.#socket = socket;
    this.#onFlush = onFlush;
    this.#separate = socket instanceof TLSSocket;
    socket.on('drain', () => this.release());
  }

  /** Bytes that the socket has not taken. */
  get queuedBytes(): number {
    return this.#queuedBytes + this.#socket.writableLength;
  }

  /**
   * Adds a message.
   *
   * @throws EncodeError where its payload cannot be written; nothing of it is sent then.
   */
  add({ program, procedure, type, serial, status, payload }: OutgoingMessage): void {
    const writer = this.#writer;
    writer.begin();
    try {
      writer.uint(0);
      writer.uint(programs[program].program);
      writer.uint(programs[program].version);
      writer.uint(procedure);
      writer.uint(type);
      writer.uint(serial);
      writer.uint(status);
      payload?.(writer);
    } catch (error) {
      writer.rollback();
      throw error;
    }
    writer.commit(writer.length);
    if (this.#separate) this.#enqueue(writer.take());
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => this.flush());
  }

  /** Hands everything to the socket now. */
  flush(): void {
    this.#scheduled = false;
    this.#onFlush();
    if (this.#separate) {
      this.#writeNext();
      return;
    }
    const chunks = this.#writer.take();
    if (chunks.length === 0 || !this.#socket.writable) return;
    if (chunks.length > 1) this.#socket.cork();
    for (const chunk of chunks) this.#socket.write(chunk);
    if (chunks.length > 1) this.#socket.uncork();
  }

  /** Ends the socket's sending half behind all that was added. */
  end(): void {
    this.flush();
    this.#ending = true;
    if (!this.#writing) this.#socket.end();
  }

  /** Resolves when the socket takes more, or at {@link release}. */
  drained(): Promise<void> {
    this.flush();
    const isFull = this.#separate ? this.#queuedBytes > highWaterBytes : this.#socket.writableNeedDrain;
    if (!isFull || this.#socket.destroyed) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Lets go whoever waits in {@link drained}: the socket takes more, or never will. */
  release(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }

  #enqueue(chunks: readonly Buffer[]): void {
    for (const chunk of chunks) {
      this.#queue.push(chunk);
      this.#queuedBytes += chunk.length;
    }
  }

  /** Writes the next message when the one before has left: only then does it get a record of its own. */
  #writeNext(): void {
    if (this.#writing || !this.#socket.writable) return;
    const chunk = this.#queue.shift();
    if (chunk === undefined) return;
    this.#writing = true;
    this.#socket.write(chunk, (error) => {
      this.#writing = false;
      this.#queuedBytes -= chunk.length;
      if (error !== undefined && error !== null) return;
      if (this.#queuedBytes <= highWaterBytes) this.release();
      if (this.#queue.length > 0) this.#writeNext();
      else if (this.#ending) this.#socket.end();
    });
  }
}
