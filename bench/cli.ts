/**
 * The command line as whole processes: `virtctl get vm` beside `kubectl get vm` on the same embedded server with 50
 * machines, over the server's socket, as on one machine, and over TLS, as with any other server; `virtctl --help` beside
 * a bare `node -e 0`. Where NODE_EXTRA_CA_CERTS is set, everything is measured without it as well, which is what most
 * shells have: with it every Node.js process reads that file and its own authorities whenever it starts.
 */
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import type { BenchReport, BenchRow } from './bench-report.ts';
import { timeProcesses, type ProcessTimes } from './time-processes.ts';
import { virtualMachineKind } from '../src/api/kinds.ts';
import { group, version as apiVersion } from '../src/api/meta.ts';
import { silentLogger } from '../src/base/logger.ts';
import { selectConnection } from '../src/kube/connection.ts';
import { KubeClient } from '../src/kube/kube-client.ts';
import { startStandalone } from '../src/standalone/standalone.ts';

const machines = 50;
const rounds = 15;
const cli = join(import.meta.dirname, '../dist/virtctl.js');
const bare = { name: 'node -e 0', program: 'node', args: ['-e', '0'] };

/** See the head of this file. */
export async function run(): Promise<BenchReport> {
  if (!existsSync(cli)) throw new Error('build first: npm run build');
  const folder = await mkdtemp(join(tmpdir(), 'virtctl-bench-'));
  const server = await startStandalone({ folder, host: '127.0.0.1', port: 0, logger: silentLogger, version: '0.0.0' });
  try {
    await createMachines(server.kubeconfig);
    const overTls = join(folder, 'kubeconfig-tls');
    await writeFile(overTls, withoutSocket(await readFile(server.kubeconfig, 'utf8')), { mode: 0o600 });
    const rows: BenchRow[] = [];
    for (const { label, env } of surroundings()) {
      rows.push(await compareHelp(label, env));
      rows.push(await compareGet(`over the socket${label}`, { ...env, KUBECONFIG: server.kubeconfig, HOME: folder }));
      rows.push(await compareGet(`over TLS${label}`, { ...env, KUBECONFIG: overTls, HOME: folder }));
    }
    return {
      title: `The command line as whole processes, median of ${rounds} and the least of them`,
      rows,
      notes: ['kubectl always uses TLS', 'goals are judged by the medians'],
    };
  } finally {
    await server.close();
    await rm(folder, { recursive: true, force: true });
  }
}

type Env = Readonly<Record<string, string | undefined>>;

/** What a user's shell may have that changes how long Node.js takes to start. */
function surroundings(): { readonly label: string; readonly env: Env }[] {
  if (process.env[extraAuthorities] === undefined) return [{ label: '', env: {} }];
  return [
    { label: `, without ${extraAuthorities}`, env: { [extraAuthorities]: undefined } },
    { label: `, with ${extraAuthorities}`, env: {} },
  ];
}

const extraAuthorities = 'NODE_EXTRA_CA_CERTS';

async function compareHelp(label: string, env: Env): Promise<BenchRow> {
  const times = await timeProcesses([{ name: 'virtctl', program: 'node', args: [cli, '--help'] }, bare], rounds, env);
  const reached = medianOf(times, 'virtctl') <= medianOf(times, bare.name) + 60;
  return { what: `help${label}`, unit: 'ms', values: columns(times), goal: '≤ node -e 0 + 60 ms', reached };
}

async function compareGet(how: string, env: Env): Promise<BenchRow> {
  const times = await timeProcesses(
    [
      { name: 'virtctl', program: 'node', args: [cli, 'get', 'vm'] },
      { name: 'kubectl', program: 'kubectl', args: ['get', 'vm'] },
      bare,
    ],
    rounds,
    env,
  );
  const reached = medianOf(times, 'virtctl') <= medianOf(times, 'kubectl') * 1.6;
  const what = `get vm (${machines} machines) ${how}`;
  return { what, unit: 'ms', values: columns(times), goal: '≤ 1.6 × kubectl', reached };
}

function medianOf(times: ReadonlyMap<string, ProcessTimes>, name: string): number {
  return times.get(name)?.median ?? NaN;
}

/** Median and least of each contender. */
function columns(times: ReadonlyMap<string, ProcessTimes>): Record<string, number> {
  return Object.fromEntries(
    [...times].flatMap(([name, { median, least }]) => [
      [name, median],
      [`${name}, least`, least],
    ]),
  );
}

/** The kubeconfig as for a server on another machine. */
function withoutSocket(kubeconfig: string): string {
  return JSON.stringify(JSON.parse(kubeconfig), (key, value: unknown) => (key === 'extensions' ? undefined : value));
}

async function createMachines(kubeconfig: string): Promise<void> {
  const client = new KubeClient(await selectConnection({ kubeconfig, env: {}, home: '/', cwd: '/' }));
  const { kind, plural, namespaced } = virtualMachineKind;
  const vms = client.resource({ group, version: apiVersion, kind, plural, namespaced });
  for (let index = 0; index < machines; index += 1) {
    const name = `machine-${String(index).padStart(2, '0')}`;
    const spec = { runStrategy: 'Halted', domain: { memory: { unit: 'MiB', value: 512 }, vcpu: { value: 1 } } };
    const object = { apiVersion: `${group}/${apiVersion}`, kind, metadata: { name, namespace: 'default' }, spec };
    await vms.create(object);
  }
  client.close();
}
