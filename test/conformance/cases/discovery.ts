import { expect, it } from 'vitest';
import { itemsOf } from '../suite.ts';
import type { Cases } from '../suite.ts';
import type { Json } from '../server-under-test.ts';

export const discoveryCases: Cases = (bench) => {
  it.each(['/healthz', '/livez', '/readyz'])('says ok at %s', async (path) => {
    const answer = await bench().api.get(path);
    expect([answer.code, answer.text]).toEqual([200, 'ok']);
  });
  it('tells its version', async () => {
    const { code, body } = await bench().api.get('/version');
    expect(code).toBe(200);
    expect(Object.keys(body)).toEqual(expect.arrayContaining(['major', 'minor', 'gitVersion', 'platform']));
    expect(body['major']).toBe('1');
  });
  it('lists the version of the core group', async () => {
    const { body } = await bench().api.get('/api');
    expect(body).toMatchObject({ kind: 'APIVersions', versions: ['v1'] });
  });
  it('lists the groups', async () => {
    const { body } = await bench().api.get('/apis');
    expect(body['kind']).toBe('APIGroupList');
    const names = (body['groups'] as Json[]).map((group) => group['name']);
    expect(names).toEqual(expect.arrayContaining(['conformance.test', 'coordination.k8s.io', 'events.k8s.io']));
  });
  it('describes one group', async () => {
    const { body } = await bench().api.get('/apis/conformance.test');
    const version = { groupVersion: 'conformance.test/v1', version: 'v1' };
    expect(body).toEqual({
      kind: 'APIGroup',
      apiVersion: 'v1',
      name: 'conformance.test',
      versions: [version],
      preferredVersion: version,
    });
  });
  it('lists the resources of a version with short names and categories', async () => {
    const { body } = await bench().api.get('/apis/conformance.test/v1');
    expect(body).toMatchObject({ kind: 'APIResourceList', groupVersion: 'conformance.test/v1' });
    const found = (body['resources'] as Json[]).find((resource) => resource['name'] === 'widgets');
    expect(found).toMatchObject({
      singularName: 'widget',
      namespaced: true,
      kind: 'Widget',
      shortNames: ['wd'],
      categories: ['conf'],
    });
    expect([...(found?.['verbs'] as string[])].sort()).toEqual([
      'create',
      'delete',
      'deletecollection',
      'get',
      'list',
      'patch',
      'update',
      'watch',
    ]);
  });
  it('lists the status subresource where there is one', async () => {
    const { body } = await bench().api.get('/apis/conformance.test/v1');
    const names = (body['resources'] as Json[]).map((resource) => resource['name']);
    expect(names).toContain('widgets/status');
    expect(names).not.toContain('gadgets/status');
  });
  it('lists Kubernetes’ own kinds', async () => {
    const { body } = await bench().api.get('/api/v1');
    const names = (body['resources'] as Json[]).map((resource) => resource['name']);
    expect(names).toEqual(expect.arrayContaining(['namespaces', 'secrets', 'configmaps', 'events']));
  });
  it('answers 404 for an unknown group', async () => {
    expect((await bench().api.get('/apis/nope.test/v1/things')).code).toBe(404);
  });
  it('answers 404 for an unknown resource of a custom group', async () => {
    expect((await bench().api.get('/apis/conformance.test/v1/things')).code).toBe(404);
  });
  it('answers 404 with a Status for an unknown resource of the core group', async () => {
    const { code, body } = await bench().api.get('/api/v1/things');
    expect([code, body['reason'], body['message']]).toEqual([
      404,
      'NotFound',
      'the server could not find the requested resource',
    ]);
  });
  it('answers 404 for an unknown path', async () => {
    expect((await bench().api.get('/nowhere')).code).toBe(404);
  });
  it('answers 401 for a wrong token', async () => {
    const { code, body } = await bench().api.get('/api/v1/namespaces', { headers: { authorization: 'Bearer wrong' } });
    expect([code, body['reason'], body['message'], body['status']]).toEqual([
      401,
      'Unauthorized',
      'Unauthorized',
      'Failure',
    ]);
  });
  it('publishes the schema in OpenAPI v2', async () => {
    const body = JSON.parse((await bench().api.get('/openapi/v2')).text) as Json;
    expect(body['swagger']).toBe('2.0');
    const widget = (body['definitions'] as Json)['test.conformance.v1.Widget'] as Json;
    expect(widget['x-kubernetes-group-version-kind']).toEqual([
      { group: 'conformance.test', kind: 'Widget', version: 'v1' },
    ]);
    const spec = (widget['properties'] as Json)['spec'] as Json;
    expect(spec['description']).toBe('What the widget should be.');
    expect((spec['properties'] as Json)['size']).toEqual({
      type: 'integer',
      minimum: 1,
      maximum: 100,
      description: 'How large it is, in units.',
    });
  });
  it('publishes OpenAPI v2 in protocol buffers', async () => {
    const { code, text } = await bench().api.get('/openapi/v2', {
      accept: 'application/com.github.proto-openapi.spec.v2@v1.0+protobuf',
    });
    expect(code).toBe(200);
    expect(text).toContain('test.conformance.v1.Widget');
    expect(text.startsWith('\n\u00032.0')).toBe(true);
  });
  it('says in OpenAPI v2 that patches take dryRun', async () => {
    const body = JSON.parse((await bench().api.get('/openapi/v2')).text) as Json;
    const path = (body['paths'] as Json)['/apis/conformance.test/v1/namespaces/{namespace}/widgets/{name}'] as Json;
    const patch = path['patch'] as Json;
    expect(patch['x-kubernetes-group-version-kind']).toEqual({
      group: 'conformance.test',
      kind: 'Widget',
      version: 'v1',
    });
    expect((patch['parameters'] as Json[]).map((parameter) => parameter['name'])).toContain('dryRun');
  });
  it('serves objects in YAML', async () => {
    const { code, headers, text } = await bench().api.get('/api/v1/namespaces/default', { accept: 'application/yaml' });
    expect([code, headers['content-type']]).toEqual([200, 'application/yaml']);
    expect(text).toMatch(/^kind: Namespace$/m);
  });
  it('answers 406 for a media type that it cannot write', async () => {
    const { code, body } = await bench().api.get('/api/v1/namespaces', { accept: 'application/xml' });
    expect([code, body['reason']]).toEqual([406, 'NotAcceptable']);
  });
  it('has the namespace default', async () => {
    const { body } = await bench().api.get('/api/v1/namespaces/default');
    expect(body).toMatchObject({
      kind: 'Namespace',
      spec: { finalizers: ['kubernetes'] },
      status: { phase: 'Active' },
    });
  });
  it('lists a kind of the core group without the items’ kind', async () => {
    const { body } = await bench().api.get('/api/v1/namespaces');
    expect(body).toMatchObject({ kind: 'NamespaceList', apiVersion: 'v1' });
    expect(itemsOf(body)[0]).not.toHaveProperty('kind');
  });
  it('lists a custom kind with the items’ kind', async () => {
    const { api, widgets, make } = bench();
    await make('listed');
    const { body } = await api.get(widgets());
    expect(body).toMatchObject({ kind: 'WidgetList', apiVersion: 'conformance.test/v1' });
    expect(itemsOf(body)[0]).toMatchObject({ kind: 'Widget', apiVersion: 'conformance.test/v1' });
  });
};
