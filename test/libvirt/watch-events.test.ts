import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { connect } from '../../src/libvirt/connect.ts';
import type { Connection } from '../../src/libvirt/connection.ts';
import { eventKinds, watchEvents, type EventKind } from '../../src/libvirt/watch-events.ts';
import { eventFrame, startFakeLibvirtd, type FakeLibvirtd } from '../support/fake-libvirtd.ts';

let server: FakeLibvirtd;
let connection: Connection;
let deregistered: unknown[];

const dom = { name: 'web', uuid: new Uint8Array(16), id: 4 };
const lifecycle = (callbackID: number, event = 1): Buffer =>
  eventFrame('domainEventCallbackLifecycle', { callbackID, msg: { dom, event, detail: 0 } });

beforeEach(async () => {
  server = await startFakeLibvirtd();
  connection = await connect(server.uri, { keepalive: false });
  deregistered = [];
  server.on('connectDomainEventCallbackRegisterAny', (call) => call.reply({ callbackID: 7 }));
  server.on('connectDomainEventCallbackDeregisterAny', (call) => {
    deregistered.push(call.args);
    call.reply();
  });
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

describe('watching events', () => {
  it('misses none that comes in the same chunk as the reply of the registration', async () => {
    server.on('connectDomainEventCallbackRegisterAny', (call) => {
      call.client.send(Buffer.concat([call.replyFrame({ callbackID: 7 }), lifecycle(7, 2)]));
    });
    const watch = await watchEvents(connection, 'domain.lifecycle');
    expect(await watch.next()).toEqual({ done: false, value: { type: 'event', event: { dom, event: 2, detail: 0 } } });
  });

  it('takes only those of its own registration', async () => {
    server.on('connectDomainEventCallbackRegisterAny', (call) => {
      call.client.send(
        Buffer.concat([lifecycle(3, 1), call.replyFrame({ callbackID: 7 }), lifecycle(3, 2), lifecycle(7, 3)]),
      );
    });
    const watch = await watchEvents(connection, 'domain.lifecycle', { of: dom });
    expect(await watch.next()).toMatchObject({ value: { event: { event: 3 } } });
  });

  it('counts what its bounded queue has no room for, in its place', async () => {
    const watch = await watchEvents(connection, 'domain.lifecycle', { limit: 3 });
    for (let event = 0; event < 1000; event += 1) server.client.send(lifecycle(7, event));
    await connection.call('connectGetHostname', undefined);
    const items = [];
    for (let count = 0; count < 4; count += 1) items.push((await watch.next()).value);
    expect(items).toMatchObject([
      { type: 'event', event: { event: 0 } },
      { type: 'event', event: { event: 1 } },
      { type: 'event', event: { event: 2 } },
      { type: 'overflow', lost: 997 },
    ]);
    server.client.send(lifecycle(7, 5));
    expect(await watch.next()).toMatchObject({ value: { type: 'event', event: { event: 5 } } });
  });

  it('ends here and in the daemon when its consumer leaves the loop', async () => {
    const watch = await watchEvents(connection, 'domain.lifecycle');
    server.client.send(lifecycle(7));
    for await (const item of watch) {
      expect(item.type).toBe('event');
      break;
    }
    expect(deregistered).toEqual([{ callbackID: 7 }]);
    expect(connection.subscriptions).toBe(0);
    expect(await watch.next()).toEqual({ done: true, value: undefined });
    await watch.close();
    expect(deregistered).toHaveLength(1);
  });

  it('ends when its signal aborts', async () => {
    const controller = new AbortController();
    const watch = await watchEvents(connection, 'domain.lifecycle', { signal: controller.signal });
    const next = watch.next();
    controller.abort();
    expect((await next).done).toBe(true);
    expect(deregistered).toHaveLength(1);
  });

  it('ends quietly with close, and throws when the connection is lost', async () => {
    const quiet = await watchEvents(connection, 'domain.lifecycle');
    const next = quiet.next();
    await connection.close();
    expect((await next).done).toBe(true);
    const second = await connect(server.uri, { keepalive: false });
    const watch = await watchEvents(second, 'domain.lifecycle');
    server.client.send(lifecycle(7, 9));
    await second.call('connectGetHostname', undefined);
    server.client.socket.destroy();
    await new Promise<void>((resolve) => second.onClose(() => resolve()));
    // What came before is not lost.
    expect(await watch.next()).toMatchObject({ value: { event: { event: 9 } } });
    expect(await failure(watch.next())).toMatchObject({ name: 'ConnectionError' });
    expect((await watch.next()).done).toBe(true);
  });

  it('leaves no queue behind where the daemon has no such events', async () => {
    server.on('connectDomainEventCallbackRegisterAny', (call) => call.error({ code: 3, message: 'unsupported' }));
    expect(await failure(watchEvents(connection, 'domain.nicMacChange'))).toMatchObject({ code: 'NO_SUPPORT' });
    expect(connection.subscriptions).toBe(0);
  });

  it('registers each kind with its own number, at the procedure of its subject', async () => {
    const seen = new Set<string>();
    for (const name of [
      'connectDomainEventCallbackRegisterAny',
      'connectNetworkEventRegisterAny',
      'connectStoragePoolEventRegisterAny',
      'connectNodeDeviceEventRegisterAny',
      'connectSecretEventRegisterAny',
      'qemuConnectDomainMonitorEventRegister',
    ] as const) {
      server.on(name, (call) => {
        seen.add(`${call.name} ${(call.args as { eventID?: number }).eventID ?? ''}`);
        call.reply({ callbackID: 1 });
      });
    }
    const kinds = Object.keys(eventKinds) as EventKind[];
    for (const kind of kinds) await watchEvents(connection, kind);
    expect(seen.size).toBe(kinds.length);
    expect(connection.subscriptions).toBe(kinds.length);
  });
});
