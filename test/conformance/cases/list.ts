import { beforeAll, expect, it } from 'vitest';
import { itemsOf, metaOf, namesOf } from '../suite.ts';
import type { Cases } from '../suite.ts';

export const listCases: Cases = (bench) => {
  beforeAll(async () => {
    const { make } = bench();
    for (let at = 0; at < 9; at++) {
      await make(
        `item-${at}`,
        { size: 1 + at },
        { labels: { at: String(at), parity: at % 2 === 0 ? 'even' : 'odd', ...(at === 3 ? { special: '' } : {}) } },
      );
    }
  });
  const all = ['item-0', 'item-1', 'item-2', 'item-3', 'item-4', 'item-5', 'item-6', 'item-7', 'item-8'];

  it('lists in order of the name', async () => {
    const { api, widgets } = bench();
    const { code, body } = await api.get(widgets());
    expect([code, namesOf(body)]).toEqual([200, all]);
    expect(metaOf(body)['resourceVersion']).toMatch(/^\d+$/);
  });
  it('lists nothing in an empty namespace', async () => {
    const { body } = await bench().api.get('/apis/conformance.test/v1/namespaces/kube-system/widgets');
    expect(itemsOf(body)).toEqual([]);
  });
  it('lists all namespaces', async () => {
    const { api, namespace } = bench();
    const { body } = await api.get('/apis/conformance.test/v1/widgets');
    const found = itemsOf(body).filter((item) => metaOf(item)['namespace'] === namespace);
    expect(found).toHaveLength(9);
  });
  const selectors: readonly (readonly [string, readonly string[]])[] = [
    ['parity=even', ['item-0', 'item-2', 'item-4', 'item-6', 'item-8']],
    ['parity==odd', ['item-1', 'item-3', 'item-5', 'item-7']],
    ['parity!=odd', ['item-0', 'item-2', 'item-4', 'item-6', 'item-8']],
    ['at in (1,2,9)', ['item-1', 'item-2']],
    ['at notin (0,1,2,3,4,5,6)', ['item-7', 'item-8']],
    ['special', ['item-3']],
    ['special=', ['item-3']],
    ['!special,parity=odd', ['item-1', 'item-5', 'item-7']],
    ['at>6', ['item-7', 'item-8']],
    ['at<2', ['item-0', 'item-1']],
    ['none=here', []],
    ['none!=here', all],
  ];
  it.each(selectors)('selects by the labels %s', async (selector, expected) => {
    const { api, widgets } = bench();
    const { code, body } = await api.get(`${widgets()}?labelSelector=${encodeURIComponent(selector)}`);
    expect([code, namesOf(body)]).toEqual([200, expected]);
  });
  it.each([
    ['a b c', "unable to parse requirement: found 'b', expected: '=', '!=', '==', 'in', notin'"],
    ['a,,b', "found ',', expected: identifier after ','"],
    ['a in b', "unable to parse requirement: found 'b' expected: '('"],
  ])('refuses the label selector %s', async (selector, message) => {
    const { api, widgets } = bench();
    const { code, body } = await api.get(`${widgets()}?labelSelector=${encodeURIComponent(selector)}`);
    expect([code, body['message']]).toEqual([400, message]);
  });
  it.each([
    ['metadata.name=item-2', ['item-2']],
    ['metadata.name!=item-2', all.filter((name) => name !== 'item-2')],
    ['metadata.name=item-2,metadata.namespace=conf-list', ['item-2']],
    ['metadata.namespace=elsewhere', []],
  ])('selects by the fields %s', async (selector, expected) => {
    const { api, widgets } = bench();
    const { body } = await api.get(`${widgets()}?fieldSelector=${encodeURIComponent(selector)}`);
    expect(namesOf(body)).toEqual(expected);
  });
  it('refuses a field that cannot be selected by', async () => {
    const { api, widgets } = bench();
    const { code, body } = await api.get(`${widgets()}?fieldSelector=spec.size%3D1`);
    expect([code, body['message']]).toEqual([400, 'field label not supported: spec.size']);
  });
  it('refuses a field selector that is none', async () => {
    const { api, widgets } = bench();
    const { code, body } = await api.get(`${widgets()}?fieldSelector=metadata.name`);
    expect([code, body['message']]).toEqual([
      400,
      "invalid selector: 'metadata.name'; can't understand 'metadata.name'",
    ]);
  });
  it('selects Secrets by their type', async () => {
    const { api, namespace } = bench();
    const path = `/api/v1/namespaces/${namespace}/secrets`;
    await api.post(path, { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'typed' }, type: 'conformance.test/x' });
    const { body } = await api.get(`${path}?fieldSelector=type%3Dconformance.test/x`);
    expect(namesOf(body)).toEqual(['typed']);
  });

  it('lists in pages', async () => {
    const { api, widgets } = bench();
    const first = await api.get(`${widgets()}?limit=4`);
    expect(namesOf(first.body)).toEqual(all.slice(0, 4));
    expect(metaOf(first.body)['remainingItemCount']).toBe(5);
    const second = await api.get(`${widgets()}?limit=4&continue=${String(metaOf(first.body)['continue'])}`);
    expect(namesOf(second.body)).toEqual(all.slice(4, 8));
    expect(metaOf(second.body)['resourceVersion']).toBe(metaOf(first.body)['resourceVersion']);
    const third = await api.get(`${widgets()}?limit=4&continue=${String(metaOf(second.body)['continue'])}`);
    expect(namesOf(third.body)).toEqual(all.slice(8));
    expect(metaOf(third.body)['continue'] ?? '').toBe('');
  });
  it('leaves the limit out of a page that is the last', async () => {
    const { api, widgets } = bench();
    const { body } = await api.get(`${widgets()}?limit=9`);
    expect(metaOf(body)['continue'] ?? '').toBe('');
    expect(metaOf(body)).not.toHaveProperty('remainingItemCount');
  });
  it('pages a selection', async () => {
    const { api, widgets } = bench();
    const first = await api.get(`${widgets()}?limit=2&labelSelector=parity%3Dodd`);
    expect(namesOf(first.body)).toEqual(['item-1', 'item-3']);
    const second = await api.get(
      `${widgets()}?limit=2&labelSelector=parity%3Dodd&continue=${String(metaOf(first.body)['continue'])}`,
    );
    expect(namesOf(second.body)).toEqual(['item-5', 'item-7']);
  });
  it('shows one state on all pages', async () => {
    const { api, widgets, make } = bench();
    const first = await api.get(`${widgets()}?limit=3`);
    await make('item-zz');
    await api.merge(widgets('item-5'), { metadata: { labels: { late: 'yes' } } });
    await api.delete(widgets('item-8'));
    const rest = await api.get(`${widgets()}?continue=${String(metaOf(first.body)['continue'])}`);
    expect(namesOf(rest.body)).toEqual(all.slice(3));
    expect(metaOf(itemsOf(rest.body)[2] ?? {})['labels']).not.toHaveProperty('late');
    await api.delete(widgets('item-zz'));
    await make('item-8', { size: 9 }, { labels: { at: '8', parity: 'even' } });
  });
  it('refuses a continue token that is none', async () => {
    const { api, widgets } = bench();
    const { code, body } = await api.get(`${widgets()}?continue=x`);
    expect([code, body['reason']]).toEqual([400, 'BadRequest']);
    expect(body['message']).toMatch(/^invalid continue token: continue key is not valid: illegal base64 data/);
  });
  it('refuses a resource version with a continue token', async () => {
    const { api, widgets } = bench();
    const first = await api.get(`${widgets()}?limit=1`);
    const { code, body } = await api.get(
      `${widgets()}?resourceVersion=5&continue=${String(metaOf(first.body)['continue'])}`,
    );
    expect([code, body['message']]).toEqual([400, 'specifying resource version is not allowed when using continue']);
  });
  it('refuses a limit that is no number', async () => {
    const { api, widgets } = bench();
    const { code, body } = await api.get(`${widgets()}?limit=x`);
    expect([code, body['message']]).toEqual([400, 'strconv.ParseInt: parsing "x": invalid syntax']);
  });
  it('takes any state with resource version 0', async () => {
    const { api, widgets } = bench();
    const { code } = await api.get(`${widgets()}?resourceVersion=0`);
    expect(code).toBe(200);
  });
  it('shows an earlier state with resourceVersionMatch=Exact', async () => {
    const { api, widgets, make } = bench();
    const before = await api.get(widgets());
    await make('item-later');
    const { body } = await api.get(
      `${widgets()}?resourceVersionMatch=Exact&resourceVersion=${String(metaOf(before.body)['resourceVersion'])}&limit=500`,
    );
    expect(namesOf(body)).toEqual(namesOf(before.body));
    await api.delete(widgets('item-later'));
  });
  it('refuses resourceVersionMatch without a resource version', async () => {
    const { api, widgets } = bench();
    const { code, body } = await api.get(`${widgets()}?resourceVersionMatch=Exact`);
    expect([code, body['message']]).toEqual([
      422,
      'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided',
    ]);
  });
  it('refuses a state that is yet to come', async () => {
    const { api, widgets } = bench();
    const { code, body } = await api.get(`${widgets()}?resourceVersion=999999999`);
    expect([code, body['reason']]).toEqual([504, 'Timeout']);
    expect(body['message']).toMatch(/^Timeout: Too large resource version: 999999999, current: \d+$/);
  });
  it('lists only metadata when asked to', async () => {
    const { api, widgets } = bench();
    const { body } = await api.get(widgets(), {
      accept: 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1',
    });
    expect(body).toMatchObject({ kind: 'PartialObjectMetadataList', apiVersion: 'meta.k8s.io/v1' });
    expect(itemsOf(body)[0]).not.toHaveProperty('spec');
    expect(namesOf(body)).toEqual(all);
  });
  it.each(['limit=', 'limit=x', 'limit=99999999999999999999', 'timeoutSeconds=x'])(
    'refuses a number that is none: %s',
    async (query) => {
      const { api, widgets } = bench();
      const { code, body } = await api.get(`${widgets()}?${query}`);
      expect([code, body['reason']]).toEqual([400, 'BadRequest']);
    },
  );
  it('compares numbers in labels only', async () => {
    const { api, configMaps } = bench();
    for (const [name, size] of Object.entries({ 'cmp-a': '3', 'cmp-b': '7', 'cmp-c': '', 'cmp-d': '1e1' })) {
      const metadata = { name, labels: { size } };
      await api.post(configMaps(), { apiVersion: 'v1', kind: 'ConfigMap', metadata });
    }
    const select = async (selector: string): Promise<unknown> =>
      namesOf((await api.get(`${configMaps()}?labelSelector=${encodeURIComponent(selector)}`)).body);
    expect([await select('size<5'), await select('size>5')]).toEqual([['cmp-a'], ['cmp-b']]);
    const { code, body } = await api.get(`${configMaps()}?labelSelector=size%3Ex`);
    expect([code, body['message']]).toEqual([
      400,
      "unable to parse requirement: for 'Gt', 'Lt' operators, the value must be an integer",
    ]);
  });
  it.each(['metadata.name=a\\', 'metadata.name=a=b'])('refuses the field selector %s', async (selector) => {
    const { api, widgets } = bench();
    expect((await api.get(`${widgets()}?fieldSelector=${encodeURIComponent(selector)}`)).code).toBe(400);
  });
  it('takes any word but false and 0 for watch', async () => {
    const { api, widgets } = bench();
    const listed = [await api.get(`${widgets()}?watch=0`), await api.get(`${widgets()}?watch=FALSE`)];
    expect(listed.map(({ body }) => body['kind'])).toEqual(['WidgetList', 'WidgetList']);
    const { text } = await api.get(`${widgets()}?watch=yes&timeoutSeconds=1&fieldSelector=metadata.name%3Ditem-1`);
    expect(text).toMatch(/^\{"type":"ADDED"/);
  });
};
