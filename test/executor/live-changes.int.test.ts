import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { join } from 'node:path';
import { runProgram } from '../support/run-program.ts';
import { startExecutorNode, type ExecutorNode } from '../support/executor-node.ts';
import { bootsOf, guestMachine, untilBoots } from '../support/guest-machine.ts';
import { inGuest } from '../support/guest-shell.ts';
import { testGuest, type Guest } from '../support/guest.ts';
import type { VirtualMachine } from '../../src/api/virtual-machine.ts';

describe('changes to a running machine', () => {
  let node: ExecutorNode;
  let guest: Guest;
  const machine = 'live';
  const file = (name: string): string => join(node.libvirtd.dir, name);
  // Our own mark in the metadata names what was applied.
  const withoutMetadata = (xml: string): string => xml.replace(/<metadata>[^]*<\/metadata>/, '');
  const dump = async (): Promise<string> => withoutMetadata(await node.libvirtd.virsh('dumpxml', `default.${machine}`));
  const dumpInactive = async (): Promise<string> =>
    withoutMetadata(await node.libvirtd.virsh('dumpxml', '--inactive', `default.${machine}`));

  /** Patches the domain and waits until nothing is left to do or it is told. */
  async function change(domain: object): Promise<VirtualMachine> {
    await node.patch(machine, { domain });
    return node.untilObserved(machine);
  }

  const disk = (name: string, dev: string, more: object = {}): object => ({
    type: 'file',
    device: 'disk',
    driver: { name: 'qemu', type: 'qcow2' },
    source: { file: file(name) },
    target: { dev, bus: 'virtio' },
    ...more,
  });
  const cdrom = (name: string | undefined): object => ({
    type: 'file',
    device: 'cdrom',
    driver: { name: 'qemu', type: 'raw' },
    ...(name === undefined ? {} : { source: { file: file(name) } }),
    target: { dev: 'sda', bus: 'sata' },
    readonly: {},
  });
  const card = (mac: string, more: object = {}): object => ({
    type: 'user',
    mac: { address: mac },
    model: { type: 'virtio' },
    ...more,
  });

  /** Prints which processors a guest runs on. */
  const processors = 'cat /sys/devices/system/cpu/online';
  const rng = { model: 'virtio', backend: { model: 'random', value: '/dev/urandom' } };

  beforeAll(async () => {
    guest = await testGuest();
    node = await startExecutorNode();
    for (const name of ['a.qcow2', 'b.qcow2'])
      await runProgram('qemu-img', ['create', '-q', '-f', 'qcow2', file(name), '32M']);
    for (const name of ['one.iso', 'two.iso'])
      await runProgram('qemu-img', ['create', '-q', '-f', 'raw', file(name), '1M']);
    await node.create(
      machine,
      guestMachine(node, guest, machine, {
        domain: {
          vcpu: { value: 4, current: 1 },
          title: 'first',
          devices: { disk: [disk('a.qcow2', 'vda'), cdrom('one.iso')], interface: [card('52:54:00:00:00:01')] },
        },
      }),
    );
    await untilBoots(node, machine, 1);
    await node.untilStatus(machine, 'Running');
  });
  afterAll(async () => {
    await node.close();
  });

  it('changes title and description', async () => {
    const vm = await change({ title: 'second', description: 'a guest' });
    expect(vm.status?.restartRequired).toBeUndefined();
    expect((await dump()).includes('<title>second</title>')).toBe(true);
    expect((await dumpInactive()).includes('<description>a guest</description>')).toBe(true);
    await change({ description: null });
    expect((await dump()).includes('<description>')).toBe(false);
  });

  it('plugs processors in', async () => {
    const vm = await change({ vcpu: { value: 4, current: 2 } });
    expect(vm.status?.restartRequired).toBeUndefined();
    expect(await dump()).toMatch(/<vcpu [^>]*current='2'/);
    expect(await dumpInactive()).toMatch(/<vcpu [^>]*current='2'/);
  });

  it('plugs in the processor that spec names', async () => {
    const entry = (id: number, enabled: boolean): object => ({ id, enabled, hotpluggable: id > 0 });
    const vm = await change({
      vcpu: { value: 4, current: 3 },
      vcpus: { vcpu: [entry(0, true), entry(1, true), entry(2, false), entry(3, true)] },
    });
    expect(vm.status?.restartRequired).toBeUndefined();
    expect(await dump()).toMatch(/<vcpu id='3' enabled='yes'/);
    expect(await dump()).toMatch(/<vcpu id='2' enabled='no'/);
    await expect.poll(() => inGuest(node.libvirtd, `default.${machine}`, processors), { timeout: 120_000 }).toBe('0-2');
    await change({ vcpus: null });
  });

  it('leaves taking processors from an emulated guest for a restart, for QEMU would not stand it', async () => {
    const vm = await change({ vcpu: { value: 4, current: 1 } });
    expect(vm.status?.restartRequired).toMatchObject([{ path: 'vcpu.current', from: '3', to: '1' }]);
    expect(vm.status?.restartRequired?.[0]?.message).toContain('type qemu');
    expect(node.condition(vm, 'RestartRequired').message).toContain('vcpu.current: 3 → 1 (QEMU cannot give back');
    expect(node.condition(vm, 'Degraded')).toMatchObject({ status: 'False', reason: 'AsExpected' });
    expect(await dump()).toMatch(/<vcpu [^>]*current='3'/);
    expect(await inGuest(node.libvirtd, `default.${machine}`, processors)).toBe('0-2');
    const back = await change({ vcpu: { value: 4, current: 3 } });
    expect(back.status?.restartRequired).toBeUndefined();
    // What would crash a QEMU that had given one back.
    const more = await change({ vcpu: { value: 4, current: null } });
    expect(more.status?.restartRequired).toBeUndefined();
    await expect.poll(() => inGuest(node.libvirtd, `default.${machine}`, processors), { timeout: 120_000 }).toBe('0-3');
    expect(await bootsOf(node, machine)).toBe(1);
  });

  it('moves the balloon', async () => {
    await node.patch(machine, { domain: { currentMemory: { unit: 'MiB', value: 160 } } });
    await node.until(
      machine,
      (vm) => vm.status?.observedGeneration === vm.metadata.generation && vm.status?.restartRequired === undefined,
      'the balloon',
    );
    await expect
      .poll(async () => (await dump()).includes(`<currentMemory unit='KiB'>${160 * 1024}</currentMemory>`), {
        timeout: 120_000,
      })
      .toBe(true);
  });

  it('takes back what becomes of a crash without a restart', async () => {
    await change({ on_crash: 'restart' });
    expect(await dump()).toContain('<on_crash>restart</on_crash>');
    // As a server-side apply leaves elements whose fields went.
    const vm = await change({ on_crash: null, memtune: {}, keywrap: {} });
    expect(vm.status?.restartRequired).toBeUndefined();
    expect(node.condition(vm, 'Degraded')).toMatchObject({ status: 'False' });
    expect(await dump()).toContain('<on_crash>destroy</on_crash>');
  });

  it('attaches a disk and detaches it', async () => {
    const first = await change({
      devices: { disk: [disk('a.qcow2', 'vda'), cdrom('one.iso'), disk('b.qcow2', 'vdb')] },
    });
    expect(first.status?.restartRequired).toBeUndefined();
    expect((await dump()).includes(file('b.qcow2'))).toBe(true);
    expect((await dumpInactive()).includes(file('b.qcow2'))).toBe(true);
    const second = await change({ devices: { disk: [disk('a.qcow2', 'vda'), cdrom('one.iso')] } });
    expect(second.status?.restartRequired).toBeUndefined();
    await expect.poll(async () => (await dump()).includes(file('b.qcow2')), { timeout: 120_000 }).toBe(false);
    expect((await dumpInactive()).includes(file('b.qcow2'))).toBe(false);
  });

  it('attaches several devices at once', async () => {
    const cards = ['01', '03', '04', '05'].map((end) => card(`52:54:00:00:00:${end}`));
    const vm = await change({ devices: { interface: cards, rng: [rng] } });
    expect(vm.status?.restartRequired).toBeUndefined();
    for (const end of ['03', '04', '05']) expect((await dump()).includes(`52:54:00:00:00:${end}`)).toBe(true);
    expect((await dump()).includes('<rng ')).toBe(true);
    await change({ devices: { interface: [card('52:54:00:00:00:01')], rng: null } });
    await expect.poll(async () => (await dump()).includes('<rng '), { timeout: 120_000 }).toBe(false);
    await node.until(machine, (one) => one.status?.restartRequired === undefined, 'all to be given back', 90_000);
    expect((await dumpInactive()).includes('<rng ')).toBe(false);
  });

  it('attaches an interface and detaches it', async () => {
    await change({ devices: { interface: [card('52:54:00:00:00:01'), card('52:54:00:00:00:02')] } });
    expect((await dump()).includes('52:54:00:00:00:02')).toBe(true);
    await change({ devices: { interface: [card('52:54:00:00:00:01')] } });
    await expect.poll(async () => (await dump()).includes('52:54:00:00:00:02'), { timeout: 120_000 }).toBe(false);
  });

  it('pulls the cable of an interface and plugs it in', async () => {
    const vm = await change({ devices: { interface: [card('52:54:00:00:00:01', { link: { state: 'down' } })] } });
    expect(vm.status?.restartRequired).toBeUndefined();
    expect(vm.status?.interfaces).toMatchObject([{ mac: '52:54:00:00:00:01', linkState: 'down' }]);
    expect((await dump()).includes("<link state='down'/>")).toBe(true);
    await change({ devices: { interface: [card('52:54:00:00:00:01', { link: { state: 'up' } })] } });
    expect((await dump()).includes("<link state='up'/>")).toBe(true);
  });

  it('changes the medium of a drive, takes it out and puts it in', async () => {
    for (const medium of ['two.iso', undefined, 'one.iso']) {
      const vm = await change({ devices: { disk: [disk('a.qcow2', 'vda'), cdrom(medium)] } });
      expect(vm.status?.restartRequired).toBeUndefined();
      const xml = await dump();
      for (const name of ['one.iso', 'two.iso']) expect(xml.includes(file(name))).toBe(name === medium);
    }
  });

  it('throttles a disk and lets it go', async () => {
    const iotune = { total_bytes_sec: 1_000_000, total_iops_sec: 100 };
    const vm = await change({ devices: { disk: [disk('a.qcow2', 'vda', { iotune }), cdrom('one.iso')] } });
    expect(vm.status?.restartRequired).toBeUndefined();
    expect((await dump()).includes('<total_bytes_sec>1000000</total_bytes_sec>')).toBe(true);
    await change({ devices: { disk: [disk('a.qcow2', 'vda'), cdrom('one.iso')] } });
    expect((await dump()).includes('<total_bytes_sec>')).toBe(false);
  });

  it('sets CPU shares and what happens on a crash', async () => {
    const vm = await change({ on_crash: 'restart', cputune: { shares: 512 } });
    expect((await dump()).includes('<on_crash>restart</on_crash>')).toBe(true);
    // Without a controller for it libvirt refuses shares: then they wait for the restart, and it says why.
    const waits = vm.status?.restartRequired ?? [];
    const isLive = (await dump()).includes('<shares>512</shares>');
    expect(waits.map(({ path }) => path)).toEqual(isLive ? [] : ['cputune.shares']);
    if (!isLive) expect(waits[0]?.message).toBeTruthy();
    await change({ cputune: null });
    expect((await dumpInactive()).includes('<shares>')).toBe(false);
  });

  it('names what needs a restart with both values, and forgets it when it is taken back', async () => {
    const vm = await change({ memory: { unit: 'MiB', value: 256 }, cpu: { mode: 'maximum' } });
    expect(node.condition(vm, 'RestartRequired')).toMatchObject({ status: 'True', reason: 'FieldsPending' });
    expect(vm.status?.restartRequired).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ path: 'memory', to: '{"unit":"MiB","value":256}' }),
        expect.objectContaining({ path: 'cpu.mode', to: '"maximum"' }),
      ]),
    );
    const back = await change({ memory: { unit: 'MiB', value: 192 }, cpu: null });
    expect(back.status?.restartRequired).toBeUndefined();
    expect(node.condition(back, 'RestartRequired')).toMatchObject({ status: 'False' });
    expect(await bootsOf(node, machine)).toBe(1);
  });

  it('makes pending changes true by a restart', async () => {
    await change({ memory: { unit: 'MiB', value: 224 }, currentMemory: null });
    expect((await node.operate(machine, 'Restart')).status).toMatchObject({ phase: 'Succeeded' });
    await untilBoots(node, machine, 2);
    const vm = await node.until(machine, (one) => one.status?.restartRequired === undefined, 'no restart required');
    expect(node.condition(vm, 'RestartRequired')).toMatchObject({ status: 'False' });
    expect((await dump()).includes(`<memory unit='KiB'>${224 * 1024}</memory>`)).toBe(true);
  });

  it('puts right what somebody changed in the definition, and says so', async () => {
    await node.libvirtd.virsh('desc', `default.${machine}`, '--config', '--title', 'stolen');
    await expect
      .poll(async () => (await dumpInactive()).includes('<title>second</title>'), { timeout: 120_000 })
      .toBe(true);
    const vm = await node.until(machine, (one) => one.status?.drift !== undefined, 'drift');
    expect(node.condition(vm, 'Synchronized')).toMatchObject({ status: 'True', reason: 'DriftCorrected' });
    expect(vm.status?.drift).toMatchObject([{ path: 'title', from: '"stolen"', to: '"second"' }]);
  });

  it('puts a device back that somebody took out', async () => {
    await node.libvirtd.virsh('detach-disk', `default.${machine}`, 'vda', '--live', '--config');
    await expect.poll(async () => (await dump()).includes(file('a.qcow2')), { timeout: 120_000 }).toBe(true);
    expect((await dumpInactive()).includes(file('a.qcow2'))).toBe(true);
  });

  it('gives a running machine its definition back when somebody undefined it, and the guest runs on', async () => {
    const { status: before } = await node.get(machine);
    await node.libvirtd.virsh('undefine', `default.${machine}`);
    const isDefined = async (): Promise<boolean> =>
      /^Persistent: +yes$/m.test(await node.libvirtd.virsh('dominfo', `default.${machine}`));
    await expect.poll(isDefined, { timeout: 120_000 }).toBe(true);
    const says = (one: VirtualMachine): boolean => one.status?.drift?.[0]?.path === 'definition';
    const vm = await node.until(machine, says, 'drift');
    expect(node.condition(vm, 'Synchronized')).toMatchObject({ status: 'True', reason: 'DriftCorrected' });
    expect(vm.status?.domain).toMatchObject({ id: before?.domain?.id, boots: before?.domain?.boots });
    expect(await bootsOf(node, machine)).toBe(before?.domain?.boots);
  });

  it('leaves alone what spec does not set', async () => {
    await node.libvirtd.virsh('desc', `default.${machine}`, '--config', '--new-desc', 'mine');
    const vm = await change({ title: 'third' });
    expect((await dumpInactive()).includes('<description>mine</description>')).toBe(true);
    expect(vm.status?.restartRequired).toBeUndefined();
  });

  it('only tells of changes where it is not to put them right', async () => {
    await node.patch(machine, { driftPolicy: 'Report' });
    await node.untilObserved(machine);
    await node.libvirtd.virsh('desc', `default.${machine}`, '--config', '--title', 'other');
    const vm = await node.until(machine, (one) => node.condition(one, 'Synchronized').reason === 'Drifted', 'drift');
    expect(vm.status?.drift).toMatchObject([{ path: 'title', from: '"other"', to: '"third"' }]);
    expect((await dumpInactive()).includes('<title>other</title>')).toBe(true);
    await node.libvirtd.virsh('undefine', `default.${machine}`);
    const says = (one: VirtualMachine): boolean => one.status?.drift?.[0]?.path === 'definition';
    const undefinedToo = await node.until(machine, says, 'drift');
    expect(node.condition(undefinedToo, 'Synchronized')).toMatchObject({ status: 'False', reason: 'Drifted' });
    expect(undefinedToo.status?.drift).toMatchObject([{ path: 'definition' }, { path: 'title' }]);
    expect(await node.libvirtd.virsh('dominfo', `default.${machine}`)).toMatch(/^Persistent: +no$/m);
    await node.patch(machine, { driftPolicy: 'Enforce' });
    await expect
      .poll(async () => (await dumpInactive()).includes('<title>third</title>'), { timeout: 120_000 })
      .toBe(true);
  });

  it('tells what libvirt did not keep', async () => {
    const vm = await change({
      devices: {
        disk: [disk('a.qcow2', 'vda', { throttlefilters: { throttlefilter: [{ group: 'x' }] } }), cdrom('one.iso')],
      },
    });
    expect(node.condition(vm, 'Degraded')).toMatchObject({ status: 'True', reason: 'IgnoredByLibvirt' });
    expect(vm.status?.ignored).toMatchObject([{ path: 'devices.disk[0].throttlefilters' }]);
    const back = await change({ devices: { disk: [disk('a.qcow2', 'vda'), cdrom('one.iso')] } });
    expect(back.status?.ignored).toBeUndefined();
    expect(node.condition(back, 'Degraded')).toMatchObject({ status: 'False' });
  });

  it("tells libvirt's words when it refuses the definition, and the guest runs on", async () => {
    const vm = await change({ devices: { emulator: '/does/not/exist' } });
    expect(node.condition(vm, 'Synchronized')).toMatchObject({ status: 'False', reason: 'DefineFailed' });
    expect(node.condition(vm, 'Synchronized').message).toMatch(/does\/not\/exist/);
    expect(vm.status?.printableStatus).toBe('Running');
    const back = await change({ devices: { emulator: null } });
    expect(node.condition(back, 'Synchronized')).toMatchObject({ status: 'True' });
    expect(await bootsOf(node, machine)).toBe(2);
  });
});
