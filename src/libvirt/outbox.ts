import type { Duplex } from 'node:stream';
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

/** The sending half of a connection: all messages of one turn of the event loop leave in one write. */
export class Outbox {
  readonly #socket: Duplex;
  readonly #onFlush: () => void;
  readonly #writer = new XdrWriter(limits.VIR_NET_MESSAGE_MAX + limits.VIR_NET_MESSAGE_LEN_MAX);
  #scheduled = false;
  #waiting: (() => void)[] = [];

  /** @param onFlush Called when everything added so far is handed to the socket. */
  constructor(socket: Duplex, onFlush: () => void) {
    this.#socket = socket;
    this.#onFlush = onFlush;
    socket.on('drain', () => this.release());
  }

  /** Bytes that the socket has not taken. */
  get queuedBytes(): number {
    return this.#socket.writableLength;
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
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => this.flush());
  }

  /** Hands everything to the socket now. */
  flush(): void {
    this.#scheduled = false;
    const chunks = this.#writer.take();
    this.#onFlush();
    if (chunks.length === 0 || !this.#socket.writable) return;
    if (chunks.length > 1) this.#socket.cork();
    for (const chunk of chunks) this.#socket.write(chunk);
    if (chunks.length > 1) this.#socket.uncork();
  }

  /** Resolves when the socket takes more, or at {@link release}. */
  drained(): Promise<void> {
    this.flush();
    if (!this.#socket.writableNeedDrain || this.#socket.destroyed) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Lets go whoever waits in {@link drained}: the socket takes more, or never will. */
  release(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
