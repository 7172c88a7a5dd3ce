/** The client, the informer and authentication against a real kube-apiserver. */
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import type { Server } from 'node:https';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { ExitCode } from '../../src/base/exit-code.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { selectConnection } from '../../src/kube/connection.ts';
import type { Connection } from '../../src/kube/connection.ts';
import { Informer } from '../../src/kube/informer.ts';
import type { InformerOptions } from '../../src/kube/informer.ts';
import { KubeClient } from '../../src/kube/kube-client.ts';
import type { KubeconfigCluster, KubeconfigUser } from '../../src/kube/kubeconfig.ts';
import type { KubeObject } from '../../src/kube/object.ts';
import type { ResourceClient } from '../../src/kube/resource-client.ts';
import { builtin } from '../../src/kube/resource-type.ts';
import { isAlreadyExists, isConflict, isExpired, isNotFound } from '../../src/kube/status-error.ts';
import { waitForObject } from '../../src/kube/wait-for-object.ts';
import { sendJson, startFakeApiServer } from '../support/fake-api-server.ts';
import { startKubeApiserver } from '../support/kube-apiserver.ts';
import type { KubeApiserver } from '../support/kube-apiserver.ts';
import { makeAuthority, makeCertificate } from '../support/test-certificates.ts';
import { makeTestFolder } from '../support/test-folder.ts';

interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>> | undefined;
}

let api: KubeApiserver;
let client: KubeClient;
let maps: ResourceClient<ConfigMap>;

beforeAll(async () => {
  api = await startKubeApiserver();
  client = new KubeClient(await connect());
  maps = client.resource<ConfigMap>(builtin.configMaps);
});
afterAll(async () => {
  client.close();
  await api.stop();
});

function connect(): Promise<Connection> {
  return selectConnection({ kubeconfig: api.kubeconfigPath, env: {}, home: '/nonexistent', cwd: '/' });
}

async function connectionAs(user: KubeconfigUser, cluster: Partial<KubeconfigCluster> = {}): Promise<Connection> {
  const connection = await connect();
  return { ...connection, user, cluster: { ...connection.cluster, ...cluster } };
}

const map = (name: string, data: Record<string, string> = {}, labels: Record<string, string> = {}): ConfigMap => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace: 'default', labels },
  data,
});
const at = (name: string): { namespace: string; name: string } => ({ namespace: 'default', name });

describe('the client on a real API server', () => {
  it('creates, reads, replaces, patches, applies and deletes', async () => {
    const made = await maps.create(map('life', { a: '1' }));
    expect(made.metadata.uid).toBeDefined();
    await maps.update({ ...made, data: { a: '2' } });
    await expect(maps.update({ ...made, data: { a: '3' } })).rejects.toMatchObject({ exitCode: ExitCode.Conflict });
    await maps.mergePatch(at('life'), { data: { b: '1', a: null } });
    await maps.jsonPatch(at('life'), [
      { op: 'test', path: '/data/b', value: '1' },
      { op: 'add', path: '/data/c', value: '2' },
    ]);
    const applied = await maps.apply(
      { apiVersion: 'v1', kind: 'ConfigMap', metadata: at('life'), ...{ data: { d: '4' } } },
      { fieldManager: 'applier' },
    );
    expect(applied.data).toEqual({ b: '1', c: '2', d: '4' });
    expect((await maps.get(at('life'))).data).toEqual(applied.data);
    await maps.delete(at('life'));
    expect(await maps.find(at('life'))).toBeUndefined();
  });

  it('tells conflicts of server-side apply, and forces', async () => {
    const mine = { apiVersion: 'v1', kind: 'ConfigMap', metadata: at('applied'), data: { a: 'mine' } };
    await maps.apply(mine, { fieldManager: 'me' });
    const theirs = { ...mine, data: { a: 'theirs' } };
    const refused = await maps.apply(theirs, { fieldManager: 'them' }).catch((error: unknown) => error);
    expect(isConflict(refused)).toBe(true);
    expect((refused as Error).message).toContain('conflict with "me"');
    expect((await maps.apply(theirs, { fieldManager: 'them', force: true })).data).toEqual({ a: 'theirs' });
  });

  it('stores nothing in a dry run', async () => {
    await maps.create(map('dry'), { dryRun: true });
    expect(await maps.find(at('dry'))).toBeUndefined();
  });

  it('deletes only what the preconditions describe', async () => {
    const made = await maps.create(map('exact'));
    const other = await maps.delete(at('exact'), { preconditions: { uid: 'other' } }).catch((e: unknown) => e);
    expect(isConflict(other)).toBe(true);
    await maps.delete(at('exact'), { preconditions: { uid: made.metadata.uid } });
  });

  it('returns the object that stays for its finalizers', async () => {
    const made = await maps.create({
      ...map('kept'),
      metadata: { ...at('kept'), finalizers: ['virtctl.dev/test'] },
    });
    expect((await maps.delete(at('kept')))?.metadata.deletionTimestamp).toBeDefined();
    await maps.mergePatch(at('kept'), { metadata: { finalizers: null, uid: made.metadata.uid } });
    expect(await maps.find(at('kept'))).toBeUndefined();
  });

  it('gives the server’s own words with the right exit code', async () => {
    await maps.create(map('twice'));
    const exists = await maps.create(map('twice')).catch((error: unknown) => error);
    expect(isAlreadyExists(exists)).toBe(true);
    expect(exists).toMatchObject({ message: 'configmaps "twice" already exists', exitCode: ExitCode.Conflict });
    const missing = await maps.get(at('missing')).catch((error: unknown) => error);
    expect(isNotFound(missing)).toBe(true);
    expect(missing).toMatchObject({ message: 'configmaps "missing" not found', exitCode: ExitCode.NotFound });
    await expect(maps.create(map('Not A Name'))).rejects.toMatchObject({
      exitCode: ExitCode.InvalidInput,
      message: expect.stringContaining('ConfigMap "Not A Name" is invalid: metadata.name') as string,
      problems: [{ path: 'metadata.name' }],
    });
    await expect(maps.jsonPatch(at('twice'), [{ op: 'test', path: '/data/none', value: 'x' }])).rejects.toMatchObject({
      exitCode: ExitCode.InvalidInput,
    });
    const unknown = { group: 'virtctl.dev', version: 'v9', kind: 'None', plural: 'nones', namespaced: true };
    await expect(client.resource(unknown).list()).rejects.toMatchObject({
      exitCode: ExitCode.NotFound,
      hint: expect.stringContaining('virtctl crd') as string,
    });
  });

  it('lists page by page as of one moment, with selectors', async () => {
    await Promise.all(Array.from({ length: 25 }, (_, i) => maps.create(map(`page-${i}`, {}, { set: 'page' }))));
    const page = await maps.list({ namespace: 'default', labelSelector: 'set=page', limit: 10 });
    expect(page.items).toHaveLength(10);
    expect(page.continue).toBeDefined();
    const all = await maps.listAll({ namespace: 'default', labelSelector: 'set=page', limit: 10 });
    expect(new Set(all.items.map(({ metadata }) => metadata.name)).size).toBe(25);
    expect(all.items.every(({ kind, apiVersion }) => kind === 'ConfigMap' && apiVersion === 'v1')).toBe(true);
    const one = await maps.listAll({ namespace: 'default', fieldSelector: 'metadata.name=page-7' });
    expect(one.items.map(({ metadata }) => metadata.name)).toEqual(['page-7']);
  });

  it('discovers what the server has', async () => {
    expect((await client.version()).gitVersion).toMatch(/^v1\./);
    const core = await client.discover('v1');
    expect(core.find(({ name }) => name === 'configmaps')).toMatchObject({ kind: 'ConfigMap', shortNames: ['cm'] });
    expect((await client.discover('events.k8s.io/v1')).map(({ name }) => name)).toContain('events');
    await expect(client.discover('virtctl.dev/v9')).rejects.toMatchObject({ exitCode: ExitCode.NotFound });
    expect(await client.raw('/readyz')).toBe('ok');
  });

  it('watches from a resourceVersion, and is told when that is too old', async () => {
    const { resourceVersion } = await maps.listAll({ namespace: 'default' });
    await maps.create(map('watched', { a: '1' }));
    await maps.delete(at('watched'));
    const seen: string[] = [];
    for await (const event of maps.watch({ namespace: 'default', resourceVersion, timeoutSeconds: 2 })) {
      if (event.type !== 'BOOKMARK') seen.push(`${event.type} ${event.object.metadata.name ?? ''}`);
    }
    expect(seen).toEqual(['ADDED watched', 'DELETED watched']);
    // A server that just started remembers no changes from before.
    await api.restart();
    const old = maps.watch({ namespace: 'default', resourceVersion: '1', timeoutSeconds: 2 });
    const error = await old.next().catch((thrown: unknown) => thrown);
    expect(isExpired(error)).toBe(true);
  });
});

describe('waiting for an object on a real API server', () => {
  const options = { timeoutMs: 30_000, logger: silentLogger, what: 'configmap slow' };

  it('ends when it is as wanted, through a restart of the server, and when it is gone', async () => {
    const appeared = waitForObject(maps, at('slow'), (object) => object?.data?.['a'] === '2', options);
    await maps.create(map('slow', { a: '1' }));
    await api.restart();
    await maps.mergePatch(at('slow'), { data: { a: '2' } });
    expect((await appeared)?.data).toEqual({ a: '2' });
    const gone = waitForObject(maps, at('slow'), (object) => object === undefined, options);
    await maps.delete(at('slow'));
    expect(await gone).toBeUndefined();
  });

  it('ends with exit code 5 at the deadline, and with what the question throws', async () => {
    await expect(waitForObject(maps, at('never'), () => false, { ...options, timeoutMs: 100 })).rejects.toMatchObject({
      message: 'timed out after 0.1 s: configmap slow',
      exitCode: ExitCode.TimedOut,
    });
    const failing = waitForObject(
      maps,
      at('never'),
      () => {
        throw new Error('it crashed');
      },
      options,
    );
    await expect(failing).rejects.toThrow('it crashed');
  });
});

describe('authentication on a real API server', () => {
  const read = (as: Connection): Promise<unknown> => {
    const one = new KubeClient(as);
    return one
      .resource(builtin.secrets)
      .list()
      .finally(() => one.close());
  };

  it('works by token, token file, client certificate and exec plug-in', async () => {
    const tokenFile = join(makeTestFolder('token'), 'token');
    writeFileSync(tokenFile, `${api.adminToken}\n`);
    const { cert, key } = api.adminCertificate;
    const status = { token: api.adminToken };
    const credential = JSON.stringify({
      apiVersion: 'client.authentication.k8s.io/v1',
      kind: 'ExecCredential',
      status,
    });
    const exec = {
      apiVersion: 'client.authentication.k8s.io/v1',
      command: '/bin/echo',
      args: [credential],
      env: [],
      installHint: undefined,
      provideClusterInfo: false,
    };
    const users: readonly KubeconfigUser[] = [
      { token: api.adminToken },
      { tokenFile },
      { certFile: cert, keyFile: key },
      { certData: readFileSync(cert, 'utf8'), keyData: readFileSync(key, 'utf8') },
      { exec },
      { token: api.adminToken, impersonate: { user: 'x', groups: ['other', 'system:masters'], uid: undefined } },
    ];
    for (const user of users) expect(await read(await connectionAs(user))).toMatchObject({ continue: undefined });
  });

  it('ends with exit code 7 for a wrong token, and for missing rights in the server’s words', async () => {
    await expect(read(await connectionAs({ token: 'wrong' }))).rejects.toMatchObject({
      exitCode: ExitCode.Forbidden,
      code: 'Unauthorized',
    });
    await expect(read(await connectionAs({ token: api.nobodyToken }))).rejects.toMatchObject({
      exitCode: ExitCode.Forbidden,
      message: expect.stringContaining('User "nobody" cannot list resource "secrets"') as string,
    });
  });

  it('refuses a server whose certificate is of another authority or name, unless told not to look', async () => {
    const user = { token: api.adminToken };
    const other = await makeAuthority(makeTestFolder('other-authority'), 'other');
    const foreign = await connectionAs(user, { caFile: other.cert });
    await expect(read(foreign)).rejects.toMatchObject({ exitCode: ExitCode.Unreachable });
    await expect(read(await connectionAs(user, { caFile: undefined }))).rejects.toMatchObject({
      exitCode: ExitCode.Unreachable,
      hint: expect.stringContaining('certificate') as string,
    });
    await expect(read(await connectionAs(user, { tlsServerName: 'other.example' }))).rejects.toMatchObject({
      exitCode: ExitCode.Unreachable,
    });
    await read(await connectionAs(user, { tlsServerName: 'kubernetes.default.svc' }));
    await read(await connectionAs(user, { caFile: other.cert, insecureSkipTlsVerify: true }));
  });

  it('accepts a server that changed its certificate, once the authority’s file changed too', async () => {
    const folder = makeTestFolder('rotation');
    const caFile = join(folder, 'trusted.crt');
    const first = await makeAuthority(folder, 'first');
    const second = await makeAuthority(folder, 'second');
    const pair = async (name: string, authority: typeof first): Promise<{ cert: string; key: string }> => {
      const files = await makeCertificate(folder, name, authority, '/CN=server', ['IP:127.0.0.1']);
      return { cert: readFileSync(files.cert, 'utf8'), key: readFileSync(files.key, 'utf8') };
    };
    const server = await startFakeApiServer(
      (_request, response) => sendJson(response, 200, { metadata: {}, items: [] }, { connection: 'close' }),
      await pair('server-1', first),
    );
    const one = new KubeClient(server.connection({}, { caFile }));
    try {
      copyFileSync(first.cert, caFile);
      await one.resource(builtin.secrets).list();
      (server.raw as unknown as Server).setSecureContext(await pair('server-2', second));
      await expect(one.resource(builtin.secrets).list()).rejects.toMatchObject({ exitCode: ExitCode.Unreachable });
      copyFileSync(second.cert, caFile);
      await one.resource(builtin.secrets).list();
    } finally {
      one.close();
      await server.close();
    }
  });
});

describe('an informer on a real API server', () => {
  async function following(
    options: Partial<InformerOptions<ConfigMap, never>>,
    test: (informer: Informer<ConfigMap>) => Promise<void>,
  ): Promise<void> {
    const informer = new Informer<ConfigMap>({
      source: maps,
      namespace: 'default',
      labelSelector: 'set=informer',
      logger: silentLogger,
      clock: systemClock,
      backoff: { initialMs: 20, maxMs: 200, factor: 2, jitter: 0.5 },
      ...options,
    });
    const stop = new AbortController();
    const running = informer.run(stop.signal);
    try {
      await informer.synced(AbortSignal.timeout(20_000));
      await test(informer);
    } finally {
      stop.abort();
      await running;
    }
  }
  const names = (informer: Informer<ConfigMap>): string[] =>
    informer
      .list()
      .map(({ metadata }) => metadata.name ?? '')
      .sort();
  const until = (isSo: () => boolean): Promise<unknown> => vi.waitUntil(isSo, { timeout: 60_000, interval: 20 });

  it('follows changes, and objects that leave the selection', async () => {
    await maps.create(map('inf-a', {}, { set: 'informer' }));
    await following({}, async (informer) => {
      expect(names(informer)).toEqual(['inf-a']);
      await maps.create(map('inf-b', {}, { set: 'informer' }));
      await maps.mergePatch(at('inf-a'), { metadata: { labels: { set: 'other' } } });
      await until(() => names(informer).join() === 'inf-b');
    });
  });

  it('catches up exactly after the server was killed and changed while it was not watched', async () => {
    await following({}, async (informer) => {
      await api.kill();
      await until(() => informer.health().lastError !== undefined);
      await api.restart();
      await maps.create(map('inf-c', {}, { set: 'informer' }));
      await maps.delete(at('inf-b'));
      await until(() => names(informer).join() === 'inf-c');
      await until(() => informer.health().lastError === undefined);
    });
  });

  it('notices a server that froze, and catches up when it thaws', async () => {
    await following({ idleTimeoutMs: 500 }, async (informer) => {
      api.freeze();
      await until(() => informer.health().lastError !== undefined);
      api.thaw();
      await maps.create(map('inf-d', {}, { set: 'informer' }));
      await until(() => names(informer).join() === 'inf-c,inf-d');
    });
  });
});
