import { mkdir } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ExitCode } from '../../src/base/exit-code.ts';
import { connect } from '../../src/libvirt/connect.ts';
import type { Connection } from '../../src/libvirt/connection.ts';
import type { NonnullStorageVol } from '../../src/libvirt/protocol.gen.ts';
import { restartAgainAndAgain } from '../support/libvirt-restarts.ts';
import { startLibvirtd, type LibvirtdNode } from '../support/libvirtd.ts';

let node: LibvirtdNode;

beforeAll(async () => {
  node = await startLibvirtd();
});

afterAll(() => node.close());

const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );

/** A volume of 64 MiB, in a pool of its own. */
async function makeVolume(connection: Connection, name: string): Promise<NonnullStorageVol> {
  const path = `${node.dir}/${name}`;
  await mkdir(path);
  const poolXml = `<pool type='dir'><name>${name}</name><target><path>${path}</path></target></pool>`;
  const { pool } = await connection.call('storagePoolCreateXml', { xml: poolXml, flags: 0 });
  const xml = `<volume><name>v</name><capacity unit='MiB'>64</capacity></volume>`;
  return (await connection.call('storageVolCreateXml', { pool, xml, flags: 0 })).vol;
}

describe('a real libvirtd', () => {
  it('that is stopped runs into the deadline; its late answer is dropped and the connection goes on', async () => {
    const connection = await connect(node.uri);
    await node.signal('STOP');
    try {
      const calls = Array.from({ length: 20 }, () =>
        failure(connection.call('nodeGetInfo', undefined, { timeoutMs: 200 })),
      );
      for (const error of await Promise.all(calls)) {
        expect(error).toMatchObject({ name: 'OutcomeUnknownError', reason: 'timeout', exitCode: ExitCode.TimedOut });
      }
      expect(await failure(connect(node.uri, { connectTimeoutMs: 200 }))).toMatchObject({
        exitCode: ExitCode.TimedOut,
      });
    } finally {
      await node.signal('CONT');
    }
    expect(await connection.call('connectGetType', undefined)).toEqual({ type: 'QEMU' });
    await connection.close();
  });

  it('that is stopped for good is noticed by its silence', async () => {
    const connection = await connect(node.uri, { keepalive: { intervalMs: 100, count: 3 } });
    const ended = new Promise<Error | undefined>((resolve) => connection.onClose(resolve));
    await node.signal('STOP');
    try {
      expect(await ended).toMatchObject({ name: 'ConnectionError', message: /did not answer for/ });
    } finally {
      await node.signal('CONT');
    }
  });

  it('answers pings while it idles', async () => {
    const connection = await connect(node.uri, { keepalive: { intervalMs: 50, count: 2 } });
    await new Promise((resolve) => setTimeout(resolve, 1000));
    expect(connection.isOpen).toBe(true);
    await connection.close();
  });

  it('that is killed in the middle of calls leaves none without an answer', async () => {
    const connection = await connect(node.uri);
    await node.signal('STOP');
    const calls = Array.from({ length: 200 }, () => failure(connection.call('connectGetCapabilities', undefined)));
    await new Promise((resolve) => setImmediate(resolve));
    await node.signal('KILL');
    for (const error of await Promise.all(calls)) {
      expect(error).toMatchObject({ name: 'OutcomeUnknownError', reason: 'lost', exitCode: ExitCode.Unreachable });
    }
    expect(await failure(connect(node.uri))).toMatchObject({ exitCode: ExitCode.Unreachable });
    await node.start();
  });

  it('that is killed in the middle of a download fails the reader', async () => {
    const connection = await connect(node.uri);
    const vol = await makeVolume(connection, 'download');
    const { stream } = await connection.openStream('storageVolDownload', { vol, offset: 0n, length: 0n, flags: 0 });
    let bytes = 0;
    const reading = (async () => {
      for await (const chunk of stream) {
        if (bytes === 0) await node.signal('KILL');
        bytes += chunk.length;
      }
    })();
    expect(await failure(reading)).toMatchObject({ name: 'ConnectionError' });
    expect(bytes).toBeGreaterThan(0);
    expect(bytes).toBeLessThan(64 << 20);
    expect(connection.openStreams).toBe(0);
    await node.start();
  });

  it('that is killed in the middle of an upload fails the writer', async () => {
    const connection = await connect(node.uri);
    const vol = await makeVolume(connection, 'upload');
    const { stream } = await connection.openStream('storageVolUpload', { vol, offset: 0n, length: 0n, flags: 0 });
    const block = Buffer.alloc(1 << 20, 1);
    await stream.write(block);
    await node.signal('STOP');
    const writing = failure(
      (async () => {
        for (let count = 0; count < 62; count += 1) await stream.write(block);
        await stream.finish();
      })(),
    );
    await node.signal('KILL');
    expect(await writing).toMatchObject({ name: 'ConnectionError' });
    await node.start();
  });

  it('that is killed and started a hundred times is followed by the supervisor, without a lost call or a leak', async () => {
    const figures = await restartAgainAndAgain(node, 100);
    expect(figures.resynchronised).toBe(101);
    expect(figures.answered + figures.unknown + figures.unsent).toBe(figures.calls);
    expect(figures.answered).toBeGreaterThan(100);
    expect(figures.unknown).toBeGreaterThan(0);
    expect(figures.filesAfter).toBeLessThanOrEqual(figures.filesBefore);
    expect(figures.listenersAfter).toBe(0);
  });
});
