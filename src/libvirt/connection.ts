/**
 * One connection to a libvirt daemon, on a socket that somebody else opened (connect.ts).
 *
 * Calls go out as they are made, several in one write where they come in one turn of the event loop. What comes in is
 * cut into messages and routed at once, without waiting for anybody: a reply to the caller that waits for its serial,
 * data to the stream that its call opened, an event to its subscribers' bounded queues, a ping to a pong. When the
 * connection ends, for whatever reason, every call is settled and every stream and subscription ends.
 *
 * A slow reader of a stream stops the whole connection's reading, since the protocol has no other brake: move
 * volumes over a connection of their own ({@link Connection.duplicate}).
 */
import type { Duplex } from 'node:stream';
import { toError } from '../base/errors.ts';
import { silentLogger, type Logger } from '../base/logger.ts';
import { type AnyEvent, EventRouter, type SubscribeOptions, type Subscription } from './event-router.ts';
import { ConnectionError, EncodeError, type LibvirtError, OutcomeUnknownError, ProtocolError } from './errors.ts';
import { FrameReader, type FrameHeader } from './frame-reader.ts';
import { Outbox } from './outbox.ts';
import { KeepaliveTimer, type KeepalivePolicy } from './keepalive.ts';
import { PendingCall } from './pending-call.ts';
import {
  limits,
  procedures,
  programs,
  VirNetMessageStatus,
  VirNetMessageType,
  type Events,
  type Procedures,
} from './protocol.gen.ts';
import { readRemoteError } from './remote-error.ts';
import type { LibvirtStream, StreamOptions } from './stream.ts';
import { StreamRouter } from './stream-router.ts';
import { codecOf } from './xdr-codec.ts';
import { XdrReader } from './xdr-reader.ts';

/** A procedure's name, as `domainGetXmlDesc`. */
export type ProcedureName = keyof Procedures;
/** A procedure's arguments. */
export type Arguments<Name extends ProcedureName> = Procedures[Name]['args'];
/** A procedure's result. */
export type Result<Name extends ProcedureName> = Procedures[Name]['ret'];

/** How a call is made. */
export interface CallOptions {
  /** Gives the call up. Its outcome is unknown then. */
  readonly signal?: AbortSignal | undefined;
  /** Deadline in milliseconds; the connection's `callTimeoutMs` unless given. Infinity for none. */
  readonly timeoutMs?: number | undefined;
}

/** How a connection behaves. */
export interface ConnectionOptions {
  /** Deadline of calls that name none, in milliseconds. One minute. */
  readonly callTimeoutMs?: number;
  /** More calls waiting for an answer are refused. 65,536. */
  readonly maxPendingCalls?: number;
  /** Calls are refused while more bytes than this wait to be written. 128 MiB. */
  readonly maxQueuedBytes?: number;
  readonly logger?: Logger;
}

/** How many calls libvirtd takes from a client at once (`max_client_requests`) before it stops reading. */
const serverRequests = 5;
const keepalivePing = 1;
const keepalivePong = 2;

/** See the head of this file. */
export class Connection {
  readonly #socket: Duplex;
  readonly #logger: Logger;
  readonly #callTimeoutMs: number;
  readonly #maxPendingCalls: number;
  readonly #maxQueuedBytes: number;
  readonly #outbox: Outbox;
  readonly #reader = new FrameReader((header, payload) => this.#route(header, payload));
  readonly #pending = new Map<number, PendingCall>();
  readonly #streams: StreamRouter;
  readonly #events = new EventRouter();
  readonly #closeListeners = new Set<(error: Error | undefined) => void>();
  #unsent: PendingCall[] = [];
  #serial = 0;
  #keepalive: KeepaliveTimer | undefined;
  #ended: { readonly error: ConnectionError; readonly wanted: boolean } | undefined;
  /** Opens another connection to the same place; set by connect(). */
  #duplicate: ((signal?: AbortSignal) => Promise<Connection>) | undefined;

  /** @param socket Connected; the connection owns it from now on. */
  constructor(socket: Duplex, options: ConnectionOptions = {}) {
    this.#socket = socket;
    this.#logger = options.logger ?? silentLogger;
    this.#callTimeoutMs = options.callTimeoutMs ?? 60_000;
    this.#maxPendingCalls = options.maxPendingCalls ?? 65_536;
    this.#maxQueuedBytes = options.maxQueuedBytes ?? 134_217_728;
    this.#outbox = new Outbox(socket, () => {
      for (const call of this.#unsent) call.sent = true;
      this.#unsent = [];
    });
    this.#streams = new StreamRouter(socket, this.#outbox, () => {
      if (this.#ended !== undefined) throw this.#ended.error;
    });
    socket.on('data', (chunk: Buffer) => this.#received(chunk));
    socket.on('error', (error) => this.#lost(error));
    socket.on('end', () => this.#lost(undefined));
    socket.on('close', () => this.#lost(undefined));
  }

  /** Whether calls can be made. */
  get isOpen(): boolean {
    return this.#ended === undefined;
  }

  /** Calls waiting for an answer. */
  get callsInFlight(): number {
    return this.#pending.size;
  }

  /** Streams that are not over. */
  get openStreams(): number {
    return this.#streams.size;
  }

  /** Subscriptions that are not over. */
  get subscriptions(): number {
    return this.#events.size;
  }

  /**
   * Calls a procedure of the remote or QEMU program.
   *
   * @param name As in remote_protocol.x: REMOTE_PROC_DOMAIN_GET_XML_DESC is `domainGetXmlDesc`,
   *   QEMU_PROC_DOMAIN_AGENT_COMMAND is `qemuDomainAgentCommand`.
   * @throws LibvirtError libvirt's answer; EncodeError for arguments that cannot be sent; ConnectionError where the
   *   call was never sent; OutcomeUnknownError where no answer came before the deadline, the signal or the end.
   */
  call<Name extends ProcedureName>(
    name: Name,
    args: Arguments<Name>,
    options: CallOptions = {},
  ): Promise<Result<Name>> {
    return new Promise((resolve, reject) => {
      this.#start(name, args, options, resolve as (value: unknown) => void, reject);
    });
  }

  /**
   * Calls a procedure that opens a stream (console, volume upload and download, screenshot…).
   *
   * @returns The procedure's result and the stream, whose data is not lost however late one begins to read.
   * @throws What {@link call} throws. A stream that is opened after its call was given up is aborted.
   */
  async openStream<Name extends ProcedureName>(
    name: Name,
    args: Arguments<Name>,
    options: CallOptions & StreamOptions = {},
  ): Promise<{ readonly result: Result<Name>; readonly stream: LibvirtStream }> {
    let opened: LibvirtStream | undefined;
    const result = await new Promise<Result<Name>>((resolve, reject) => {
      const serial = this.#start(name, args, options, resolve as (value: unknown) => void, reject);
      const call = serial === undefined ? undefined : this.#pending.get(serial);
      if (serial === undefined || call === undefined) return;
      opened = this.#streams.open(name, serial, options);
      call.stream = opened;
    });
    if (opened === undefined) throw new ProtocolError(`${name} opened no stream`);
    return { result, stream: opened };
  }

  /**
   * Takes every event of a name that the server sends from now on, through a bounded queue. It does not ask the
   * server to send any: see watch-events.ts.
   */
  subscribe<Name extends keyof Events>(
    name: Name,
    options: SubscribeOptions<Events[Name]> = {},
  ): Subscription<Events[Name]> {
    if (this.#ended !== undefined) throw this.#ended.error;
    return this.#events.subscribe(name, options);
  }

  /** Begins to ping the peer; connect() does it where the daemon can. */
  startKeepalive(policy: KeepalivePolicy): void {
    if (this.#ended !== undefined || this.#keepalive !== undefined) return;
    this.#keepalive = new KeepaliveTimer(policy, {
      ping: () => this.#sendKeepalive(keepalivePing),
      dead: (silentMs) => this.#end(new ConnectionError(`libvirt did not answer for ${silentMs / 1000} s`), false),
      excused: () => this.#streams.isFull || this.#pending.size >= serverRequests,
    });
  }

  /** Calls `listener` once when the connection ends: with the error, or with undefined after {@link close}. */
  onClose(listener: (error: Error | undefined) => void): () => void {
    if (this.#ended === undefined) this.#closeListeners.add(listener);
    else listener(this.#ended.wanted ? undefined : this.#ended.error);
    return () => this.#closeListeners.delete(listener);
  }

  /** Another connection to the same daemon, for bulk data or long operations. */
  duplicate(signal?: AbortSignal): Promise<Connection> {
    if (this.#duplicate === undefined) throw new ConnectionError('this connection was not made by connect()');
    return this.#duplicate(signal);
  }

  /** Says how {@link duplicate} connects. For connect(). */
  setDuplicate(duplicate: (signal?: AbortSignal) => Promise<Connection>): void {
    this.#duplicate = duplicate;
  }

  /**
   * Ends the connection. Calls that wait are settled with OutcomeUnknownError, streams fail, subscriptions end. The
   * daemon is told, and has `graceMs` milliseconds to take it.
   */
  async close(graceMs = 1000): Promise<void> {
    if (this.#ended !== undefined) return;
    const error = new ConnectionError('the connection to libvirt was closed');
    this.#ended = { error, wanted: true };
    this.#settleAll(error, 'closed');
    const closed = new Promise<void>((resolve) => this.#socket.once('close', () => resolve()));
    const { VIR_NET_CALL } = VirNetMessageType;
    const [program, procedure] = procedures.connectClose;
    this.#outbox.add({ program, procedure, type: VIR_NET_CALL, serial: this.#nextSerial(), status: 0 });
    this.#outbox.end();
    const timer = setTimeout(() => this.#socket.destroy(), graceMs);
    await closed;
    clearTimeout(timer);
  }

  /** Ends the connection at once, as if it had been lost. */
  destroy(error: Error = new ConnectionError('the connection to libvirt was destroyed')): void {
    this.#end(error instanceof ConnectionError ? error : new ConnectionError(error.message, { cause: error }), false);
  }

  #start(
    name: ProcedureName,
    args: unknown,
    options: CallOptions,
    resolve: (value: unknown) => void,
    reject: (error: Error) => void,
  ): number | undefined {
    const [program, procedure, argsName] = procedures[name];
    const { signal } = options;
    if (this.#ended !== undefined) {
      reject(this.#refusal(name));
      return;
    }
    if (signal?.aborted === true) {
      reject(toError(signal.reason));
      return;
    }
    if (this.#pending.size >= this.#maxPendingCalls || this.#outbox.queuedBytes > this.#maxQueuedBytes) {
      reject(new ConnectionError(`${name}: too many calls wait for libvirt's answer`));
      return;
    }
    const serial = this.#nextSerial();
    try {
      this.#outbox.add({
        program,
        procedure,
        type: VirNetMessageType.VIR_NET_CALL,
        serial,
        status: VirNetMessageStatus.VIR_NET_OK,
        payload: argsName === null ? undefined : (writer) => codecOf(argsName).write(writer, args),
      });
    } catch (error) {
      reject(
        error instanceof EncodeError ? new EncodeError(`${name}: ${error.message}`, { cause: error }) : toError(error),
      );
      return;
    }
    const call = new PendingCall(name, resolve, reject);
    this.#pending.set(serial, call);
    this.#unsent.push(call);
    call.watch(options.timeoutMs ?? this.#callTimeoutMs, signal, (reason, message, cause) => {
      this.#abandon(serial, call);
      call.reject(new OutcomeUnknownError(name, reason, message, { cause }));
    });
    return serial;
  }

  /** Nobody waits for this call any more; its late reply is dropped, a stream that it opens aborted. */
  #abandon(serial: number, call: PendingCall): void {
    this.#pending.delete(serial);
    if (call.stream === undefined) return;
    call.stream.fail(new OutcomeUnknownError(call.name, 'aborted', `${call.name}: given up`));
    this.#streams.abandon(serial);
  }

  #nextSerial(): number {
    do this.#serial = this.#serial >= 0xffff_ffff ? 1 : this.#serial + 1;
    while (this.#pending.has(this.#serial) || this.#streams.has(this.#serial));
    return this.#serial;
  }

  #received(chunk: Buffer): void {
    if (this.#ended !== undefined) return;
    this.#keepalive?.heard();
    try {
      this.#reader.push(chunk);
    } catch (error) {
      const cause = toError(error);
      this.#end(
        cause instanceof ConnectionError ? cause : new ProtocolError(`malformed message: ${cause.message}`, { cause }),
        false,
      );
    }
  }

  #route(header: FrameHeader, payload: Buffer): void {
    // The rest of a chunk after the message that ended the connection.
    if (this.#ended !== undefined) return;
    switch (header.program) {
      case programs.remote.program:
      case programs.qemu.program:
        if (header.version !== programs.remote.version) {
          this.#strange(header);
          return;
        }
        this.#routeRemote(header, payload);
        return;
      case programs.keepalive.program:
        if (header.procedure === keepalivePing) this.#sendKeepalive(keepalivePong);
        return;
      default:
        this.#strange(header);
        return;
    }
  }

  #routeRemote(header: FrameHeader, payload: Buffer): void {
    switch (header.type) {
      case VirNetMessageType.VIR_NET_REPLY:
        this.#routeReply(header, payload);
        return;
      case VirNetMessageType.VIR_NET_MESSAGE:
        this.#routeEvent(header, payload);
        return;
      case VirNetMessageType.VIR_NET_STREAM:
      case VirNetMessageType.VIR_NET_STREAM_HOLE:
        this.#streams.route(header, payload);
        return;
      default:
        this.#strange(header);
        return;
    }
  }

  #routeReply(header: FrameHeader, payload: Buffer): void {
    const call = this.#pending.get(header.serial);
    if (call === undefined) {
      this.#streams.lateReply(header);
      return;
    }
    this.#pending.delete(header.serial);
    call.unwatch();
    if (header.status === VirNetMessageStatus.VIR_NET_OK) {
      const [, , , retName] = procedures[call.name];
      let result: unknown;
      try {
        result = retName === null ? undefined : codecOf(retName).read(new XdrReader(payload));
      } catch (error) {
        const fault = toError(error);
        call.stream?.fail(fault);
        call.reject(fault);
        throw error;
      }
      call.resolve(result);
      return;
    }
    const error = readErrorOrFault(call.name, payload);
    call.stream?.fail(error);
    call.reject(error);
    if (error instanceof ProtocolError) throw error;
  }

  #routeEvent(header: FrameHeader, payload: Buffer): void {
    const event: AnyEvent | undefined = this.#events.decode(header.program, header.procedure, payload);
    if (event === undefined) {
      this.#strange(header);
      return;
    }
    this.#events.dispatch(event);
  }

  #sendKeepalive(procedure: number): void {
    // A peer that pings faster than it reads must not grow our queue.
    if (this.#outbox.queuedBytes > limits.VIR_NET_MESSAGE_INITIAL) return;
    this.#outbox.add({
      program: 'keepalive',
      procedure,
      type: VirNetMessageType.VIR_NET_MESSAGE,
      serial: 0,
      status: VirNetMessageStatus.VIR_NET_OK,
    });
  }

  #strange(header: FrameHeader): void {
    this.#logger.debug('libvirt sent a message of no known kind', { ...header });
  }

  // The end

  #refusal(name: ProcedureName): ConnectionError {
    const cause = this.#ended?.error;
    return new ConnectionError(`${name}: not connected to libvirt`, { cause });
  }

  #lost(cause: Error | undefined): void {
    const message =
      cause === undefined ? 'libvirt closed the connection' : `the connection to libvirt was lost: ${cause.message}`;
    this.#end(new ConnectionError(message, { cause }), false);
  }

  #end(error: ConnectionError, wanted: boolean): void {
    if (this.#ended !== undefined) return;
    this.#ended = { error, wanted };
    this.#settleAll(error, 'lost');
    this.#socket.destroy();
  }

  #settleAll(error: ConnectionError, reason: 'lost' | 'closed'): void {
    this.#keepalive?.stop();
    const calls = [...this.#pending.values()];
    this.#pending.clear();
    this.#unsent = [];
    for (const call of calls) {
      call.unwatch();
      const message = `${call.name}: no answer before the connection ended`;
      call.reject(
        call.sent
          ? new OutcomeUnknownError(call.name, reason, message, { cause: error })
          : new ConnectionError(`${call.name}: not sent before the connection ended`, { cause: error }),
      );
    }
    this.#streams.end(error);
    this.#outbox.release();
    this.#events.end(reason === 'closed' ? undefined : error);
    const listeners = [...this.#closeListeners];
    this.#closeListeners.clear();
    for (const listener of listeners) listener(reason === 'closed' ? undefined : error);
  }
}

/** The error of a reply, or what is wrong with it: the caller gets one of them in any case. */
function readErrorOrFault(name: string, payload: Buffer): LibvirtError | ProtocolError {
  try {
    return readRemoteError(name, payload);
  } catch (error) {
    if (error instanceof ProtocolError) return error;
    throw error;
  }
}
