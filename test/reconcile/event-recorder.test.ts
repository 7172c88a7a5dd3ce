import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { LogFields } from '../../src/base/logger.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { KubeClient } from '../../src/kube/kube-client.ts';
import type { KubeObject } from '../../src/kube/object.ts';
import { builtin } from '../../src/kube/resource-type.ts';
import { EventRecorder } from '../../src/reconcile/event-recorder.ts';
import type { EventRecord, KubeEvent } from '../../src/reconcile/event-recorder.ts';
import { sendJson, startFakeApiServer, statusBody } from '../support/fake-api-server.ts';
import type { Answer, FakeApiServer } from '../support/fake-api-server.ts';
import { FakeObjectStore } from '../support/fake-object-store.ts';
import { ManualClock } from '../support/manual-clock.ts';

const regarding: KubeObject = {
  apiVersion: 'virtctl.dev/v1alpha1',
  kind: 'VirtualMachine',
  metadata: { name: 'web', namespace: 'shop', uid: 'u-1', resourceVersion: '7' },
};
const started: EventRecord = { regarding, type: 'Normal', reason: 'Started', action: 'Start', note: 'guest started' };

let store: FakeObjectStore;
let answer: Answer;
let server: FakeApiServer;
let client: KubeClient;
let clock: ManualClock;
let recorder: EventRecorder;
let stop: AbortController;
let running: Promise<void>;
let warnings: LogFields[];

beforeEach(async () => {
  store = new FakeObjectStore();
  answer = store.answer;
  server = await startFakeApiServer((request, response) => answer(request, response));
  client = new KubeClient(server.connection(), { maxRetries: 0 });
  clock = new ManualClock();
  stop = new AbortController();
  warnings = [];
  recorder = new EventRecorder({
    events: client.resource<KubeEvent>(builtin.events),
    controller: 'virtctl.dev/executor',
    instance: 'node-1',
    clock,
    random: () => 0,
    logger: { ...silentLogger, warn: (_message, fields) => void warnings.push(fields ?? {}) },
  });
  running = recorder.run(stop.signal);
});

afterEach(async () => {
  stop.abort();
  await running;
  client.close();
  await server.close();
});

const events = (): KubeEvent[] => [...store.objects.values()] as unknown as KubeEvent[];
const until = (isSo: () => boolean): Promise<unknown> => vi.waitUntil(isSo, { timeout: 5000, interval: 1 });

describe('an event recorder', () => {
  it('writes an event of events.k8s.io/v1', async () => {
    recorder.record(started);
    await until(() => events().length === 1);
    expect(server.seen[0]?.url.pathname).toBe('/apis/events.k8s.io/v1/namespaces/shop/events');
    expect(events()[0]).toEqual({
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      metadata: {
        name: expect.stringMatching(/^web\.[0-9a-f]{16}$/) as string,
        namespace: 'shop',
        resourceVersion: '1',
      },
      eventTime: '2030-01-01T00:00:00.000000Z',
      reportingController: 'virtctl.dev/executor',
      reportingInstance: 'node-1',
      action: 'Start',
      reason: 'Started',
      regarding: {
        apiVersion: 'virtctl.dev/v1alpha1',
        kind: 'VirtualMachine',
        name: 'web',
        namespace: 'shop',
        uid: 'u-1',
        resourceVersion: '7',
      },
      note: 'guest started',
      type: 'Normal',
    });
  });

  it('counts the same event up in a series, with few writes', async () => {
    recorder.record(started);
    await until(() => events().length === 1);
    for (let i = 0; i < 50; i++) recorder.record(started);
    await until(() => clock.sleeping > 0);
    expect(server.seen).toHaveLength(1);
    await clock.advance(10_000);
    await until(() => server.seen.length === 2);
    await until(() => events()[0]?.series?.count === 51);
    expect(events()).toHaveLength(1);
    expect(events()[0]?.series?.lastObservedTime).toBe('2030-01-01T00:00:00.000000Z');
  });

  it('begins a new event when the last one was long ago', async () => {
    recorder.record(started);
    await until(() => events().length === 1);
    await until(() => clock.sleeping > 0);
    await clock.advance(6 * 60_000);
    recorder.record(started);
    await until(() => events().length === 2);
  });

  it('begins a new event when the server forgot the first one of the series', async () => {
    recorder.record(started);
    await until(() => events().length === 1);
    store.objects.clear();
    recorder.record(started);
    await until(() => clock.sleeping > 0);
    await clock.advance(10_000);
    await until(() => events().length === 1);
    expect(events()[0]?.series?.count).toBe(2);
  });

  it('tells different events apart, and gives each its name', async () => {
    recorder.record(started);
    recorder.record({ ...started, note: 'other' });
    recorder.record({ ...started, type: 'Warning' });
    await until(() => events().length === 3);
  });

  it('puts events of cluster-wide objects into kube-system, where every version of Kubernetes takes them', async () => {
    recorder.record({ ...started, regarding: { ...regarding, metadata: { name: 'node-1' } } });
    await until(() => events().length === 1);
    expect(events()[0]?.metadata.namespace).toBe('kube-system');
    expect(events()[0]?.regarding?.namespace).toBeUndefined();
  });

  it('keeps a note within 1,024 bytes, whole characters only', async () => {
    recorder.record({ ...started, note: 'ä'.repeat(2000) });
    await until(() => events().length === 1);
    const note = events()[0]?.note ?? '';
    expect(Buffer.byteLength(note)).toBeLessThanOrEqual(1024);
    expect(note).toMatch(/^ä{500,}…$/);
  });

  it('bounds the events of one object, and counts what it drops', async () => {
    for (let i = 0; i < 40; i++) recorder.record({ ...started, note: `number ${i}` });
    recorder.record({ ...started, regarding: { ...regarding, metadata: { ...regarding.metadata, name: 'other' } } });
    await until(() => events().length === 26);
    expect(recorder.dropped).toBe(15);
  });

  it('tries again while the server fails', async () => {
    let failures = 0;
    answer = (request, response) => {
      failures += 1;
      if (failures > 2) store.answer(request, response);
      else sendJson(response, 503, statusBody(503, 'ServiceUnavailable', 'later'));
    };
    recorder.record(started);
    for (const [index, wait] of [500, 1000].entries()) {
      await until(() => failures === index + 1 && clock.sleeping > 0);
      await clock.advance(wait);
    }
    await until(() => events().length === 1);
    expect(warnings).toEqual([]);
  });

  it('logs an event that the server does not take, and goes on with the next', async () => {
    answer = (request, response) => {
      if (request.body.includes('refused')) sendJson(response, 403, statusBody(403, 'Forbidden', 'no'));
      else store.answer(request, response);
    };
    recorder.record({ ...started, note: 'refused' });
    recorder.record(started);
    await until(() => events().length === 1);
    expect(warnings).toMatchObject([{ reason: 'Started', note: 'refused', regarding: 'web' }]);
  });

  it('writes what is left when it is stopped', async () => {
    recorder.record(started);
    recorder.record(started);
    await until(() => events().length === 1);
    recorder.record(started);
    stop.abort();
    await running;
    expect(events()[0]?.series?.count).toBe(3);
  });
});
