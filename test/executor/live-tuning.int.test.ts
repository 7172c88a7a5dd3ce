import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startExecutorNode, type ExecutorNode } from '../support/executor-node.ts';
import { bootsOf, guestMachine, untilBoots } from '../support/guest-machine.ts';
import { testGuest } from '../support/guest.ts';
import type { VirtualMachine } from '../../src/api/virtual-machine.ts';

const machine = 'tuned';

describe('tuning a running machine', () => {
  let node: ExecutorNode;

  const dump = (...flags: string[]): Promise<string> => node.libvirtd.virsh('dumpxml', `default.${machine}`, ...flags);
  const restartPaths = (vm: VirtualMachine): string[] => (vm.status?.restartRequired ?? []).map(({ path }) => path);
  /** Changes the domain; then the machine when the executor and the guest are done with it. */
  const change = async (domain: object): Promise<VirtualMachine> => {
    await node.patch(machine, { domain });
    return node.until(
      machine,
      (vm) =>
        vm.status?.observedGeneration === vm.metadata.generation &&
        node.condition(vm, 'Synchronized').reason !== 'LiveChangePending',
      'the change to be made',
    );
  };
  const virtioMem = (mib: number): object => ({
    model: 'virtio-mem',
    target: {
      size: { unit: 'MiB', value: 256 },
      node: 0,
      block: { unit: 'KiB', value: 2048 },
      requested: { unit: 'MiB', value: mib },
    },
  });

  beforeAll(async () => {
    const guest = await testGuest();
    node = await startExecutorNode();
    await node.create(
      machine,
      guestMachine(node, guest, machine, {
        domain: {
          vcpu: { value: 2 },
          iothreads: 1,
          memory: { unit: 'MiB', value: 192 },
          maxMemory: { unit: 'MiB', value: 1024, slots: 4 },
          cpu: { numa: { cell: [{ id: 0, cpus: '0-1', memory: 192, unit: 'MiB' }] } },
          devices: { memory: [virtioMem(0)] as never },
        },
      }),
    );
    await untilBoots(node, machine, 1);
    await node.untilStatus(machine, 'Running');
  });
  afterAll(async () => {
    await node.close();
  });

  it('gives and takes virtio memory', async () => {
    for (const mib of [128, 32]) {
      expect(restartPaths(await change({ devices: { memory: [virtioMem(mib)] } }))).toEqual([]);
      await expect.poll(() => dump(), { timeout: 120_000 }).toContain(`<current unit='KiB'>${mib * 1024}</current>`);
      expect(await dump('--inactive')).toContain(`<requested unit='KiB'>${mib * 1024}</requested>`);
    }
  });

  it('plugs a memory module in and out', async () => {
    const dimm = { model: 'dimm', target: { size: { unit: 'MiB', value: 128 }, node: 0 } };
    expect(restartPaths(await change({ devices: { memory: [virtioMem(32), dimm] } }))).toEqual([]);
    expect(await dump()).toContain("<memory model='dimm'");
    expect(await dump('--inactive')).toContain("<memory model='dimm'");
    await change({ devices: { memory: [virtioMem(32)] } });
    await expect.poll(() => dump(), { timeout: 120_000 }).not.toContain("<memory model='dimm'");
    await node.until(machine, (vm) => restartPaths(vm).length === 0, 'the module to be given back');
  });

  it('pins processors, emulator and I/O threads, and lets them go', async () => {
    const cputune = {
      vcpupin: [
        { vcpu: 0, cpuset: '0' },
        { vcpu: 1, cpuset: '0' },
      ],
      emulatorpin: { cpuset: '0' },
      iothreadpin: [{ iothread: 1, cpuset: '0' }],
    };
    expect(restartPaths(await change({ cputune }))).toEqual([]);
    for (const pin of [
      "<vcpupin vcpu='1' cpuset='0'/>",
      "<emulatorpin cpuset='0'/>",
      "<iothreadpin iothread='1' cpuset='0'/>",
    ])
      expect(await dump()).toContain(pin);
    const one = await change({
      cputune: { vcpupin: [{ vcpu: 0, cpuset: '0' }], emulatorpin: null, iothreadpin: null },
    });
    expect(restartPaths(one)).toEqual([]);
    expect(await dump('--inactive')).toContain("<vcpupin vcpu='0' cpuset='0'/>");
    expect(await dump('--inactive')).not.toMatch(/vcpu='1'|emulatorpin|iothreadpin/);
    expect(restartPaths(await change({ cputune: null }))).toEqual([]);
    expect(await dump('--inactive')).not.toContain('pin');
  });

  it('limits processor time at every level, and lifts the limits', async () => {
    const cputune = {
      ...{ shares: 512, period: 50_000, quota: 30_000, global_period: 90_000, global_quota: 80_000 },
      ...{ emulator_period: 100_000, emulator_quota: 50_000, iothread_period: 70_000, iothread_quota: 50_000 },
    };
    const vm = await change({ cputune });
    const refused = vm.status?.restartRequired ?? [];
    // A host without this controller: libvirt's words stand in its place.
    expect(refused.every(({ message }) => message !== undefined)).toBe(true);
    if (refused.length === 0) {
      for (const [key, value] of Object.entries(cputune)) expect(await dump()).toContain(`<${key}>${value}</${key}>`);
    }
    expect(restartPaths(await change({ cputune: null }))).toEqual([]);
    expect(await dump('--inactive')).not.toContain('<cputune>');
  });

  it('limits memory and weighs block I/O', async () => {
    const wanted = {
      memtune: { hard_limit: { unit: 'GiB', value: 2 }, soft_limit: { unit: 'GiB', value: 1 } },
      blkiotune: { weight: 700 },
    };
    const vm = await change(wanted);
    expect((vm.status?.restartRequired ?? []).every(({ message }) => message !== undefined)).toBe(true);
    const xml = await dump();
    if (!restartPaths(vm).some((path) => path.startsWith('memtune'))) {
      expect(xml).toContain("<hard_limit unit='KiB'>2097152</hard_limit>");
      expect(xml).toContain("<soft_limit unit='KiB'>1048576</soft_limit>");
    }
    if (!restartPaths(vm).some((path) => path.startsWith('blkiotune'))) expect(xml).toContain('<weight>700</weight>');
    expect(restartPaths(await change({ memtune: null, blkiotune: null }))).toEqual([]);
    expect(await dump('--inactive')).not.toMatch(/memtune|blkiotune/);
  });

  it('adds and removes I/O threads', async () => {
    expect(restartPaths(await change({ iothreads: 3 }))).toEqual([]);
    expect(await dump()).toContain("<iothread id='3'/>");
    expect(restartPaths(await change({ iothreads: 1, iothreadids: { iothread: [{ id: 4 }] } }))).toEqual([]);
    expect(await dump()).toContain("<iothread id='4'/>");
    expect(await dump()).not.toContain("<iothread id='1'/>");
    expect(restartPaths(await change({ iothreads: null, iothreadids: null }))).toEqual([]);
    expect(await dump()).not.toContain('<iothreads>');
  });

  it("tells libvirt's words for a device that the host does not have", async () => {
    const source = { address: { domain: '0x00fe', bus: '0xfe', slot: '0x1f', function: '0x7' } };
    const vm = await change({ devices: { hostdev: [{ mode: 'subsystem', type: 'pci', managed: true, source }] } });
    expect(vm.status?.restartRequired).toMatchObject([{ path: 'devices.hostdev[0]' }]);
    expect(vm.status?.restartRequired?.[0]?.message).toBeTruthy();
    expect(node.condition(vm, 'Degraded')).toMatchObject({ status: 'True', reason: 'LiveChangeFailed' });
    const back = await change({ devices: { hostdev: null } });
    expect(restartPaths(back)).toEqual([]);
  });

  it('was never restarted', async () => {
    expect(await bootsOf(node, machine)).toBe(1);
  });
});
