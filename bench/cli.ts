/**
 * The command line as whole processes: `virtctl get vm` beside `kubectl get vm` on the same embedded server with 50
 * machines, and `virtctl --help` beside a bare `node -e 0`.
 */
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BenchReport } from './bench-report.ts';
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

/** See the head of this file. */
export async function run(): Promise<BenchReport> {
  if (!existsSync(cli)) throw new Error('build first: npm run build');
  const folder = await mkdtemp(join(tmpdir(), 'virtctl-bench-'));
  const server = await startStandalone({ folder, host: '127.0.0.1', port: 0, logger: silentLogger, version: '0.0.0' });
  try {
    await createMachines(server.kubeconfig);
    const env = { KUBECONFIG: server.kubeconfig, HOME: folder };
    const help = await timeProcesses(
      [
        { name: 'virtctl --help', program: 'node', args: [cli, '--help'] },
        { name: 'node -e 0', program: 'node', args: ['-e', '0'] },
      ],
      rounds,
    );
    const get = await timeProcesses(
      [
        { name: 'virtctl', program: 'node', args: [cli, 'get', 'vm'] },
        { name: 'kubectl', program: 'kubectl', args: ['get', 'vm'] },
      ],
      rounds,
      env,
    );
    return {
      title: `The command line as whole processes, median of ${rounds}`,
      rows: [
        {
          what: 'help',
          unit: 'ms',
          values: help,
          goal: '≤ node -e 0 + 60 ms',
          reached: (help['virtctl --help'] ?? NaN) <= (help['node -e 0'] ?? NaN) + 60,
        },
        {
          what: `get vm (${machines} machines)`,
          unit: 'ms',
          values: get,
          goal: '≤ 1.6 × kubectl',
          reached: (get['virtctl'] ?? NaN) <= (get['kubectl'] ?? NaN) * 1.6,
        },
      ],
    };
  } finally {
    await server.close();
    await rm(folder, { recursive: true, force: true });
  }
}

async function createMachines(kubeconfig: string): Promise<void> {
  const client = new KubeClient(await selectConnection({ kubeconfig, env: {}, home: '/', cwd: '/' }));
  const { kind, plural, namespaced } = virtualMachineKind;
  const vms = client.resource({ group, version: apiVersion, kind, plural, namespaced });
  for (let index = 0; index < machines; index += 1) {
    const name = `machine-${String(index).padStart(2, '0')}`;
    const spec = {
      nodeName: 'bench',
      runStrategy: 'Halted',
      domain: { memory: { unit: 'MiB', value: 512 }, vcpu: { value: 1 } },
    };
    const object = { apiVersion: `${group}/${apiVersion}`, kind, metadata: { name, namespace: 'default' }, spec };
    await vms.create(object);
  }
  client.close();
}
