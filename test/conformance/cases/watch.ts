import { expect, it } from 'vitest';
import { metaOf } from '../suite.ts';
import type { Bench, Cases } from '../suite.ts';
import type { WatchEvent } from '../server-under-test.ts';

const summary = (events: readonly WatchEvent[]): string[] =>
  events.map(({ type, object }) => `${type} ${String(metaOf(object)['name'])}`);

async function revision({ api, widgets }: Bench): Promise<string> {
  return String(metaOf((await api.get(widgets())).body)['resourceVersion']);
}

export const watchCases: Cases = (bench) => {
  it('sends every change after a resource version', async () => {
    const { api, widgets, make } = bench();
    const from = await revision(bench());
    await make('a');
    await api.merge(widgets('a'), { spec: { size: 2 } });
    await api.delete(widgets('a'));
    const events = await api.watch(`${widgets()}?watch=true&resourceVersion=${from}`, 3);
    expect(summary(events)).toEqual(['ADDED a', 'MODIFIED a', 'DELETED a']);
  });
  it('sends changes as they happen', async () => {
    const { api, widgets, make } = bench();
    const from = await revision(bench());
    const events = await api.watch(`${widgets()}?watch=1&resourceVersion=${from}`, 2, {
      async whenOpen() {
        await make('live');
        await api.delete(widgets('live'));
      },
    });
    expect(summary(events)).toEqual(['ADDED live', 'DELETED live']);
  });
  it.each(['', '&resourceVersion=0'])('begins with what is there without a resource version (%s)', async (query) => {
    const { api, widgets, make } = bench();
    const name = `there${query === '' ? '' : '-zero'}`;
    await make(name, { size: 1 }, { labels: { there: name } });
    const events = await api.watch(`${widgets()}?watch=true&labelSelector=there%3D${name}${query}`, 2, {
      whenOpen: async () => {
        await api.merge(widgets(name), { spec: { size: 2 } });
      },
    });
    expect(events[0]?.type).toBe('ADDED');
    expect(summary(events).at(-1)).toMatch(new RegExp(` ${name}$`));
  });
  it('gives the resource version of the deletion with a deleted object', async () => {
    const { api, widgets, make } = bench();
    const made = await make('last');
    const from = String(metaOf(made)['resourceVersion']);
    await api.delete(widgets('last'));
    const [event] = await api.watch(`${widgets()}?watch=true&resourceVersion=${from}`, 1);
    expect(event?.type).toBe('DELETED');
    expect(event?.object['spec']).toEqual({ size: 1, color: 'red' });
    expect(Number(metaOf(event?.object ?? {})['resourceVersion'])).toBeGreaterThan(Number(from));
  });
  it('resumes exactly where it was', async () => {
    const { api, widgets, make } = bench();
    const from = await revision(bench());
    for (const name of ['r-1', 'r-2', 'r-3', 'r-4']) await make(name);
    const first = await api.watch(`${widgets()}?watch=true&resourceVersion=${from}`, 2);
    const last = String(metaOf(first[1]?.object ?? {})['resourceVersion']);
    const rest = await api.watch(`${widgets()}?watch=true&resourceVersion=${last}`, 2);
    expect(summary([...first, ...rest])).toEqual(['ADDED r-1', 'ADDED r-2', 'ADDED r-3', 'ADDED r-4']);
  });
  it('selects by labels, and sends objects that come into or go out of the selection', async () => {
    const { api, widgets, make } = bench();
    const from = await revision(bench());
    await make('sel');
    await api.merge(widgets('sel'), { metadata: { labels: { pick: 'yes' } } });
    await api.merge(widgets('sel'), { spec: { size: 2 } });
    await api.merge(widgets('sel'), { metadata: { labels: { pick: 'no' } } });
    await api.delete(widgets('sel'));
    await make('end', { size: 1 }, { labels: { pick: 'yes' } });
    const events = await api.watch(`${widgets()}?watch=true&resourceVersion=${from}&labelSelector=pick%3Dyes`, 4);
    expect(summary(events)).toEqual(['ADDED sel', 'MODIFIED sel', 'DELETED sel', 'ADDED end']);
  });
  it('selects by name', async () => {
    const { api, widgets, make } = bench();
    const from = await revision(bench());
    await make('not-me');
    await make('me');
    const events = await api.watch(
      `${widgets()}?watch=true&resourceVersion=${from}&fieldSelector=metadata.name%3Dme`,
      1,
    );
    expect(summary(events)).toEqual(['ADDED me']);
  });
  it('reads one object by its path, watch or not', async () => {
    const { api, widgets, make } = bench();
    const made = await make('single');
    expect((await api.get(`${widgets('single')}?watch=true`)).body).toEqual(made);
  });
  it('watches all namespaces', async () => {
    const { api, make } = bench();
    const from = await revision(bench());
    await make('everywhere');
    const events = await api.watch(`/apis/conformance.test/v1/widgets?watch=true&resourceVersion=${from}`, 1);
    expect(summary(events)).toEqual(['ADDED everywhere']);
  });
  it('keeps to its namespace', async () => {
    const { api, widgets, widget, make } = bench();
    const from = await revision(bench());
    await api.post('/apis/conformance.test/v1/namespaces/default/widgets', widget('elsewhere'));
    await make('here');
    const events = await api.watch(`${widgets()}?watch=true&resourceVersion=${from}`, 1);
    expect(summary(events)).toEqual(['ADDED here']);
    await api.delete('/apis/conformance.test/v1/namespaces/default/widgets/elsewhere');
  });
  it('ends after timeoutSeconds', async () => {
    const { api, widgets } = bench();
    const from = await revision(bench());
    expect(await api.watch(`${widgets()}?watch=true&resourceVersion=${from}&timeoutSeconds=1`, 1)).toEqual([]);
  });
  it('sends a bookmark before it ends', async () => {
    const { api, widgets, make } = bench();
    const made = await make('marked');
    const from = String(metaOf(made)['resourceVersion']);
    const query = `watch=true&resourceVersion=${from}&timeoutSeconds=6&allowWatchBookmarks=true`;
    const events = await api.watch(`${widgets()}?${query}`, 2, {
      whenOpen: async () => {
        await api.merge(widgets('marked'), { spec: { size: 2 } });
      },
    });
    expect(events.map(({ type }) => type)).toEqual(['MODIFIED', 'BOOKMARK']);
    const [changed, bookmark] = events.map(({ object }) => object);
    expect(bookmark).toMatchObject({ kind: 'Widget', apiVersion: 'conformance.test/v1' });
    expect(Number(metaOf(bookmark ?? {})['resourceVersion'])).toBeGreaterThanOrEqual(
      Number(metaOf(changed ?? {})['resourceVersion']),
    );
  });
  it('sends no bookmark unless asked to', async () => {
    const { api, widgets } = bench();
    const from = await revision(bench());
    expect(await api.watch(`${widgets()}?watch=true&resourceVersion=${from}&timeoutSeconds=4`, 1)).toEqual([]);
  });
  it('says in the stream that a resource version is too old', async () => {
    const { api, widgets, make } = bench();
    await make('old');
    // More changes than the embedded server of this suite keeps.
    for (let at = 0; at < 420; at++) await api.merge(widgets('old'), { spec: { size: 1 + (at % 2) } });
    const events = await api.watch(`${widgets()}?watch=true&resourceVersion=1`, 1);
    expect(events).toHaveLength(1);
    expect(events[0]?.type).toBe('ERROR');
    expect(events[0]?.object).toMatchObject({ kind: 'Status', status: 'Failure', reason: 'Expired', code: 410 });
    expect(events[0]?.object['message']).toMatch(/^too old resource version: 1 \(\d+\)$/);
  });
  it('refuses a resource version that is no number', async () => {
    const { api, widgets } = bench();
    const { code, body } = await api.get(`${widgets()}?watch=true&resourceVersion=x`);
    expect([code, body['message']]).toEqual([
      500,
      'resourceVersion: Invalid value: "x": strconv.ParseUint: parsing "x": invalid syntax',
    ]);
  });
  it('refuses a selector that is none before it begins', async () => {
    const { api, widgets } = bench();
    expect((await api.get(`${widgets()}?watch=true&labelSelector=a%20b`)).code).toBe(400);
  });
  it('sends a deletion that waits for a finalizer as a change first', async () => {
    const { api, widgets, make } = bench();
    const made = await make('slow', { size: 1 }, { finalizers: ['conformance.test/hold'] });
    await api.delete(widgets('slow'));
    await api.merge(widgets('slow'), { metadata: { finalizers: null } });
    const events = await api.watch(
      `${widgets()}?watch=true&resourceVersion=${String(metaOf(made)['resourceVersion'])}`,
      2,
    );
    expect(summary(events)).toEqual(['MODIFIED slow', 'DELETED slow']);
  });
  it('streams tables with the columns in the first one only', async () => {
    const { api, widgets, make } = bench();
    const from = await revision(bench());
    await make('t-1');
    await make('t-2');
    const events = await api.watch(`${widgets()}?watch=true&resourceVersion=${from}`, 2, {
      accept: 'application/json;as=Table;v=v1;g=meta.k8s.io',
    });
    expect(events.map(({ object }) => object['kind'])).toEqual(['Table', 'Table']);
    expect(events[0]?.object['columnDefinitions']).toHaveLength(6);
    expect(events[1]?.object['columnDefinitions']).toBeNull();
  });
  it('watches ConfigMaps', async () => {
    const { api, configMaps } = bench();
    const from = String(metaOf((await api.get(configMaps())).body)['resourceVersion']);
    await api.post(configMaps(), { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'watched' } });
    const events = await api.watch(`${configMaps()}?watch=true&resourceVersion=${from}`, 1);
    expect(events[0]).toMatchObject({ type: 'ADDED', object: { kind: 'ConfigMap', apiVersion: 'v1' } });
  });
};
