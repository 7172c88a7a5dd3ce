import { expect, it } from 'vitest';
import { metaOf } from '../suite.ts';
import type { Cases } from '../suite.ts';
import type { Json } from '../server-under-test.ts';

export const patchCases: Cases = (bench) => {
  it('merges a merge patch', async () => {
    const { api, widgets, make } = bench();
    await make('merge', { size: 1, labels: { a: '1', b: '2' }, words: ['x', 'y'] });
    const { code, body } = await api.merge(widgets('merge'), { spec: { labels: { a: null, c: '3' }, words: ['z'] } });
    expect([code, body['spec']]).toEqual([200, { size: 1, color: 'red', labels: { b: '2', c: '3' }, words: ['z'] }]);
    expect(metaOf(body)['generation']).toBe(2);
  });
  it('defaults a field again that a merge patch removes', async () => {
    const { api, widgets, make } = bench();
    await make('redefault', { size: 1, color: 'blue' });
    expect((await api.merge(widgets('redefault'), { spec: { color: null } })).body['spec']).toEqual({
      size: 1,
      color: 'red',
    });
  });
  it('does not write a merge patch without a change', async () => {
    const { api, widgets, make } = bench();
    const made = await make('noop');
    const { body } = await api.merge(widgets('noop'), { spec: { size: 1 } });
    expect(metaOf(body)['resourceVersion']).toBe(metaOf(made)['resourceVersion']);
  });
  it('sets and removes labels by a merge patch', async () => {
    const { api, widgets, make } = bench();
    await make('labels', { size: 1 }, { labels: { a: '1' } });
    const { body } = await api.merge(widgets('labels'), { metadata: { labels: { a: null, b: '2' } } });
    expect(metaOf(body)['labels']).toEqual({ b: '2' });
  });
  it('refuses a merge patch whose result is not valid', async () => {
    const { api, widgets, make } = bench();
    await make('bad-merge');
    const { code, body } = await api.merge(widgets('bad-merge'), { spec: { size: 'x' } });
    expect([code, body['message']]).toEqual([
      422,
      'Widget.conformance.test "bad-merge" is invalid: spec.size: Invalid value: "string": spec.size in body must be of type integer: "string"',
    ]);
  });
  it('refuses a merge patch with an older resource version', async () => {
    const { api, widgets, make } = bench();
    await make('stale-merge');
    expect(
      (await api.merge(widgets('stale-merge'), { metadata: { resourceVersion: '1' }, spec: { size: 2 } })).code,
    ).toBe(409);
  });
  it('takes a merge patch with the current resource version', async () => {
    const { api, widgets, make } = bench();
    const made = await make('fresh-merge');
    const { resourceVersion } = metaOf(made);
    expect((await api.merge(widgets('fresh-merge'), { metadata: { resourceVersion }, spec: { size: 2 } })).code).toBe(
      200,
    );
  });
  it('refuses a merge patch that renames', async () => {
    const { api, widgets, make } = bench();
    await make('rename');
    const { code, body } = await api.merge(widgets('rename'), { metadata: { name: 'other' } });
    expect([code, body['message']]).toEqual([
      400,
      'the name of the object (other) does not match the name on the URL (rename)',
    ]);
  });
  it('refuses a merge patch of the uid', async () => {
    const { api, widgets, make } = bench();
    await make('uid-merge');
    const { code, body } = await api.merge(widgets('uid-merge'), { metadata: { uid: 'x' } });
    expect([code, body['message']]).toEqual([
      422,
      'Widget.conformance.test "uid-merge" is invalid: metadata.uid: Invalid value: "x": field is immutable',
    ]);
  });
  it('refuses a merge patch that is a list', async () => {
    const { api, widgets, make } = bench();
    await make('list-merge');
    expect((await api.merge(widgets('list-merge'), [])).code).toBe(422);
  });
  it('answers 404 for a patch of an object that is not there', async () => {
    const { api, widgets } = bench();
    expect((await api.merge(widgets('none'), {})).code).toBe(404);
  });
  it('ignores the status in a merge patch of the object', async () => {
    const { api, widgets, make } = bench();
    const made = await make('no-status');
    const { body } = await api.merge(widgets('no-status'), { status: { phase: 'Up' } });
    expect(body).not.toHaveProperty('status');
    expect(metaOf(body)['generation']).toBe(metaOf(made)['generation']);
  });
  it('patches the status through its subresource', async () => {
    const { api, widgets, make } = bench();
    await make('status');
    const { code, body } = await api.merge(`${widgets('status')}/status`, {
      spec: { size: 9 },
      status: { phase: 'Up' },
    });
    expect([code, body['spec'], body['status']]).toEqual([200, { size: 1, color: 'red' }, { phase: 'Up' }]);
  });
  it('stores nothing of a patch with dryRun', async () => {
    const { api, widgets, make } = bench();
    await make('dry');
    const { body } = await api.merge(`${widgets('dry')}?dryRun=All`, { spec: { size: 8 } });
    expect(body['spec']).toEqual({ size: 8, color: 'red' });
    expect((await api.get(widgets('dry'))).body['spec']).toEqual({ size: 1, color: 'red' });
  });
  it('refuses force without apply', async () => {
    const { api, widgets, make } = bench();
    await make('force');
    const { code, body } = await api.merge(`${widgets('force')}?force=true`, {});
    expect([code, body['message']]).toEqual([
      422,
      'PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch',
    ]);
  });

  const jsonPatches: readonly (readonly [string, Json, Json[], Json])[] = [
    [
      'adds a field',
      { size: 1 },
      [{ op: 'add', path: '/spec/code', value: 'abc' }],
      { size: 1, color: 'red', code: 'abc' },
    ],
    ['replaces a field', { size: 1 }, [{ op: 'replace', path: '/spec/size', value: 2 }], { size: 2, color: 'red' }],
    ['removes a field', { size: 1, code: 'abc' }, [{ op: 'remove', path: '/spec/code' }], { size: 1, color: 'red' }],
    [
      'appends to a list',
      { size: 1, words: ['a'] },
      [{ op: 'add', path: '/spec/words/-', value: 'b' }],
      { size: 1, color: 'red', words: ['a', 'b'] },
    ],
    [
      'inserts into a list',
      { size: 1, words: ['b'] },
      [{ op: 'add', path: '/spec/words/0', value: 'a' }],
      { size: 1, color: 'red', words: ['a', 'b'] },
    ],
    [
      'removes from a list',
      { size: 1, words: ['a', 'b'] },
      [{ op: 'remove', path: '/spec/words/0' }],
      { size: 1, color: 'red', words: ['b'] },
    ],
    [
      'moves a field',
      { size: 1, labels: { a: 'x' } },
      [{ op: 'move', from: '/spec/labels/a', path: '/spec/labels/b' }],
      { size: 1, color: 'red', labels: { b: 'x' } },
    ],
    [
      'copies a field',
      { size: 1, labels: { a: 'x' } },
      [{ op: 'copy', from: '/spec/labels/a', path: '/spec/labels/b' }],
      { size: 1, color: 'red', labels: { a: 'x', b: 'x' } },
    ],
    [
      'goes on after a test that holds',
      { size: 1 },
      [
        { op: 'test', path: '/spec/size', value: 1 },
        { op: 'replace', path: '/spec/size', value: 3 },
      ],
      { size: 3, color: 'red' },
    ],
    [
      'reads ~1 as a slash',
      { size: 1 },
      [
        { op: 'add', path: '/spec/labels', value: {} },
        { op: 'add', path: '/spec/labels/a~1b', value: 'c' },
      ],
      { size: 1, color: 'red', labels: { 'a/b': 'c' } },
    ],
  ];
  it.each(jsonPatches.map((one, index) => [...one, index] as const))(
    '%s by a JSON patch',
    async (_what, before, patch, after, index) => {
      const { api, widgets, make } = bench();
      await make(`json-${index}`, before);
      const { code, body } = await api.json(widgets(`json-${index}`), patch);
      expect([code, body['spec']]).toEqual([200, after]);
    },
  );
  const refused: readonly (readonly [string, Json[]])[] = [
    ['a test that does not hold', [{ op: 'test', path: '/spec/size', value: 2 }]],
    ['a path that is not there', [{ op: 'remove', path: '/spec/none' }]],
    ['a list’s index that is not there', [{ op: 'add', path: '/spec/words/7', value: 'x' }]],
    ['an operation that is none', [{ op: 'turn', path: '/spec/size', value: 1 }]],
  ];
  it.each(refused.map((one, index) => [...one, index] as const))(
    'refuses a JSON patch with %s',
    async (_what, patch, index) => {
      const { api, widgets, make } = bench();
      const made = await make(`json-bad-${index}`, { size: 1, words: ['a'] });
      const { code, body } = await api.json(widgets(`json-bad-${index}`), patch);
      expect([code, body['reason'], body['message']]).toEqual([
        422,
        'Invalid',
        'the server rejected our request due to an error in our request',
      ]);
      expect((await api.get(widgets(`json-bad-${index}`))).body).toEqual(made);
    },
  );
  it('refuses a JSON patch that is no list', async () => {
    const { api, widgets, make } = bench();
    await make('json-object');
    const { code, body } = await api.json(widgets('json-object'), { op: 'test' });
    expect([code, body['message']]).toEqual([
      400,
      'json: cannot unmarshal object into Go value of type jsonpatch.Patch',
    ]);
  });
  it('refuses a strategic merge patch of a custom resource with 415', async () => {
    const { api, widgets, make } = bench();
    await make('strategic');
    const { code, body } = await api.strategic(widgets('strategic'), { spec: { size: 2 } });
    expect([code, body['reason']]).toEqual([415, 'UnsupportedMediaType']);
    expect(body['message']).toBe(
      'the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml',
    );
  });
  it('refuses a patch of another media type with 415', async () => {
    const { api, configMaps } = bench();
    const { code } = await api.ask('PATCH', configMaps('x'), { body: {}, type: 'application/json' });
    expect(code).toBe(415);
  });
  it('takes a strategic merge patch of a ConfigMap', async () => {
    const { api, configMaps } = bench();
    await api.post(configMaps(), {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'smp' },
      data: { a: '1', b: '2' },
    });
    const { code, body } = await api.strategic(configMaps('smp'), { data: { a: null, c: '3' } });
    expect([code, body['data']]).toEqual([200, { b: '2', c: '3' }]);
  });
  it('replaces a map by a strategic merge patch with $patch: replace', async () => {
    const { api, configMaps } = bench();
    await api.post(configMaps(), {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'smp-replace' },
      data: { a: '1', b: '2' },
    });
    const { body } = await api.strategic(configMaps('smp-replace'), { data: { $patch: 'replace', c: '3' } });
    expect(body['data']).toEqual({ c: '3' });
  });
  it('merges finalizers by a strategic merge patch', async () => {
    const { api, configMaps } = bench();
    await api.post(configMaps(), {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'smp-list', finalizers: ['x.test/a'] },
    });
    const added = await api.strategic(configMaps('smp-list'), { metadata: { finalizers: ['x.test/b'] } });
    expect(metaOf(added.body)['finalizers']).toEqual(['x.test/b', 'x.test/a']);
    const removed = await api.strategic(configMaps('smp-list'), {
      metadata: { '$deleteFromPrimitiveList/finalizers': ['x.test/a'] },
    });
    expect(metaOf(removed.body)['finalizers']).toEqual(['x.test/b']);
  });
  it('merges owners by uid in a strategic merge patch', async () => {
    const { api, configMaps } = bench();
    const owner = (uid: string, name: string): Json => ({ apiVersion: 'elsewhere.test/v1', kind: 'Thing', name, uid });
    await api.post(configMaps(), {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'smp-owner', ownerReferences: [owner('1', 'a')] },
    });
    const { body } = await api.strategic(configMaps('smp-owner'), { metadata: { ownerReferences: [owner('2', 'b')] } });
    expect(metaOf(body)['ownerReferences']).toEqual(expect.arrayContaining([owner('1', 'a'), owner('2', 'b')]));
    const removed = await api.strategic(configMaps('smp-owner'), {
      metadata: { ownerReferences: [{ $patch: 'delete', uid: '1' }] },
    });
    expect(metaOf(removed.body)['ownerReferences']).toEqual([owner('2', 'b')]);
  });
  it('takes a field that is not there for null in a test', async () => {
    const { api, widgets, make } = bench();
    await make('absent');
    const path = '/metadata/labels';
    const first = [
      { op: 'test', path, value: null },
      { op: 'add', path, value: { a: '1' } },
    ];
    expect((await api.json(widgets('absent'), first)).code).toBe(200);
    expect((await api.json(widgets('absent'), first)).code).toBe(422);
  });
  it.each([null, '', '0'])('refuses a patch that takes the resource version away: %s', async (resourceVersion) => {
    const { api, widgets, make } = bench();
    const name = `versionless-${String(resourceVersion)}x`;
    await make(name);
    const { code, body } = await api.merge(widgets(name), { metadata: { resourceVersion }, spec: { size: 3 } });
    expect([code, body['message']]).toEqual([
      422,
      `widgets.conformance.test "${name}" is invalid: metadata.resourceVersion: Invalid value: 0x0: must be specified for an update`,
    ]);
  });
  it('refuses a merge patch that moves to another namespace with 400', async () => {
    const { api, widgets, make } = bench();
    await make('moved');
    expect((await api.merge(widgets('moved'), { metadata: { namespace: 'elsewhere' } })).code).toBe(400);
  });
  it('forgets who set what by a patch with one empty entry, and by nothing else', async () => {
    const { api, widgets, make } = bench();
    await make('forgets');
    const managed = async (managedFields: unknown): Promise<unknown> =>
      metaOf((await api.merge(widgets('forgets'), { metadata: { managedFields } })).body)['managedFields'];
    expect(await managed([])).toHaveLength(1);
    expect(await managed(null)).toHaveLength(1);
    expect(await managed([{}])).toBeUndefined();
  });
};
