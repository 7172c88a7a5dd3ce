/**
 * A small server that speaks libvirt's real framing on a unix or TLS socket and answers as the test says; for what a
 * real libvirtd never does. It cuts and builds frames by itself, so that a mistake in src/libvirt's framing shows.
 *
 *     const server = await startFakeLibvirtd();
 *     server.on('connectGetHostname', (call) => call.reply({ hostname: 'fake' }));
 *     const connection = await connect(server.uri);
 */
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import {
  events,
  procedures,
  programs,
  type Events,
  type Procedures,
  type VirNetMessageError,
} from '../../src/libvirt/protocol.gen.ts';
import { codecOf, type StructureName } from '../../src/libvirt/xdr-codec.ts';
import { XdrReader } from '../../src/libvirt/xdr-reader.ts';
import { XdrWriter } from '../../src/libvirt/xdr-writer.ts';
import { makeTestFolder } from './test-folder.ts';

export const CALL = 0;
export const REPLY = 1;
export const MESSAGE = 2;
export const STREAM = 3;
export const STREAM_HOLE = 6;
export const OK = 0;
export const ERROR = 1;
export const CONTINUE = 2;

/** A message as it is on the wire. */
export interface Frame {
  readonly program: number;
  readonly version: number;
  readonly procedure: number;
  readonly type: number;
  readonly serial: number;
  readonly status: number;
  readonly payload: Buffer;
}

/** The bytes of a message: length, header, payload. */
export function frame(parts: Partial<Frame>): Buffer {
  const {
    program = programs.remote.program,
    version = 1,
    procedure = 0,
    type = REPLY,
    serial = 0,
    status = OK,
  } = parts;
  const payload = parts.payload ?? Buffer.alloc(0);
  const header = Buffer.alloc(28);
  for (const [at, word] of [28 + payload.length, program, version, procedure, type, serial, status].entries()) {
    header.writeUInt32BE(word, at * 4);
  }
  return Buffer.concat([header, payload]);
}

/** The bytes of a structure. */
export function encode(name: StructureName, value: unknown): Buffer {
  const writer = new XdrWriter(1 << 26);
  writer.begin();
  codecOf(name).write(writer, value);
  return Buffer.concat(writer.take());
}

/** The bytes of an event. */
export function eventFrame<Name extends keyof Events>(name: Name, message: Events[Name]): Buffer {
  const [program, procedure, structure] = events[name];
  return frame({ program: programs[program].program, procedure, type: MESSAGE, payload: encode(structure, message) });
}

/** A virError with the parts that matter. */
export function errorPayload(error: Partial<VirNetMessageError>): Buffer {
  const nothing = { dom: null, str1: null, str2: null, str3: null, int1: 0, int2: 0, net: null };
  return encode('VirNetMessageError', { code: 1, domain: 0, level: 2, message: 'failed', ...nothing, ...error });
}

/** A call that the server received, or a packet of the stream it opened. */
export class FakeCall {
  readonly client: FakeClient;
  readonly name: string;
  readonly frame: Frame;
  readonly args: unknown;

  constructor(client: FakeClient, name: string, received: Frame, args: unknown) {
    this.client = client;
    this.name = name;
    this.frame = received;
    this.args = args;
  }

  /** The bytes of its reply. */
  replyFrame(ret?: unknown): Buffer {
    const structure = procedures[this.name as keyof Procedures][3];
    return this.#frame(REPLY, OK, structure === null ? undefined : encode(structure, ret));
  }

  reply(ret?: unknown): void {
    this.client.send(this.replyFrame(ret));
  }

  error(error: Partial<VirNetMessageError>): void {
    this.client.send(this.#frame(REPLY, ERROR, errorPayload(error)));
  }

  /** The bytes of a packet of its stream. */
  streamFrame(status: number, payload?: Buffer, type = STREAM): Buffer {
    return this.#frame(type, status, payload);
  }

  stream(status: number, payload?: Buffer, type = STREAM): void {
    this.client.send(this.streamFrame(status, payload, type));
  }

  #frame(type: number, status: number, payload: Buffer | undefined): Buffer {
    return frame({ ...this.frame, type, status, payload: payload ?? Buffer.alloc(0) });
  }
}

/** One client of the server. */
export class FakeClient {
  readonly socket: Socket;
  /** Packets of streams that came, in order. */
  readonly streamPackets: Frame[] = [];
  /** Keepalive messages that came: 1 for a ping, 2 for a pong. */
  readonly keepalive: number[] = [];
  #bytes = Buffer.alloc(0);

  constructor(socket: Socket, onFrame: (client: FakeClient, received: Frame) => void) {
    this.socket = socket;
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
      while (this.#bytes.length >= 28 && this.#bytes.length >= this.#bytes.readUInt32BE(0)) {
        const length = this.#bytes.readUInt32BE(0);
        const [program = 0, version = 0, procedure = 0, type = 0, serial = 0, status = 0] = [4, 8, 12, 16, 20, 24].map(
          (at) => this.#bytes.readUInt32BE(at),
        );
        const payload = Buffer.from(this.#bytes.subarray(28, length));
        this.#bytes = this.#bytes.subarray(length);
        onFrame(this, { program, version, procedure, type, serial, status, payload });
      }
    });
  }

  send(bytes: Uint8Array): void {
    if (!this.socket.destroyed) this.socket.write(bytes);
  }

  event<Name extends keyof Events>(name: Name, message: Events[Name]): void {
    this.send(eventFrame(name, message));
  }
}

type Handler = (call: FakeCall) => void;

const names = new Map(
  (Object.keys(procedures) as (keyof Procedures)[]).map((name) => {
    const [program, procedure] = procedures[name];
    return [`${programs[program].program}.${procedure}`, name];
  }),
);

/** See the head of this file. */
export class FakeLibvirtd {
  readonly uri: string;
  readonly clients: FakeClient[] = [];
  /** Names of the calls that came, without those of connecting. */
  readonly calls: string[] = [];
  readonly #server: Server;
  readonly #handlers = new Map<string, Handler>();
  #waiting: { readonly done: () => boolean; readonly resolve: () => void }[] = [];

  constructor(server: Server, uri: string, tls: boolean, verdict: number) {
    this.#server = server;
    this.uri = uri;
    server.on(tls ? 'secureConnection' : 'connection', (socket: Socket) => {
      if (tls) socket.write(Buffer.of(verdict));
      socket.on('close', () => this.#changed());
      this.clients.push(new FakeClient(socket, (client, received) => this.#received(client, received)));
      this.#changed();
    });
    this.on('authList', (call) => call.reply({ types: [0] }));
    this.on('connectSupportsFeature', (call) => call.reply({ supported: 1 }));
    this.on('connectOpen', (call) => call.reply());
    this.on('connectClose', (call) => {
      call.reply();
      call.client.socket.end();
    });
    this.on('connectGetHostname', (call) => call.reply({ hostname: 'fake' }));
  }

  /** Answers calls of a procedure; the last handler counts. Without one a call is never answered. */
  on(name: keyof Procedures, handler: Handler): void {
    this.#handlers.set(name, handler);
  }

  /** The newest client. */
  get client(): FakeClient {
    const client = this.clients.at(-1);
    if (client === undefined) throw new Error('nobody connected');
    return client;
  }

  /** Resolves when `done` is true, looking whenever something comes. */
  until(done: () => boolean): Promise<void> {
    if (done()) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ done, resolve }));
  }

  async close(): Promise<void> {
    this.#waiting = [];
    for (const { socket } of this.clients) socket.destroy();
    this.#server.close();
    if (this.#server.listening) await once(this.#server, 'close');
  }

  #received(client: FakeClient, received: Frame): void {
    if (received.program === programs.keepalive.program) client.keepalive.push(received.procedure);
    else if (received.type === CALL) this.#called(client, received);
    else client.streamPackets.push(received);
    this.#changed();
  }

  #called(client: FakeClient, received: Frame): void {
    const name = names.get(`${received.program}.${received.procedure}`);
    if (name === undefined) throw new Error(`the client called ${received.program}.${received.procedure}`);
    const structure = procedures[name][2];
    const args = structure === null ? undefined : codecOf(structure).read(new XdrReader(received.payload));
    if (!['authList', 'connectSupportsFeature', 'connectOpen'].includes(name)) this.calls.push(name);
    this.#handlers.get(name)?.(new FakeCall(client, name, received, args));
  }

  #changed(): void {
    const ready = this.#waiting.filter(({ done }) => done());
    this.#waiting = this.#waiting.filter((one) => !ready.includes(one));
    for (const { resolve } of ready) resolve();
  }
}

/** Starts one on a unix socket of its own. */
export async function startFakeLibvirtd(): Promise<FakeLibvirtd> {
  const socket = join(makeTestFolder('fake'), 'libvirt-sock');
  const server = createServer().listen(socket);
  await once(server, 'listening');
  return new FakeLibvirtd(server, `test+unix:///default?socket=${socket}`, false, 1);
}

/**
 * Starts one on a TLS port of 127.0.0.1.
 *
 * @param verdict The byte that it sends after the handshake; libvirt's is 1 for welcome.
 */
export async function startFakeTlsLibvirtd(tls: TlsOptions, verdict = 1): Promise<FakeLibvirtd> {
  const server = createTlsServer(tls).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return new FakeLibvirtd(server, `test+tls://localhost:${address.port}/default`, true, verdict);
}
