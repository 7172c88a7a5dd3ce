import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startEmbedded } from '../conformance/start-embedded.ts';
import { gadgets, widgets } from '../conformance/widgets.ts';
import type { ApiServer } from '../../src/standalone/server.ts';
import type { KubeApiserver } from '../support/kube-apiserver.ts';
import { startKubeApiserver } from '../support/kube-apiserver.ts';
import { debianKubectl, installedKubectl } from '../support/kubectl-program.ts';
import { runProgram } from '../support/run-program.ts';
import { makeTestFolder } from '../support/test-folder.ts';

/** What a kubectl printed and how it ended. */
interface Ran {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

const installed = installedKubectl();
const kubectls = [await debianKubectl(), ...(installed === undefined ? [] : [installed])];
let embedded: ApiServer;
let real: KubeApiserver;

beforeAll(async () => {
  embedded = await startEmbedded('kubectl');
  real = await startKubeApiserver();
  const crds = join(makeTestFolder('crds'), 'crds.json');
  writeFileSync(crds, JSON.stringify({ apiVersion: 'v1', kind: 'List', items: [widgets, gadgets] }));
  await runProgram(kubectls[0] ?? '', ['--kubeconfig', real.kubeconfigPath, 'apply', '-f', crds]);
  await runProgram(kubectls[0] ?? '', [
    '--kubeconfig',
    real.kubeconfigPath,
    'wait',
    '--for=condition=established',
    '--timeout=60s',
    'crd/widgets.conformance.test',
    'crd/gadgets.conformance.test',
  ]);
  const end = performance.now() + 60_000;
  // The schema is published a little later than the resource.
  while (
    !(
      await runProgram(kubectls[0] ?? '', ['--kubeconfig', real.kubeconfigPath, 'get', '--raw', '/openapi/v2'])
    ).includes('test.conformance.v1.Widget')
  ) {
    if (performance.now() > end) throw new Error('the schema is not published');
  }
});

afterAll(async () => {
  await embedded.close();
  await real.stop();
});

const servers = [
  ['the embedded server', () => embedded.kubeconfig],
  ['kube-apiserver', () => real.kubeconfigPath],
] as const;
const pairs = servers.flatMap(([server, kubeconfig]) =>
  kubectls.map((kubectl, index) => [server, kubectl, kubeconfig, index] as const),
);

describe.each(pairs)('%s with %s', (_server, kubectl, kubeconfig, index) => {
  const namespace = `kubectl-${index}`;
  const folder = makeTestFolder('kubectl');
  const env = { ...process.env, HOME: folder, KUBE_EDITOR: 'sed -i s/size:\\ 2/size:\\ 7/' };

  async function run(args: readonly string[], input?: string): Promise<Ran> {
    const child = spawn(
      kubectl,
      ['--kubeconfig', kubeconfig(), '-n', namespace, '--cache-dir', join(folder, 'cache'), ...args],
      {
        env,
        timeout: 60_000,
      },
    );
    child.stdin.end(input ?? '');
    const ended = new Promise<number | null>((done, failed) => {
      child.once('error', failed);
      child.once('close', done);
    });
    const [out, err, status] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
    return { status, out, err };
  }

  async function ok(args: readonly string[], input?: string): Promise<string> {
    const { status, out, err } = await run(args, input);
    if (status !== 0) throw new Error(`kubectl ${args.join(' ')} ended with ${String(status)}: ${err}`);
    return out;
  }

  const manifest = (name: string, spec: string): string =>
    `apiVersion: conformance.test/v1\nkind: Widget\nmetadata:\n  name: ${name}\nspec:\n  ${spec}\n`;

  beforeAll(async () => {
    await ok(['create', 'namespace', namespace]);
  });

  it('applies, and applies again', async () => {
    expect(await ok(['apply', '-f', '-'], manifest('a', 'size: 1'))).toBe('widget.conformance.test/a created\n');
    expect(await ok(['apply', '-f', '-'], manifest('a', 'size: 1'))).toBe('widget.conformance.test/a unchanged\n');
    expect(await ok(['apply', '-f', '-'], manifest('a', 'size: 2'))).toBe('widget.conformance.test/a configured\n');
  });
  it('applies on the server side', async () => {
    expect(await ok(['apply', '--server-side', '-f', '-'], manifest('ssa', 'size: 1'))).toBe(
      'widget.conformance.test/ssa serverside-applied\n',
    );
  });
  it('applies ConfigMaps and Secrets', async () => {
    const map = (value: string): string =>
      `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm}\ndata: {a: "${value}"}\n`;
    await ok(['apply', '-f', '-'], map('1'));
    expect(await ok(['apply', '-f', '-'], map('2'))).toBe('configmap/cm configured\n');
    expect(await ok(['get', 'cm', 'cm', '-o', 'jsonpath={.data.a}'])).toBe('2');
    await ok(['create', 'secret', 'generic', 's', '--from-literal=a=b']);
    expect(await ok(['get', 'secret', 's', '-o', 'jsonpath={.data.a}'])).toBe('Yg==');
  });
  it('gets in each output', async () => {
    expect(await ok(['get', 'wd', 'a'])).toMatch(/^NAME +SIZE +PHASE +READY +AGE\na +2 +\S+ *\n$/);
    expect(await ok(['get', 'widgets', 'a', '-o', 'wide'])).toMatch(
      /^NAME +SIZE +PHASE +READY +COLOR +AGE\na +2 +red +/,
    );
    expect(await ok(['get', 'widget/a', '-o', 'name'])).toBe('widget.conformance.test/a\n');
    expect(await ok(['get', 'widget', 'a', '-o', 'yaml'])).toMatch(/^spec:\n {2}color: red\n {2}size: 2$/m);
    expect(JSON.parse(await ok(['get', 'widget', 'a', '-o', 'json']))).toMatchObject({ spec: { size: 2 } });
    expect(await ok(['get', 'widget', 'a', '-o', 'custom-columns=N:.metadata.name,S:.spec.size'])).toMatch(
      /^N +S\na +2\n$/,
    );
    expect(await ok(['get', 'conf', '-o', 'name'])).toContain('widget.conformance.test/a\n');
    expect(await ok(['get', 'widgets', '-A'])).toMatch(/^NAMESPACE +NAME/);
    expect(await ok(['get', 'ns', namespace])).toMatch(/Active/);
  });
  it('gets nothing where nothing is', async () => {
    const { status, err } = await run(['get', 'widget', 'none']);
    expect([status, err]).toEqual([1, 'Error from server (NotFound): widgets.conformance.test "none" not found\n']);
  });
  it('describes', async () => {
    const described = await ok(['describe', 'widget', 'a']);
    expect(described).toMatch(/^Name: +a$/m);
    expect(described).toMatch(/^ {2}Size: +2$/m);
    expect(described).toMatch(/^Events: +<none>$/m);
    expect(await ok(['describe', 'cm', 'cm'])).toMatch(/^Data\n====$/m);
  });
  it('explains', async () => {
    const explained = await ok(['explain', 'widget.spec.size']);
    expect(explained).toContain('How large it is, in units.');
    expect(explained).toMatch(/size <integer>/);
  });
  it('refuses a typo before or at the server', async () => {
    const { status, err } = await run(['apply', '-f', '-'], manifest('typo', 'size: 1\n  sise: 2'));
    expect(status).toBe(1);
    expect(err).toMatch(/unknown field "(spec\.)?sise"/);
  });
  it('tells what the server refuses', async () => {
    const { status, err } = await run(['apply', '--validate=false', '-f', '-'], manifest('bad', 'size: 1000'));
    expect(status).toBe(1);
    expect(err).toContain('spec.size: Invalid value: 1000: spec.size in body should be less than or equal to 100');
  });
  it('shows a difference', async () => {
    const { status, out } = await run(['diff', '-f', '-'], manifest('a', 'size: 3'));
    expect(status).toBe(1);
    expect(out).toMatch(/^- {2}size: 2$/m);
    expect(out).toMatch(/^\+ {2}size: 3$/m);
  });
  it('edits', async () => {
    expect(await ok(['edit', 'widget', 'a'])).toBe('widget.conformance.test/a edited\n');
    expect(await ok(['get', 'widget', 'a', '-o', 'jsonpath={.spec.size}'])).toBe('7');
  });
  it('patches in each type', async () => {
    await ok(['patch', 'widget', 'a', '--type=merge', '-p', '{"spec":{"size":8}}']);
    await ok(['patch', 'widget', 'a', '--type=json', '-p', '[{"op":"add","path":"/spec/code","value":"abc"}]']);
    expect(await ok(['get', 'widget', 'a', '-o', 'jsonpath={.spec.size} {.spec.code}'])).toBe('8 abc');
    await ok(['patch', 'cm', 'cm', '-p', '{"data":{"b":"3"}}']);
    expect(await ok(['get', 'cm', 'cm', '-o', 'jsonpath={.data}'])).toContain('"b":"3"');
  });
  it('labels and annotates', async () => {
    await ok(['label', 'widget', 'a', 'tier=front']);
    await ok(['annotate', 'widget', 'a', 'note=hello']);
    expect(await ok(['get', 'widgets', '-l', 'tier=front', '-o', 'name'])).toBe('widget.conformance.test/a\n');
    expect(await ok(['get', 'widget', 'a', '-o', 'jsonpath={.metadata.annotations.note}'])).toBe('hello');
  });
  it('waits for a condition', async () => {
    const waiting = ok(['wait', '--for=condition=Ready', '--timeout=30s', 'widget/a']);
    const status = JSON.stringify({
      ...(JSON.parse(await ok(['get', 'widget', 'a', '-o', 'json'])) as object),
      status: { conditions: [{ type: 'Ready', status: 'True' }] },
    });
    await ok(
      ['replace', '--raw', `/apis/conformance.test/v1/namespaces/${namespace}/widgets/a/status`, '-f', '-'],
      status,
    );
    expect(await waiting).toBe('widget.conformance.test/a condition met\n');
  });
  it('watches', async () => {
    const child = spawn(
      kubectl,
      ['--kubeconfig', kubeconfig(), '-n', namespace, 'get', 'widgets', '-w', '-o', 'name'],
      { env },
    );
    let seen = '';
    const changed = new Promise<void>((done) => {
      child.stdout.on('data', (chunk: Buffer) => {
        seen += chunk.toString();
        if (seen.includes('watched\n')) done();
      });
    });
    await ok(['apply', '-f', '-'], manifest('watched', 'size: 1'));
    await changed;
    child.kill();
    expect(seen).toContain('widget.conformance.test/watched\n');
  });
  it('runs dry at the server', async () => {
    expect(await ok(['apply', '--dry-run=server', '-f', '-'], manifest('dry', 'size: 1'))).toBe(
      'widget.conformance.test/dry created (server dry run)\n',
    );
    expect((await run(['get', 'widget', 'dry'])).status).toBe(1);
  });
  it('deletes, and waits for it', async () => {
    expect(await ok(['delete', 'widget', 'a'])).toMatch(/^widget\.conformance\.test "a" deleted/);
    expect(await ok(['delete', 'widgets', '--all'])).toContain('deleted');
    expect((await run(['get', 'widgets'])).err).toContain('No resources found');
  });
  it('lists the resources', async () => {
    expect(await ok(['api-resources', '--api-group=conformance.test'])).toMatch(
      /^widgets +wd +conformance\.test\/v1 +true +Widget$/m,
    );
  });
});
