import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { customResourceDefinition, type CustomResourceDefinition } from '../../src/api/crd.ts';
import { kinds } from '../../src/api/kinds.ts';
import { KubeClient } from '../../src/kube/kube-client.ts';
import { selectConnection } from '../../src/kube/connection.ts';
import { builtin } from '../../src/kube/resource-type.ts';
import { examples } from '../support/example-objects.ts';
import { startKubeApiserver, type KubeApiserver } from '../support/kube-apiserver.ts';
import { runProgram } from '../support/run-program.ts';

/** etcd's limit of one request. */
const etcdLimitBytes = 1.5 * 1024 * 1024;

interface InstalledCrd extends CustomResourceDefinition {
  readonly metadata: CustomResourceDefinition['metadata'] & { readonly managedFields?: readonly unknown[] };
  readonly status?: {
    readonly conditions?: readonly { type: string; status: string; reason?: string; message?: string }[];
  };
}

let server: KubeApiserver;
let client: KubeClient;
let folder: string;

const kubectl = (...args: string[]): Promise<string> =>
  runProgram('kubectl', ['--kubeconfig', server.kubeconfigPath, '--cache-dir', join(folder, 'cache'), ...args]);

async function established(name: string): Promise<InstalledCrd> {
  const end = performance.now() + 60_000;
  for (;;) {
    const crd = await client.resource<InstalledCrd>(builtin.customResourceDefinitions).get({ name });
    const isEstablished = crd.status?.conditions?.some((one) => one.type === 'Established' && one.status === 'True');
    if (isEstablished === true) return crd;
    if (performance.now() > end) throw new Error(`${name} is not established: ${JSON.stringify(crd.status)}`);
    await delay(100);
  }
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'virtctl-crds-'));
  server = await startKubeApiserver();
  const connection = await selectConnection({ kubeconfig: server.kubeconfigPath, env: {}, home: '/', cwd: '/' });
  client = new KubeClient(connection);
  for (const kind of kinds) {
    await client
      .resource<InstalledCrd>(builtin.customResourceDefinitions)
      .apply(customResourceDefinition(kind), { force: true });
  }
});

afterAll(async () => {
  client.close();
  await server.stop();
  await rm(folder, { recursive: true, force: true });
});

describe('the CRDs in a real API server, installed by server-side apply', () => {
  it.each(kinds.map((kind) => [kind.kind, `${kind.plural}.virtctl.dev`] as const))(
    '%s is established, structural, and well under what etcd takes with the server’s own fields',
    async (_kind, name) => {
      const crd = await established(name);
      const conditions = crd.status?.conditions ?? [];
      expect(conditions.filter((one) => one.type === 'NonStructuralSchema')).toEqual([]);
      expect(conditions.filter((one) => one.type === 'NamesAccepted').map((one) => one.status)).toEqual(['True']);
      const bytes = JSON.stringify(crd).length;
      expect(bytes).toBeLessThan(etcdLimitBytes / 2);
      // Measured for docs/kinds.md: what the server adds, managed fields included, is small.
      expect(bytes - JSON.stringify(customResourceDefinition(crdKind(crd))).length).toBeLessThan(4096);
    },
  );

  it('take an example of every kind from kubectl, which validates it against the published schema', async () => {
    await untilPublished();
    for (const example of examples) {
      const file = join(folder, `${example.kind}.json`);
      await writeFile(file, JSON.stringify(example));
      expect(await kubectl('apply', '--validate=true', '-f', file)).toMatch(/created$/);
    }
    expect(await kubectl('get', 'virt', '-A', '-o', 'name')).toContain('virtualmachine.virtctl.dev/web');
  });

  it('keep every field of the examples: nothing is pruned', async () => {
    for (const example of examples) {
      const kind = kinds.find((one) => one.kind === example.kind);
      if (kind === undefined) throw new Error(`no kind ${example.kind}`);
      const { name = '', namespace } = example.metadata;
      const stored = await client
        .resource<typeof example>({ group: 'virtctl.dev', version: 'v1alpha1', ...kind })
        .get({ name, namespace });
      expect(stored.spec).toMatchObject(example.spec as object);
    }
  });

  it('let kubectl explain a field deep in the domain', async () => {
    await untilPublished();
    const text = await kubectl('explain', 'vm.spec.domain.devices.disk.driver.cache');
    expect(text).toMatch(/FIELD:\s+cache <string>/);
    expect(text).toMatch(/DESCRIPTION:\s+\S/);
    expect(await kubectl('explain', 'vmop.spec.sendKey.holdMilliseconds')).toMatch(/Milliseconds/);
  });

  it('let the server refuse a word that libvirt does not know, naming the field', async () => {
    const wrong = {
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualMachine',
      metadata: { name: 'wrong', namespace: 'default' },
      spec: { domain: { devices: { disk: [{ device: 'disc' }] } } },
    };
    const file = join(folder, 'wrong.json');
    await writeFile(file, JSON.stringify(wrong));
    await expect(kubectl('create', '--validate=false', '-f', file)).rejects.toThrow(
      /spec\.domain\.devices\.disk.*device: Unsupported value: "disc": supported values:.*"floppy"/,
    );
  });

  it('let kubectl refuse a typo in a field', async () => {
    await untilPublished();
    const typo = {
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualMachine',
      metadata: { name: 'typo', namespace: 'default' },
      spec: { domain: { memori: { value: 1 } } },
    };
    const file = join(folder, 'typo.json');
    await writeFile(file, JSON.stringify(typo));
    await expect(kubectl('create', '-f', file)).rejects.toThrow(/unknown field "memori"/);
  });

  it('show the columns of every kind', async () => {
    await untilPublished();
    for (const kind of kinds) {
      const header = (await kubectl('get', kind.plural, '-A', '-o', 'wide')).split('\n')[0] ?? '';
      for (const column of kind.columns) expect(header).toContain(column.name.toUpperCase());
    }
  });
});

function crdKind(crd: InstalledCrd): (typeof kinds)[number] {
  const kind = kinds.find((one) => one.kind === crd.spec.names.kind);
  if (kind === undefined) throw new Error(`no kind ${crd.spec.names.kind}`);
  return kind;
}

/** The server publishes a CRD's OpenAPI some time after it is established; kubectl needs it to explain and validate. */
async function untilPublished(): Promise<void> {
  const end = performance.now() + 60_000;
  for (;;) {
    const openApi = JSON.stringify(await client.raw('/openapi/v2'));
    if (kinds.every((kind) => openApi.includes(`dev.virtctl.v1alpha1.${kind.kind}"`))) return;
    if (performance.now() > end) throw new Error('the OpenAPI of the kinds is not published');
    await delay(200);
  }
}
