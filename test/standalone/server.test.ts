import { chmodSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { silentLogger } from '../../src/base/logger.ts';
import type { ApiServer, ApiServerOptions } from '../../src/standalone/server.ts';
import { startApiServer } from '../../src/standalone/server.ts';
import { definitionOfCrd } from '../../src/standalone/kinds/crd-definition.ts';
import { backupStore, restoreStore } from '../../src/standalone/storage/backup.ts';
import { gadgets, widgets } from '../conformance/widgets.ts';
import { ApiProbe } from '../conformance/server-under-test.ts';
import type { Json } from '../conformance/server-under-test.ts';
import { makeTestFolder } from '../support/test-folder.ts';

const running: { server: ApiServer; api: ApiProbe }[] = [];

async function start(
  options: Partial<ApiServerOptions> = {},
): Promise<{ server: ApiServer; api: ApiProbe; folder: string }> {
  const folder = options.folder ?? makeTestFolder('standalone');
  const definitions = [definitionOfCrd(widgets), definitionOfCrd(gadgets)];
  const server = await startApiServer({ definitions, logger: silentLogger, version: 'test', ...options, folder });
  const api = new ApiProbe({ url: server.url, ca: server.authority, token: server.token, isEmbedded: true });
  running.push({ server, api });
  return { server, api, folder };
}

async function stopAll(): Promise<void> {
  for (const { server, api } of running.splice(0)) {
    api.close();
    await server.close();
  }
}
afterEach(stopAll);

const maps = '/api/v1/namespaces/default/configmaps';
const map = (name: string, data: Json = {}, metadata: Json = {}): Json => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, ...metadata },
  data,
});
const owned = (name: string, owner: Json, more: Json = {}): Json => {
  const { uid, name: ownerName } = owner['metadata'] as Json;
  return map(name, {}, { ownerReferences: [{ apiVersion: 'v1', kind: 'ConfigMap', name: ownerName, uid, ...more }] });
};

/** Waits until a path answers with a code. */
async function until(api: ApiProbe, path: string, code: number): Promise<void> {
  const end = performance.now() + 20_000;
  while ((await api.get(path)).code !== code) {
    if (performance.now() > end) throw new Error(`${path} does not come to answer ${code}`);
  }
}

function codeOf(server: ApiServer, options: object): Promise<number> {
  return new Promise((done, failed) => {
    request(`${server.url}/api/v1/namespaces`, { ca: server.authority, agent: false, ...options }, (response) => {
      response.resume();
      done(response.statusCode ?? 0);
    })
      .on('error', failed)
      .end();
  });
}

describe('who may ask', () => {
  it('refuses a request without credentials', async () => {
    const { server } = await start();
    expect(await codeOf(server, {})).toBe(401);
  });
  it('takes the client certificate of the kubeconfig, which only its owner can read', async () => {
    const { server } = await start();
    expect(statSync(server.kubeconfig).mode & 0o777).toBe(0o600);
    const config = parse(readFileSync(server.kubeconfig, 'utf8')) as { users: { user: Record<string, string> }[] };
    const user = config.users[0]?.user ?? {};
    const decode = (key: string): Buffer => Buffer.from(user[key] ?? '', 'base64');
    expect(await codeOf(server, { cert: decode('client-certificate-data'), key: decode('client-key-data') })).toBe(200);
  });
  it('refuses the client certificate of another authority', async () => {
    const { server } = await start();
    const other = await start();
    const pki = join(other.folder, 'pki');
    const pair = { cert: readFileSync(join(pki, 'admin.crt')), key: readFileSync(join(pki, 'admin.key')) };
    expect(await codeOf(server, pair)).toBe(401);
  });
  it('refuses the server’s own certificate as a client’s', async () => {
    const { server, folder } = await start();
    const pair = {
      cert: readFileSync(join(folder, 'pki/server.crt')),
      key: readFileSync(join(folder, 'pki/server.key')),
    };
    expect(await codeOf(server, pair)).toBe(401);
  });
  it('renews certificates that are near their end, and keeps the authority and the token', async () => {
    const first = await start();
    const { authority, token } = first.server;
    const old = readFileSync(join(first.folder, 'pki/server.crt'), 'utf8');
    await stopAll();
    const later = Date.now() + 300 * 24 * 3600 * 1000;
    const second = await start({ folder: first.folder, now: () => later });
    expect([second.server.authority, second.server.token]).toEqual([authority, token]);
    expect(readFileSync(join(first.folder, 'pki/server.crt'), 'utf8')).not.toBe(old);
  });

  it('leaves a kubeconfig alone that is right, since the disk may be full, and mends its mode', async () => {
    const { server, folder } = await start();
    const { port } = new URL(server.url);
    const before = statSync(server.kubeconfig);
    await stopAll();
    await start({ folder, port: Number(port) });
    expect(statSync(server.kubeconfig).ino).toBe(before.ino);
    await stopAll();
    chmodSync(server.kubeconfig, 0o644);
    await start({ folder, port: Number(port) });
    expect(statSync(server.kubeconfig).mode & 0o777).toBe(0o600);
  });
});

describe('the store', () => {
  it('has everything after a restart, and lets a watch resume across it', async () => {
    const { api, folder } = await start();
    const made = await api.post(maps, map('kept', { a: '1' }));
    const from = String((made.body['metadata'] as Json)['resourceVersion']);
    await api.merge(`${maps}/kept`, { data: { a: '2' } });
    await api.delete(`${maps}/kept`);
    await stopAll();
    const again = await start({ folder });
    const events = await again.api.watch(`${maps}?watch=true&resourceVersion=${from}`, 2);
    expect(events.map(({ type, object }) => [type, (object['data'] as Json)['a']])).toEqual([
      ['MODIFIED', '2'],
      ['DELETED', '2'],
    ]);
  });
  it('refuses to grow beyond its bound with 507, and takes writes again after deletions', async () => {
    const { api } = await start({ maxStoreBytes: 50_000 });
    const big = { a: 'x'.repeat(20_000) };
    expect((await api.post(maps, map('one', big))).code).toBe(201);
    expect((await api.post(maps, map('two', big))).code).toBe(201);
    const { code, body } = await api.post(maps, map('three', big));
    expect([code, body['reason']]).toEqual([507, 'InsufficientStorage']);
    expect((await api.get(`${maps}/three`)).code).toBe(404);
    await api.delete(`${maps}/one`);
    expect((await api.post(maps, map('three', big))).code).toBe(201);
  });
  it('refuses a second server on the same folder', async () => {
    const { folder } = await start();
    await expect(start({ folder })).rejects.toThrow(/uses .* already/);
  });
  it('tells of a damaged file and does not start', async () => {
    const { folder } = await start();
    await stopAll();
    writeFileSync(join(folder, 'store/store.mdb'), Buffer.alloc(16_384, 7));
    await expect(start({ folder })).rejects.toThrow(/cannot open the store/);
  });
  it('is backed up while it serves, readable by its owner only, and restored', async () => {
    const { api, folder } = await start();
    await api.post(maps, map('before'));
    const file = join(makeTestFolder('backup'), 'store.backup');
    await backupStore(folder, file);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const last = await api.post(maps, map('after'));
    await stopAll();
    await restoreStore(folder, file);
    const again = await start({ folder });
    expect((await again.api.get(`${maps}/before`)).code).toBe(200);
    expect((await again.api.get(`${maps}/after`)).code).toBe(404);
    const seen = String((last.body['metadata'] as Json)['resourceVersion']);
    const [event] = await again.api.watch(`${maps}?watch=true&resourceVersion=${seen}`, 1);
    expect(event?.object['code']).toBe(410);
  });
  it('does not restore what is no backup', async () => {
    const { folder, api } = await start();
    await api.post(maps, map('kept'));
    await stopAll();
    const file = join(makeTestFolder('backup'), 'none');
    writeFileSync(file, Buffer.alloc(16_384, 7));
    chmodSync(file, 0o600);
    await expect(restoreStore(folder, file)).rejects.toThrow(/cannot restore/);
    expect(existsSync(join(folder, 'store/store.mdb'))).toBe(true);
    expect((await (await start({ folder })).api.get(`${maps}/kept`)).code).toBe(200);
  });
});

describe('what depends on an object that is deleted', () => {
  it('goes in the background', async () => {
    const { api } = await start();
    const owner = (await api.post(maps, map('owner'))).body;
    await api.post(maps, owned('dependent', owner));
    await api.delete(`${maps}/owner`);
    await until(api, `${maps}/dependent`, 404);
  });
  it('goes first in the foreground', async () => {
    const { api } = await start();
    const owner = (await api.post(maps, map('owner'))).body;
    const dependent = owned('dependent', owner, { blockOwnerDeletion: true });
    (dependent['metadata'] as Json)['finalizers'] = ['conformance.test/hold'];
    await api.post(maps, dependent);
    await api.delete(`${maps}/owner`, { propagationPolicy: 'Foreground' });
    expect((await api.get(`${maps}/owner`)).code).toBe(200);
    await api.merge(`${maps}/dependent`, { metadata: { finalizers: null } });
    await until(api, `${maps}/dependent`, 404);
    await until(api, `${maps}/owner`, 404);
  });
  it('stays without its owner when orphaned', async () => {
    const { api } = await start();
    const owner = (await api.post(maps, map('owner'))).body;
    await api.post(maps, owned('dependent', owner));
    await api.delete(`${maps}/owner`, { propagationPolicy: 'Orphan' });
    await until(api, `${maps}/owner`, 404);
    expect((await api.get(`${maps}/dependent`)).body['metadata']).not.toHaveProperty('ownerReferences');
  });
  it('goes with its namespace', async () => {
    const { api } = await start();
    await api.post('/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'going' } });
    await api.post('/api/v1/namespaces/going/configmaps', map('inside'));
    await api.delete('/api/v1/namespaces/going');
    await until(api, '/api/v1/namespaces/going', 404);
    expect((await api.get('/api/v1/namespaces/going/configmaps/inside')).code).toBe(404);
  });
});

describe('fields that a schema does not know', () => {
  const path = '/apis/conformance.test/v1/namespaces/default/widgets';
  const typo = {
    apiVersion: 'conformance.test/v1',
    kind: 'Widget',
    metadata: { name: 'w' },
    spec: { size: 1, sise: 2 },
  };
  it('are refused with fieldValidation=Strict', async () => {
    const { api } = await start();
    const { code, body } = await api.post(`${path}?fieldValidation=Strict`, typo);
    expect([code, body['message']]).toEqual([
      400,
      'Widget in version "v1" cannot be handled as a Widget: strict decoding error: unknown field "spec.sise"',
    ]);
  });
  it('are warned about otherwise', async () => {
    const { api } = await start();
    const { code, headers } = await api.post(path, typo);
    expect([code, headers['warning']]).toEqual([201, '299 - "unknown field \\"spec.sise\\""']);
  });
});
