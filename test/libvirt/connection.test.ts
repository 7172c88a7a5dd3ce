import { getEventListeners } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ExitCode } from '../../src/base/exit-code.ts';
import { connect } from '../../src/libvirt/connect.ts';
import type { Connection } from '../../src/libvirt/connection.ts';
import { ErrorDomain, ErrorNumber } from '../../src/libvirt/constants.gen.ts';
import {
  AuthenticationError,
  ConnectionError,
  EncodeError,
  isUnsupported,
  LibvirtError,
  OutcomeUnknownError,
} from '../../src/libvirt/errors.ts';
import { startFakeLibvirtd, type FakeCall, type FakeLibvirtd } from '../support/fake-libvirtd.ts';

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

/** Keeps calls of getUri unanswered; gives them. */
function holdCalls(): FakeCall[] {
  const held: FakeCall[] = [];
  server.on('connectGetUri', (call) => held.push(call));
  return held;
}

const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );

describe('connecting', () => {
  it('authenticates, opens the driver by its name and tells that it takes pings', async () => {
    const asked: unknown[] = [];
    server.on('connectOpen', (call) => {
      asked.push(call.args);
      call.reply();
    });
    server.on('connectSupportsFeature', (call) => {
      asked.push(call.args);
      call.reply({ supported: 0 });
    });
    const second = await connect(server.uri, { readOnly: true });
    expect(asked).toEqual([{ feature: 10 }, { name: 'test:///default', flags: 1 }]);
    await second.close();
  });

  it('asks for polkit where the daemon wants it, and says what to do where that fails', async () => {
    server.on('authList', (call) => call.reply({ types: [2] }));
    server.on('authPolkit', (call) => call.reply({ complete: 1 }));
    await (await connect(server.uri)).close();
    server.on('authPolkit', (call) => call.error({ code: ErrorNumber.AUTH_CANCELLED, message: 'cancelled by user' }));
    const error = await failure(connect(server.uri));
    expect(error).toBeInstanceOf(AuthenticationError);
    expect(error).toMatchObject({ message: 'cancelled by user', exitCode: ExitCode.Forbidden });
  });

  it('refuses SASL in plain words', async () => {
    server.on('authList', (call) => call.reply({ types: [1] }));
    expect(await failure(connect(server.uri))).toMatchObject({ exitCode: 7, message: /SASL/ });
  });

  it("gives libvirt's reason where the driver does not open", async () => {
    server.on('connectOpen', (call) => call.error({ code: ErrorNumber.NO_CONNECT, message: 'no connection driver' }));
    expect(await failure(connect(server.uri))).toMatchObject({ code: 'NO_CONNECT', message: 'no connection driver' });
    await server.until(() => server.client.socket.destroyed);
  });

  it('gives up at its deadline and at its signal, and leaves no socket', async () => {
    server.on('authList', () => undefined);
    expect(await failure(connect(server.uri, { connectTimeoutMs: 50 }))).toMatchObject({ exitCode: ExitCode.TimedOut });
    const controller = new AbortController();
    const connecting = failure(connect(server.uri, { signal: controller.signal }));
    await server.until(() => server.clients.length === 3);
    controller.abort(new Error('enough'));
    expect(await connecting).toMatchObject({ message: 'enough' });
    await server.until(() => server.clients.slice(1).every(({ socket }) => socket.destroyed));
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  });

  it('says which sockets were tried where nobody listens', async () => {
    await server.close();
    const error = await failure(connect('qemu:///system', { systemDirectory: '/nonexistent' }));
    expect(error).toBeInstanceOf(ConnectionError);
    expect(error).toMatchObject({ exitCode: ExitCode.Unreachable, message: /virtqemud-sock.*libvirt-sock/ });
  });
});

describe('calls', () => {
  it('are answered by serial, in whatever order the answers come', async () => {
    const held = holdCalls();
    const calls = Array.from({ length: 5 }, () => connection.call('connectGetUri', undefined));
    await server.until(() => held.length === 5);
    for (const [index, call] of [...held].reverse().entries()) call.reply({ uri: `${4 - index}` });
    expect((await Promise.all(calls)).map(({ uri }) => uri)).toEqual(['0', '1', '2', '3', '4']);
    expect(connection.callsInFlight).toBe(0);
  });

  it("fail with libvirt's error, all of it", async () => {
    server.on('domainLookupByName', (call) =>
      call.error({ code: 42, domain: 10, message: "no domain 'x'", str1: 'a', str2: 'b', int1: 7, int2: -1 }),
    );
    const error = await failure(connection.call('domainLookupByName', { name: 'x' }));
    expect(error).toBeInstanceOf(LibvirtError);
    expect(error).toMatchObject({
      code: 'NO_DOMAIN',
      number: ErrorNumber.NO_DOMAIN,
      domain: ErrorDomain.QEMU,
      domainName: 'QEMU',
      message: "no domain 'x'",
      procedure: 'domainLookupByName',
      exitCode: ExitCode.NotFound,
      str1: 'a',
      str2: 'b',
      str3: null,
      int1: 7,
      int2: -1,
    });
  });

  it('that the daemon does not know are told apart', async () => {
    server.on('connectGetUri', (call) => call.error({ code: ErrorNumber.RPC, message: 'unknown procedure: 450' }));
    expect(isUnsupported(await failure(connection.call('connectGetUri', undefined)))).toBe(true);
  });

  it('with arguments that cannot be sent fail alone, before anything is sent', async () => {
    const good = connection.call('connectGetHostname', undefined);
    const bad = connection.call('domainLookupByName', { name: 'a\0b' });
    const alsoGood = connection.call('connectGetHostname', undefined);
    expect(await failure(bad)).toBeInstanceOf(EncodeError);
    expect(await Promise.all([good, alsoGood])).toEqual([{ hostname: 'fake' }, { hostname: 'fake' }]);
    expect(server.calls).toEqual(['connectGetHostname', 'connectGetHostname']);
  });

  it('that ran out of time are unknown, and their late answer is dropped', async () => {
    const held = holdCalls();
    const error = await failure(connection.call('connectGetUri', undefined, { timeoutMs: 20 }));
    expect(error).toBeInstanceOf(OutcomeUnknownError);
    expect(error).toMatchObject({ reason: 'timeout', exitCode: ExitCode.TimedOut, procedure: 'connectGetUri' });
    await server.until(() => held.length === 1);
    held[0]?.reply({ uri: 'late' });
    expect(await connection.call('connectGetHostname', undefined)).toEqual({ hostname: 'fake' });
  });

  it('that were given up are unknown once sent, and were never sent before', async () => {
    const held = holdCalls();
    const controller = new AbortController();
    const { signal } = controller;
    const call = failure(connection.call('connectGetUri', undefined, { signal }));
    await server.until(() => held.length === 1);
    controller.abort(new Error('enough'));
    expect(await call).toMatchObject({ name: 'OutcomeUnknownError', reason: 'aborted', cause: { message: 'enough' } });
    expect(await failure(connection.call('connectGetUri', undefined, { signal }))).toMatchObject({ message: 'enough' });
    expect(held).toHaveLength(1);
    expect(connection.callsInFlight).toBe(0);
  });

  it('leave no listener on their signal', async () => {
    const { signal } = new AbortController();
    await Promise.all(Array.from({ length: 100 }, () => connection.call('connectGetHostname', undefined, { signal })));
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  it('are refused, not queued, when too many wait', async () => {
    const narrow = await connect(server.uri, { maxPendingCalls: 3 });
    holdCalls();
    const calls = Array.from({ length: 4 }, () => failure(narrow.call('connectGetUri', undefined)));
    expect(await calls[3]).toMatchObject({ name: 'ConnectionError', message: /too many calls/ });
    await narrow.close(0);
    expect(await calls[0]).toMatchObject({ name: 'OutcomeUnknownError', reason: 'closed' });
  });

  it('of a thousand at once are few writes', async () => {
    const chunks: number[] = [];
    server.client.socket.on('data', (chunk) => chunks.push(chunk.length));
    await Promise.all(Array.from({ length: 1000 }, () => connection.call('connectGetHostname', undefined)));
    expect(server.calls).toHaveLength(1000);
    expect(chunks.length).toBeLessThan(20);
  });
});

describe('the end of a connection', () => {
  it('settles every call that waits, as unknown, and says why', async () => {
    const held = holdCalls();
    const ends: unknown[] = [];
    connection.onClose((error) => ends.push(error));
    const calls = Array.from({ length: 10 }, () => failure(connection.call('connectGetUri', undefined)));
    await server.until(() => held.length === 10);
    server.client.socket.destroy();
    for (const error of await Promise.all(calls)) {
      expect(error).toMatchObject({ name: 'OutcomeUnknownError', reason: 'lost', exitCode: ExitCode.Unreachable });
    }
    expect(ends).toEqual([expect.any(ConnectionError)]);
    expect(connection.isOpen).toBe(false);
    const after = await failure(connection.call('connectGetUri', undefined));
    expect(after).toMatchObject({ name: 'ConnectionError', cause: { message: /closed the connection/ } });
  });

  it('tells calls that were not sent apart from those that were', async () => {
    const call = failure(connection.call('connectGetUri', undefined));
    connection.destroy();
    expect(await call).toMatchObject({ name: 'ConnectionError', message: /not sent/ });
  });

  it('by close tells the daemon, settles calls and calls no listener with an error', async () => {
    const ends: unknown[] = [];
    connection.onClose((error) => ends.push(error));
    holdCalls();
    const call = failure(connection.call('connectGetUri', undefined));
    await Promise.resolve();
    await connection.close();
    expect(await call).toMatchObject({ name: 'OutcomeUnknownError', reason: 'closed' });
    expect(ends).toEqual([undefined]);
    expect(server.calls).toEqual(['connectGetUri', 'connectClose']);
    await connection.close();
  });

  it('does not wait for a daemon that does not answer', async () => {
    server.on('connectClose', () => undefined);
    server.client.socket.pause();
    await connection.close(20);
    expect(connection.isOpen).toBe(false);
  });

  it('calls a listener that comes late at once, and one that was taken away never', async () => {
    const seen: string[] = [];
    const remove = connection.onClose(() => seen.push('removed'));
    remove();
    await connection.close();
    connection.onClose(() => seen.push('late'));
    expect(seen).toEqual(['late']);
  });

  it('leaves nothing behind after a hundred connections', async () => {
    const { signal } = new AbortController();
    for (let round = 0; round < 100; round += 1) {
      const one = await connect(server.uri, { signal });
      const waiting = failure(one.call('connectGetUri', undefined, { signal }));
      one.subscribe('domainEventCallbackLifecycle', { signal });
      await Promise.resolve();
      if (round % 2 === 0) await one.close();
      else one.destroy();
      expect(await waiting).toBeInstanceOf(OutcomeUnknownError);
      expect(one.subscriptions + one.callsInFlight + one.openStreams).toBe(0);
    }
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  it('lets a second connection to the same place be made', async () => {
    const second = await connection.duplicate();
    expect(await second.call('connectGetHostname', undefined)).toEqual({ hostname: 'fake' });
    await second.close();
    expect(connection.isOpen).toBe(true);
  });
});
