import process from 'node:process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { VirtualMachineSpec } from '../../src/api/virtual-machine.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { runController } from '../../src/controller/controller.ts';
import { commandLine } from '../support/command-line.ts';
import { startExecutorNode, type ExecutorNode } from '../support/executor-node.ts';

let node: ExecutorNode;
const stop = new AbortController();
let running: Promise<void> | undefined;

/** A guest that stays in its firmware: nothing is asked of it but to be there. */
const idle: VirtualMachineSpec = {
  runStrategy: 'Always',
  domain: {
    type: 'qemu',
    memory: { unit: 'MiB', value: 32 },
    os: { type: { arch: 'x86_64', machine: 'q35', value: 'hvm' } },
  },
};

const virtctl = async (...args: string[]): Promise<string> => {
  const { exitCode, stdout, stderr } = await commandLine([...args, '--kubeconfig', node.kubeconfig]);
  expect([exitCode, stderr], args.join(' ')).toEqual([0, '']);
  return stdout;
};
const domainId = async (name: string): Promise<string> =>
  (await node.libvirtd.virsh('domid', `default.${name}`)).trim();

beforeAll(async () => {
  node = await startExecutorNode();
  running = runController({ client: node.client, identity: 'test', logger: silentLogger }, stop.signal);
  await node.create('web', idle);
  await node.untilStatus('web', 'Running');
});

afterAll(async () => {
  stop.abort(new Error('the test is over'));
  await running;
  await node.close();
});

describe('a node whose executor hangs', () => {
  it('is Unknown after 40 s with its machines, which run on, and heals when the executor goes on', async () => {
    const before = await domainId('web');
    process.kill(node.pid, 'SIGSTOP');
    const lost = await node.untilStatus('web', 'Unknown', 90_000);
    expect(node.condition(lost, 'Ready')).toMatchObject({ status: 'Unknown', reason: 'NodeLost' });
    const { status } = await node.hypervisors.get({ name: node.name });
    const ready = status?.conditions?.find(({ type }) => type === 'Ready');
    expect(ready).toMatchObject({ status: 'Unknown', reason: 'LeaseExpired' });
    expect(lost.spec).toEqual((await node.get('web')).spec);
    expect(lost.spec.nodeName).toBe(node.name);
    expect(await domainId('web')).toBe(before);
    expect(await virtctl('node', 'list', '--no-headers')).toMatch(/^node-1 +Unknown /);
    process.kill(node.pid, 'SIGCONT');
    const back = await node.untilStatus('web', 'Running');
    expect(node.condition(back, 'Ready')).toMatchObject({ status: 'True', reason: 'Running' });
    await expect.poll(() => virtctl('node', 'list', '--no-headers'), { timeout: 30_000 }).toMatch(/^node-1 +Ready /);
    expect(await domainId('web')).toBe(before);
    await node.untilEvents('web', ['NodeLost']);
  }, 180_000);
});

describe('virtctl node', () => {
  it('lists and describes a node with its machines', async () => {
    const [header = '', row = ''] = (await virtctl('node', 'list', '-o', 'wide')).split('\n');
    expect(header.split(/ +/)).toEqual(
      'NAME STATUS MACHINES CPU MEMORY LIBVIRT AGE QEMU ARCH KVM ADDRESS LEASE'.split(' '),
    );
    expect(row).toMatch(/^node-1 +Ready +1 +1\/\d+ +0\.0Gi\/[\d.]+Gi +\d+\.\d+\.\d+ /);
    expect(await virtctl('node', 'describe', 'hv/node-1')).toMatch(
      /Machines:\n +NAMESPACE +NAME +STATUS\n.*web +Running/,
    );
    const missing = await commandLine(['node', 'describe', 'nowhere', '--kubeconfig', node.kubeconfig]);
    expect([missing.exitCode, missing.stderr]).toEqual([3, expect.stringContaining('"nowhere" not found')]);
  });

  it('cordons and uncordons', async () => {
    expect(await virtctl('node', 'cordon', 'node-1')).toBe('hypervisor.virtctl.dev/node-1 cordoned\n');
    expect(await virtctl('node', 'cordon', 'node-1')).toBe('hypervisor.virtctl.dev/node-1 already cordoned\n');
    expect(await virtctl('node', 'list', '--no-headers')).toMatch(/^node-1 +Ready,Cordoned /);
    expect(await node.libvirtd.virsh('domstate', 'default.web')).toContain('running');
    expect(await virtctl('node', 'uncordon', 'node-1')).toBe('hypervisor.virtctl.dev/node-1 uncordoned\n');
  });

  it('drains a node, and has its machines run again as they did', async () => {
    await node.create('manual', { ...idle, runStrategy: 'Manual' });
    await node.untilStatus('manual', 'Stopped');
    expect(await virtctl('node', 'drain', 'node-1', '--dry-run')).toContain('web in default stopped (dry run)');
    expect(await node.libvirtd.virsh('domstate', 'default.web')).toContain('running');
    const lines = (await virtctl('node', 'drain', 'node-1', '--force')).trimEnd().split('\n');
    expect(lines[0]).toBe('hypervisor.virtctl.dev/node-1 cordoned');
    expect(lines.at(-1)).toBe('hypervisor.virtctl.dev/node-1 drained');
    expect(lines).toContain('virtualmachine.virtctl.dev/web in default stopped');
    expect(await node.libvirtd.virsh('domstate', 'default.web')).toContain('shut off');
    const again = await virtctl('node', 'uncordon', 'node-1', '--start');
    expect(again).toContain('virtualmachine.virtctl.dev/web in default started');
    await node.untilStatus('web', 'Running');
    expect((await node.get('web')).spec.runStrategy).toBe('Always');
    expect((await node.get('manual')).spec.runStrategy).toBe('Manual');
  });
});
