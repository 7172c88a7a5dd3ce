import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { connect } from '../../src/libvirt/connect.ts';
import type { Connection } from '../../src/libvirt/connection.ts';
import type { LibvirtStream, StreamPiece } from '../../src/libvirt/stream.ts';
import {
  CONTINUE,
  ERROR,
  errorPayload,
  OK,
  startFakeLibvirtd,
  STREAM,
  STREAM_HOLE,
  type FakeCall,
  type FakeLibvirtd,
} from '../support/fake-libvirtd.ts';

let server: FakeLibvirtd;
let connection: Connection;

const dom = { name: 'x', uuid: new Uint8Array(16), id: 1 };
const vol = { pool: 'p', name: 'v', key: 'k' };

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

/** Opens a console; gives both its ends. */
async function openConsole(highWaterBytes?: number): Promise<{ stream: LibvirtStream; call: FakeCall }> {
  let call: FakeCall | undefined;
  server.on('domainOpenConsole', (received) => {
    call = received;
    received.reply();
  });
  const { stream } = await connection.openStream(
    'domainOpenConsole',
    { dom, devName: null, flags: 0 },
    { highWaterBytes },
  );
  if (call === undefined) throw new Error('not called');
  return { stream, call };
}

async function textOf(stream: LibvirtStream): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

const lastPacket = () => server.client.streamPackets.at(-1);

/** Confirms that the client finished, as libvirtd does. */
async function confirmFinish(call: FakeCall): Promise<void> {
  await server.until(() => lastPacket()?.status === OK);
  call.stream(OK);
}

describe('a stream', () => {
  it('gives the data that came in the same chunk as the reply, ends at the end of the file and acknowledges it', async () => {
    let call: FakeCall | undefined;
    server.on('storageVolDownload', (received) => {
      call = received;
      const data = Buffer.from('hello world');
      const pieces = [data.subarray(0, 5), data.subarray(5), Buffer.alloc(0)];
      received.client.send(
        Buffer.concat([received.replyFrame(), ...pieces.map((piece) => received.streamFrame(CONTINUE, piece))]),
      );
    });
    const { stream } = await connection.openStream('storageVolDownload', { vol, offset: 0n, length: 0n, flags: 0 });
    const text = textOf(stream);
    if (call === undefined) throw new Error('not called');
    await confirmFinish(call);
    expect(await text).toBe('hello world');
    expect(connection.openStreams).toBe(0);
    await stream.finish();
  });

  it('fails its reader and its writer with the reason that the daemon gives', async () => {
    const { stream, call } = await openConsole();
    call.stream(CONTINUE, Buffer.from('some'));
    call.stream(ERROR, errorPayload({ code: 38, message: 'disk gone' }));
    const got: string[] = [];
    const reading = (async () => {
      for await (const chunk of stream) got.push(chunk.toString());
    })();
    expect(await failure(reading)).toMatchObject({ name: 'LibvirtError', message: 'disk gone' });
    expect(got).toEqual(['some']);
    expect(await failure(stream.write(Buffer.from('x')))).toMatchObject({ message: 'disk gone' });
    expect(await failure(stream.finish())).toMatchObject({ message: 'disk gone' });
    expect(connection.openStreams).toBe(0);
  });

  it('fails before it opens where its call fails', async () => {
    server.on('domainOpenConsole', (call) => call.error({ code: 55, message: 'not running' }));
    const opening = connection.openStream('domainOpenConsole', { dom, devName: null, flags: 0 });
    expect(await failure(opening)).toMatchObject({ message: 'not running' });
    expect(connection.openStreams).toBe(0);
  });

  it('carries holes both ways', async () => {
    const { stream, call } = await openConsole();
    const hole = Buffer.alloc(12);
    hole.writeBigInt64BE(1n << 40n);
    call.stream(CONTINUE, Buffer.from('a'));
    call.stream(CONTINUE, hole, STREAM_HOLE);
    call.stream(CONTINUE, Buffer.from('b'));
    call.stream(CONTINUE, Buffer.alloc(0));
    const pieces: StreamPiece[] = [];
    const reading = (async () => {
      for await (const piece of stream.pieces()) pieces.push(piece);
    })();
    await confirmFinish(call);
    await reading;
    expect(pieces).toEqual([
      { type: 'data', data: Buffer.from('a') },
      { type: 'hole', length: 1n << 40n },
      { type: 'data', data: Buffer.from('b') },
    ]);
    const second = await openConsole();
    await second.stream.writeHole(5n);
    await server.until(() => lastPacket()?.type === STREAM_HOLE);
    expect(lastPacket()?.payload.toString('hex')).toBe('000000000000000500000000');
  });

  it('cuts what it writes into packets that old daemons take, and copies it', async () => {
    const { stream, call } = await openConsole();
    const data = Buffer.alloc(600_000, 7);
    const writing = stream.write(data);
    await writing;
    data.fill(9);
    const finishing = stream.finish();
    await confirmFinish(call);
    await finishing;
    const packets = server.client.streamPackets.filter(({ status }) => status === CONTINUE);
    expect(packets.map(({ payload }) => payload.length)).toEqual([262_120, 262_120, 75_760]);
    expect(packets.every(({ payload, type }) => type === STREAM && payload.every((byte) => byte === 7))).toBe(true);
  });

  it('can still be read after our side ended', async () => {
    const { stream, call } = await openConsole();
    const finishing = stream.finish();
    expect(await failure(stream.write(Buffer.from('x')))).toMatchObject({ message: /finished/ });
    await server.until(() => lastPacket()?.status === OK);
    call.stream(CONTINUE, Buffer.from('last words'));
    call.stream(OK);
    expect(await textOf(stream)).toBe('last words');
    await finishing;
  });

  it('reports what went wrong at the end of an upload', async () => {
    const { stream, call } = await openConsole();
    await stream.write(Buffer.from('x'));
    const finishing = failure(stream.finish());
    await server.until(() => lastPacket()?.status === OK);
    call.stream(ERROR, errorPayload({ message: 'No space left on device' }));
    expect(await finishing).toMatchObject({ message: 'No space left on device' });
  });

  it('that is aborted tells the daemon, drops what still comes and keeps its serial until that is confirmed', async () => {
    const { stream, call } = await openConsole();
    const reading = failure(textOf(stream));
    stream.abort(new Error('enough'));
    expect(await reading).toMatchObject({ message: 'enough' });
    await server.until(() => lastPacket()?.status === ERROR);
    expect(lastPacket()).toMatchObject({ type: STREAM, serial: call.frame.serial, procedure: call.frame.procedure });
    call.stream(CONTINUE, Buffer.from('late'));
    await connection.call('connectGetHostname', undefined);
    expect(stream.queuedBytes).toBe(0);
    expect(connection.openStreams).toBe(1);
    call.stream(ERROR, errorPayload({ message: 'stream aborted at client request' }));
    await connection.call('connectGetHostname', undefined);
    expect(connection.openStreams).toBe(0);
    stream.abort();
  });

  it('that its reader leaves is aborted', async () => {
    const { stream, call } = await openConsole();
    call.stream(CONTINUE, Buffer.from('a'));
    for await (const chunk of stream) {
      expect(chunk.toString()).toBe('a');
      break;
    }
    await server.until(() => lastPacket()?.status === ERROR);
  });

  it('that nobody reads stops the daemon instead of filling our memory, and goes on when it is read', async () => {
    const { stream, call } = await openConsole(100_000);
    const block = Buffer.alloc(60_000, 1);
    const blocks = 500;
    let sent = 0;
    const pump = (): void => {
      while (sent < blocks) {
        sent += 1;
        call.stream(CONTINUE, block);
        if (call.client.socket.writableNeedDrain) return void call.client.socket.once('drain', pump);
      }
      call.stream(CONTINUE, Buffer.alloc(0));
    };
    pump();
    const iterator = stream[Symbol.asyncIterator]();
    let bytes = 0;
    let most = 0;
    for (;;) {
      // A turn of the event loop for each piece: the daemon is faster than the reader.
      await new Promise((resolve) => setImmediate(resolve));
      most = Math.max(most, stream.queuedBytes);
      if (bytes === blocks * block.length) break;
      const next = await iterator.next();
      if (next.done === true) break;
      bytes += next.value.length;
    }
    expect(bytes).toBe(blocks * block.length);
    expect(most).toBeLessThan(100_000 + 2 * 65_536);
    const end = iterator.next();
    await confirmFinish(call);
    expect((await end).done).toBe(true);
  });

  it('whose daemon does not read makes its writer wait', async () => {
    const { stream, call } = await openConsole();
    call.client.socket.pause();
    const writing = stream.write(Buffer.alloc(20_000_000));
    const first = await Promise.race([
      writing.then(() => 'written'),
      new Promise((resolve) => setTimeout(resolve, 50, 'waiting')),
    ]);
    expect(first).toBe('waiting');
    call.client.socket.resume();
    await writing;
  });

  it('ends with the connection, for reader, writer and finisher', async () => {
    const { stream, call } = await openConsole();
    const reading = failure(textOf(stream));
    const finishing = failure(stream.finish());
    call.client.socket.destroy();
    expect(await reading).toMatchObject({ name: 'ConnectionError' });
    expect(await finishing).toMatchObject({ name: 'ConnectionError' });
    expect(await failure(stream.write(Buffer.from('x')))).toMatchObject({ name: 'ConnectionError' });
  });

  it('whose writer waits when the connection ends lets it go', async () => {
    const { stream, call } = await openConsole();
    call.client.socket.pause();
    const writing = failure(stream.write(Buffer.alloc(20_000_000)));
    await connection.call('connectGetHostname', undefined, { timeoutMs: 10 }).catch(() => undefined);
    call.client.socket.destroy();
    expect(await writing).toMatchObject({ name: 'ConnectionError' });
  });

  it('that opens after its call was given up is aborted', async () => {
    const held: FakeCall[] = [];
    server.on('domainOpenConsole', (call) => held.push(call));
    const opening = connection.openStream('domainOpenConsole', { dom, devName: null, flags: 0 }, { timeoutMs: 10 });
    expect(await failure(opening)).toMatchObject({ reason: 'timeout' });
    await server.until(() => held.length === 1);
    held[0]?.reply();
    held[0]?.stream(CONTINUE, Buffer.from('nobody wants it'));
    await server.until(() => lastPacket()?.status === ERROR);
    expect(lastPacket()?.serial).toBe(held[0]?.frame.serial);
    expect(connection.openStreams).toBe(0);
  });

  it('is given up by the signal of its end', async () => {
    const { stream } = await openConsole();
    const controller = new AbortController();
    const finishing = failure(stream.finish(controller.signal));
    controller.abort(new Error('enough'));
    expect(await finishing).toMatchObject({ name: 'OutcomeUnknownError', cause: { message: 'enough' } });
    await server.until(() => lastPacket()?.status === ERROR);
  });
});
