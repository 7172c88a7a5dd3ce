import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { ExitCode } from '../../src/base/exit-code.ts';
import { KubeClient } from '../../src/kube/kube-client.ts';
import type { KubeClientOptions } from '../../src/kube/kube-client.ts';
import type { KubeconfigUser } from '../../src/kube/kubeconfig.ts';
import type { KubeObject } from '../../src/kube/object.ts';
import { builtin } from '../../src/kube/resource-type.ts';
import { isAlreadyExists, isConflict, isExpired, isNotFound } from '../../src/kube/status-error.ts';
import { sendJson, startFakeApiServer, statusBody } from '../support/fake-api-server.ts';
import type { Answer, FakeApiServer } from '../support/fake-api-server.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { makeTestFolder } from '../support/test-folder.ts';

interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
}

let server: FakeApiServer;
let client: KubeClient;
afterEach(async () => {
  client.close();
  await server.close();
});

async function serve(answer: Answer, options: KubeClientOptions = {}, user: KubeconfigUser = {}): Promise<KubeClient> {
  server = await startFakeApiServer(answer);
  client = new KubeClient(server.connection(user), options);
  return client;
}

const object: ConfigMap = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a', namespace: 'n' } };
const ref = { namespace: 'n', name: 'a' };

/** Answers each request with the next of the answers; the last one again and again. */
function inTurn(...answers: readonly Answer[]): Answer {
  let next = 0;
  return (request, response) => {
    const answer = answers[Math.min(next, answers.length - 1)];
    next += 1;
    answer?.(request, response);
  };
}

const ok: Answer = (_request, response) => sendJson(response, 200, object);

describe('the requests', () => {
  it('have the path, query, type and body of the API conventions', async () => {
    const maps = (await serve(ok)).resource<ConfigMap>(builtin.configMaps);
    await maps.get(ref);
    await maps.create(object, { dryRun: true });
    await maps.update(object, { fieldManager: 'me' });
    await maps.updateStatus(object);
    await maps.mergePatch(ref, { data: null }, { subresource: 'status' });
    await maps.jsonPatch(ref, [{ op: 'remove', path: '/data' }]);
    await maps.apply(object, { force: true, fieldManager: 'me' });
    await maps.delete(ref, { propagationPolicy: 'Foreground', preconditions: { uid: 'u' }, gracePeriodSeconds: 0 });
    expect(server.seen.map(({ method, url }) => `${method} ${url.pathname}${url.search}`)).toEqual([
      'GET /api/v1/namespaces/n/configmaps/a',
      'POST /api/v1/namespaces/n/configmaps?fieldManager=virtctl&dryRun=All',
      'PUT /api/v1/namespaces/n/configmaps/a?fieldManager=me',
      'PUT /api/v1/namespaces/n/configmaps/a/status?fieldManager=virtctl',
      'PATCH /api/v1/namespaces/n/configmaps/a/status?fieldManager=virtctl',
      'PATCH /api/v1/namespaces/n/configmaps/a?fieldManager=virtctl',
      'PATCH /api/v1/namespaces/n/configmaps/a?fieldManager=me&force=true',
      'DELETE /api/v1/namespaces/n/configmaps/a',
    ]);
    expect(server.seen.map(({ headers }) => headers['content-type'])).toEqual([
      undefined,
      'application/json',
      'application/json',
      'application/json',
      'application/merge-patch+json',
      'application/json-patch+json',
      'application/apply-patch+yaml',
      'application/json',
    ]);
    expect(JSON.parse(server.seen[7]?.body ?? '')).toEqual({
      kind: 'DeleteOptions',
      apiVersion: 'v1',
      propagationPolicy: 'Foreground',
      gracePeriodSeconds: 0,
      preconditions: { uid: 'u' },
    });
  });

  it('share one connection', async () => {
    const maps = (await serve(ok)).resource<ConfigMap>(builtin.configMaps);
    for (let i = 0; i < 5; i++) await maps.get(ref);
    expect(server.connectionsMade()).toBe(1);
  });

  it('refuse names that would change the path', async () => {
    const maps = (await serve(ok)).resource<ConfigMap>(builtin.configMaps);
    for (const name of ['..', '.', 'a/b', 'a%2Fb', '']) {
      await expect(maps.get({ namespace: 'n', name })).rejects.toThrow('cannot be a name');
      await expect(maps.list({ namespace: name === '' ? '..' : name })).rejects.toThrow('cannot be a namespace');
    }
    await expect(maps.get({ name: 'a' })).rejects.toThrow('needs a namespace');
    await maps.get({ namespace: 'n', name: 'a?b=c#d' });
    expect(server.seen.map(({ url }) => url.pathname)).toEqual(['/api/v1/namespaces/n/configmaps/a%3Fb%3Dc%23d']);
  });

  it('keep a path below the server’s address', async () => {
    server = await startFakeApiServer(ok);
    client = new KubeClient(server.connection({}, { server: `${server.url}/k8s/clusters/c-1/` }));
    await client.resource(builtin.configMaps).get(ref);
    expect(server.seen[0]?.url.pathname).toBe('/k8s/clusters/c-1/api/v1/namespaces/n/configmaps/a');
  });

  it('read a list page by page, and all at once when the continue token expired', async () => {
    const item = (name: string): object => ({ metadata: { name, namespace: 'n' } });
    const maps = (
      await serve((request, response) => {
        const token = request.url.searchParams.get('continue');
        const limit = request.url.searchParams.get('limit');
        if (token === 'old') sendJson(response, 410, statusBody(410, 'Expired', 'the token is too old'));
        else if (limit === null) sendJson(response, 200, { items: [item('a'), item('b'), item('c')], metadata: {} });
        else {
          const next = request.url.searchParams.get('labelSelector') === 'slow=1' ? 'old' : 'next';
          const metadata = { resourceVersion: '7', ...(token === null ? { continue: next } : {}) };
          sendJson(response, 200, { items: [item(token === null ? 'a' : 'b')], metadata });
        }
      })
    ).resource<ConfigMap>(builtin.configMaps);
    const paged = await maps.listAll({ limit: 1 });
    expect(paged.items.map(({ metadata, kind }) => [kind, metadata.name])).toEqual([
      ['ConfigMap', 'a'],
      ['ConfigMap', 'b'],
    ]);
    expect(paged.resourceVersion).toBe('7');
    expect((await maps.listAll({ limit: 1, labelSelector: 'slow=1' })).items).toHaveLength(3);
  });
});

describe('a refusal', () => {
  const cases: readonly (readonly [number, string, ExitCode])[] = [
    [404, 'NotFound', ExitCode.NotFound],
    [409, 'AlreadyExists', ExitCode.Conflict],
    [409, 'Conflict', ExitCode.Conflict],
    [422, 'Invalid', ExitCode.InvalidInput],
    [400, 'BadRequest', ExitCode.InvalidInput],
    [403, 'Forbidden', ExitCode.Forbidden],
    [401, 'Unauthorized', ExitCode.Forbidden],
    [504, 'Timeout', ExitCode.TimedOut],
    [500, 'ServerTimeout', ExitCode.TimedOut],
    [503, 'ServiceUnavailable', ExitCode.Unreachable],
    [500, 'InternalError', ExitCode.Failed],
    [410, 'Expired', ExitCode.Failed],
  ];
  it.each(cases)('%i %s ends with exit code %i and the server’s own words', async (code, reason, exitCode) => {
    const maps = (
      await serve((_r, response) => sendJson(response, code, statusBody(code, reason, 'own words')))
    ).resource(builtin.configMaps);
    await expect(maps.get(ref)).rejects.toMatchObject({ message: 'own words', code: reason, exitCode });
  });

  it('tells apart what a program must tell apart', async () => {
    const maps = (
      await serve((request, response) => {
        const [code, reason] = (request.url.pathname.split('/').pop() ?? '').split('.');
        sendJson(response, Number(code), statusBody(Number(code), reason ?? '', 'm'));
      })
    ).resource(builtin.configMaps);
    const failure = (name: string): Promise<unknown> => maps.get({ namespace: 'n', name }).catch((e: unknown) => e);
    expect(isNotFound(await failure('404.NotFound'))).toBe(true);
    expect(isAlreadyExists(await failure('409.AlreadyExists'))).toBe(true);
    expect(isConflict(await failure('409.AlreadyExists'))).toBe(false);
    expect(isConflict(await failure('409.Conflict'))).toBe(true);
    expect(isExpired(await failure('410.Gone'))).toBe(true);
    expect(await maps.find({ namespace: 'n', name: '404.NotFound' })).toBeUndefined();
  });

  it('carries every field at fault', async () => {
    const causes = [
      { reason: 'FieldValueInvalid', field: 'spec.a', message: 'Invalid value: 1' },
      { reason: 'FieldValueRequired', field: 'spec.b[0]', message: 'Required value' },
    ];
    const body = statusBody(422, 'Invalid', 'ConfigMap "a" is invalid', { causes });
    const maps = (await serve((_r, response) => sendJson(response, 422, body))).resource<ConfigMap>(builtin.configMaps);
    await expect(maps.create(object)).rejects.toMatchObject({
      message: 'ConfigMap "a" is invalid',
      problems: [
        { path: 'spec.a', message: 'Invalid value: 1' },
        { path: 'spec.b[0]', message: 'Required value' },
      ],
    });
  });

  it('says what was asked when the answer is no Status', async () => {
    const maps = (
      await serve((_r, response) => {
        response.writeHead(502, { 'content-type': 'text/html' });
        response.end('<html>bad gateway\nmore</html>');
      })
    ).resource(builtin.configMaps);
    await expect(maps.get(ref)).rejects.toMatchObject({
      message: 'the API server answered 502 to GET /api/v1/namespaces/n/configmaps/a: <html>bad gateway',
      exitCode: ExitCode.Unreachable,
    });
  });

  it('hints at the CRDs when the server does not know the resource', async () => {
    const maps = (
      await serve((_r, response) => {
        response.writeHead(404);
        response.end('404 page not found\n');
      })
    ).resource(builtin.configMaps);
    await expect(maps.list()).rejects.toMatchObject({ hint: expect.stringContaining('virtctl crd') as string });
  });
});

describe('a retry', () => {
  const busy =
    (code: number, retryAfter?: string): Answer =>
    (_request, response) =>
      sendJson(
        response,
        code,
        statusBody(code, 'TooManyRequests', 'busy'),
        retryAfter === undefined ? {} : { 'retry-after': retryAfter },
      );

  it('follows 429 after the time the server asked for, for writes too', async () => {
    const clock = new ManualClock({ automatic: true });
    const maps = (await serve(inTurn(busy(429, '3'), busy(429, '2'), ok), { clock })).resource<ConfigMap>(
      builtin.configMaps,
    );
    await maps.create(object);
    expect(server.seen).toHaveLength(3);
    expect(clock.slept).toEqual([3000, 2000]);
  });

  it('follows 503 only when the server says when', async () => {
    const clock = new ManualClock({ automatic: true });
    const maps = (await serve(inTurn(busy(503, '1'), busy(503), ok), { clock })).resource(builtin.configMaps);
    await expect(maps.get(ref)).rejects.toMatchObject({ exitCode: ExitCode.Unreachable });
    expect(server.seen).toHaveLength(2);
  });

  it('gives the server’s words when waiting would outlast the deadline', async () => {
    const maps = (await serve(busy(429, '3600'))).resource(builtin.configMaps);
    await expect(maps.get(ref)).rejects.toThrow('busy');
    expect(server.seen).toHaveLength(1);
  });

  it('ends after the limit', async () => {
    const clock = new ManualClock({ automatic: true });
    const maps = (await serve(busy(429, '1'), { clock, maxRetries: 3 })).resource(builtin.configMaps);
    await expect(maps.get(ref)).rejects.toThrow('busy');
    expect(server.seen).toHaveLength(4);
  });

  const reset: Answer = (_request, response) => void response.socket?.resetAndDestroy();

  it('follows a reset connection for a read', async () => {
    const clock = new ManualClock({ automatic: true });
    const maps = (await serve(inTurn(reset, reset, ok), { clock })).resource<ConfigMap>(builtin.configMaps);
    expect((await maps.get(ref)).metadata.name).toBe('a');
    expect(server.seen).toHaveLength(3);
  });

  it('never follows a reset connection for a write, which may have happened', async () => {
    const maps = (await serve(reset)).resource<ConfigMap>(builtin.configMaps);
    await expect(maps.create(object)).rejects.toMatchObject({ exitCode: ExitCode.Unreachable });
    await expect(maps.delete(ref)).rejects.toMatchObject({ exitCode: ExitCode.Unreachable });
    expect(server.seen).toHaveLength(2);
  });

  it('reads a rotated token file again after 401, once', async () => {
    const tokenFile = join(makeTestFolder('token'), 'token');
    writeFileSync(tokenFile, 'old\n');
    const maps = (
      await serve(
        (request, response) => {
          const accepted = request.headers.authorization === 'Bearer new';
          writeFileSync(tokenFile, 'new\n');
          if (accepted) sendJson(response, 200, object);
          else sendJson(response, 401, statusBody(401, 'Unauthorized', 'Unauthorized'));
        },
        {},
        { tokenFile },
      )
    ).resource<ConfigMap>(builtin.configMaps);
    await maps.create(object);
    expect(server.seen.map(({ headers }) => headers.authorization)).toEqual(['Bearer old', 'Bearer new']);
  });
});

describe('a deadline', () => {
  it('ends a request that is not answered, with exit code 5', async () => {
    const maps = (await serve(() => undefined)).resource(builtin.configMaps);
    await expect(maps.get(ref, { timeoutMs: 50 })).rejects.toMatchObject({ exitCode: ExitCode.TimedOut });
  });

  it('ends an answer that never comes to its end', async () => {
    const maps = (
      await serve((_request, response) => {
        response.writeHead(200);
        response.write('{');
      })
    ).resource(builtin.configMaps);
    await expect(maps.get(ref, { timeoutMs: 50 })).rejects.toMatchObject({ exitCode: ExitCode.TimedOut });
  });

  it('gives way to the caller’s signal', async () => {
    const maps = (await serve(() => undefined)).resource(builtin.configMaps);
    const stop = new AbortController();
    const asked = maps.get(ref, { signal: stop.signal });
    stop.abort(new Error('enough'));
    await expect(asked).rejects.toThrow('enough');
  });
});

describe('an answer', () => {
  it('that is too long is an error', async () => {
    const maps = (
      await serve((_r, response) => sendJson(response, 200, { ...object, data: { a: 'x'.repeat(2000) } }), {
        maxResponseBytes: 1000,
      })
    ).resource(builtin.configMaps);
    await expect(maps.get(ref)).rejects.toThrow('longer than 1000 bytes');
  });

  it('hands on what the server warns of', async () => {
    const warnings: string[] = [];
    const maps = (
      await serve(
        (_request, response) =>
          sendJson(response, 200, object, { warning: '299 - "unknown field \\"a\\"", 299 - "v1 is old, use v2"' }),
        { onWarning: (text) => void warnings.push(text) },
      )
    ).resource(builtin.configMaps);
    await maps.get(ref);
    expect(warnings).toEqual(['unknown field "a"', 'v1 is old, use v2']);
  });

  it('of another kind is an error', async () => {
    const maps = (await serve((_r, response) => sendJson(response, 200, { kind: 'Other', metadata: {} }))).resource(
      builtin.configMaps,
    );
    await expect(maps.get(ref)).rejects.toThrow("the API server's answer is not a ConfigMap");
  });

  it('that never comes because nobody listens is unreachable', async () => {
    const maps = (await serve(ok)).resource(builtin.configMaps);
    await server.close();
    await expect(maps.get(ref)).rejects.toMatchObject({
      exitCode: ExitCode.Unreachable,
      message: `cannot reach the API server at ${server.url}`,
    });
    server = await startFakeApiServer(ok);
  });
});

describe('credentials', () => {
  it('are sent as token, basic authentication and impersonation', async () => {
    server = await startFakeApiServer(ok);
    const authorization = async (user: KubeconfigUser): Promise<unknown> => {
      client = new KubeClient(server.connection(user));
      await client.resource(builtin.configMaps).get(ref);
      const headers = server.seen.at(-1)?.headers;
      client.close();
      return [headers?.authorization, headers?.['impersonate-user'], headers?.['impersonate-group']];
    };
    expect(await authorization({ token: 't' })).toEqual(['Bearer t', undefined, undefined]);
    expect(await authorization({ username: 'u', password: 'p' })).toEqual(['Basic dTpw', undefined, undefined]);
    const impersonate = { user: 'jane', groups: ['a', 'b'], uid: undefined };
    expect(await authorization({ token: 't', impersonate })).toEqual(['Bearer t', 'jane', 'a, b']);
  });

  it('come from an exec plug-in, which is asked again after 401', async () => {
    const folder = makeTestFolder('exec');
    const plugin = join(folder, 'login');
    const script = `#!/bin/sh
echo x >>${folder}/calls
n=$(wc -l <${folder}/calls)
echo "{\\"kind\\":\\"ExecCredential\\",\\"status\\":{\\"token\\":\\"$1-$WHO-$n\\",\\"expirationTimestamp\\":\\"2999-01-01T00:00:00Z\\"}}"
`;
    writeFileSync(plugin, script);
    chmodSync(plugin, 0o755);
    const exec = {
      apiVersion: 'client.authentication.k8s.io/v1',
      command: plugin,
      args: ['arg'],
      env: [{ name: 'WHO', value: 'me' }],
      installHint: undefined,
      provideClusterInfo: false,
    };
    const maps = (
      await serve(
        (request, response) =>
          request.headers.authorization === 'Bearer arg-me-2'
            ? sendJson(response, 200, object)
            : sendJson(response, 401, statusBody(401, 'Unauthorized', 'Unauthorized')),
        {},
        { exec },
      )
    ).resource(builtin.configMaps);
    await maps.get(ref);
    await maps.get(ref);
    expect(readFileSync(join(folder, 'calls'), 'utf8')).toBe('x\nx\n');
  });

  it('that a plug-in does not give are an error with exit code 7 and the plug-in’s words', async () => {
    const exec = {
      apiVersion: 'client.authentication.k8s.io/v1',
      command: '/bin/sh',
      args: ['-c', 'echo not logged in >&2; exit 3'],
      env: [],
      installHint: 'install login',
      provideClusterInfo: false,
    };
    const maps = (await serve(ok, {}, { exec })).resource(builtin.configMaps);
    await expect(maps.get(ref)).rejects.toMatchObject({
      exitCode: ExitCode.Forbidden,
      hint: 'install login',
      cause: expect.objectContaining({ message: 'not logged in\n' }) as Error,
    });
    expect(server.seen).toEqual([]);
  });

  it('of OpenID Connect are the id token as long as it holds', async () => {
    const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const idToken = `${part({ alg: 'none' })}.${part({ exp: 32503680000 })}.x`;
    const authProvider = { name: 'oidc', config: { 'id-token': idToken, 'client-id': 'c' } };
    await (await serve(ok, {}, { authProvider })).resource(builtin.configMaps).get(ref);
    expect(server.seen[0]?.headers.authorization).toBe(`Bearer ${idToken}`);
  });

  it('of a provider that kubectl dropped are refused', async () => {
    await serve(ok);
    const connection = server.connection({ authProvider: { name: 'gcp', config: {} } });
    expect(() => new KubeClient(connection)).toThrow('auth provider "gcp" is not supported');
  });

  it('through a proxy are refused, and the context is named', async () => {
    await serve(ok);
    const connection = server.connection({}, { proxyUrl: 'http://proxy:3128' });
    expect(() => new KubeClient(connection)).toThrow('the cluster of context "fake" sets proxy-url');
  });
});
