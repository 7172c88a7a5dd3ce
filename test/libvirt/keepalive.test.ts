import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { connect } from '../../src/libvirt/connect.ts';
import {
  CONTINUE,
  frame,
  MESSAGE,
  OK,
  startFakeLibvirtd,
  type FakeCall,
  type FakeLibvirtd,
} from '../support/fake-libvirtd.ts';

const program = 0x6b656570;
const ping = frame({ program, procedure: 1, type: MESSAGE });
const pong = frame({ program, procedure: 2, type: MESSAGE });
const quick = { keepalive: { intervalMs: 10, count: 3 } };

let server: FakeLibvirtd;

beforeEach(async () => {
  server = await startFakeLibvirtd();
});

afterEach(() => server.close());

const ended = (connection: {
  onClose(listener: (error: Error | undefined) => void): unknown;
}): Promise<Error | undefined> => new Promise((resolve) => connection.onClose(resolve));

describe('keepalive', () => {
  it("answers the daemon's pings, also where we send none", async () => {
    const connection = await connect(server.uri, { keepalive: false });
    server.client.send(Buffer.concat([ping, ping]));
    await server.until(() => server.client.keepalive.length === 2);
    expect(server.client.keepalive).toEqual([2, 2]);
    await connection.close();
  });

  it('pings a silent daemon and stays while it answers', async () => {
    const connection = await connect(server.uri, quick);
    const { client } = server;
    let answered = 0;
    while (answered < 10) {
      await server.until(() => client.keepalive.length > answered);
      answered = client.keepalive.length;
      client.send(pong);
    }
    expect(connection.isOpen).toBe(true);
    expect(client.keepalive.every((procedure) => procedure === 1)).toBe(true);
    await connection.close();
  });

  it('ends the connection to a daemon that is silent too long, and settles its calls', async () => {
    const connection = await connect(server.uri, quick);
    const call = connection.call('connectGetUri', undefined).catch((error: unknown) => error);
    expect(await ended(connection)).toMatchObject({ name: 'ConnectionError', message: /did not answer for/ });
    expect(await call).toMatchObject({ name: 'OutcomeUnknownError', reason: 'lost' });
    expect(server.client.keepalive).toHaveLength(3);
  });

  it('is not used where the daemon does not know it', async () => {
    server.on('connectSupportsFeature', (call) => call.reply({ supported: 0 }));
    const connection = await connect(server.uri, quick);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(server.client.keepalive).toEqual([]);
    expect(connection.isOpen).toBe(true);
    await connection.close();
  });

  it('does not take a daemon for dead that has as many calls as it reads at once', async () => {
    const connection = await connect(server.uri, quick);
    const held: FakeCall[] = [];
    server.on('connectGetUri', (call) => held.push(call));
    const calls = Array.from({ length: 5 }, () => connection.call('connectGetUri', undefined));
    // Twice as long as it would take.
    await server.until(() => server.client.keepalive.length >= 8);
    expect(connection.isOpen).toBe(true);
    for (const call of held) call.reply({ uri: 'x' });
    await Promise.all(calls);
    expect(await ended(connection)).toMatchObject({ name: 'ConnectionError' });
  });

  it('goes on pinging, and judges nobody, while a slow reader keeps us from reading', async () => {
    const connection = await connect(server.uri, quick);
    let call: FakeCall | undefined;
    server.on('domainOpenConsole', (received) => {
      call = received;
      received.reply();
    });
    const dom = { name: 'x', uuid: new Uint8Array(16), id: 1 };
    const args = { dom, devName: null, flags: 0 };
    const { stream } = await connection.openStream('domainOpenConsole', args, { highWaterBytes: 10 });
    call?.stream(CONTINUE, Buffer.from('more than ten bytes'));
    await server.until(() => server.client.keepalive.length >= 8);
    expect(connection.isOpen).toBe(true);
    const iterator = stream[Symbol.asyncIterator]();
    expect((await iterator.next()).value?.toString()).toBe('more than ten bytes');
    call?.stream(OK);
    expect((await iterator.next()).done).toBe(true);
    await connection.close();
  });
});
