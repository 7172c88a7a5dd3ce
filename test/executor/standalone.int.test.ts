import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resourceOf } from '../support/executor-node.ts';
import { startLibvirtd, type LibvirtdNode } from '../support/libvirtd.ts';
import type { VirtualMachine } from '../../src/api/virtual-machine.ts';
import { selectConnection } from '../../src/kube/connection.ts';
import { KubeClient } from '../../src/kube/kube-client.ts';

const root = join(import.meta.dirname, '../..');

describe('virtctl standalone', () => {
  let libvirtd: LibvirtdNode;
  beforeAll(async () => {
    libvirtd = await startLibvirtd();
  });
  afterAll(async () => {
    await libvirtd.close();
  });

  it('runs a machine that names no node, and leaves it running when it ends', async () => {
    const folder = join(libvirtd.dir, 'standalone');
    const child = spawn(
      process.execPath,
      [
        ...['--import', 'tsx', join(root, 'bin/virtctl.ts'), 'standalone', '--data-dir', folder, '--port', '0'],
        ...['--connect', libvirtd.uri, '--node-name', 'here', '--metrics-address', ''],
      ],
      { cwd: root, stdio: ['ignore', 'pipe', 'ignore'] },
    );
    try {
      const [line] = (await once(child.stdout, 'data')) as [Buffer];
      const kubeconfig = line.toString().trim();
      const client = new KubeClient(await selectConnection({ kubeconfig, env: {}, home: folder, cwd: folder }));
      const machines = client.resource<VirtualMachine>(resourceOf('VirtualMachine'));
      await machines.create({
        apiVersion: 'virtctl.dev/v1alpha1',
        kind: 'VirtualMachine',
        metadata: { name: 'web', namespace: 'default' },
        spec: { domain: { type: 'qemu', memory: { unit: 'MiB', value: 64 } } },
      });
      const ref = { namespace: 'default', name: 'web' };
      let machine = await machines.get(ref);
      for (const end = Date.now() + 120_000; machine.status?.printableStatus !== 'Running' && Date.now() < end;) {
        await delay(100);
        machine = await machines.get(ref);
      }
      expect(machine.status?.printableStatus).toBe('Running');
      expect(machine.spec.nodeName).toBe('here');
      client.close();
    } finally {
      child.kill('SIGTERM');
      if (child.exitCode === null) await once(child, 'exit');
    }
    expect(await libvirtd.virsh('domstate', 'default.web')).toBe('running');
  });
});
