import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { commandLine, type CommandResult } from '../support/command-line.ts';
import { resourceOf, startExecutorNode, type ExecutorNode } from '../support/executor-node.ts';
import { bootsOf, guestMachine, untilBoots } from '../support/guest-machine.ts';
import { testGuest, type Guest } from '../support/guest.ts';
import { loseControlPlane, type NodeAfterLoss } from '../support/lost-control-plane.ts';
import { findCondition } from '../../src/api/meta.ts';
import type { VirtualDisk } from '../../src/api/virtual-disk.ts';
import type { VirtualNetwork } from '../../src/api/virtual-network.ts';
import type { VirtualPool } from '../../src/api/virtual-pool.ts';
import { builtin } from '../../src/kube/resource-type.ts';

describe('virtctl recover after the control plane is lost', () => {
  let before: ExecutorNode;
  let loss: NodeAfterLoss | undefined;
  let guest: Guest;
  /** The same node with a new, empty API server. */
  let after: ExecutorNode;

  beforeAll(async () => {
    guest = await testGuest();
    before = await startExecutorNode();
  });
  afterAll(async () => {
    await loss?.close();
    await before.close();
  });

  const virtctl = (...words: readonly string[]): Promise<CommandResult> =>
    commandLine([...words, '--kubeconfig', after.kubeconfig, '--connect', after.libvirtd.uri]);

  it('brings machines back with disk, network, labels and passwords, and restarts none', async () => {
    const { client: old } = before;
    const pools = old.resource<VirtualPool>(resourceOf('VirtualPool'));
    const disks = old.resource<VirtualDisk>(resourceOf('VirtualDisk'));
    const networks = old.resource<VirtualNetwork>(resourceOf('VirtualNetwork'));
    const apiVersion = 'virtctl.dev/v1alpha1';
    await old.resource(builtin.namespaces).create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } });
    await pools.create({
      apiVersion,
      kind: 'VirtualPool',
      metadata: { name: 'local' },
      spec: { pool: { type: 'dir', target: { path: join(before.libvirtd.dir, 'pool') } } },
    });
    await disks.create({
      apiVersion,
      kind: 'VirtualDisk',
      metadata: { namespace: 'default', name: 'data' },
      spec: { pool: 'local', nodeName: 'node-1', capacity: '32Mi', bindingMode: 'Immediate' },
    });
    await networks.create({
      apiVersion,
      kind: 'VirtualNetwork',
      metadata: { namespace: 'default', name: 'front' },
      spec: { network: { ip: [{ address: '192.168.221.1', netmask: '255.255.255.0' }] } },
    });
    const spec = guestMachine(before, guest, 'web', {
      spec: {
        volumes: [
          { name: 'data', virtualDisk: 'data' },
          { name: 'scratch', emptyDisk: { capacity: '8Mi', pool: 'local' } },
          { name: 'seed', cloudInit: { userData: '#cloud-config\npassword: hunter2\n' } },
        ],
        interfaces: [{ name: 'eth0', virtualNetwork: 'front' }],
      },
      domain: { devices: { graphics: [{ type: 'vnc', port: -1, passwd: 'secret' }] } },
    });
    await before.machines.create({
      apiVersion,
      kind: 'VirtualMachine',
      metadata: { namespace: 'default', name: 'web', labels: { tier: 'front' }, annotations: { owner: 'me' } },
      spec: { nodeName: 'node-1', ...spec },
    });
    await before.create('job', guestMachine(before, guest, 'job', { runStrategy: 'Once' }));
    const web = await before.untilStatus('web', 'Running');
    await untilBoots(before, 'web', 1);
    await before.untilStatus('job', 'Running');
    await untilBoots(before, 'job', 1);
    await before.operate('job', 'Stop');
    await before.untilStatus('job', 'Completed');
    const dump = await before.libvirtd.virsh('dumpxml', '--inactive', '--security-info', 'default.web');

    loss = await loseControlPlane(before);
    after = loss.node;
    expect((await after.machines.listAll()).items).toEqual([]);
    const orphans = await vi.waitFor(
      async () => {
        const node = await after.hypervisors.get({ name: 'node-1' });
        expect(node.status?.domains).toMatchObject({ total: 2, running: 1, orphaned: 2 });
        return node;
      },
      { timeout: 120_000 },
    );
    expect(orphans.status?.orphans).toMatchObject([
      { domain: 'default.job', namespace: 'default', name: 'job', running: false },
      { domain: 'default.web', namespace: 'default', name: 'web', running: true },
    ]);
    expect(findCondition(orphans.status, 'OrphanedDomains')).toMatchObject({ status: 'True', reason: 'OrphansFound' });
    expect(await (await fetch(`${after.metricsUrl}/metrics`)).text()).toContain('virtctl_orphaned_domains 2');
    await vi.waitFor(
      async () => {
        const { items } = await after.events.listAll();
        expect(items.filter(({ reason }) => reason === 'OrphanedDomain')).toHaveLength(2);
      },
      { timeout: 120_000 },
    );
    const described = await commandLine(['node', 'describe', 'node-1', '--kubeconfig', after.kubeconfig]);
    expect(described.stdout).toContain('default.web');
    const doctor = await virtctl('doctor');
    expect(doctor.stdout).toContain('node-1: default.job, default.web');

    const dry = await virtctl('recover', '--dry-run');
    expect(dry.stdout).toContain('virtualmachine.virtctl.dev/web recovered (dry run)\n');
    expect((await after.machines.listAll()).items).toEqual([]);

    const done = await virtctl('recover');
    expect(done).toMatchObject({ exitCode: 0 });
    for (const line of [
      'virtualnetwork.virtctl.dev/front recovered',
      'virtualdisk.virtctl.dev/data recovered',
      'virtualmachine.virtctl.dev/web recovered',
      'virtualmachine.virtctl.dev/job recovered',
    ]) {
      expect(done.stdout.replaceAll(' created', ' recovered')).toContain(line);
    }
    expect(done.stderr).toMatch(/volume seed: what cloud-init was given is only in \/.*\.iso on the node/);
    const again = await after.until(
      'web',
      (vm) => vm.status?.printableStatus === 'Running' && after.condition(vm, 'Synchronized').status === 'True',
      'web to be in sync',
    );
    expect(again.metadata.uid).not.toBe(web.metadata.uid);
    expect(again.metadata).toMatchObject({ labels: { tier: 'front' }, annotations: { owner: 'me' } });
    expect(again.status?.domain).toMatchObject({ uuid: web.metadata.uid, id: web.status?.domain?.id });
    expect(after.condition(again, 'RestartRequired').status).toBe('False');
    expect(again.spec.domain?.devices?.graphics?.[0]?.passwd).toBe('secret');
    expect(definitionOf(await after.libvirtd.virsh('dumpxml', '--inactive', '--security-info', 'default.web'))).toBe(
      definitionOf(dump),
    );
    expect(await bootsOf(after, 'web')).toBe(1);
    await vi.waitFor(
      async () => {
        const { status } = await after.hypervisors.get({ name: 'node-1' });
        expect(findCondition(status, 'OrphanedDomains')?.status).toBe('False');
        expect(status?.orphans).toBeUndefined();
      },
      { timeout: 120_000 },
    );
    const job = await after.until('job', (vm) => vm.status?.printableStatus === 'Completed', 'job to be completed');
    expect(job.spec.runStrategy).toBe('Once');
    expect(await bootsOf(after, 'job')).toBe(1);
    const disk = await after.client
      .resource<VirtualDisk>(resourceOf('VirtualDisk'))
      .get({ namespace: 'default', name: 'data' });
    expect(disk.status).toMatchObject({ phase: 'Ready', volume: 'default.data.qcow2' });
    const scratch = await after.client
      .resource<VirtualDisk>(resourceOf('VirtualDisk'))
      .get({ namespace: 'default', name: 'web-scratch' });
    expect(scratch).toMatchObject({
      metadata: { ownerReferences: [{ kind: 'VirtualMachine', name: 'web', uid: again.metadata.uid }] },
      status: { phase: 'Ready', volume: 'default.web-scratch.qcow2' },
    });
    expect(await virtctl('recover')).toMatchObject({
      exitCode: 0,
      stdout: '',
      stderr: 'Nothing to recover: every marked domain of node node-1 has its machine.\n',
    });
  });

  it('has control of what was recovered', async () => {
    await after.patch('web', { runStrategy: 'Halted', terminationGracePeriodSeconds: 0 });
    await after.untilStatus('web', 'Stopped');
    await after.patch('web', { runStrategy: 'Always' });
    await after.untilStatus('web', 'Running');
    await untilBoots(after, 'web', 2);
    // Undefined behind our back: it comes back, and that is told.
    await after.libvirtd.virsh('undefine', 'default.job');
    await vi.waitFor(async () => expect(await after.eventsOf('job')).toContain('DomainVanished'), { timeout: 120_000 });
    for (const name of ['web', 'job']) await after.delete(name);
    expect(await after.libvirtd.virsh('list', '--all', '--name')).toBe('');
    // The empty disk was the machine's own; the other one is its user's.
    await vi.waitFor(
      async () => {
        const { items } = await after.client.resource<VirtualDisk>(resourceOf('VirtualDisk')).listAll();
        expect(items.map(({ metadata }) => metadata.name)).toEqual(['data']);
      },
      { timeout: 120_000 },
    );
  });

  /** A definition without our mark, in which the uid and the generation are new. */
  function definitionOf(xml: string): string {
    return xml.replace(/<(\w+:)?machine xmlns[^>]*>[^<]*<\/(\w+:)?machine>/, '');
  }
});
