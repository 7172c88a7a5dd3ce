import { expect, it } from 'vitest';
import { metaOf } from '../suite.ts';
import type { Cases } from '../suite.ts';
import type { Json } from '../server-under-test.ts';

export const createCases: Cases = (bench) => {
  it('creates an object and fills in what the server owns', async () => {
    const { api, widgets, widget, namespace } = bench();
    const { code, body } = await api.post(widgets(), widget('new'));
    expect(code).toBe(201);
    expect(metaOf(body)).toMatchObject({ name: 'new', namespace, generation: 1 });
    expect(metaOf(body)['uid']).toMatch(/^[0-9a-f-]{36}$/);
    expect(metaOf(body)['resourceVersion']).toMatch(/^\d+$/);
    expect(metaOf(body)['creationTimestamp']).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    expect((await api.get(widgets('new'))).body).toEqual(body);
  });
  it('ignores a uid, generation and creation time in a new object', async () => {
    const { make } = bench();
    const body = await make(
      'own',
      { size: 1 },
      { uid: 'mine', generation: 9, creationTimestamp: '2001-01-01T00:00:00Z' },
    );
    expect(metaOf(body)['uid']).not.toBe('mine');
    expect(metaOf(body)['generation']).toBe(1);
    expect(metaOf(body)['creationTimestamp']).not.toBe('2001-01-01T00:00:00Z');
  });
  it('drops the status of a new object of a kind with a status subresource', async () => {
    const { api, widgets, widget } = bench();
    const { body } = await api.post(widgets(), { ...widget('with-status'), status: { phase: 'Up' } });
    expect(body).not.toHaveProperty('status');
  });
  it('keeps the status of a new object of a kind without one', async () => {
    const { api } = bench();
    const { body } = await api.post('/apis/conformance.test/v1/gadgets', {
      apiVersion: 'conformance.test/v1',
      kind: 'Gadget',
      metadata: { name: 'status' },
      status: { phase: 'Up' },
    });
    expect(body['status']).toEqual({ phase: 'Up' });
  });
  it('makes a name from generateName', async () => {
    const { api, widgets, widget } = bench();
    const { generated } = { generated: { ...widget(''), metadata: { generateName: 'made-' } } };
    const first = await api.post(widgets(), generated);
    const second = await api.post(widgets(), generated);
    expect(metaOf(first.body)['name']).toMatch(/^made-[a-z0-9]{5}$/);
    expect(metaOf(first.body)['generateName']).toBe('made-');
    expect(metaOf(first.body)['name']).not.toBe(metaOf(second.body)['name']);
  });
  it('refuses a name that is taken with 409', async () => {
    const { api, widgets, widget, make } = bench();
    await make('taken');
    const { code, body } = await api.post(widgets(), widget('taken'));
    expect(code).toBe(409);
    expect(body).toEqual({
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message: 'widgets.conformance.test "taken" already exists',
      reason: 'AlreadyExists',
      details: { name: 'taken', group: 'conformance.test', kind: 'widgets' },
      code: 409,
    });
  });
  it('refuses an object in a namespace that is missing with 404', async () => {
    const { api, widget } = bench();
    const { code, body } = await api.post('/apis/conformance.test/v1/namespaces/missing/widgets', widget('x'));
    expect([code, body['message']]).toEqual([404, 'namespaces "missing" not found']);
    expect(body['details']).toEqual({ name: 'missing', kind: 'namespaces' });
  });
  it('refuses an object whose namespace is not the path’s', async () => {
    const { api, widgets, widget } = bench();
    const { code, body } = await api.post(widgets(), widget('x', { size: 1 }, { namespace: 'default' }));
    expect([code, body['message']]).toEqual([
      400,
      'the namespace of the provided object does not match the namespace sent on the request',
    ]);
  });
  it('refuses a resource version in a new object', async () => {
    const { api, widgets, widget } = bench();
    const { code, body } = await api.post(widgets(), widget('x', { size: 1 }, { resourceVersion: '5' }));
    expect([code, body['message']]).toEqual([500, 'resourceVersion should not be set on objects to be created']);
  });
  it('refuses an object without a name', async () => {
    const { api, widgets, widget } = bench();
    const { code, body } = await api.post(widgets(), { ...widget(''), metadata: {} });
    expect([code, body['message']]).toEqual([
      422,
      'Widget.conformance.test "" is invalid: metadata.name: Required value: name or generateName is required',
    ]);
  });
  it('refuses a name that is not a DNS subdomain', async () => {
    const { api, widgets, widget } = bench();
    const { code, body } = await api.post(widgets(), widget('A_b'));
    expect([code, body['reason']]).toEqual([422, 'Invalid']);
    expect(body['message']).toBe(
      "Widget.conformance.test \"A_b\" is invalid: metadata.name: Invalid value: \"A_b\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
    );
  });
  it.each([
    [
      'a label’s value',
      { labels: { a: 'b c' } },
      'metadata.labels',
      'Invalid value: "b c": a valid label must be an empty string or consist of alphanumeric characters',
    ],
    [
      'a label’s key',
      { labels: { 'a b': 'c' } },
      'metadata.labels',
      'Invalid value: "a b": name part must consist of alphanumeric characters',
    ],
    [
      'a label that is too long',
      { labels: { a: 'x'.repeat(64) } },
      'metadata.labels',
      'must be no more than 63 characters',
    ],
    [
      'an annotation’s key',
      { annotations: { 'a b': 'c' } },
      'metadata.annotations',
      'Invalid value: "a b": name part must consist of alphanumeric characters',
    ],
    [
      'a finalizer',
      { finalizers: ['a b'] },
      'metadata.finalizers',
      'Invalid value: "a b": name part must consist of alphanumeric characters',
    ],
    [
      'an owner without a uid',
      { ownerReferences: [{ apiVersion: 'v1', kind: 'ConfigMap', name: 'x', uid: '' }] },
      'metadata.ownerReferences.uid',
      'Invalid value: "": uid must not be empty',
    ],
  ])('refuses %s that is not valid', async (_what, metadata, field, message) => {
    const { api, widgets, widget } = bench();
    const { code, body } = await api.post(widgets(), widget('bad-meta', { size: 1 }, metadata));
    expect(code).toBe(422);
    const causes = (body['details'] as Json)['causes'] as Json[];
    expect(causes.map((cause) => [cause['field'], String(cause['message'])])).toEqual([
      [field, expect.stringContaining(message)],
    ]);
  });
  it('refuses metadata of a wrong type with 400', async () => {
    const { api, widgets, widget } = bench();
    const { code, body } = await api.post(widgets(), widget('x', { size: 1 }, { labels: { a: 1 } }));
    expect([code, body['reason']]).toEqual([400, 'BadRequest']);
    expect(body['message']).toMatch(/^Widget in version "v1" cannot be handled as a Widget: /);
  });
  it('refuses another API version', async () => {
    const { api, widgets, widget } = bench();
    const { code, body } = await api.post(widgets(), { ...widget('x'), apiVersion: 'conformance.test/v2' });
    expect([code, body['message']]).toEqual([
      400,
      'the API version in the data (conformance.test/v2) does not match the expected API version (conformance.test/v1)',
    ]);
  });
  it('refuses another kind', async () => {
    const { api, widgets, widget } = bench();
    const { code, body } = await api.post(widgets(), { ...widget('x'), kind: 'Gadget' });
    expect([code, body['message']]).toEqual([
      422,
      'Gadget.conformance.test "x" is invalid: kind: Invalid value: "Gadget": must be Widget',
    ]);
  });
  it('refuses an object without a kind', async () => {
    const { api, widgets } = bench();
    const { code, body } = await api.post(widgets(), {
      apiVersion: 'conformance.test/v1',
      metadata: { name: 'x' },
      spec: { size: 1 },
    });
    expect(code).toBe(400);
    expect(body['message']).toContain("Object 'Kind' is missing");
  });
  it.each([
    ['nothing', ''],
    ['half an object', '{"apiVersion":'],
    ['a list', '[]'],
  ])('refuses %s as a body', async (_what, text) => {
    const { api, widgets } = bench();
    const { code, body } = await api.ask('POST', widgets(), { body: text });
    expect([code, body['reason']]).toEqual([400, 'BadRequest']);
    expect(body['message']).toMatch(
      /^the object provided is unrecognized \(must be of type Widget\): couldn't get version\/kind; json parse error: /,
    );
  });
  it('takes YAML', async () => {
    const { api, widgets } = bench();
    const text = 'apiVersion: conformance.test/v1\nkind: Widget\nmetadata:\n  name: from-yaml\nspec:\n  size: 3\n';
    const { code, body } = await api.ask('POST', widgets(), { body: text, type: 'application/yaml' });
    expect([code, body['spec']]).toEqual([201, { size: 3, color: 'red' }]);
  });
  it('stores nothing with dryRun', async () => {
    const { api, widgets, widget } = bench();
    const { code, body } = await api.post(`${widgets()}?dryRun=All`, widget('dry'));
    expect([code, metaOf(body)['name']]).toEqual([201, 'dry']);
    expect(metaOf(body)['uid']).toMatch(/./);
    expect((await api.get(widgets('dry'))).code).toBe(404);
  });
  it('validates with dryRun', async () => {
    const { api, widgets, widget } = bench();
    expect((await api.post(`${widgets()}?dryRun=All`, widget('dry', { size: 'x' }))).code).toBe(422);
  });
  it('refuses another word for dryRun', async () => {
    const { api, widgets, widget } = bench();
    const { code, body } = await api.post(`${widgets()}?dryRun=Some`, widget('x'));
    expect([code, body['message']]).toEqual([
      422,
      'CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: []string{"Some"}: supported values: "All"',
    ]);
  });
  it('answers 405 for creating under a name', async () => {
    const { api, configMaps } = bench();
    const { code, body } = await api.post(configMaps('x'), {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'x' },
    });
    expect([code, body['reason']]).toEqual([405, 'MethodNotAllowed']);
  });
  it('answers 404 for an object that is not there', async () => {
    const { api, widgets } = bench();
    const { code, body } = await api.get(widgets('none'));
    expect(code).toBe(404);
    expect(body).toEqual({
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message: 'widgets.conformance.test "none" not found',
      reason: 'NotFound',
      details: { name: 'none', group: 'conformance.test', kind: 'widgets' },
      code: 404,
    });
  });
  it('creates a ConfigMap without a generation', async () => {
    const { api, configMaps } = bench();
    const { code, body } = await api.post(configMaps(), {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'cm' },
      data: { a: 'b' },
    });
    expect([code, body['data']]).toEqual([201, { a: 'b' }]);
    expect(metaOf(body)).not.toHaveProperty('generation');
  });
  it('refuses a ConfigMap with a wrong key', async () => {
    const { api, configMaps } = bench();
    const { code, body } = await api.post(configMaps(), {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'bad' },
      data: { 'a b': 'c' },
    });
    expect(code).toBe(422);
    expect(body['message']).toMatch(
      /^ConfigMap "bad" is invalid: data\[a b\]: Invalid value: "a b": a valid config key must consist of/,
    );
  });
  it('refuses a ConfigMap with data of a wrong type', async () => {
    const { api, configMaps } = bench();
    expect(
      (await api.post(configMaps(), { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'bad' }, data: { a: 1 } }))
        .code,
    ).toBe(400);
  });
  it('encodes a Secret’s stringData and defaults its type', async () => {
    const { api, namespace } = bench();
    const { code, body } = await api.post(`/api/v1/namespaces/${namespace}/secrets`, {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 's' },
      stringData: { a: 'secret' },
    });
    expect(code).toBe(201);
    expect(body).toMatchObject({ type: 'Opaque', data: { a: 'c2VjcmV0' } });
    expect(body).not.toHaveProperty('stringData');
  });
  it('creates a Lease', async () => {
    const { api, namespace } = bench();
    const spec = { holderIdentity: 'me', leaseDurationSeconds: 15, renewTime: '2026-01-01T00:00:00.123456Z' };
    const path = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;
    const { code, body } = await api.post(path, {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { name: 'l' },
      spec,
    });
    expect([code, body['spec']]).toEqual([201, spec]);
  });
  it('creates a namespace with its finalizer and phase', async () => {
    const { api } = bench();
    const { code, body } = await api.post('/api/v1/namespaces', {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: 'conf-fresh' },
    });
    expect(code).toBe(201);
    expect(body).toMatchObject({ spec: { finalizers: ['kubernetes'] }, status: { phase: 'Active' } });
  });
  it('refuses a namespace whose name is not a DNS label', async () => {
    const { api } = bench();
    const { code, body } = await api.post('/api/v1/namespaces', {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: 'a.b' },
    });
    expect([code, body['reason']]).toEqual([422, 'Invalid']);
    expect(body['message']).toMatch(
      /^Namespace "a\.b" is invalid: metadata\.name: Invalid value: "a\.b": a lowercase RFC 1123 label must consist of/,
    );
  });
  it.each<[string, Json]>([
    ['a label whose prefix is too long', { labels: { [`${'x'.repeat(254)}/a`]: '1' } }],
    ['an owner of no version', { ownerReferences: [{ apiVersion: 'a/b/c', kind: 'X', name: 'n', uid: 'u' }] }],
    ['an event as owner', { ownerReferences: [{ apiVersion: 'v1', kind: 'Event', name: 'n', uid: 'u' }] }],
  ])('refuses %s', async (_what, metadata) => {
    const { api, widgets, widget } = bench();
    const { code, body } = await api.post(widgets(), widget('refused', { size: 1 }, metadata));
    expect([code, body['reason']]).toEqual([422, 'Invalid']);
  });
  it('refuses an owner of wrong types with 400', async () => {
    const { api, widgets, widget } = bench();
    const owner = { apiVersion: 'v1', kind: 'X', name: 'n', uid: 'u', blockOwnerDeletion: 'x' };
    expect((await api.post(widgets(), widget('refused', { size: 1 }, { ownerReferences: [owner] }))).code).toBe(400);
  });
  it('takes an owner or a finalizer that stands twice', async () => {
    const { api, widgets, widget } = bench();
    const owner = { apiVersion: 'elsewhere.test/v1', kind: 'Thing', name: 'n', uid: 'u' };
    const twins = { ownerReferences: [owner, { ...owner }], finalizers: ['a/b', 'a/b'] };
    const { code, body } = await api.post(widgets(), widget('twins', { size: 1 }, twins));
    expect([code, metaOf(body)['ownerReferences']]).toEqual([201, [owner]]);
  });
  it('takes fields that are null as left out, also of the whole object', async () => {
    const { api, widgets, widget } = bench();
    const spec = { size: 1, code: null, words: null, labels: { a: null }, note: null, anything: { x: null } };
    const { code, body } = await api.post(widgets(), { ...widget('nulls', spec), status: null });
    expect([code, body['spec']]).toEqual([
      201,
      { size: 1, color: 'red', labels: {}, note: null, anything: { x: null } },
    ]);
    const none = await api.post(widgets(), { ...widget('null-spec'), spec: null });
    expect([none.code, none.body['spec']]).toEqual([201, undefined]);
  });
  it('keeps fields of any name where unknown ones are kept', async () => {
    const { api, widgets, widget } = bench();
    const anything = '{"__proto__":{"size":7},"constructor":{"x":1}}';
    const text = JSON.stringify(widget('names', { size: 1, anything: '?' })).replace('"?"', anything);
    const made = await api.ask('POST', widgets(), { body: text });
    expect([made.code, JSON.stringify((made.body['spec'] as Json)['anything'])]).toEqual([201, anything]);
    const patched = await api.ask('PATCH', widgets('names'), {
      body: '{"spec":{"__proto__":{"size":9},"size":null}}',
      type: 'application/merge-patch+json',
    });
    expect(patched.code).toBe(422);
  });
  it('reads YAML 1.1, as kubectl does', async () => {
    const { api, widgets, configMaps } = bench();
    const head = 'apiVersion: conformance.test/v1\nkind: Widget\nmetadata: {name: yaml-1-1}\n';
    const body = `${head}spec: {size: 010, enabled: yes, port: 1_0, code: "no", note: 2001-01-01}\n`;
    const made = await api.ask('POST', widgets(), { body, type: 'application/yaml' });
    expect([made.code, made.body['spec']]).toEqual([
      201,
      { size: 8, color: 'red', enabled: true, port: 10, code: 'no', note: '2001-01-01' },
    ]);
    const map = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: yaml-1-1}\ndata: {a: on}\n';
    expect((await api.ask('POST', configMaps(), { body: map, type: 'application/yaml' })).code).toBe(400);
  });
  it.each<[string, Json, number]>([
    ['tls', { type: 'kubernetes.io/tls', stringData: { 'tls.crt': '' } }, 422],
    ['tls-whole', { type: 'kubernetes.io/tls', stringData: { 'tls.crt': '', 'tls.key': '' } }, 201],
    ['docker', { type: 'kubernetes.io/dockerconfigjson', stringData: { '.dockerconfigjson': '{' } }, 422],
    ['docker-whole', { type: 'kubernetes.io/dockerconfigjson', stringData: { '.dockerconfigjson': '{}' } }, 201],
    ['basic', { type: 'kubernetes.io/basic-auth', stringData: { other: 'x' } }, 422],
    ['ssh', { type: 'kubernetes.io/ssh-auth' }, 422],
    ['large', { stringData: { a: 'x'.repeat(1024 * 1024 + 1) } }, 422],
    ['own-type', { type: 'constructor', stringData: { a: 'x' } }, 201],
  ])('knows what a Secret of a type holds: %s', async (name, secret, expected) => {
    const { api, namespace } = bench();
    const path = `/api/v1/namespaces/${namespace}/secrets`;
    const { code } = await api.post(path, { apiVersion: 'v1', kind: 'Secret', metadata: { name }, ...secret });
    expect(code).toBe(expected);
  });
  it('refuses a ConfigMap that has a key twice, or too much', async () => {
    const { api, configMaps } = bench();
    const map = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'refused' } };
    expect((await api.post(configMaps(), { ...map, data: { a: '1' }, binaryData: { a: 'eA==' } })).code).toBe(422);
    expect((await api.post(configMaps(), { ...map, data: { a: 'x'.repeat(1024 * 1024 + 1) } })).code).toBe(422);
  });
  it('says that what has the name is being deleted', async () => {
    const { api, widgets, widget } = bench();
    await api.post(widgets(), widget('leaving', { size: 1 }, { finalizers: ['a/b'] }));
    await api.delete(widgets('leaving'));
    const { code, body } = await api.post(widgets(), widget('leaving'));
    expect([code, body['message']]).toEqual([
      409,
      'object is being deleted: widgets.conformance.test "leaving" already exists',
    ]);
  });
  it('answers 400 for a path that is no path', async () => {
    const { api, widgets } = bench();
    expect((await api.get(widgets('%zz'))).code).toBe(400);
    expect((await api.get(widgets('%E0%A4%A'))).code).toBe(400);
  });
  it('takes a path with a slash at its end', async () => {
    const { api, widgets } = bench();
    expect((await api.get(`${widgets()}/`)).body['kind']).toBe('WidgetList');
  });
  it('refuses a manager’s name that cannot be printed', async () => {
    const { api, widgets, widget } = bench();
    const { code, body } = await api.post(`${widgets()}?fieldManager=a%0Ab`, widget('unprintable'));
    expect([code, body['message']]).toEqual([
      422,
      'CreateOptions.meta.k8s.io "" is invalid: fieldManager: Invalid value: "a\\nb": invalid character U+000A (at position 1)',
    ]);
  });
};
