import { expect, it } from 'vitest';
import { metaOf } from '../suite.ts';
import type { Cases } from '../suite.ts';
import type { Json } from '../server-under-test.ts';

const config = (name: string, spec: Json, metadata: Json = {}): Json => ({
  apiVersion: 'conformance.test/v1',
  kind: 'Widget',
  metadata: { name, ...metadata },
  spec,
});

/** kube-apiserver 1.20 takes every list of a custom resource as a whole: see docs/conformance-differences.md. */
const wholeList = (field: string): string => `Apply failed with 1 conflict: conflict with "one": .spec.${field}`;

function managers(object: Json): Json[] {
  return (metaOf(object)['managedFields'] ?? []) as Json[];
}

export const applyCases: Cases = (bench) => {
  it('creates an object by apply', async () => {
    const { api, widgets } = bench();
    const { code, body } = await api.apply(widgets('created'), 'one', config('created', { size: 1 }));
    expect([code, body['spec']]).toEqual([201, { size: 1, color: 'red' }]);
    expect(metaOf(body)).toMatchObject({ name: 'created', generation: 1 });
  });
  it('notes the applied fields', async () => {
    const { api, widgets } = bench();
    const { body } = await api.apply(widgets('noted'), 'one', config('noted', { size: 1, labels: { a: 'b' } }));
    expect(managers(body)).toMatchObject([
      {
        manager: 'one',
        operation: 'Apply',
        apiVersion: 'conformance.test/v1',
        fieldsType: 'FieldsV1',
        fieldsV1: { 'f:spec': { 'f:size': {}, 'f:labels': { 'f:a': {} } } },
      },
    ]);
  });
  it('changes nothing when the same is applied again', async () => {
    const { api, widgets } = bench();
    const first = await api.apply(widgets('again'), 'one', config('again', { size: 1 }));
    const { code, body } = await api.apply(widgets('again'), 'one', config('again', { size: 1 }));
    expect([code, metaOf(body)['resourceVersion']]).toEqual([200, metaOf(first.body)['resourceVersion']]);
  });
  it('removes a field that is applied no longer', async () => {
    const { api, widgets } = bench();
    await api.apply(widgets('removed'), 'one', config('removed', { size: 1, code: 'abc', labels: { a: '1', b: '2' } }));
    const { body } = await api.apply(widgets('removed'), 'one', config('removed', { size: 1, labels: { b: '2' } }));
    expect(body['spec']).toEqual({ size: 1, color: 'red', labels: { b: '2' } });
  });
  it('removes an object all fields of which are applied no longer', async () => {
    const { api, widgets } = bench();
    const full = { size: 1, choice: { a: 'x' }, labels: { a: '1' } };
    await api.apply(widgets('emptied'), 'one', config('emptied', full));
    const { code, body } = await api.apply(widgets('emptied'), 'one', config('emptied', { size: 1 }));
    expect([code, body['spec']]).toEqual([200, { size: 1, color: 'red' }]);
  });
  it('keeps what others set', async () => {
    const { api, widgets } = bench();
    await api.apply(widgets('kept'), 'one', config('kept', { size: 1 }));
    await api.merge(`${widgets('kept')}?fieldManager=two`, { spec: { code: 'abc' } });
    const { body } = await api.apply(widgets('kept'), 'one', config('kept', { size: 2 }));
    expect(body['spec']).toEqual({ size: 2, color: 'red', code: 'abc' });
  });
  it('refuses to take another’s field with 409', async () => {
    const { api, widgets } = bench();
    await api.apply(widgets('conflict'), 'one', config('conflict', { size: 1 }));
    const { code, body } = await api.apply(widgets('conflict'), 'two', config('conflict', { size: 2 }));
    expect([code, body['reason'], body['message']]).toEqual([
      409,
      'Conflict',
      'Apply failed with 1 conflict: conflict with "one": .spec.size',
    ]);
    expect(body['details']).toEqual({
      causes: [{ reason: 'FieldManagerConflict', message: 'conflict with "one"', field: '.spec.size' }],
    });
  });
  it('names the version of a manager that updated', async () => {
    const { api, widgets, make } = bench();
    await make('updated');
    const { body } = await api.apply(widgets('updated'), 'two', config('updated', { size: 2 }));
    expect(body['message']).toBe(
      'Apply failed with 1 conflict: conflict with "conformance" using conformance.test/v1: .spec.size',
    );
  });
  it('tells every conflict', async () => {
    const { api, widgets } = bench();
    await api.apply(widgets('conflicts'), 'one', config('conflicts', { size: 1, code: 'abc' }));
    const { body } = await api.apply(widgets('conflicts'), 'two', config('conflicts', { size: 2, code: 'xyz' }));
    expect(body['message']).toBe('Apply failed with 2 conflicts: conflicts with "one":\n- .spec.code\n- .spec.size');
  });
  it('takes another’s field by force', async () => {
    const { api, widgets } = bench();
    await api.apply(widgets('forced'), 'one', config('forced', { size: 1 }));
    const { code, body } = await api.apply(widgets('forced'), 'two', config('forced', { size: 2 }), true);
    expect([code, body['spec']]).toEqual([200, { size: 2, color: 'red' }]);
    expect(
      managers(body)
        .filter((one) => JSON.stringify(one['fieldsV1']).includes('f:size'))
        .map((one) => one['manager']),
    ).toEqual(['two']);
  });
  it('lets two managers share a field with the same value', async () => {
    const { api, widgets } = bench();
    await api.apply(widgets('shared'), 'one', config('shared', { size: 1 }));
    const { code, body } = await api.apply(widgets('shared'), 'two', config('shared', { size: 1 }));
    expect(code).toBe(200);
    expect(
      managers(body)
        .filter((one) => one['operation'] === 'Apply')
        .map((one) => one['manager'])
        .sort(),
    ).toEqual(['one', 'two']);
  });
  it('keeps a shared field that one manager gives up', async () => {
    const { api, widgets } = bench();
    await api.apply(widgets('given-up'), 'one', config('given-up', { size: 1, code: 'abc' }));
    await api.apply(widgets('given-up'), 'two', config('given-up', { size: 1, code: 'abc' }));
    const { body } = await api.apply(widgets('given-up'), 'one', config('given-up', { size: 1 }));
    expect(body['spec']).toMatchObject({ code: 'abc' });
  });
  it('merges a list by its keys', async () => {
    const { api, widgets } = bench();
    await api.apply(widgets('keyed'), 'one', config('keyed', { size: 1, parts: [{ name: 'a', count: 2 }] }));
    const { code, body } = await api.apply(
      widgets('keyed'),
      'two',
      config('keyed', { size: 1, parts: [{ name: 'b', count: 3 }] }),
    );
    if (!bench().server.isEmbedded) {
      expect(body['message']).toBe(wholeList('parts'));
      return;
    }
    expect(code).toBe(200);
    expect((body['spec'] as Json)['parts']).toEqual([
      { name: 'a', count: 2 },
      { name: 'b', count: 3 },
    ]);
  });
  it('removes an item of a keyed list that is applied no longer', async () => {
    const { api, widgets } = bench();
    await api.apply(
      widgets('keyed-less'),
      'one',
      config('keyed-less', {
        size: 1,
        parts: [
          { name: 'a', count: 2 },
          { name: 'b', count: 3 },
        ],
      }),
    );
    const { body } = await api.apply(
      widgets('keyed-less'),
      'one',
      config('keyed-less', { size: 1, parts: [{ name: 'b', count: 3 }] }),
    );
    expect((body['spec'] as Json)['parts']).toEqual([{ name: 'b', count: 3 }]);
  });
  it('merges a set', async () => {
    const { api, widgets } = bench();
    await api.apply(widgets('set'), 'one', config('set', { size: 1, tags: ['a'] }));
    const { body } = await api.apply(widgets('set'), 'two', config('set', { size: 1, tags: ['b'] }));
    if (!bench().server.isEmbedded) {
      expect(body['message']).toBe(wholeList('tags'));
      return;
    }
    expect((body['spec'] as Json)['tags']).toEqual(['a', 'b']);
  });
  it('replaces a plain list as a whole', async () => {
    const { api, widgets } = bench();
    await api.apply(widgets('atomic'), 'one', config('atomic', { size: 1, words: ['a'] }));
    const { code, body } = await api.apply(widgets('atomic'), 'two', config('atomic', { size: 1, words: ['b'] }));
    expect([code, body['message']]).toEqual([409, 'Apply failed with 1 conflict: conflict with "one": .spec.words']);
  });
  it('names a keyed item in a conflict', async () => {
    const { api, widgets } = bench();
    await api.apply(
      widgets('keyed-conflict'),
      'one',
      config('keyed-conflict', { size: 1, parts: [{ name: 'a', count: 2 }] }),
    );
    const { body } = await api.apply(
      widgets('keyed-conflict'),
      'two',
      config('keyed-conflict', { size: 1, parts: [{ name: 'a', count: 3 }] }),
    );
    if (!bench().server.isEmbedded) {
      expect(body['message']).toBe(wholeList('parts'));
      return;
    }
    expect(body['message']).toBe('Apply failed with 1 conflict: conflict with "one": .spec.parts[name="a"].count');
  });
  it('takes YAML', async () => {
    const { api, widgets } = bench();
    const text = 'apiVersion: conformance.test/v1\nkind: Widget\nmetadata: {name: yaml}\nspec:\n  size: 4\n';
    const { code, body } = await api.ask('PATCH', `${widgets('yaml')}?fieldManager=one`, {
      body: text,
      type: 'application/apply-patch+yaml',
    });
    expect([code, body['spec']]).toEqual([201, { size: 4, color: 'red' }]);
  });
  it('asks for the name in a new object', async () => {
    const { api, widgets } = bench();
    const { name: _name, ...metadata } = metaOf(config('nameless', {}));
    const { code, body } = await api.apply(widgets('nameless'), 'one', {
      ...config('nameless', { size: 1 }),
      metadata,
    });
    expect([code, body['message']]).toEqual([
      400,
      'the name of the object (nameless based on URL) was undeterminable: name must be provided',
    ]);
  });
  it('asks for a field manager', async () => {
    const { api, widgets } = bench();
    const { code, body } = await api.ask('PATCH', widgets('unmanaged'), {
      body: config('unmanaged', { size: 1 }),
      type: 'application/apply-patch+yaml',
    });
    expect([code, body['message']]).toEqual([
      422,
      'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch',
    ]);
  });
  it('refuses managedFields in an applied configuration', async () => {
    const { api, widgets } = bench();
    await api.apply(widgets('fields'), 'one', config('fields', { size: 1 }));
    const { code, body } = await api.apply(
      widgets('fields'),
      'one',
      config('fields', { size: 1 }, { managedFields: [{}] }),
    );
    expect([code, body['message']]).toEqual([400, 'metadata.managedFields must be nil']);
  });
  it('validates what is applied', async () => {
    const { api, widgets } = bench();
    expect((await api.apply(widgets('invalid'), 'one', config('invalid', { size: 1000 }))).code).toBe(422);
  });
  it('stores nothing of an apply with dryRun', async () => {
    const { api, widgets } = bench();
    const { code } = await api.ask('PATCH', `${widgets('dry')}?fieldManager=one&dryRun=All`, {
      body: config('dry', { size: 1 }),
      type: 'application/apply-patch+yaml',
    });
    expect(code).toBe(201);
    expect((await api.get(widgets('dry'))).code).toBe(404);
  });
  it('applies the status through its subresource', async () => {
    const { api, widgets } = bench();
    await api.apply(widgets('status'), 'one', config('status', { size: 1 }));
    const body = {
      apiVersion: 'conformance.test/v1',
      kind: 'Widget',
      metadata: { name: 'status' },
      status: { phase: 'Up' },
    };
    const answer = await api.apply(`${widgets('status')}/status`, 'two', body);
    expect([answer.code, answer.body['status']]).toEqual([200, { phase: 'Up' }]);
  });
  it('applies a ConfigMap', async () => {
    const { api, configMaps } = bench();
    const map = (data: Json): Json => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'cm' }, data });
    expect((await api.apply(configMaps('cm'), 'one', map({ a: '1', b: '2' }))).code).toBe(201);
    const { body } = await api.apply(configMaps('cm'), 'one', map({ b: '3' }));
    expect(body['data']).toEqual({ b: '3' });
  });
};
