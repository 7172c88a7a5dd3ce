import { expect, it } from 'vitest';
import { metaOf } from '../suite.ts';
import type { Cases } from '../suite.ts';

export const updateCases: Cases = (bench) => {
  it('replaces an object and counts its generation', async () => {
    const { api, widgets, make } = bench();
    const made = await make('replace');
    const { code, body } = await api.put(widgets('replace'), { ...made, spec: { size: 2, color: 'blue' } });
    expect([code, body['spec']]).toEqual([200, { size: 2, color: 'blue' }]);
    expect(metaOf(body)['generation']).toBe(2);
    expect(Number(metaOf(body)['resourceVersion'])).toBeGreaterThan(Number(metaOf(made)['resourceVersion']));
  });
  it('leaves the generation alone when only metadata changes', async () => {
    const { api, widgets, make } = bench();
    const made = await make('meta-only');
    const { body } = await api.put(widgets('meta-only'), {
      ...made,
      metadata: { ...metaOf(made), labels: { a: 'b' } },
    });
    expect(metaOf(body)).toMatchObject({ generation: 1, labels: { a: 'b' } });
  });
  it('keeps the resource version of an update without a change', async () => {
    const { api, widgets, make } = bench();
    const made = await make('unchanged');
    const { code, body } = await api.put(widgets('unchanged'), made);
    expect([code, metaOf(body)['resourceVersion']]).toEqual([200, metaOf(made)['resourceVersion']]);
  });
  it('refuses an update of an older version with 409', async () => {
    const { api, widgets, make } = bench();
    const made = await make('stale');
    await api.put(widgets('stale'), { ...made, spec: { size: 2 } });
    const { code, body } = await api.put(widgets('stale'), { ...made, spec: { size: 3 } });
    expect([code, body['reason']]).toEqual([409, 'Conflict']);
    expect(body['message']).toBe(
      'Operation cannot be fulfilled on widgets.conformance.test "stale": the object has been modified; please apply your changes to the latest version and try again',
    );
    expect(body['details']).toEqual({ name: 'stale', group: 'conformance.test', kind: 'widgets' });
  });
  it('refuses an update of a custom resource without a resource version', async () => {
    const { api, widgets, widget, make } = bench();
    await make('no-version');
    const { code, body } = await api.put(widgets('no-version'), widget('no-version', { size: 2 }));
    expect([code, body['message']]).toEqual([
      422,
      'widgets.conformance.test "no-version" is invalid: metadata.resourceVersion: Invalid value: 0x0: must be specified for an update',
    ]);
  });
  it('takes an update of a ConfigMap without a resource version', async () => {
    const { api, configMaps } = bench();
    const map = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'free' }, data: { a: '1' } };
    await api.post(configMaps(), map);
    const { code, body } = await api.put(configMaps('free'), { ...map, data: { a: '2' } });
    expect([code, body['data']]).toEqual([200, { a: '2' }]);
  });
  it('refuses an update with another uid', async () => {
    const { api, widgets, make } = bench();
    const made = await make('other-uid');
    const { code, body } = await api.put(widgets('other-uid'), {
      ...made,
      metadata: { ...metaOf(made), uid: 'other' },
    });
    expect([code, body['reason']]).toEqual([409, 'Conflict']);
    expect(body['message']).toContain('Precondition failed: UID in precondition: other, UID in object meta: ');
  });
  it('refuses a name that is not the path’s', async () => {
    const { api, widgets, make } = bench();
    const made = await make('named');
    const { code, body } = await api.put(widgets('named'), { ...made, metadata: { ...metaOf(made), name: 'other' } });
    expect([code, body['message']]).toEqual([
      400,
      'the name of the object (other) does not match the name on the URL (named)',
    ]);
  });
  it('answers 404 for an update of an object that is not there', async () => {
    const { api, widgets, widget } = bench();
    const { code, body } = await api.put(widgets('none'), widget('none', { size: 1 }, { resourceVersion: '1' }));
    expect([code, body['reason']]).toEqual([404, 'NotFound']);
  });
  it('creates a Lease by an update', async () => {
    const { api, namespace } = bench();
    const path = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases/put`;
    const { code } = await api.put(path, {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { name: 'put' },
      spec: { holderIdentity: 'a' },
    });
    expect(code).toBe(201);
  });
  it('keeps the status when the object is updated', async () => {
    const { api, widgets, make } = bench();
    const made = await make('keep-status');
    const withStatus = await api.put(`${widgets('keep-status')}/status`, { ...made, status: { phase: 'Up' } });
    const { body } = await api.put(widgets('keep-status'), {
      ...withStatus.body,
      spec: { size: 5 },
      status: { phase: 'Down' },
    });
    expect([body['spec'], body['status']]).toEqual([{ size: 5, color: 'red' }, { phase: 'Up' }]);
  });
  it('changes nothing but the status through the status subresource', async () => {
    const { api, widgets, make } = bench();
    const made = await make('only-status');
    const metadata = { ...metaOf(made), labels: { a: 'b' } };
    const { code, body } = await api.put(`${widgets('only-status')}/status`, {
      ...made,
      metadata,
      spec: { size: 9 },
      status: { phase: 'Up' },
    });
    expect([code, body['spec'], body['status']]).toEqual([200, { size: 1, color: 'red' }, { phase: 'Up' }]);
    expect(metaOf(body)['generation']).toBe(1);
    expect(metaOf(body)).not.toHaveProperty('labels');
  });
  it('reads the object through the status subresource', async () => {
    const { api, widgets, make } = bench();
    const made = await make('read-status');
    expect((await api.get(`${widgets('read-status')}/status`)).body).toEqual(made);
  });
  it('refuses a stale update of the status', async () => {
    const { api, widgets, make } = bench();
    const made = await make('stale-status');
    await api.merge(widgets('stale-status'), { spec: { size: 2 } });
    expect((await api.put(`${widgets('stale-status')}/status`, { ...made, status: { phase: 'Up' } })).code).toBe(409);
  });
  it('validates the status', async () => {
    const { api, widgets, make } = bench();
    const made = await make('bad-status');
    const { code, body } = await api.put(`${widgets('bad-status')}/status`, { ...made, status: { phase: 5 } });
    expect([code, body['message']]).toEqual([
      422,
      'Widget.conformance.test "bad-status" is invalid: status.phase: Invalid value: "integer": status.phase in body must be of type string: "integer"',
    ]);
  });
  it('counts a change of the status as generation of a kind without the subresource', async () => {
    const { api } = bench();
    const path = '/apis/conformance.test/v1/gadgets';
    const { body } = await api.post(path, {
      apiVersion: 'conformance.test/v1',
      kind: 'Gadget',
      metadata: { name: 'counted' },
    });
    const updated = await api.put(`${path}/counted`, { ...body, status: { phase: 'Up' } });
    expect(metaOf(updated.body)['generation']).toBe(2);
  });
  it('stores nothing of an update with dryRun', async () => {
    const { api, widgets, make } = bench();
    const made = await make('dry-update');
    const { code, body } = await api.put(`${widgets('dry-update')}?dryRun=All`, { ...made, spec: { size: 7 } });
    expect([code, body['spec']]).toEqual([200, { size: 7, color: 'red' }]);
    expect((await api.get(widgets('dry-update'))).body['spec']).toEqual({ size: 1, color: 'red' });
  });
  it('notes who set a field', async () => {
    const { api, widgets, make } = bench();
    const made = await make('managed');
    const { body } = await api.put(`${widgets('managed')}?fieldManager=me`, {
      ...made,
      spec: { size: 2, color: 'red' },
    });
    const managed = metaOf(body)['managedFields'] as { manager: string; operation: string; fieldsV1: object }[];
    expect(managed.find((one) => one.manager === 'me')).toMatchObject({
      operation: 'Update',
      fieldsV1: { 'f:spec': { 'f:size': {} } },
    });
    expect(managed.find((one) => one.manager === 'conformance')?.fieldsV1).toEqual({
      'f:spec': { '.': {}, 'f:color': {} },
    });
  });
  it('refuses a change of immutable data', async () => {
    const { api, configMaps } = bench();
    const map = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'fixed' }, data: { a: '1' }, immutable: true };
    await api.post(configMaps(), map);
    const { code, body } = await api.put(configMaps('fixed'), { ...map, data: { a: '2' } });
    expect([code, body['message']]).toEqual([
      422,
      'ConfigMap "fixed" is invalid: data: Forbidden: field is immutable when `immutable` is set',
    ]);
  });
  it('refuses a change of a Secret’s type', async () => {
    const { api, namespace } = bench();
    const path = `/api/v1/namespaces/${namespace}/secrets`;
    const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'typed' }, type: 'a/b' };
    await api.post(path, secret);
    const { code, body } = await api.put(`${path}/typed`, { ...secret, type: 'c/d' });
    expect([code, body['message']]).toEqual([
      422,
      'Secret "typed" is invalid: type: Invalid value: "c/d": field is immutable',
    ]);
  });
  it('leaves the finalizers of a namespace to its subresource', async () => {
    const { api } = bench();
    await api.post('/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'conf-held' } });
    const { body } = await api.get('/api/v1/namespaces/conf-held');
    const { code, body: after } = await api.put('/api/v1/namespaces/conf-held', { ...body, spec: { finalizers: [] } });
    expect([code, after['spec']]).toEqual([200, { finalizers: ['kubernetes'] }]);
  });
};
