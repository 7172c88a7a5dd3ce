/**
 * From nothing to a running guest and away again: `virtctl create -f … --wait` beside `virsh define && virsh start`, the
 * same domain under the same libvirtd in one run. The CPUs run when each of them ends; the guest's own boot counts for
 * neither. What follows (stop by force, delete) is measured as well, beside `virsh destroy && virsh undefine`.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { text } from 'node:stream/consumers';
import { startExecutorNode, type ExecutorNode } from '../test/support/executor-node.ts';
import { guestMachine } from '../test/support/guest-machine.ts';
import { testGuest } from '../test/support/guest.ts';
import { median, type BenchReport } from './bench-report.ts';

const rounds = 11;
const cli = join(import.meta.dirname, '../dist/virtctl.js');

/** See the head of this file. */
export async function run(): Promise<BenchReport> {
  if (!existsSync(cli)) throw new Error('build first: npm run build');
  const guest = await testGuest();
  const node = await startExecutorNode();
  try {
    const times = { create: [] as number[], define: [] as number[], remove: [] as number[], undefine: [] as number[] };
    const spec = { nodeName: node.name, ...guestMachine(node, guest, 'bench') };
    const machine = { apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualMachine', metadata: { name: 'bench' }, spec };
    const manifest = join(node.libvirtd.dir, 'bench.json');
    await writeFile(manifest, JSON.stringify(machine));
    // The definition that virsh gets is the one that virtctl makes, under its own name.
    await virtctl(node, 'create', '-f', manifest, '--wait');
    const made = await node.libvirtd.virsh('dumpxml', '--inactive', 'default.bench');
    await virtctl(node, 'delete', 'vm', 'bench', '--force');
    const xml = join(node.libvirtd.dir, 'bench.xml');
    const plain = made.replace(/<metadata>[^]*<\/metadata>/, '').replace(/<uuid>[^<]*<\/uuid>/, '');
    await writeFile(xml, plain.replace('<name>default.bench</name>', '<name>plain</name>'));
    for (let round = -1; round < rounds; round += 1) {
      const measured = {
        create: await timed(() => virtctl(node, 'create', '-f', manifest, '--wait')),
        remove: await timed(() => virtctl(node, 'delete', 'vm', 'bench', '--force')),
        define: await timed(async () => {
          await virsh(node, 'define', xml);
          await virsh(node, 'start', 'plain');
        }),
        undefine: await timed(async () => {
          await virsh(node, 'destroy', 'plain');
          await virsh(node, 'undefine', 'plain');
        }),
      };
      if (round < 0) continue;
      for (const [name, ms] of Object.entries(measured)) times[name as keyof typeof times].push(ms);
    }
    const [create, define] = [median(times.create), median(times.define)];
    return {
      title: `From nothing to running and away again, median of ${rounds}`,
      rows: [
        {
          what: 'until running',
          unit: 'ms',
          values: { 'virtctl create --wait': create, 'virsh define && start': define },
          goal: '≤ 1.3 × + 200 ms',
          reached: create <= define * 1.3 + 200,
        },
        {
          what: 'until gone',
          unit: 'ms',
          values: {
            'virtctl delete --force': median(times.remove),
            'virsh destroy && undefine': median(times.undefine),
          },
        },
      ],
      notes: ['API server and executor run beside it, as processes of their own or in this one'],
    };
  } finally {
    await node.close();
  }
}

async function timed(work: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

function virtctl(node: ExecutorNode, ...words: string[]): Promise<void> {
  return call(process.execPath, [cli, ...words], { KUBECONFIG: node.kubeconfig, HOME: node.libvirtd.dir });
}

function virsh(node: ExecutorNode, ...words: string[]): Promise<void> {
  return call('virsh', ['-q', '-c', node.libvirtd.uri, ...words], {});
}

async function call(program: string, args: readonly string[], env: Readonly<Record<string, string>>): Promise<void> {
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, ...env } });
  const ended = new Promise<number | null>((done, fail) => {
    child.once('error', fail);
    child.once('close', (status) => done(status));
  });
  const [complaint, status] = await Promise.all([text(child.stderr), ended]);
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${String(status)}: ${complaint}`);
}
