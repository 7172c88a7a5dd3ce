import { createServer } from 'node:http';
import { existsSync, linkSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { UnreachableError } from '../../src/base/errors.ts';
import { silentLogger } from '../../src/base/logger.ts';
import type { Connection } from '../../src/kube/connection.ts';
import { selectConnection } from '../../src/kube/connection.ts';
import { KubeClient } from '../../src/kube/kube-client.ts';
import type { ApiServer } from '../../src/standalone/server.ts';
import { startApiServer } from '../../src/standalone/server.ts';
import { makeTestFolder } from '../support/test-folder.ts';

const ends: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function start(folder = makeTestFolder('socket')): Promise<{ server: ApiServer; socket: string }> {
  const server = await startApiServer({ folder, definitions: [], logger: silentLogger, version: 'test' });
  ends.push(() => server.close());
  return { server, socket: join(folder, 'api.sock') };
}

function connect(kubeconfig: string): Promise<Connection> {
  return selectConnection({ kubeconfig, env: {}, home: '/', cwd: '/' });
}

/** Asks for the namespaces; over TLS this fails, because no authority is trusted. */
async function ask(connection: Connection, useSocket: boolean, trusting = false): Promise<unknown> {
  const cluster = trusting ? connection.cluster : { ...connection.cluster, caData: undefined };
  const client = new KubeClient({ ...connection, cluster }, { useSocket });
  ends.push(() => client.close());
  return client.raw('/api/v1/namespaces');
}

const answered = expect.objectContaining({ kind: 'NamespaceList' }) as unknown;

describe('the socket of a standalone', () => {
  it('answers its owner without TLS, and is named in the kubeconfig', async () => {
    const { server, socket } = await start();
    expect(statSync(socket).mode & 0o777).toBe(0o600);
    const connection = await connect(server.kubeconfig);
    expect(connection.cluster.socket).toBe(socket);
    expect(await ask(connection, true)).toEqual(answered);
  });

  it('is only used by a client that is told to', async () => {
    const { server } = await start();
    const connection = await connect(server.kubeconfig);
    await expect(ask(connection, false)).rejects.toThrow(UnreachableError);
    expect(await ask(connection, false, true)).toEqual(answered);
  });

  it('is passed over when it is gone, and when nobody listens on it', async () => {
    const { server, socket } = await start();
    const connection = await connect(server.kubeconfig);
    rmSync(socket);
    expect(await ask(connection, true, true)).toEqual(answered);
    await new Promise<void>((done) => {
      const left = createServer().listen(socket, () => {
        // As a crash leaves it: the file stays, and nothing accepts.
        const path = `${socket}.kept`;
        linkSync(socket, path);
        left.close(() => done());
      });
    });
    expect(existsSync(`${socket}.kept`)).toBe(true);
    const stale = { ...connection, cluster: { ...connection.cluster, socket: `${socket}.kept` } };
    expect(await ask(stale, true, true)).toEqual(answered);
  });

  it('does not stand for another address, nor for another user', async () => {
    const { server } = await start();
    const text = readFileSync(server.kubeconfig, 'utf8');
    const { port } = new URL(server.url);
    const moved = `${server.kubeconfig}.moved`;
    writeFileSync(moved, text.replace(`"server": "https://127.0.0.1:${port}"`, '"server": "https://127.0.0.1:1"'));
    const connection = await connect(moved);
    expect(connection.cluster).toMatchObject({ server: 'https://127.0.0.1:1' });
    expect(connection.cluster.socket).toBe(undefined);
    const impersonate = { user: 'jane', groups: [], uid: undefined };
    const other = { ...(await connect(server.kubeconfig)), user: { impersonate } };
    await expect(ask(other, true)).rejects.toThrow(UnreachableError);
    const token = { ...(await connect(server.kubeconfig)), user: { token: 'wrong' } };
    await expect(ask(token, true)).rejects.toThrow(/Unauthorized/);
  });

  it('is not made where the folder has a name that is too long for one', async () => {
    const { server, socket } = await start(join(makeTestFolder('socket'), 'long'.repeat(25)));
    expect(existsSync(socket)).toBe(false);
    expect((await connect(server.kubeconfig)).cluster.socket).toBe(undefined);
  });

  it('takes the place of one that a crash left', async () => {
    const folder = makeTestFolder('socket');
    const { server, socket } = await start(folder);
    await server.close();
    ends.length = 0;
    writeFileSync(socket, '');
    const again = await start(folder);
    expect(await ask(await connect(again.server.kubeconfig), true)).toEqual(answered);
  });
});
