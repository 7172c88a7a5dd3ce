import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { create } from 'xmlbuilder2';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AdoptingHost, type Standing } from '../support/adopting-host.ts';
import { commandLine } from '../support/command-line.ts';
import { resourceOf, startExecutorNode, type ExecutorNode } from '../support/executor-node.ts';
import { runProgram } from '../support/run-program.ts';
import { maxNameLength, oddNames } from '../support/odd-names.ts';
import type { KubeObject } from '../../src/kube/object.ts';

const luks = '4f22f224-7591-4837-aa78-792a5e61eb4d';
const ceph = '3f22f224-7591-4837-aa78-792a5e61eb4d';
const kinds = ['VirtualPool', 'VirtualDisk', 'VirtualNetwork', 'VirtualMachine'];

type Devices = Readonly<Record<string, unknown>>;

describe('virtctl adopt of domains with a history', () => {
  let node: ExecutorNode;
  let host: AdoptingHost;
  let before: Record<string, Standing>;

  beforeAll(async () => {
    node = await startExecutorNode();
    host = new AdoptingHost(node);
    await host.furnish();
    await define('with-snapshots', { disk: await disk('with-snapshots') });
    await virsh('snapshot-create-as', 'with-snapshots', 'first');
    await virsh('start', 'with-snapshots');
    await virsh('snapshot-create-as', 'with-snapshots', 'second');
    await define('on-an-overlay', { disk: await disk('on-an-overlay') });
    await virsh('start', 'on-an-overlay');
    await virsh('snapshot-create-as', 'on-an-overlay', 'layer', '--disk-only', '--atomic');
    await virsh('destroy', 'on-an-overlay');
    await define('with-checkpoint', { disk: await disk('with-checkpoint') });
    await virsh('start', 'with-checkpoint');
    await virsh('checkpoint-create-as', 'with-checkpoint', 'since');
    await virsh('destroy', 'with-checkpoint');
    await define('saved', { disk: await disk('saved') });
    await virsh('start', 'saved');
    await virsh('managedsave', 'saved');
    await define('paused', { disk: await disk('paused') });
    await virsh('start', 'paused');
    await virsh('suspend', 'paused');
    await define('autostarted', { disk: await disk('autostarted') });
    await virsh('autostart', 'autostarted');
    await define('with-media', { disk: await media() });
    await define('with-host-devices', { hostdev: hostDevices });
    await define('elsewhere', { disk: [await fileElsewhere(), block] });
    await secrets();
    await define('remote', { disk: [rbd, nbd] });
    await define('encrypted', { disk: await encrypted() });
    await define('two-screens', { graphics: screens });
    await define('sharing-1', { disk: await disk('shared') });
    await define('sharing-2', { disk: await disk('shared') });
    for (const name of oddNames) await define(name, {});
    await changedSinceStart();
    await virsh('pool-refresh', 'vms');
    before = await host.standings();
  });
  afterAll(async () => {
    await node.close();
  });

  function virsh(...words: string[]): Promise<string> {
    return node.libvirtd.virsh(...words);
  }

  function define(name: string, devices: Devices): Promise<void> {
    const os = { type: { '@arch': 'x86_64', '@machine': 'q35', '#': 'hvm' } };
    const memory = { '@unit': 'MiB', '#': 32 };
    const vcpu = { '@current': 1, '#': 2 };
    return host.define(
      create({ domain: { '@type': 'qemu', name, memory, vcpu, os, features: { acpi: {} }, devices } }).end({
        headless: true,
      }),
    );
  }

  const file = (path: string, target = 'vda'): Devices => ({
    '@type': 'file',
    driver: { '@name': 'qemu', '@type': 'qcow2' },
    source: { '@file': path },
    target: { '@dev': target, '@bus': 'virtio' },
  });

  async function disk(name: string): Promise<Devices> {
    return file(await host.image(`${name}.qcow2`));
  }

  async function media(): Promise<Devices> {
    await writeFile(join(host.images, 'disc.iso'), Buffer.alloc(64 * 1024));
    return {
      ...{ '@type': 'file', '@device': 'cdrom', driver: { '@name': 'qemu', '@type': 'raw' } },
      source: { '@file': join(host.images, 'disc.iso') },
      target: { '@dev': 'sda', '@bus': 'sata' },
      readonly: {},
    };
  }

  const hostDevices = [
    {
      ...{ '@mode': 'subsystem', '@type': 'pci', '@managed': 'yes' },
      source: { address: { '@domain': '0x0000', '@bus': '0x06', '@slot': '0x12', '@function': '0x5' } },
    },
    {
      ...{ '@mode': 'subsystem', '@type': 'usb' },
      source: { vendor: { '@id': '0x1234' }, product: { '@id': '0xbeef' } },
    },
  ];

  async function fileElsewhere(): Promise<Devices> {
    const path = join(node.libvirtd.dir, 'in-no-pool.qcow2');
    await runProgram('qemu-img', ['create', '-q', '-f', 'qcow2', path, '8M']);
    return file(path);
  }

  const block = {
    ...{ '@type': 'block', '@device': 'disk', driver: { '@name': 'qemu', '@type': 'raw', '@cache': 'none' } },
    source: { '@dev': '/dev/mapper/vg-root' },
    target: { '@dev': 'vdb', '@bus': 'virtio' },
  };

  const rbd = {
    ...{ '@type': 'network', '@device': 'disk', driver: { '@name': 'qemu', '@type': 'raw', '@discard': 'unmap' } },
    auth: { '@username': 'cinder', secret: { '@type': 'ceph', '@uuid': ceph } },
    source: { '@protocol': 'rbd', '@name': 'volumes/b0db', host: { '@name': '192.0.2.1', '@port': '6789' } },
    target: { '@dev': 'vda', '@bus': 'virtio' },
  };

  const nbd = {
    '@type': 'network',
    source: { '@protocol': 'nbd', '@name': 'x', host: { '@name': '127.0.0.1', '@port': '10809' } },
    target: { '@dev': 'vdb', '@bus': 'virtio' },
  };

  const screens = [
    { '@type': 'vnc', '@passwd': 'secret' },
    { '@type': 'spice', '@autoport': 'yes' },
    { '@type': 'vnc', '@socket': join('/run/libvirt', 'screen.sock') },
  ];

  async function secrets(): Promise<void> {
    for (const [uuid, usage] of [
      [ceph, { '@type': 'ceph', name: 'client.cinder' }],
      [luks, { '@type': 'volume', volume: '/encrypted' }],
    ] as const) {
      const path = join(node.libvirtd.dir, 'secret.xml');
      await writeFile(path, create({ secret: { uuid, usage } }).end({ headless: true }));
      await node.libvirtd.virsh('secret-define', path);
    }
  }

  async function encrypted(): Promise<Devices> {
    const path = await host.image('encrypted.qcow2');
    const encryption = { '@format': 'luks', secret: { '@type': 'passphrase', '@uuid': luks } };
    return { ...file(path), source: { '@file': path, encryption } };
  }

  /** One that runs otherwise than it is defined: disks and cards that came later, and other amounts. */
  async function changedSinceStart(): Promise<void> {
    const root = { '@type': 'pci', '@index': 0, '@model': 'pcie-root' };
    const ports = Array.from({ length: 6 }, () => ({ '@type': 'pci', '@model': 'pcie-root-port' }));
    await define('changed', {
      controller: [root, ...ports],
      disk: await disk('changed'),
      graphics: { '@type': 'vnc', '@passwd': 'secret' },
    });
    await virsh('start', 'changed');
    const later = await host.image('later.qcow2');
    await virsh('attach-disk', 'changed', later, 'vdb', '--subdriver', 'qcow2', '--live');
    await virsh('attach-interface', 'changed', 'network', 'default', '--model', 'virtio', '--live');
    await virsh('setvcpus', 'changed', '2', '--live');
    await virsh('blkdeviotune', 'changed', 'vda', '--read-iops-sec', '100', '--live');
    await virsh('desc', 'changed', '--title', 'since start', '--live');
  }

  /** Every object of ours, with its version. */
  async function objects(): Promise<string[]> {
    const lists = kinds.map(async (kind) => (await node.client.resource<KubeObject>(resourceOf(kind)).listAll()).items);
    return (await Promise.all(lists))
      .flat()
      .map(({ kind, metadata }) => `${kind} ${metadata.name ?? ''} ${metadata.resourceVersion ?? ''}`)
      .sort();
  }

  it.each(['--dry-run', '--dry-run=server'])('touches nothing with %s', async (flag) => {
    const had = await objects();
    const { exitCode, stdout } = await host.virtctl('adopt', 'node-1', '--all', flag);
    expect(exitCode).toBe(0);
    expect(stdout.split('\n').filter((line) => line.startsWith('virtualmachine.'))).toHaveLength(
      Object.keys(before).length,
    );
    expect(await objects()).toEqual(had);
    expect(await host.standings()).toEqual(before);
  });

  it('refuses a namespace that is not there before it makes anything', async () => {
    const had = await objects();
    expect(await host.virtctl('adopt', 'node-1', '--all', '-n', 'nowhere')).toMatchObject({
      exitCode: 3,
      stdout: '',
      stderr: expect.stringContaining('there is no namespace "nowhere"') as string,
    });
    expect(await objects()).toEqual(had);
  });

  it('refuses two cards with one MAC address by name, before it makes anything', async () => {
    const mac = { '@address': '52:54:00:00:00:01' };
    const card = { '@type': 'network', mac, source: { '@network': 'default' }, model: { '@type': 'virtio' } };
    await define('twins', { disk: await disk('twins'), interface: [card, card] });
    const had = await objects();
    expect(await host.virtctl('adopt', 'node-1', 'twins')).toMatchObject({
      exitCode: 8,
      stdout: '',
      stderr: expect.stringMatching(/^error: domain twins: .*the MAC address 52:54:00:00:00:01 /) as string,
    });
    expect(await objects()).toEqual(had);
    await node.libvirtd.virsh('undefine', 'twins');
  });

  it('goes on where it was interrupted, at every step, and then has nothing more to do', async () => {
    let made = 0;
    let said = '';
    for (let run = 0; ; run += 1) {
      expect(run).toBeLessThan(100);
      const stop = new AbortController();
      const words = ['adopt', 'node-1', '--all', '--no-wait', '--kubeconfig', node.kubeconfig];
      const result = await commandLine([...words, '--connect', node.libvirtd.uri], {
        signal: stop.signal,
        onOutput: () => stop.abort(new Error('interrupted')),
      });
      made += result.stdout.split('\n').filter((line) => /(created|adopted)$/.test(line)).length;
      said += result.stderr;
      if (result.stdout === '') break;
    }
    const counts = await Promise.all(
      kinds.map(async (kind) => (await node.client.resource<KubeObject>(resourceOf(kind)).listAll()).items.length),
    );
    // The executor made the pool "default".
    expect(counts.reduce((sum, count) => sum + count)).toBe(made + 1);
    const { items } = await node.machines.listAll();
    expect(items).toHaveLength(Object.keys(before).length);
    const named = items.flatMap(({ spec }) => (spec.volumes ?? []).map(({ virtualDisk }) => virtualDisk));
    expect(new Set(named).size).toBe(named.length);
    expect(counts[1]).toBe(named.length);
    expect(said).toContain("domain with-snapshots: its snapshots stay virsh's alone: first, second\n");
    expect(said).toContain("domain with-checkpoint: its checkpoints stay virsh's alone: since\n");

    const had = (await objects()).length;
    expect(await host.virtctl('adopt', 'node-1', '--all')).toMatchObject({ exitCode: 0, stdout: '' });
    expect(await objects()).toHaveLength(had);
  });

  it('changes none of them, and wakes, stops and starts none', async () => {
    for (const { metadata } of (await node.machines.listAll()).items) await node.untilObserved(metadata.name ?? '');
    expect(await host.standings()).toEqual(before);
    await host.expectNothingPlanned();
    await host.expectNothingPending();
    const words = async (name: string): Promise<unknown> => {
      const { spec, status } = await node.get(name);
      return [spec.runStrategy, status?.printableStatus];
    };
    expect(await words('paused')).toEqual(['RerunOnFailure', 'Paused']);
    expect(await words('saved')).toEqual(['Halted', 'Saved']);
    expect(await words('autostarted')).toEqual(['Manual', 'Stopped']);
    const sharing = await Promise.all(['sharing-1', 'sharing-2'].map((name) => node.get(name)));
    // Two that may write to one volume, which nobody has allowed: only one of them gets it by its object.
    expect(sharing.filter(({ spec }) => spec.volumes !== undefined)).toHaveLength(1);
    const names = (await node.machines.listAll()).items.map(({ metadata }) => metadata.name ?? '');
    expect(new Set(names).size).toBe(names.length);
    expect(names.every((name) => name.length <= maxNameLength)).toBe(true);
    expect(await node.libvirtd.virsh('snapshot-list', '--name', 'with-snapshots')).toBe('first\nsecond');
  });

  it('has them in hand afterwards', async () => {
    const { items } = await node.machines.listAll();
    await Promise.all(
      items.map(async ({ metadata: { name = '' } }) => {
        await node.patch(name, { terminationGracePeriodSeconds: 0, domain: { description: 'in hand' } });
        const { status } = await node.untilObserved(name);
        const uuid = status?.domain?.uuid ?? '';
        expect(await node.libvirtd.virsh('dumpxml', '--inactive', uuid)).toContain(
          '<description>in hand</description>',
        );
      }),
    );
    await node.patch('saved', { runStrategy: 'Always' });
    await node.untilStatus('saved', 'Running');
    expect(await node.libvirtd.virsh('dominfo', 'saved')).toMatch(/Managed save: +no/);
    await node.patch('changed', { runStrategy: 'Halted' });
    await node.untilStatus('changed', 'Stopped');
    // The password is not in spec, and is not forgotten.
    expect(await node.libvirtd.virsh('dumpxml', '--inactive', '--security-info', 'two-screens')).toContain(
      "passwd='secret'",
    );
    await Promise.all(items.map(({ metadata }) => node.delete(metadata.name ?? '')));
    expect(await host.domains()).toEqual(new Map());
  });
});
