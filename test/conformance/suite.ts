import { afterAll, beforeAll, describe } from 'vitest';
import { createCases } from './cases/create.ts';
import { deleteCases } from './cases/delete.ts';
import { discoveryCases } from './cases/discovery.ts';
import { eventCases } from './cases/events.ts';
import { applyCases } from './cases/apply.ts';
import { listCases } from './cases/list.ts';
import { patchCases } from './cases/patch.ts';
import { schemaCases } from './cases/schema.ts';
import { tableCases } from './cases/table.ts';
import { updateCases } from './cases/update.ts';
import { watchCases } from './cases/watch.ts';
import { ApiProbe } from './server-under-test.ts';
import type { Json, ServerUnderTest } from './server-under-test.ts';
import { gadgets, widgets } from './widgets.ts';

/** What a case works with. */
export interface Bench {
  readonly api: ApiProbe;
  readonly server: ServerUnderTest;
  /** A namespace of this group of cases. */
  readonly namespace: string;
  /** The path of its widgets, or of one. */
  readonly widgets: (name?: string) => string;
  readonly configMaps: (name?: string) => string;
  /** A widget's manifest. */
  readonly widget: (name: string, spec?: Json, metadata?: Json) => Json;
  /** Creates one and returns it. */
  readonly make: (name: string, spec?: Json, metadata?: Json) => Promise<Json>;
}

/** Declares a group of cases. */
export type Cases = (bench: () => Bench) => void;

const groups: Readonly<Record<string, Cases>> = {
  discovery: discoveryCases,
  create: createCases,
  update: updateCases,
  patch: patchCases,
  apply: applyCases,
  delete: deleteCases,
  list: listCases,
  watch: watchCases,
  schema: schemaCases,
  tables: tableCases,
  events: eventCases,
};

/** The whole suite against one server: the same requests, the same expectations. */
export function conformanceSuite(name: string, start: () => Promise<ServerUnderTest>): void {
  describe(name, () => {
    let api: ApiProbe;
    let server: ServerUnderTest;
    beforeAll(async () => {
      server = await start();
      api = new ApiProbe(server);
      if (!server.isEmbedded) await installDefinitions(api);
    });
    afterAll(() => api.close());
    for (const [group, cases] of Object.entries(groups)) {
      describe(group, () => {
        const namespace = `conf-${group}`;
        beforeAll(async () => {
          await api.post('/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } });
        });
        cases(() => makeBench(api, server, namespace));
      });
    }
  });
}

/** Installs the CRDs into a real API server and waits until it serves them. */
async function installDefinitions(api: ApiProbe): Promise<void> {
  for (const crd of [widgets, gadgets]) {
    const answer = await api.post('/apis/apiextensions.k8s.io/v1/customresourcedefinitions', crd);
    if (answer.code !== 201) throw new Error(`cannot install ${crd.metadata.name}: ${answer.text}`);
  }
  const end = performance.now() + 30_000;
  const isServed = async (path: string, word: string): Promise<boolean> => {
    const { code, text } = await api.get(path);
    return code === 200 && text.includes(word);
  };
  const needed = [
    ['/apis/conformance.test/v1/gadgets', 'GadgetList'],
    ['/apis/conformance.test/v1/widgets', 'WidgetList'],
    ['/openapi/v2', 'test.conformance.v1.Widget'],
  ] as const;
  for (const [path, word] of needed) {
    while (!(await isServed(path, word))) {
      if (performance.now() > end) throw new Error(`${path} is not served`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

function makeBench(api: ApiProbe, server: ServerUnderTest, namespace: string): Bench {
  const path = (root: string, name?: string): string => (name === undefined ? root : `${root}/${name}`);
  const widget = (name: string, spec: Json = { size: 1 }, metadata: Json = {}): Json => ({
    apiVersion: 'conformance.test/v1',
    kind: 'Widget',
    metadata: { name, ...metadata },
    spec,
  });
  const paths = {
    widgets: (name?: string) => path(`/apis/conformance.test/v1/namespaces/${namespace}/widgets`, name),
    configMaps: (name?: string) => path(`/api/v1/namespaces/${namespace}/configmaps`, name),
  };
  return {
    api,
    server,
    namespace,
    ...paths,
    widget,
    async make(name, spec, metadata) {
      const answer = await api.post(paths.widgets(), widget(name, spec, metadata));
      if (answer.code !== 201) throw new Error(`cannot make ${name}: ${answer.text}`);
      return answer.body;
    },
  };
}

/** The metadata of an object. */
export function metaOf(object: Json): Json {
  return object['metadata'] as Json;
}

/** The items of a list. */
export function itemsOf(list: Json): Json[] {
  return list['items'] as Json[];
}

export function namesOf(list: Json): unknown[] {
  return itemsOf(list).map((item) => metaOf(item)['name']);
}
