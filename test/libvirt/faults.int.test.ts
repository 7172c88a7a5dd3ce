import { writeFile } from 'node:fs/promises';
import { getEventListeners } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConnectionError, OutcomeUnknownError } from '../../src/libvirt/errors.ts';
import { openLibvirt, type Libvirt } from '../../src/libvirt/libvirt.ts';
import { supervise, type SupervisorSignal } from '../../src/libvirt/supervisor.ts';
import { guestXml, testGuest } from '../support/guest.ts';
import { startLibvirtd, type LibvirtdNode } from '../support/libvirtd.ts';

/** Reconnects within milliseconds. */
const impatient = { initialMs: 10, maxMs: 50, factor: 2, jitter: 0.5 };

describe('a daemon that fails', () => {
  let node: LibvirtdNode;

  beforeAll(async () => {
    node = await startLibvirtd();
  });

  afterAll(() => node.close());

  it('killed in the middle of calls leaves none without an answer', async () => {
    const libvirt = await openLibvirt(node.uri);
    const calls = Array.from({ length: 500 }, () => libvirt.node.capabilities());
    const settled = Promise.allSettled(calls);
    await calls[0];
    await node.signal('KILL');
    const results = await settled;
    for (const result of results) {
      if (result.status === 'fulfilled') expect(result.value).toContain('<capabilities>');
      else expect([OutcomeUnknownError, ConnectionError]).toContain((result.reason as Error).constructor);
    }
    expect(results.at(-1)?.status).toBe('rejected');
    expect(libvirt.rpc.isOpen).toBe(false);
    expect(libvirt.rpc.callsInFlight).toBe(0);
    await expect(libvirt.node.hostname()).rejects.toBeInstanceOf(ConnectionError);
    await node.start();
  });

  it('killed in the middle of a stream ends it with an error', async () => {
    const libvirt = await openLibvirt(node.uri);
    const pool = await libvirt.pools.createXml(
      `<pool type='dir'><name>p</name><target><path>${node.dir}</path></target></pool>`,
    );
    const size = 256 << 20;
    const volume = await pool.createVolume(`<volume><name>big</name><capacity>${size}</capacity></volume>`);
    let bytes = 0;
    const download = volume.download(async (piece) => {
      bytes += piece.type === 'data' ? piece.data.length : piece.length;
      if (bytes > 8 << 20 && libvirt.rpc.isOpen) await node.signal('KILL');
    });
    await expect(download).rejects.toBeInstanceOf(ConnectionError);
    expect(bytes).toBeLessThan(size);
    expect(libvirt.rpc.openStreams).toBe(0);
    await node.start();

    const again = await openLibvirt(node.uri);
    // A running transient pool is kept across a restart.
    const target = await (await again.pools.byName('p')).volume('big');
    async function* source(): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < 64; at += 1) {
        if (at === 8) await node.signal('KILL');
        yield new Uint8Array(1 << 20);
      }
    }
    await expect(target.upload(source())).rejects.toBeInstanceOf(ConnectionError);
    expect(again.rpc.openStreams).toBe(0);
    await node.start();
  });

  it('stopped makes calls miss their deadline, and their outcome unknown', async () => {
    const libvirt = await openLibvirt(node.uri);
    await node.signal('STOP');
    const late = libvirt.node.hostname({ timeoutMs: 200 });
    await expect(late).rejects.toMatchObject({ code: 'OutcomeUnknown', reason: 'timeout' });
    const aborter = new AbortController();
    const given = libvirt.node.hostname({ signal: aborter.signal });
    aborter.abort();
    await expect(given).rejects.toMatchObject({ code: 'OutcomeUnknown', reason: 'aborted' });
    await node.signal('CONT');
    expect(await libvirt.node.hostname()).toBe(node.name);
    expect(libvirt.rpc.callsInFlight).toBe(0);
    await libvirt.close();
  });

  it('stopped for good is noticed by keepalive', async () => {
    const keepalive = { intervalMs: 100, count: 3 };
    const libvirt = await openLibvirt(node.uri, { keepalive });
    await node.signal('STOP');
    const pending = libvirt.node.hostname();
    await expect(pending).rejects.toMatchObject({ code: 'OutcomeUnknown', reason: 'lost' });
    await node.signal('CONT');
  });

  it('does not take its guests with it', async () => {
    const libvirt = await openLibvirt(node.uri);
    const domain = await libvirt.domains.createXml(guestXml(await testGuest(), { name: 'survivor' }));
    const id = domain.id;
    await node.restart('KILL');
    const again = await openLibvirt(node.uri);
    const found = await again.domains.byName('survivor');
    expect(found.uuid).toBe(domain.uuid);
    expect(found.id).toBe(id);
    expect(await found.state()).toMatchObject({ state: 'running' });
    // While libvirtd still connects to the guest's monitor, a destroy would find the domain gone in its hands.
    const isRunning = async (): Promise<unknown> => found.monitorCommand({ execute: 'query-status' });
    await expect.poll(isRunning, { timeout: 30_000 }).toMatchObject({ return: { running: true } });
    await found.destroy();
    await again.close();
  });

  it('restarted makes the supervisor resynchronise, with events registered before', async () => {
    const supervisor = supervise({ uri: node.uri, kinds: ['domain.lifecycle'], backoff: impatient });
    const next = async (type: SupervisorSignal<'domain.lifecycle'>['type']) => {
      for await (const signal of { [Symbol.asyncIterator]: () => ({ next: () => supervisor.next() }) }) {
        if (signal.type === type) return signal;
      }
      throw new Error('the supervisor ended');
    };
    const first = await next('resynchronise');
    expect(first).toMatchObject({ reason: 'connected' });
    await node.signal('KILL');
    expect(await next('disconnected')).toMatchObject({ error: expect.any(Error) as Error });
    expect(supervisor.current).toBeUndefined();
    await node.start();
    const again = await next('resynchronise');
    const { libvirt } = again as { libvirt: Libvirt };
    const domain = await libvirt.domains.defineXml(guestXml(await testGuest(), { name: 'seen' }));
    expect(await next('event')).toMatchObject({ event: { event: 'defined', domain: { name: 'seen' } } });
    await domain.undefine();
    await supervisor.close();
    expect(await supervisor.next()).toEqual({ done: true, value: undefined });
    await expect(supervisor.connected()).rejects.toBeInstanceOf(ConnectionError);
  });

  it('restarted a hundred times leaks no listener and loses no call', async () => {
    const aborter = new AbortController();
    const supervisor = supervise({
      uri: node.uri,
      kinds: ['domain.lifecycle', 'network.lifecycle', 'domain.reboot'],
      backoff: impatient,
      signal: aborter.signal,
    });
    let gaps = 0;
    const following = (async () => {
      for await (const signal of supervisor) if (signal.type === 'resynchronise') gaps += 1;
    })();
    const listeners: number[] = [];
    let unanswered = 0;
    for (let round = 0; round < 100; round += 1) {
      const libvirt = await supervisor.connected();
      const calls = Array.from({ length: 5 }, () => libvirt.node.hostname());
      unanswered += calls.length;
      for (const call of calls) {
        call.then(
          () => (unanswered -= 1),
          () => (unanswered -= 1),
        );
      }
      await node.restart('KILL');
      await Promise.allSettled(calls);
      expect(libvirt.rpc.callsInFlight + libvirt.rpc.subscriptions + libvirt.rpc.openStreams).toBe(0);
      listeners.push(getEventListeners(aborter.signal, 'abort').length + process.listenerCount('exit'));
    }
    expect(unanswered).toBe(0);
    expect(gaps).toBeGreaterThanOrEqual(90);
    expect(new Set(listeners).size).toBe(1);
    aborter.abort();
    await following;
    expect(getEventListeners(aborter.signal, 'abort')).toEqual([]);
  });

  it('not there at all is a connection error that says where', async () => {
    const missing = `qemu+unix:///system?socket=${node.dir}/nobody`;
    await expect(openLibvirt(missing)).rejects.toBeInstanceOf(ConnectionError);
    await writeFile(`${node.dir}/file`, '');
    await expect(openLibvirt(`qemu+unix:///system?socket=${node.dir}/file`)).rejects.toBeInstanceOf(ConnectionError);
  });
});
