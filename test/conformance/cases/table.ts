import { beforeAll, expect, it } from 'vitest';
import { metaOf } from '../suite.ts';
import type { Cases } from '../suite.ts';
import type { Json } from '../server-under-test.ts';

const accept = 'application/json;as=Table;v=v1;g=meta.k8s.io';
const fallback = `${accept},application/json`;

export const tableCases: Cases = (bench) => {
  beforeAll(async () => {
    const { api, widgets, make } = bench();
    await make('full', { size: 3, color: 'blue' });
    await api.merge(`${widgets('full')}/status`, {
      status: {
        phase: 'Up',
        conditions: [
          { type: 'Other', status: 'False' },
          { type: 'Ready', status: 'True' },
        ],
      },
    });
    await make('sparse', { size: 1 });
  });
  const rowsOf = (body: Json): Json[] => body['rows'] as Json[];

  it('names the columns', async () => {
    const { api, widgets } = bench();
    const { body } = await api.get(widgets(), { accept });
    expect(body).toMatchObject({ kind: 'Table', apiVersion: 'meta.k8s.io/v1' });
    const columns = body['columnDefinitions'] as Json[];
    expect(columns.map((column) => [column['name'], column['type'], column['priority']])).toEqual([
      ['Name', 'string', 0],
      ['Size', 'integer', 0],
      ['Phase', 'string', 0],
      ['Ready', 'string', 0],
      ['Color', 'string', 1],
      ['Age', 'date', 0],
    ]);
    expect(columns[0]?.['format']).toBe('name');
    expect(columns[1]?.['description']).toBe('How large it is.');
    expect(columns[2]?.['description']).toBe('Custom resource definition column (in JSONPath format): .status.phase');
  });
  it('fills the cells', async () => {
    const { api, widgets } = bench();
    const { body } = await api.get(widgets(), { accept });
    const cells = rowsOf(body).map((row) => row['cells'] as unknown[]);
    expect(cells.map((row) => row.slice(0, 5))).toEqual([
      ['full', 3, 'Up', 'True', 'blue'],
      ['sparse', 1, null, null, 'red'],
    ]);
    expect(cells[0]?.[5]).toMatch(/^\d+[sm]/);
  });
  it('carries the metadata in the rows', async () => {
    const { api, widgets } = bench();
    const { body } = await api.get(widgets(), { accept });
    expect(rowsOf(body)[0]?.['object']).toMatchObject({
      kind: 'PartialObjectMetadata',
      apiVersion: 'meta.k8s.io/v1',
      metadata: { name: 'full' },
    });
    expect(rowsOf(body)[0]?.['object']).not.toHaveProperty('spec');
  });
  it('carries the object with includeObject=Object', async () => {
    const { api, widgets } = bench();
    const { body } = await api.get(`${widgets()}?includeObject=Object`, { accept });
    expect(rowsOf(body)[0]?.['object']).toMatchObject({ kind: 'Widget', spec: { size: 3 } });
  });
  it('carries nothing with includeObject=None', async () => {
    const { api, widgets } = bench();
    const { body } = await api.get(`${widgets()}?includeObject=None`, { accept });
    expect(rowsOf(body)[0]?.['object'] ?? null).toBeNull();
  });
  it('shows one object as a table', async () => {
    const { api, widgets } = bench();
    const { body } = await api.get(widgets('full'), { accept });
    expect(body['kind']).toBe('Table');
    expect(rowsOf(body)).toHaveLength(1);
  });
  it('takes the first media type that it knows', async () => {
    const { api, widgets } = bench();
    const { body } = await api.get(widgets(), { accept: `application/json;as=Table;v=v9;g=meta.k8s.io,${fallback}` });
    expect(body['kind']).toBe('Table');
  });
  it('shows a table’s resource version and pages', async () => {
    const { api, widgets } = bench();
    const { body } = await api.get(`${widgets()}?limit=1`, { accept });
    expect(metaOf(body)['resourceVersion']).toMatch(/^\d+$/);
    expect(metaOf(body)['continue']).toMatch(/./);
  });
  it('has an Age column for a kind without columns', async () => {
    const { api } = bench();
    await api.post('/apis/conformance.test/v1/gadgets', {
      apiVersion: 'conformance.test/v1',
      kind: 'Gadget',
      metadata: { name: 'table' },
    });
    const { body } = await api.get('/apis/conformance.test/v1/gadgets', { accept });
    expect((body['columnDefinitions'] as Json[]).map((column) => column['name'])).toEqual(['Name', 'Age']);
  });
  it('answers an error as a Status all the same', async () => {
    const { api, widgets } = bench();
    const { code, body } = await api.get(widgets('none'), { accept });
    expect([code, body['kind']]).toEqual([404, 'Status']);
  });
  it.each([
    ['/api/v1/namespaces', ['Name', 'Status', 'Age']],
    ['/api/v1/namespaces/default/configmaps', ['Name', 'Data', 'Age']],
    ['/api/v1/namespaces/default/secrets', ['Name', 'Type', 'Data', 'Age']],
    ['/apis/coordination.k8s.io/v1/namespaces/default/leases', ['Name', 'Holder', 'Age']],
    [
      '/api/v1/namespaces/default/events',
      ['Last Seen', 'Type', 'Reason', 'Object', 'Subobject', 'Source', 'Message', 'First Seen', 'Count', 'Name'],
    ],
  ])('has the columns of Kubernetes at %s', async (path, names) => {
    const { body } = await bench().api.get(path, { accept });
    expect((body['columnDefinitions'] as Json[]).map((column) => column['name'])).toEqual(names);
  });
  it('counts a ConfigMap’s data', async () => {
    const { api, configMaps } = bench();
    await api.post(configMaps(), {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'counted' },
      data: { a: '1', b: '2' },
    });
    const { body } = await api.get(configMaps('counted'), { accept });
    expect((rowsOf(body)[0]?.['cells'] as unknown[]).slice(0, 2)).toEqual(['counted', 2]);
  });
};
