import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { create } from 'xmlbuilder2';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commandLine, type CommandResult } from '../support/command-line.ts';
import { resourceOf, startExecutorNode, type ExecutorNode } from '../support/executor-node.ts';
import { guestXml, testGuest, type Guest } from '../support/guest.ts';
import { runProgram } from '../support/run-program.ts';
import type { VirtualMachine } from '../../src/api/virtual-machine.ts';
import type { KubeObject } from '../../src/kube/object.ts';
import { parseAllDocuments } from 'yaml';

const fixtures = join(import.meta.dirname, '../fixtures/libvirt');

describe('virtctl adopt on real libvirt', () => {
  let node: ExecutorNode;
  let guest: Guest;
  let images: string;

  beforeAll(async () => {
    guest = await testGuest();
    node = await startExecutorNode();
    images = join(node.libvirtd.dir, 'images');
    await mkdir(images, { recursive: true });
    await node.libvirtd.virsh('pool-create-as', 'scratch', 'dir', '--target', images);
    await node.libvirtd.virsh('pool-destroy', 'scratch');
    await node.libvirtd.virsh('pool-define-as', 'vms', 'dir', '--target', images);
    await node.libvirtd.virsh('pool-start', 'vms');
    const lan = join(node.libvirtd.dir, 'lan.xml');
    await writeFile(
      lan,
      `<network><name>lan</name><forward mode='nat'/><bridge name='virbr9'/><ip address='192.168.199.1' netmask='255.255.255.0'><dhcp><range start='192.168.199.10' end='192.168.199.99'/></dhcp></ip></network>`,
    );
    await node.libvirtd.virsh('net-define', lan);
    await node.libvirtd.virsh('net-start', 'lan');
  });
  afterAll(async () => {
    await node.close();
  });

  /** Defines a domain from XML; what libvirt has of it then. */
  async function define(name: string, xml: string): Promise<string> {
    const file = join(node.libvirtd.dir, `${name}.xml`);
    await writeFile(file, xml);
    await node.libvirtd.virsh('define', file);
    return node.libvirtd.virsh('dumpxml', '--inactive', name);
  }

  async function image(name: string): Promise<string> {
    const path = join(images, name);
    await runProgram('qemu-img', ['create', '-q', '-f', 'qcow2', path, '32M']);
    await node.libvirtd.virsh('pool-refresh', 'vms');
    return path;
  }

  const virtctl = (...words: readonly string[]): Promise<CommandResult> =>
    commandLine([
      ...words,
      '--kubeconfig',
      node.kubeconfig,
      ...(words[0] === 'get' ? [] : ['--connect', node.libvirtd.uri]),
    ]);

  /** Without our marks, which are all that may be new. */
  const withoutMarks = (xml: string): string =>
    xml
      .replaceAll(/\s*<(\w+:)?(machine|boot) xmlns[^>]*virtctl\.dev[^>]*>[^<]*<\/(\w+:)?(machine|boot)>/g, '')
      .replaceAll(/\s*<metadata>\s*<\/metadata>/g, '')
      .replaceAll(/\s*<metadata\/>/g, '');

  async function untilTaken(name: string): Promise<VirtualMachine> {
    return node.until(name, (vm) => node.condition(vm, 'Synchronized').status === 'True', `${name} to be in sync`);
  }

  async function planOf(name: string): Promise<string> {
    const machine = await node.get(name);
    const file = join(node.libvirtd.dir, `plan-${name}.json`);
    const { apiVersion, kind, spec, metadata } = machine;
    const { labels, annotations } = metadata;
    await writeFile(file, JSON.stringify({ apiVersion, kind, metadata: { name, labels, annotations }, spec }));
    const { stdout, stderr, exitCode } = await virtctl('plan', '-f', file);
    expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
    return stdout;
  }

  it('takes a running domain over with its disk, pool and network, and changes and restarts nothing', async () => {
    const disk = await image('Web_1.qcow2');
    await define('Web_1', guestXml(guest, { name: 'Web_1', disks: [disk], network: 'lan' }));
    await node.libvirtd.virsh('start', 'Web_1');
    const before = {
      id: await node.libvirtd.virsh('domid', 'Web_1'),
      live: await node.libvirtd.virsh('dumpxml', 'Web_1'),
      inactive: await node.libvirtd.virsh('dumpxml', '--inactive', 'Web_1'),
      pool: await poolXml('vms'),
      pid: await qemuOf('Web_1'),
    };
    const dry = await virtctl('adopt', 'node-1', 'Web_1', '--dry-run', '-o', 'yaml');
    expect(dry).toMatchObject({ exitCode: 0, stderr: '' });
    const kinds = parseAllDocuments(dry.stdout).map((one) => (one.toJS() as KubeObject).kind);
    expect(kinds).toEqual(['VirtualPool', 'VirtualDisk', 'VirtualNetwork', 'VirtualMachine']);
    expect((await node.machines.listAll()).items).toEqual([]);

    expect(await virtctl('adopt', 'node-1', 'Web_1')).toMatchObject({
      exitCode: 0,
      stderr: '',
      stdout: [
        'virtualpool.virtctl.dev/vms created',
        'virtualdisk.virtctl.dev/web-1 created',
        'virtualnetwork.virtctl.dev/lan created',
        'virtualmachine.virtctl.dev/web-1 adopted',
        '',
      ].join('\n'),
    });
    const adopted = await node.untilStatus('web-1', 'Running');
    expect(adopted.spec).toMatchObject({
      runStrategy: 'RerunOnFailure',
      nodeName: 'node-1',
      volumes: [{ name: 'vda', virtualDisk: 'web-1', target: { dev: 'vda', bus: 'virtio' } }],
      interfaces: [{ name: 'net0', virtualNetwork: 'lan', model: 'virtio' }],
    });
    expect(adopted.spec.domain?.devices?.disk).toBeUndefined();
    expect(node.condition(adopted, 'RestartRequired')).toMatchObject({ status: 'False' });
    expect(adopted.status?.domain?.boots).toBeUndefined();
    expect(String(adopted.status?.domain?.id)).toBe(before.id);
    expect(await qemuOf('Web_1')).toBe(before.pid);
    expect(withoutMarks(await node.libvirtd.virsh('dumpxml', 'Web_1'))).toBe(withoutMarks(before.live));
    expect(withoutMarks(await node.libvirtd.virsh('dumpxml', '--inactive', 'Web_1'))).toBe(
      withoutMarks(before.inactive),
    );
    expect(await poolXml('vms')).toBe(before.pool);
    expect(await planOf('web-1')).toBe('virtualmachine.virtctl.dev/web-1 unchanged\n');
    expect(await virtctl('adopt', 'node-1', '--all')).toMatchObject({ exitCode: 0, stdout: '' });
  });

  it('has full control afterwards: sets, stops, starts and deletes it', async () => {
    await node.patch('web-1', { domain: { description: 'adopted' } });
    await node.untilObserved('web-1');
    await untilTaken('web-1');
    expect(await node.libvirtd.virsh('desc', 'Web_1')).toBe('adopted');
    await node.patch('web-1', { runStrategy: 'Halted' });
    await node.untilStatus('web-1', 'Stopped');
    await node.patch('web-1', { runStrategy: 'Always', domain: { memory: { unit: 'MiB', value: 300 } } });
    const running = await node.untilStatus('web-1', 'Running');
    expect(running.status?.domain?.boots).toBe(1);
    expect(await node.libvirtd.virsh('dumpxml', 'Web_1')).toContain("<memory unit='KiB'>307200</memory>");
    await node.patch('web-1', { terminationGracePeriodSeconds: 0 });
    await node.delete('web-1');
    expect(await node.libvirtd.virsh('list', '--all', '--name')).toBe('');
    // What it had stays.
    const disks = await node.client.resource(resourceOf('VirtualDisk')).listAll();
    expect(disks.items.map(({ metadata }) => metadata.name)).toEqual(['web-1']);
    expect(existsSync(join(images, 'Web_1.qcow2'))).toBe(true);
  });

  it('gives a domain without console and features none, and leaves it off', async () => {
    const bare = create({
      domain: { '@type': 'qemu', name: 'bare', memory: { '@unit': 'MiB', '#': 64 }, vcpu: 1, os: { type: 'hvm' } },
    }).end({ headless: true });
    const before = await define('bare', bare);
    expect(await virtctl('adopt', 'node-1', 'bare')).toMatchObject({ exitCode: 0, stderr: '' });
    const vm = await node.untilStatus('bare', 'Stopped');
    expect(vm.spec.runStrategy).toBe('Halted');
    const after = await node.libvirtd.virsh('dumpxml', '--inactive', 'bare');
    expect(after).toContain('virtctl.dev/domain/1');
    expect(withoutMarks(after)).toBe(withoutMarks(before));
    expect(await planOf('bare')).toBe('virtualmachine.virtctl.dev/bare unchanged\n');
    await node.patch('bare', { runStrategy: 'Always' });
    await node.untilStatus('bare', 'Running');
    expect(withoutMarks(await node.libvirtd.virsh('dumpxml', '--inactive', 'bare'))).toBe(withoutMarks(before));
    await node.patch('bare', { terminationGracePeriodSeconds: 0 });
    await node.delete('bare');
  });

  it('takes over what virt-install makes while it runs, with a volume of a pool and an empty drive', async () => {
    await image('debian12.qcow2');
    await define('debian12', await readFile(join(fixtures, 'domain-virt-install.xml'), 'utf8'));
    await node.libvirtd.virsh('start', 'debian12');
    const before = {
      id: await node.libvirtd.virsh('domid', 'debian12'),
      live: await node.libvirtd.virsh('dumpxml', 'debian12'),
      inactive: await node.libvirtd.virsh('dumpxml', '--inactive', 'debian12'),
      pid: await qemuOf('debian12'),
    };
    expect(await virtctl('adopt', 'node-1', 'debian12')).toMatchObject({ exitCode: 0, stderr: '' });
    const vm = await node.untilStatus('debian12', 'Running');
    expect(vm.spec.volumes).toMatchObject([{ virtualDisk: 'debian12', device: { type: 'volume' } }]);
    expect(vm.spec.domain?.devices?.disk).toMatchObject([{ device: 'cdrom', target: { dev: 'sda' } }]);
    expect(await planOf('debian12')).toBe('virtualmachine.virtctl.dev/debian12 unchanged\n');
    expect(await node.libvirtd.virsh('domid', 'debian12')).toBe(before.id);
    expect(await qemuOf('debian12')).toBe(before.pid);
    expect(withoutMarks(await node.libvirtd.virsh('dumpxml', 'debian12'))).toBe(withoutMarks(before.live));
    const inactive = await node.libvirtd.virsh('dumpxml', '--inactive', 'debian12');
    expect(withoutMarks(inactive)).toBe(withoutMarks(before.inactive));
    expect(await node.eventsOf('debian12')).not.toContain('LiveChanged');
    await node.patch('debian12', { terminationGracePeriodSeconds: 0 });
    await node.delete('debian12');
  });

  it("keeps nova's labels, its metadata, and a name of its own for each of two domains", async () => {
    const nova = await readFile(join(fixtures, 'domain-nova.xml'), 'utf8');
    await define('instance-0000002a', nova);
    const other = nova.replace('5c9e6f1e', '6c9e6f1e').replace('instance-0000002a', 'INSTANCE-0000002a');
    await define('INSTANCE-0000002a', other);
    expect(await virtctl('adopt', 'node-1', '--all')).toMatchObject({ exitCode: 0, stderr: '' });
    const { items } = await node.machines.listAll();
    expect(items.map(({ metadata }) => metadata.name).sort()).toEqual([
      'instance-0000002a',
      'instance-0000002a-node-1',
    ]);
    for (const { metadata, spec, status } of items) {
      expect(metadata.labels).toMatchObject({ 'openstack.virtctl.dev/flavor': 'm1.small' });
      expect(metadata.annotations).toMatchObject({ 'openstack.virtctl.dev/instance-name': 'front end #1' });
      expect(status?.domain?.uuid).toBe(spec.domain?.uuid);
      const xml = await node.libvirtd.virsh('dumpxml', '--inactive', spec.domain?.uuid ?? '');
      expect(xml).toContain('<nova:package version="25.0.1"/>');
      expect(xml).toContain('virtctl.dev/domain/1');
      expect(await planOf(metadata.name ?? '')).toContain('unchanged');
      await node.delete(metadata.name ?? '');
    }
  });

  it('refuses what is transient, and another node', async () => {
    const file = join(node.libvirtd.dir, 'passing.xml');
    await writeFile(file, guestXml(guest, { name: 'passing' }));
    await node.libvirtd.virsh('create', file);
    expect(await virtctl('adopt', 'node-1', 'passing')).toMatchObject({
      exitCode: 4,
      stderr: expect.stringContaining('transient') as string,
    });
    expect(await virtctl('adopt', 'node-1', '--all')).toMatchObject({
      exitCode: 0,
      stderr: expect.stringContaining('left alone') as string,
    });
    await node.libvirtd.virsh('destroy', 'passing');
    expect(await virtctl('adopt', 'node-2', 'passing')).toMatchObject({
      exitCode: 3,
      stderr: expect.stringContaining('virtctl executor --node-name node-2') as string,
    });
  });

  /** Without what grows by itself. */
  async function poolXml(name: string): Promise<string> {
    const xml = await node.libvirtd.virsh('pool-dumpxml', '--inactive', name);
    return xml.replaceAll(/<(capacity|allocation|available)[^>]*>[^<]*</g, '<$1><');
  }

  async function qemuOf(name: string): Promise<string> {
    return (await readFile(join(node.libvirtd.dir, 'run/qemu', `${name}.pid`), 'utf8')).trim();
  }
});
