import type { ServerResponse } from 'node:http';
import process from 'node:process';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { LogFields, Logger } from '../../src/base/logger.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { Informer } from '../../src/kube/informer.ts';
import type { CacheChange, InformerOptions } from '../../src/kube/informer.ts';
import { KubeClient } from '../../src/kube/kube-client.ts';
import { objectKey } from '../../src/kube/object.ts';
import type { KubeObject } from '../../src/kube/object.ts';
import { builtin } from '../../src/kube/resource-type.ts';
import { sendJson, startFakeApiServer, statusBody } from '../support/fake-api-server.ts';
import type { FakeApiServer, SeenRequest } from '../support/fake-api-server.ts';
import { ManualClock } from '../support/manual-clock.ts';

interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
}

function map(name: string, resourceVersion: string, data: Record<string, string> = {}, uid = name): ConfigMap {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: 'n', uid, resourceVersion }, data };
}

/** What the server does; each test replaces a part. */
let onList: (request: SeenRequest, response: ServerResponse) => void;
let onWatch: (request: SeenRequest, response: ServerResponse) => void;
/** How far the server says that it is. */
let version: string;
/** Whether the server does not say next time how far it is. */
let isAway: boolean;
/** Whether pages of one object are asked for. */
let isPaged: boolean;
let server: FakeApiServer;
let client: KubeClient;
let clock: ManualClock;
let stop: AbortController;
let running: Promise<void>;
let errors: LogFields[];
let changes: string[];

const watches = (): SeenRequest[] => server.seen.filter(({ url }) => url.searchParams.has('watch'));
/** Whether it is only asked how far the server is. */
const isAsking = ({ url }: SeenRequest): boolean => url.searchParams.get('limit') === '1' && !isPaged;
const lists = (): SeenRequest[] => server.seen.filter((one) => !one.url.searchParams.has('watch') && !isAsking(one));
const versionsAsked = (): (string | null)[] => watches().map(({ url }) => url.searchParams.get('resourceVersion'));

function listOf(resourceVersion: string, ...items: readonly ConfigMap[]): typeof onList {
  return (_request, response) => sendJson(response, 200, { metadata: { resourceVersion }, items });
}

function send(response: ServerResponse, ...events: readonly object[]): void {
  for (const event of events) response.write(`${JSON.stringify(event)}\n`);
}

/** Each watch is served by the next of the functions; the last ones stay open and silent. */
function watchInTurn(...serve: readonly ((response: ServerResponse, request: SeenRequest) => void)[]): typeof onWatch {
  let next = 0;
  return (request, response) => {
    const one = serve[next];
    next += 1;
    if (one !== undefined) one(response, request);
    else response.flushHeaders();
  };
}

beforeEach(async () => {
  onList = listOf('1');
  version = '1000000';
  isPaged = false;
  isAway = false;
  onWatch = (_request, response) => response.flushHeaders();
  server = await startFakeApiServer((request, response) => {
    if (request.url.searchParams.has('watch')) onWatch(request, response);
    else if (isAsking(request) && isAway) {
      isAway = false;
      response.destroy();
    } else if (isAsking(request)) sendJson(response, 200, { metadata: { resourceVersion: version }, items: [] });
    else onList(request, response);
  });
  clock = new ManualClock({ automatic: true });
  client = new KubeClient(server.connection(), { clock, maxRetries: 0 });
  stop = new AbortController();
  errors = [];
  changes = [];
});

afterEach(async () => {
  stop.abort();
  await running;
  client.close();
  await server.close();
});

function follow<Name extends string = never>(
  options: Partial<InformerOptions<ConfigMap, Name>> = {},
): Informer<ConfigMap, Name> {
  const logger: Logger = { ...silentLogger, warn: (_message, fields) => void errors.push(fields ?? {}) };
  const informer = new Informer<ConfigMap, Name>({
    source: client.resource<ConfigMap>(builtin.configMaps),
    logger,
    clock,
    random: () => 0,
    ...options,
  });
  informer.onChange((change) => void changes.push(describeChange(change)));
  running = informer.run(stop.signal);
  return informer;
}

function describeChange(change: CacheChange<ConfigMap>): string {
  return `${change.type} ${objectKey(change.object)}@${change.object.metadata.resourceVersion ?? ''}`;
}

function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}

const until = (isSo: () => boolean): Promise<unknown> => vi.waitUntil(isSo, { timeout: 10_000, interval: 2 });
const errorMessages = (): string[] => errors.map(({ error }) => (error as Error).message);

describe('an informer', () => {
  it('lists, then watches from there, and follows each change', async () => {
    onList = listOf('5', map('a', '3'), map('b', '4'));
    onWatch = watchInTurn((response) =>
      send(
        response,
        { type: 'MODIFIED', object: map('a', '6') },
        { type: 'ADDED', object: map('c', '7') },
        { type: 'DELETED', object: map('b', '8') },
      ),
    );
    const informer = follow({ namespace: 'n', labelSelector: 'x=y', fieldSelector: 'metadata.name!=z' });
    await until(() => changes.length === 5);
    expect(changes).toEqual(['added n/a@3', 'added n/b@4', 'updated n/a@6', 'added n/c@7', 'deleted n/b@8']);
    expect(informer.list().map(objectKey).sort()).toEqual(['n/a', 'n/c']);
    expect(versionsAsked()).toEqual(['5']);
    for (const { url } of server.seen) {
      expect(url.pathname).toBe('/api/v1/namespaces/n/configmaps');
      expect(url.searchParams.get('labelSelector')).toBe('x=y');
      expect(url.searchParams.get('fieldSelector')).toBe('metadata.name!=z');
    }
    expect(watches()[0]?.url.searchParams.get('allowWatchBookmarks')).toBe('true');
    expect(Number(watches()[0]?.url.searchParams.get('timeoutSeconds'))).toBeGreaterThan(60);
  });

  it('lists page by page', async () => {
    onList = (request, response) => {
      const next = Number(request.url.searchParams.get('continue') ?? '0') + 1;
      const metadata = { resourceVersion: '9', ...(next < 4 ? { continue: String(next) } : {}) };
      sendJson(response, 200, { metadata, items: [map(`m${next}`, '1')] });
    };
    isPaged = true;
    const informer = follow({ pageSize: 1 });
    await informer.synced(stop.signal);
    expect(informer.list()).toHaveLength(4);
    expect(lists().map(({ url }) => url.searchParams.get('limit'))).toEqual(['1', '1', '1', '1']);
  });

  it('goes on from the last event or bookmark when the server ends the watch', async () => {
    onWatch = watchInTurn(
      (response) => {
        send(response, { type: 'ADDED', object: map('a', '2') });
        response.end();
      },
      (response) => {
        send(response, { type: 'BOOKMARK', object: { kind: 'ConfigMap', metadata: { resourceVersion: '40' } } });
        response.end();
      },
    );
    follow();
    await until(() => watches().length === 3);
    expect(versionsAsked()).toEqual(['1', '2', '40']);
    expect(lists()).toHaveLength(1);
    expect(clock.slept).toEqual([]);
  });

  it('waits before it goes on from a watch that ended at once, so that it never spins', async () => {
    onWatch = watchInTurn(
      (response) => void response.end(),
      (response) => void response.end(),
    );
    follow();
    await until(() => watches().length === 3);
    expect(clock.slept).toEqual([200, 400]);
    expect(errorMessages()).toEqual(Array(2).fill('the server ended the watch at once'));
  });

  it('lists again when the answer to a watch is 410', async () => {
    onWatch = watchInTurn((response) => sendJson(response, 410, statusBody(410, 'Expired', 'too old')));
    follow();
    await until(() => watches().length === 2);
    expect(lists()).toHaveLength(2);
  });

  it('lists again when 410 comes inside the stream, and tells the difference', async () => {
    onList = (request, response) => {
      const items = lists().length === 1 ? [map('a', '1'), map('gone', '1')] : [map('a', '8'), map('new', '9')];
      listOf('9', ...items)(request, response);
    };
    onWatch = watchInTurn((response) =>
      send(response, { type: 'ERROR', object: statusBody(410, 'Expired', 'too old resource version: 1 (5)') }),
    );
    follow();
    await until(() => watches().length === 2);
    expect(changes).toEqual(['added n/a@1', 'added n/gone@1', 'deleted n/gone@1', 'updated n/a@8', 'added n/new@9']);
    expect(versionsAsked()).toEqual(['9', '9']);
  });

  it('tells an object that was made anew under its old name as two', async () => {
    onList = (request, response) => {
      listOf('9', lists().length === 1 ? map('a', '1', {}, 'first') : map('a', '5', {}, 'second'))(request, response);
    };
    onWatch = watchInTurn((response) => sendJson(response, 410, statusBody(410, 'Expired', 'too old')));
    follow();
    await until(() => changes.length === 3);
    expect(changes).toEqual(['added n/a@1', 'deleted n/a@1', 'added n/a@5']);
  });

  it('notices a watch on which the server fell silent', async () => {
    onWatch = watchInTurn((response) => send(response, { type: 'ADDED', object: map('a', '2') }));
    follow({ idleTimeoutMs: 30 });
    await until(() => watches().length >= 3);
    expect(errorMessages()[0]).toBe('the watch of configmaps brought nothing for 0.03 s');
    expect(versionsAsked().slice(0, 2)).toEqual(['1', '2']);
  });

  it('notices a server that accepts a watch and never answers', async () => {
    onWatch = () => undefined;
    follow({ idleTimeoutMs: 30 });
    await until(() => watches().length >= 3);
    expect(errorMessages()[0]).toContain('timed out after 0.03 s');
  });

  it('goes on after a reset, in the middle of an event too', async () => {
    onWatch = watchInTurn(
      (response) => {
        send(response, { type: 'ADDED', object: map('a', '2') });
        response.write('{"type":"ADDED","obj');
        setImmediate(() => response.socket?.resetAndDestroy());
      },
      (response) => send(response, { type: 'ADDED', object: map('b', '3') }),
    );
    follow();
    await until(() => changes.length === 2);
    expect(changes).toEqual(['added n/a@2', 'added n/b@3']);
    expect(versionsAsked()).toEqual(['1', '2']);
    expect(lists()).toHaveLength(1);
  });

  it.each([
    ['no JSON', 'garbage\n'],
    ['JSON that is no event', '[1,2]\n'],
    ['null', 'null\n'],
    ['an event of an unknown type', `${JSON.stringify({ type: 'WHAT', object: map('x', '9') })}\n`],
    ['an object without a resourceVersion', '{"type":"ADDED","object":{"metadata":{"name":"x"}}}\n'],
    ['half an event', '{"type":"ADDED"'],
  ])('goes on after %s', async (_what, garbage) => {
    onWatch = watchInTurn(
      (response) => {
        send(response, { type: 'ADDED', object: map('a', '2') });
        response.end(garbage);
      },
      (response) => send(response, { type: 'ADDED', object: map('b', '3') }),
    );
    follow();
    await until(() => changes.length === 2);
    expect(changes).toEqual(['added n/a@2', 'added n/b@3']);
    expect(errors).toHaveLength(1);
  });

  it('lists again when watches fail again and again', async () => {
    onWatch = watchInTurn(
      ...Array.from({ length: 5 }, () => (response: ServerResponse) => void response.end('garbage\n')),
    );
    follow();
    await until(() => watches().length === 6);
    expect(lists()).toHaveLength(2);
    expect(clock.slept).toEqual([200, 400, 800, 1600, 3200]);
  });

  it('lists again when the server has lost its data, and would keep silent', async () => {
    onList = listOf('700', map('a', '650'));
    const broken = (response: ServerResponse): void => {
      version = '40';
      onList = listOf('40', map('b', '30'));
      response.destroy();
    };
    onWatch = watchInTurn(broken);
    const informer = follow();
    await vi.waitFor(() => expect(informer.list().map(({ metadata }) => metadata.name)).toEqual(['b']));
    await vi.waitFor(() => expect(versionsAsked()).toEqual(['700', '40']));
  });

  it('lists again after the server was away, whatever it counts to then', async () => {
    onList = listOf('700', map('a', '650'));
    const broken = (response: ServerResponse): void => {
      isAway = true;
      onList = listOf('900', map('b', '30'));
      response.destroy();
    };
    onWatch = watchInTurn(broken);
    const informer = follow();
    await vi.waitFor(() => expect(informer.list().map(({ metadata }) => metadata.name)).toEqual(['b']));
    await vi.waitFor(() => expect(versionsAsked()).toEqual(['700', '900']));
  });

  it('lists again when a watch that nothing came of was of the future', async () => {
    onList = listOf('700', map('a', '650'));
    const ended = (response: ServerResponse): void => {
      version = '40';
      onList = listOf('40');
      response.end();
    };
    onWatch = watchInTurn(ended);
    const informer = follow();
    await vi.waitFor(() => expect(versionsAsked()).toEqual(['700', '40']));
    expect(informer.list()).toEqual([]);
  });

  it('waits as long as a server asks that answers 429', async () => {
    onWatch = watchInTurn((response) =>
      sendJson(response, 429, statusBody(429, 'TooManyRequests', 'busy'), { 'retry-after': '7' }),
    );
    follow();
    await until(() => watches().length === 2);
    expect(clock.slept).toEqual([7000]);
  });

  it('outlasts 500, 401, 403 and 404, with growing waits of at most half a minute', async () => {
    onList = (request, response) => {
      const code = [500, 401, 403, 404, 500, 500, 500, 500, 500, 500][lists().length - 1];
      if (code === undefined) listOf('1', map('a', '1'))(request, response);
      else sendJson(response, code, statusBody(code, 'Reason', `answer ${code}`));
    };
    const informer = follow();
    await informer.synced(stop.signal);
    // One less than the failures: 401 is tried again at once, with the credentials read afresh.
    expect(clock.slept).toEqual([200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000]);
    expect(informer.list()).toHaveLength(1);
    expect(informer.health()).toMatchObject({ synced: true, lastError: undefined, objects: 1 });
  });

  it('says in its health what is wrong', async () => {
    onList = (_request, response) => sendJson(response, 500, statusBody(500, 'InternalError', 'etcd is sick'));
    const informer = follow({ clock: new ManualClock() });
    await until(() => errors.length === 1);
    expect(informer.health()).toMatchObject({ synced: false, silentMs: undefined, objects: 0 });
    expect(informer.health().lastError?.message).toBe('etcd is sick');
  });

  it('finds objects by index as they change', async () => {
    onList = listOf('1', map('a', '1', { disk: 'x' }), map('b', '1', { disk: 'x' }));
    onWatch = watchInTurn((response) =>
      send(
        response,
        { type: 'MODIFIED', object: map('a', '2', { disk: 'y' }) },
        { type: 'DELETED', object: map('b', '3', { disk: 'x' }) },
        { type: 'ADDED', object: map('c', '4', { disk: 'y' }) },
      ),
    );
    const informer = follow<'disk'>({
      indexers: { disk: ({ data }) => (data?.['disk'] === undefined ? [] : [data['disk']]) },
    });
    await informer.synced(stop.signal);
    expect(informer.byIndex('disk', 'x').map(objectKey)).toEqual(['n/a', 'n/b']);
    await until(() => changes.length === 5);
    expect(informer.byIndex('disk', 'x')).toEqual([]);
    expect(informer.byIndex('disk', 'y').map(objectKey)).toEqual(['n/a', 'n/c']);
  });

  it('keeps no managedFields', async () => {
    const managed = map('a', '1');
    onList = listOf('1', { ...managed, metadata: { ...managed.metadata, managedFields: [{ manager: 'x' }] } });
    const informer = follow();
    await informer.synced(stop.signal);
    expect(informer.get('n/a')?.metadata).toEqual(managed.metadata);
  });

  it('says loudly that there are more objects than it may keep, and recovers when there are fewer', async () => {
    onList = (request, response) => {
      listOf('1', ...(lists().length < 3 ? [map('a', '1'), map('b', '1')] : [map('b', '1')]))(request, response);
    };
    const informer = follow({ maxObjects: 1 });
    await informer.synced(stop.signal);
    expect(errorMessages()).toEqual(Array(2).fill('there are more than 1 objects of kind ConfigMap'));
    expect(informer.list().map(objectKey)).toEqual(['n/b']);
  });

  it('reminds of every object when it resynchronises', async () => {
    onList = listOf('1', map('a', '1'));
    follow({ resyncMs: 5 });
    await until(() => changes.length >= 3);
    expect(changes.slice(0, 3)).toEqual(['added n/a@1', 'resync n/a@1', 'resync n/a@1']);
  });

  it('keeps a failing handler from harming the others', async () => {
    onList = listOf('1', map('a', '1'), map('b', '1'));
    const failures: unknown[] = [];
    const informer = follow({
      logger: { ...silentLogger, error: (_m, fields) => void failures.push(fields?.['key']) },
    });
    informer.onChange(() => {
      throw new Error('mine');
    });
    const late: string[] = [];
    await informer.synced(stop.signal);
    informer.onChange((change) => void late.push(describeChange(change)));
    expect(failures).toEqual(['n/a', 'n/b']);
    expect(late).toEqual(['added n/a@1', 'added n/b@1']);
    expect(changes).toHaveLength(2);
  });

  it('ends when told, and closes its watch', async () => {
    follow();
    await until(() => watches().length === 1);
    stop.abort();
    await running;
    await until(() => server.connections() <= 1);
    expect(errors).toEqual([]);
  });

  it('keeps its memory, listeners and connections flat over 10,000 reconnects', { timeout: 180_000 }, async () => {
    const reconnects = 10_000;
    onList = listOf('1', map('a', '1'));
    onWatch = (request, response) => {
      const seen = Number(request.url.searchParams.get('resourceVersion'));
      send(response, { type: 'MODIFIED', object: map('a', String(seen + 1)) });
      // In turn an orderly end, garbage, and a reset.
      if (seen % 3 === 0) response.end();
      else if (seen % 3 === 1) response.end('garbage\n');
      else response.write('\n', () => response.socket?.resetAndDestroy());
      // The server's own record of requests is not what is measured.
      (server.seen as SeenRequest[]).length = 0;
    };
    const informer = follow({ logger: silentLogger });
    changes = [];
    const seen = (): number => Number(informer.get('n/a')?.metadata.resourceVersion ?? 0);
    const heap = (): number => {
      collectGarbage();
      return process.memoryUsage().heapUsed;
    };
    await until(() => seen() > reconnects / 4);
    changes.length = 0;
    const before = heap();
    await vi.waitUntil(() => seen() > reconnects, { timeout: 150_000, interval: 5 });
    changes.length = 0;
    // A leak of one listener a reconnect would be about that much; of a socket or a response much more.
    expect(heap() - before).toBeLessThan(1_500_000);
    expect(server.connections()).toBeLessThan(5);
    expect(informer.list()).toHaveLength(1);
  });
});
