import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { connect } from '../../src/libvirt/connect.ts';
import type { Connection } from '../../src/libvirt/connection.ts';
import { ConnectionError, OutcomeUnknownError, ProtocolError } from '../../src/libvirt/errors.ts';
import { programs } from '../../src/libvirt/protocol.gen.ts';
import {
  CONTINUE,
  ERROR,
  eventFrame,
  frame,
  MESSAGE,
  REPLY,
  startFakeLibvirtd,
  STREAM,
  STREAM_HOLE,
  type FakeLibvirtd,
} from '../support/fake-libvirtd.ts';

let server: FakeLibvirtd;
let connection: Connection;

beforeEach(async () => {
  server = await startFakeLibvirtd();
  connection = await connect(server.uri, { keepalive: false });
});

afterEach(async () => {
  await connection.close(0);
  await server.close();
});

const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );
const hostname = (): Promise<unknown> => connection.call('connectGetHostname', undefined);

describe('a daemon that', () => {
  it('sends its answers byte by byte is understood', async () => {
    server.on('connectGetHostname', (call) => {
      for (const byte of call.replyFrame({ hostname: 'slow' })) call.client.send(Buffer.of(byte));
    });
    expect(await hostname()).toEqual({ hostname: 'slow' });
  });

  it('sends many answers in one chunk is understood', async () => {
    const frames: Buffer[] = [];
    server.on('connectGetHostname', (call) => {
      frames.push(call.replyFrame({ hostname: String(frames.length) }));
      if (frames.length === 50) call.client.send(Buffer.concat(frames));
    });
    const answers = await Promise.all(Array.from({ length: 50 }, hostname));
    expect(answers).toEqual(Array.from({ length: 50 }, (_, index) => ({ hostname: String(index) })));
  });

  it.each([0, 4, 27, 33_554_437, 0xffff_ffff])(
    'announces a message of %i bytes loses the connection',
    async (length) => {
      server.on('connectGetHostname', (call) => {
        const bytes = call.replyFrame({ hostname: 'x' });
        bytes.writeUInt32BE(length);
        call.client.send(bytes);
      });
      expect(await failure(hostname())).toMatchObject({ reason: 'lost', cause: { name: 'ProtocolError' } });
      expect(connection.isOpen).toBe(false);
    },
  );

  it('sends garbage loses the connection', async () => {
    server.on('connectGetHostname', (call) => call.client.send(Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')));
    expect(await failure(hostname())).toBeInstanceOf(OutcomeUnknownError);
    expect(connection.isOpen).toBe(false);
  });

  it('answers twice, or what nobody asked, is not listened to', async () => {
    server.on('connectGetHostname', (call) => {
      call.client.send(frame({ ...call.frame, type: REPLY, serial: call.frame.serial + 1000 }));
      call.reply({ hostname: 'first' });
      call.reply({ hostname: 'second' });
    });
    expect(await hostname()).toEqual({ hostname: 'first' });
    expect(await hostname()).toEqual({ hostname: 'first' });
    expect(connection.isOpen).toBe(true);
  });

  it('speaks of programs, versions, procedures, types and streams that are not is not listened to', async () => {
    const strange = [
      frame({ program: 0x1234 }),
      frame({ version: 99 }),
      frame({ type: 77 }),
      frame({ type: MESSAGE, procedure: 9999 }),
      frame({ type: STREAM, status: CONTINUE, serial: 4711, payload: Buffer.alloc(10) }),
      frame({ type: STREAM, status: ERROR, serial: 4711 }),
      frame({ type: STREAM_HOLE, status: CONTINUE, serial: 4711 }),
      frame({ program: programs.keepalive.program, type: MESSAGE, procedure: 99 }),
      frame({ program: programs.keepalive.program, type: REPLY, procedure: 1, version: 7 }),
    ];
    server.on('connectGetHostname', (call) => {
      for (const bytes of strange) call.client.send(bytes);
      call.reply({ hostname: 'sane' });
    });
    expect(await hostname()).toEqual({ hostname: 'sane' });
  });

  it('answers with data of another type settles the call and loses the connection', async () => {
    server.on('connectGetHostname', (call) =>
      call.client.send(frame({ ...call.frame, type: REPLY, payload: Buffer.of(0, 0) })),
    );
    expect(await failure(hostname())).toBeInstanceOf(ProtocolError);
    expect(connection.isOpen).toBe(false);
  });

  it('reports an error that is none settles the call and loses the connection', async () => {
    server.on('connectGetHostname', (call) => {
      call.client.send(frame({ ...call.frame, type: REPLY, status: ERROR, payload: Buffer.alloc(3) }));
    });
    expect(await failure(hostname())).toBeInstanceOf(ConnectionError);
    expect(connection.isOpen).toBe(false);
  });

  it('dies in the middle of an answer leaves no call waiting', async () => {
    server.on('connectGetHostname', (call) => {
      call.client.send(call.replyFrame({ hostname: 'x'.repeat(1000) }).subarray(0, 500));
      call.client.socket.end();
    });
    expect(await failure(hostname())).toMatchObject({ reason: 'lost' });
  });

  it('sends whatever it likes never crashes us, leaves a call waiting or grows our memory', async () => {
    const dom = { name: 'x', uuid: new Uint8Array(16), id: 1 };
    const good = eventFrame('domainEventCallbackLifecycle', { callbackID: 1, msg: { dom, event: 1, detail: 1 } });
    const word = fc.oneof(fc.nat(10), fc.nat(500), fc.integer({ min: 0, max: 0xffff_ffff }));
    const madeUp = fc
      .record({
        program: fc.constantFrom(...Object.values(programs).map(({ program }) => program)),
        version: fc.constantFrom(1, 1, 1, 2),
        procedure: word,
        type: fc.nat(7),
        serial: fc.nat(8),
        status: fc.nat(3),
        payload: fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)),
      })
      .map(frame);
    const mutated = fc.tuple(fc.nat(good.length - 1), fc.nat(255)).map(([at, byte]) => {
      const bytes = Buffer.from(good);
      bytes[at] = byte;
      return bytes;
    });
    const noise = fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes));
    const traffic = fc.array(fc.oneof({ weight: 4, arbitrary: madeUp }, mutated, noise), { maxLength: 20 });
    const before = process.memoryUsage().arrayBuffers;
    const property = fc.asyncProperty(traffic, async (chunks) => {
      const one = await connect(server.uri, { keepalive: false });
      const events = one.subscribe('domainEventCallbackLifecycle', { limit: 5 });
      server.on('connectGetHostname', (call) => {
        for (const chunk of chunks) call.client.send(chunk);
        call.client.socket.end();
      });
      const call = failure(one.call('connectGetHostname', undefined));
      const stream = failure(one.openStream('domainScreenshot', { dom, screen: 0, flags: 0 }));
      const [first, second] = await Promise.all([call, stream]);
      for (const error of [first, second]) if (error !== undefined) expect(error).toHaveProperty('exitCode');
      await one.close(0);
      expect(one.callsInFlight + one.openStreams + one.subscriptions).toBe(0);
      expect(events.size).toBeLessThanOrEqual(6);
    });
    await fc.assert(property, { numRuns: 300 });
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(100_000_000);
  });
});
