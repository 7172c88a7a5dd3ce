import { expect, it } from 'vitest';
import { namesOf } from '../suite.ts';
import type { Bench, Cases } from '../suite.ts';
import type { Json } from '../server-under-test.ts';

const core = (bench: Bench, name?: string): string =>
  `/api/v1/namespaces/${bench.namespace}/events${name === undefined ? '' : `/${name}`}`;
const v1 = (bench: Bench, name?: string): string =>
  `/apis/events.k8s.io/v1/namespaces/${bench.namespace}/events${name === undefined ? '' : `/${name}`}`;

const event = (bench: Bench, name: string): Json => ({
  apiVersion: 'v1',
  kind: 'Event',
  metadata: { name },
  involvedObject: {
    apiVersion: 'conformance.test/v1',
    kind: 'Widget',
    name: 'w',
    namespace: bench.namespace,
    uid: 'u-1',
  },
  reason: 'Started',
  message: 'It runs',
  type: 'Normal',
  source: { component: 'conformance' },
  firstTimestamp: '2026-01-01T00:00:00Z',
  lastTimestamp: '2026-01-01T00:01:00Z',
  count: 2,
});

const newEvent = (bench: Bench, name: string): Json => ({
  apiVersion: 'events.k8s.io/v1',
  kind: 'Event',
  metadata: { name },
  eventTime: '2026-01-01T00:00:00.000000Z',
  reportingController: 'conformance.test/controller',
  reportingInstance: 'controller-1',
  action: 'Start',
  reason: 'Started',
  note: 'It runs',
  type: 'Normal',
  regarding: { apiVersion: 'conformance.test/v1', kind: 'Widget', name: 'n', namespace: bench.namespace, uid: 'u-2' },
});

export const eventCases: Cases = (bench) => {
  it('stores an event', async () => {
    const { code, body } = await bench().api.post(core(bench()), event(bench(), 'core.1'));
    expect(code).toBe(201);
    expect(body).toMatchObject({ reason: 'Started', count: 2, involvedObject: { kind: 'Widget', name: 'w' } });
  });
  it('shows a core event in events.k8s.io/v1', async () => {
    await bench().api.post(core(bench()), event(bench(), 'core.2'));
    const { code, body } = await bench().api.get(v1(bench(), 'core.2'));
    expect(code).toBe(200);
    expect(body).toMatchObject({
      apiVersion: 'events.k8s.io/v1',
      note: 'It runs',
      regarding: { name: 'w' },
      deprecatedSource: { component: 'conformance' },
      deprecatedFirstTimestamp: '2026-01-01T00:00:00Z',
      deprecatedCount: 2,
    });
    expect(body).not.toHaveProperty('message');
  });
  it('shows an event of events.k8s.io/v1 as a core event', async () => {
    const { api } = bench();
    expect((await api.post(v1(bench()), newEvent(bench(), 'new.1'))).code).toBe(201);
    const { body } = await api.get(core(bench(), 'new.1'));
    expect(body).toMatchObject({
      apiVersion: 'v1',
      message: 'It runs',
      involvedObject: { name: 'n' },
      reportingComponent: 'conformance.test/controller',
      action: 'Start',
      eventTime: '2026-01-01T00:00:00.000000Z',
    });
  });
  it('patches a series in events.k8s.io/v1', async () => {
    const { api } = bench();
    await api.post(v1(bench()), newEvent(bench(), 'new.2'));
    const series = { count: 3, lastObservedTime: '2026-01-01T00:05:00.000000Z' };
    const { code, body } = await api.merge(v1(bench(), 'new.2'), { series });
    expect([code, body['series']]).toEqual([200, series]);
  });
  it('selects events by their object', async () => {
    const { api } = bench();
    await api.post(core(bench()), event(bench(), 'core.3'));
    await api.post(v1(bench()), newEvent(bench(), 'new.3'));
    const { body } = await api.get(
      `${core(bench())}?fieldSelector=${encodeURIComponent('involvedObject.name=w,involvedObject.uid=u-1')}`,
    );
    expect(namesOf(body)).toContain('core.3');
    expect(namesOf(body)).not.toContain('new.3');
  });
  it('selects events by their reason and type', async () => {
    const { api } = bench();
    await api.post(core(bench()), { ...event(bench(), 'core.4'), reason: 'Failed', type: 'Warning' });
    const { body } = await api.get(
      `${core(bench())}?fieldSelector=${encodeURIComponent('reason=Failed,type=Warning')}`,
    );
    expect(namesOf(body)).toEqual(['core.4']);
  });
  it('creates an event by an update', async () => {
    expect((await bench().api.put(core(bench(), 'put.1'), event(bench(), 'put.1'))).code).toBe(201);
  });
};
