/**
 * The command line as whole processes: `virtctl get vm` beside `kubectl get vm` on the same embedded server with 50
 * machines, over the server's socket, as on one machine, and over TLS, as with any other server; `virtctl --help` beside
 * a bare `node -e 0`.
 */
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import type { BenchReport, BenchRow } from './bench-report.ts';
import { timeProcesses } from './time-processes.ts';
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
    const help = await timeProcesses([{ name: 'virtctl', program: 'node', args: [cli, '--help'] }, bare], rounds);
    return {
      title: `The command line as whole processes, median of ${rounds}`,
      rows: [
        {
          what: 'help',
          unit: 'ms',
          values: help,
          goal: '≤ node -e 0 + 60 ms',
          reached: (help['virtctl'] ?? NaN) <= (help['node -e 0'] ?? NaN) + 60,
        },
        await compareGet('over the socket', folder, server.kubeconfig),
        await compareGet('over TLS', folder, overTls),
      ],
      notes: notes(),
    };
  } finally {
    await server.close();
    await rm(folder, { recursive: true, force: true });
  }
}

async function compareGet(how: string, home: string, kubeconfig: string): Promise<BenchRow> {
  const values = await timeProcesses(
    [
      { name: 'virtctl', program: 'node', args: [cli, 'get', 'vm'] },
      { name: 'kubectl', program: 'kubectl', args: ['get', 'vm'] },
      bare,
    ],
    rounds,
    { KUBECONFIG: kubeconfig, HOME: home },
  );
  return {
    what: `get vm (${machines} machines) ${how}`,
    unit: 'ms',
    values,
    goal: '≤ 1.6 × kubectl',
    reached: (values['virtctl'] ?? NaN) <= (values['kubectl'] ?? NaN) * 1.6,
  };
}

function notes(): string[] {
  const notes = ['kubectl always uses TLS'];
  if (process.env['NODE_EXTRA_CA_CERTS'] !== undefined) {
    notes.push(
      'NODE_EXTRA_CA_CERTS is set: Node.js reads that file and its own authorities whenever it starts, as `node -e 0` ' +
        'shows; without the variable each Node.js process here starts sooner',
    );
  }
  return notes;
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
