import { expect, it, vi } from 'vitest';
import { itemsOf, metaOf, namesOf } from '../suite.ts';
import type { Cases } from '../suite.ts';
import type { Json } from '../server-under-test.ts';

export const deleteCases: Cases = (bench) => {
  it('deletes an object and answers with a Status', async () => {
    const { api, widgets, make } = bench();
    const made = await make('gone');
    const { code, body } = await api.delete(widgets('gone'));
    expect(code).toBe(200);
    expect(body).toEqual({
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Success',
      details: { name: 'gone', group: 'conformance.test', kind: 'widgets', uid: metaOf(made)['uid'] },
    });
    expect((await api.get(widgets('gone'))).code).toBe(404);
  });
  it('answers 404 for deleting what is not there', async () => {
    const { api, widgets } = bench();
    expect((await api.delete(widgets('none'))).code).toBe(404);
  });
  it('gives a new object of the same name another uid', async () => {
    const { api, widgets, make } = bench();
    const first = await make('reborn');
    await api.delete(widgets('reborn'));
    expect(metaOf(await make('reborn'))['uid']).not.toBe(metaOf(first)['uid']);
  });
  it('marks an object with a finalizer', async () => {
    const { api, widgets, make } = bench();
    await make('held', { size: 1 }, { finalizers: ['conformance.test/hold'] });
    const { code, body } = await api.delete(widgets('held'));
    expect([code, body['kind']]).toEqual([200, 'Widget']);
    expect(metaOf(body)).toMatchObject({
      deletionGracePeriodSeconds: 0,
      generation: 2,
      finalizers: ['conformance.test/hold'],
    });
    expect(metaOf(body)['deletionTimestamp']).toMatch(/Z$/);
  });
  it('changes nothing when a marked object is deleted again', async () => {
    const { api, widgets, make } = bench();
    await make('twice', { size: 1 }, { finalizers: ['conformance.test/hold'] });
    const first = await api.delete(widgets('twice'));
    const second = await api.delete(widgets('twice'));
    expect(second.body).toEqual(first.body);
  });
  it('removes a marked object when its finalizers are empty', async () => {
    const { api, widgets, make } = bench();
    await make('released', { size: 1 }, { finalizers: ['conformance.test/hold'] });
    await api.delete(widgets('released'));
    const { code } = await api.merge(widgets('released'), { metadata: { finalizers: null } });
    expect(code).toBe(200);
    expect((await api.get(widgets('released'))).code).toBe(404);
  });
  it('keeps a marked object while a finalizer is left', async () => {
    const { api, widgets, make } = bench();
    await make('two-holds', { size: 1 }, { finalizers: ['conformance.test/a', 'conformance.test/b'] });
    await api.delete(widgets('two-holds'));
    await api.merge(widgets('two-holds'), { metadata: { finalizers: ['conformance.test/b'] } });
    expect((await api.get(widgets('two-holds'))).code).toBe(200);
  });
  it('refuses new finalizers on a marked object', async () => {
    const { api, widgets, make } = bench();
    await make('no-more', { size: 1 }, { finalizers: ['conformance.test/a'] });
    await api.delete(widgets('no-more'));
    const { code, body } = await api.merge(widgets('no-more'), {
      metadata: { finalizers: ['conformance.test/a', 'conformance.test/b'] },
    });
    expect(code).toBe(422);
    expect(body['message']).toContain(
      'metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"conformance.test/b"}',
    );
  });
  it('does not let a deletion be taken back', async () => {
    const { api, widgets, make } = bench();
    await make('final', { size: 1 }, { finalizers: ['conformance.test/a'] });
    await api.delete(widgets('final'));
    const { body } = await api.merge(widgets('final'), { metadata: { deletionTimestamp: null } });
    expect(metaOf(body)['deletionTimestamp']).toBeDefined();
  });
  it('deletes with the right uid as precondition', async () => {
    const { api, widgets, make } = bench();
    const made = await make('right-uid');
    expect((await api.delete(widgets('right-uid'), { preconditions: { uid: metaOf(made)['uid'] } })).code).toBe(200);
  });
  it('refuses a wrong uid as precondition', async () => {
    const { api, widgets, make } = bench();
    const made = await make('wrong-uid');
    const { code, body } = await api.delete(widgets('wrong-uid'), { preconditions: { uid: 'x' } });
    expect([code, body['reason']]).toEqual([409, 'Conflict']);
    expect(body['message']).toBe(
      `Operation cannot be fulfilled on Widget.conformance.test "wrong-uid": the UID in the precondition (x) does not match the UID in record (${String(metaOf(made)['uid'])}). The object might have been deleted and then recreated`,
    );
  });
  it('refuses a wrong resource version as precondition', async () => {
    const { api, widgets, make } = bench();
    const made = await make('wrong-version');
    const { code, body } = await api.delete(widgets('wrong-version'), { preconditions: { resourceVersion: '1' } });
    expect(code).toBe(409);
    expect(body['message']).toBe(
      `Operation cannot be fulfilled on Widget.conformance.test "wrong-version": the ResourceVersion in the precondition (1) does not match the ResourceVersion in record (${String(metaOf(made)['resourceVersion'])}). The object might have been modified`,
    );
  });
  it('deletes nothing with dryRun in the query', async () => {
    const { api, widgets, make } = bench();
    await make('dry');
    expect((await api.delete(`${widgets('dry')}?dryRun=All`)).code).toBe(200);
    expect((await api.get(widgets('dry'))).code).toBe(200);
  });
  it('deletes nothing with dryRun in the body', async () => {
    const { api, widgets, make } = bench();
    await make('dry-body');
    expect(
      (await api.delete(widgets('dry-body'), { kind: 'DeleteOptions', apiVersion: 'v1', dryRun: ['All'] })).code,
    ).toBe(200);
    expect((await api.get(widgets('dry-body'))).code).toBe(200);
  });
  it('refuses an unknown propagation policy', async () => {
    const { api, widgets, make } = bench();
    await make('policy');
    const { code, body } = await api.delete(`${widgets('policy')}?propagationPolicy=Some`);
    expect([code, body['message']]).toEqual([
      422,
      'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "Some": supported values: "Foreground", "Background", "Orphan", "nil"',
    ]);
  });
  it('refuses two ways of saying the policy', async () => {
    const { api, widgets, make } = bench();
    await make('policies');
    const { code, body } = await api.delete(widgets('policies'), {
      propagationPolicy: 'Orphan',
      orphanDependents: true,
    });
    expect([code, body['message']]).toEqual([
      422,
      'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Invalid value: "Orphan": orphanDependents and deletionPropagation cannot be both set',
    ]);
  });
  it.each([
    ['Foreground', 'foregroundDeletion'],
    ['Orphan', 'orphan'],
  ])('marks with a finalizer for %s', async (policy, finalizer) => {
    const { api, widgets, make } = bench();
    await make(`policy-${policy.toLowerCase()}`);
    const { code, body } = await api.delete(widgets(`policy-${policy.toLowerCase()}`), { propagationPolicy: policy });
    expect([code, metaOf(body)['finalizers']]).toEqual([200, [finalizer]]);
  });
  it('deletes at once in the background', async () => {
    const { api, widgets, make } = bench();
    await make('background');
    expect((await api.delete(widgets('background'), { propagationPolicy: 'Background' })).body['status']).toBe(
      'Success',
    );
  });
  it('deletes a collection by its labels', async () => {
    const { api, widgets, make } = bench();
    for (const name of ['many-a', 'many-b']) await make(name, { size: 1 }, { labels: { group: 'many' } });
    await make('other');
    const { code, body } = await api.delete(`${widgets()}?labelSelector=group%3Dmany`);
    expect([code, body['kind']]).toEqual([200, 'WidgetList']);
    expect(itemsOf(body)).toHaveLength(2);
    expect(namesOf((await api.get(`${widgets()}?labelSelector=group%3Dmany`)).body)).toEqual([]);
    expect((await api.get(widgets('other'))).code).toBe(200);
  });
  it('deletes nothing of a collection with dryRun', async () => {
    const { api, widgets, make } = bench();
    await make('stays', { size: 1 }, { labels: { group: 'dry' } });
    await api.delete(`${widgets()}?labelSelector=group%3Ddry&dryRun=All`);
    expect((await api.get(widgets('stays'))).code).toBe(200);
  });
  it('refuses to delete the namespace default', async () => {
    const { code, body } = await bench().api.delete('/api/v1/namespaces/default');
    expect([code, body['message']]).toEqual([
      403,
      'namespaces "default" is forbidden: this namespace may not be deleted',
    ]);
  });
  it('answers 405 for deleting all namespaces', async () => {
    expect((await bench().api.delete('/api/v1/namespaces')).code).toBe(405);
  });
  it('marks a namespace as terminating', async () => {
    const { api } = bench();
    await api.post('/api/v1/namespaces', {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: 'conf-going', finalizers: ['conformance.test/hold'] },
    });
    const { code, body } = await api.delete('/api/v1/namespaces/conf-going');
    expect(code).toBe(200);
    expect(body).toMatchObject({ kind: 'Namespace', status: { phase: 'Terminating' } });
  });
  it('refuses new objects in a terminating namespace', async () => {
    const { api, widget } = bench();
    await api.post('/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'conf-closed' } });
    const inside = '/apis/conformance.test/v1/namespaces/conf-closed/widgets';
    await api.post(inside, widget('held', { size: 1 }, { finalizers: ['conformance.test/hold'] }));
    await api.delete('/api/v1/namespaces/conf-closed');
    // kube-apiserver looks at a cache of namespaces, which learns of the deletion a moment later.
    let attempts = 0;
    const { code, body } = await vi.waitFor(
      async () => {
        const answer = await api.post(inside, widget(`late-${(attempts += 1)}`));
        expect(answer.code).not.toBe(201);
        return answer;
      },
      { timeout: 15_000 },
    );
    expect([code, body['reason']]).toEqual([403, 'Forbidden']);
    expect(body['message']).toBe(
      `widgets.conformance.test "late-${attempts}" is forbidden: unable to create new content in namespace conf-closed because it is being terminated`,
    );
    expect(((body['details'] as Json)['causes'] as Json[])[0]?.['reason']).toBe('NamespaceTerminating');
  });
  it('takes a namespace’s finalizers away through finalize', async () => {
    const { api } = bench();
    await api.post('/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'conf-final' } });
    const { code, body } = await api.put('/api/v1/namespaces/conf-final/finalize', {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: 'conf-final' },
      spec: { finalizers: [] },
    });
    expect([code, body['spec']]).toEqual([200, {}]);
  });
  it('refuses a grace period that is no number', async () => {
    const { api, widgets, make } = bench();
    await make('graceful');
    expect((await api.delete(`${widgets('graceful')}?gracePeriodSeconds=x`)).code).toBe(400);
  });
  it('takes null for no options', async () => {
    const { api, widgets, make } = bench();
    await make('null-options');
    expect((await api.ask('DELETE', widgets('null-options'), { body: 'null' })).code).toBe(200);
  });
};
