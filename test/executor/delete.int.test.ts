import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startExecutorNode, type ExecutorNode } from '../support/executor-node.ts';
import { guestMachine, untilBoots, type GuestMachineOptions } from '../support/guest-machine.ts';
import { testGuest, type Guest } from '../support/guest.ts';
import { runProgram } from '../support/run-program.ts';
import type { Disk, Domain } from '../../src/model/types.gen.ts';

describe('deleting a machine', () => {
  let node: ExecutorNode;
  let guest: Guest;

  beforeAll(async () => {
    guest = await testGuest();
    node = await startExecutorNode();
  });
  afterAll(async () => {
    await node.close();
  });

  /** Every file that libvirt keeps of domains, below its own folder. */
  async function filesOfLibvirt(): Promise<string[]> {
    const folder = join(node.libvirtd.dir, 'var');
    const entries = await readdir(folder, { recursive: true, withFileTypes: true });
    return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  }

  async function create(name: string, options: GuestMachineOptions = {}): Promise<void> {
    const spec = { terminationGracePeriodSeconds: 1, ...options.spec };
    await node.create(name, guestMachine(node, guest, name, { agent: false, ...options, spec }));
  }

  async function qcow2(name: string): Promise<Disk> {
    const file = join(node.libvirtd.dir, `${name}.qcow2`);
    await runProgram('qemu-img', ['create', '-q', '-f', 'qcow2', file, '32M']);
    return {
      type: 'file',
      device: 'disk',
      driver: { name: 'qemu', type: 'qcow2' },
      source: { file },
      target: { dev: 'vda', bus: 'virtio' },
    };
  }

  it('takes the variables of its firmware and the state of its TPM with it', async () => {
    const domain: Partial<Domain> = {
      os: {
        type: { arch: 'x86_64', machine: 'q35', value: 'hvm' },
        kernel: guest.kernel,
        initrd: guest.initrd,
        cmdline: guest.cmdline,
        loader: { readonly: true, type: 'pflash', value: '/usr/share/OVMF/OVMF_CODE_4M.fd' },
        nvram: { template: '/usr/share/OVMF/OVMF_VARS_4M.fd' },
      },
      devices: { tpm: [{ model: 'tpm-crb', backend: { type: 'emulator', version: '2.0' } }] },
    };
    await create('uefi', { domain });
    await node.untilStatus('uefi', 'Running');
    const before = (await filesOfLibvirt()).join('\n');
    expect(before).toMatch(/nvram\/default\.uefi_VARS\.fd/);
    expect(before).toMatch(/swtpm\/.*tpm2-00\.permall/);
    await node.delete('uefi');
    expect(await filesOfLibvirt()).toEqual([]);
  });

  it('takes its saved memory and what libvirt knows of its snapshots with it', async () => {
    await create('kept', { domain: { devices: { disk: [await qcow2('kept')] } } });
    await untilBoots(node, 'kept', 1);
    for (const name of ['first', 'second']) await node.libvirtd.virsh('snapshot-create-as', 'default.kept', name);
    expect((await node.operate('kept', 'Save')).status).toMatchObject({ phase: 'Succeeded' });
    const before = (await filesOfLibvirt()).join('\n');
    for (const file of ['default.kept.save', 'default.kept/first.xml', 'default.kept/second.xml'])
      expect(before).toContain(file);
    await node.delete('kept');
    expect(await filesOfLibvirt()).toEqual([]);
  });

  it('takes what libvirt knows of its checkpoints with it', async () => {
    await create('marked', { domain: { devices: { disk: [await qcow2('marked')] } } });
    await node.untilStatus('marked', 'Running');
    await node.libvirtd.virsh('checkpoint-create-as', 'default.marked', 'point');
    expect((await filesOfLibvirt()).join('\n')).toContain('default.marked/point.xml');
    await node.delete('marked');
    expect(await filesOfLibvirt()).toEqual([]);
  });

  it('works while it ignores its shutdown, while it waits for its next start, and when libvirt refuses it', async () => {
    await create('deaf', { acpi: false });
    await create('loop');
    const emulator = '/does/not/exist';
    await create('refused', { domain: { devices: { emulator } } });
    await node.untilStatus('deaf', 'Running');
    await node.patch('deaf', { runStrategy: 'Halted', terminationGracePeriodSeconds: 600 });
    await node.untilStatus('deaf', 'Stopping');
    // A grace period that is made shorter holds for the shutdown that goes on.
    await node.patch('deaf', { terminationGracePeriodSeconds: 1 });
    for (let end = 1; end <= 2; end += 1) {
      await node.until('loop', (vm) => vm.status?.domain?.boots === end && vm.status.printableStatus === 'Running');
      const pid = await node.libvirtd.exec('cat', '/run/libvirt/qemu/default.loop.pid');
      await node.libvirtd.exec('kill', '-9', pid.trim());
      await node.until('loop', (vm) => vm.status?.failures?.count === end, `end ${end}`);
    }
    await node.untilStatus('loop', 'CrashLoopBackOff');
    await node.untilStatus('refused', 'Error');
    await Promise.all(['deaf', 'loop', 'refused'].map((name) => node.delete(name)));
    expect(await node.libvirtd.virsh('list', '--all', '--name')).toBe('');
    expect(await filesOfLibvirt()).toEqual([]);
  });
});
