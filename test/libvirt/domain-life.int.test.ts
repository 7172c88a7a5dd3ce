import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isAlreadyRunning, isInvalidState, isNotFound } from '../../src/libvirt/errors.ts';
import { openLibvirt, type Libvirt } from '../../src/libvirt/libvirt.ts';
import type { Domain } from '../../src/libvirt/objects/domain.ts';
import { guestXml, testGuest } from '../support/guest.ts';
import { startLibvirtd, type LibvirtdNode } from '../support/libvirtd.ts';
import { runProgram } from '../support/run-program.ts';
import { EventLog } from './event-log.ts';

const uuid = '6f1d8a3e-7a37-4d52-9c5a-0f3e0d3c1a11';

describe('a domain of the QEMU driver', () => {
  let node: LibvirtdNode;
  let libvirt: Libvirt;
  let events: EventLog;
  let domain: Domain;
  let disk: string;

  beforeAll(async () => {
    node = await startLibvirtd();
    disk = `${node.dir}/disk.qcow2`;
    await runProgram('qemu-img', ['create', '-q', '-f', 'qcow2', disk, '32M']);
    await runProgram('qemu-img', ['create', '-q', '-f', 'qcow2', `${node.dir}/second.qcow2`, '16M']);
    libvirt = await openLibvirt(node.uri);
    events = new EventLog(
      await libvirt.watch([
        'domain.lifecycle',
        'domain.reboot',
        'domain.deviceAdded',
        'domain.deviceRemoved',
        'domain.balloonChange',
        'domain.metadataChange',
        'domain.tunable',
      ]),
    );
  });

  afterAll(async () => {
    await libvirt.close();
    await node.close();
  });

  it('is not there before it is defined', async () => {
    expect(await libvirt.domains.list()).toEqual([]);
    await expect(libvirt.domains.byName('web')).rejects.toSatisfy(isNotFound);
    await expect(libvirt.domains.byUuid(uuid)).rejects.toSatisfy(isNotFound);
  });

  it('is defined, found by name and UUID, and has the XML that virsh shows', async () => {
    const xml = guestXml(await testGuest(), { name: 'web', uuid, disks: [disk], maxVcpus: 2, memoryMiB: 256 });
    domain = await libvirt.domains.defineXml(xml, { validate: true });
    expect(domain.uuid).toBe(uuid);
    expect(domain.id).toBeUndefined();
    expect((await libvirt.domains.byName('web')).uuid).toBe(uuid);
    expect((await libvirt.domains.byUuid(uuid)).name).toBe('web');
    expect((await domain.xml()).trimEnd()).toBe(await node.virsh('dumpxml', 'web'));
    expect(await domain.state()).toEqual({ state: 'shutoff', reason: 'unknown' });
    await events.expect({ kind: 'domain.lifecycle', event: 'defined', detail: 'added' });
  });

  it('starts, and a second start is refused as already running', async () => {
    const id = await domain.start();
    expect(id).toBe(Number(await node.virsh('domid', 'web')));
    expect(await domain.state()).toEqual({ state: 'running', reason: 'booted' });
    await expect(domain.start()).rejects.toSatisfy(isAlreadyRunning);
    await events.expect({
      kind: 'domain.lifecycle',
      event: 'started',
      detail: 'booted',
      domain: { name: 'web', uuid },
    });
    expect((await libvirt.domains.byId(id)).name).toBe('web');
  });

  it('has the XML and statistics of virsh', async () => {
    for (const flag of ['inactive', 'secure', 'migratable'] as const) {
      const shown = await node.virsh('dumpxml', 'web', `--${flag === 'secure' ? 'security-info' : flag}`);
      expect((await domain.xml({ [flag]: true })).trimEnd()).toBe(shown);
    }
    // Counters go on counting: of those only the names are compared.
    const shown = new Map(
      (await node.virsh('domstats', 'web', '--raw'))
        .split('\n')
        .slice(1)
        .map((line) => line.trim().split('=') as [string, string]),
    );
    const [stats] = await libvirt.domains.stats();
    expect(Object.keys(stats?.raw ?? {}).sort()).toEqual([...shown.keys()].sort());
    for (const name of [
      'state.state',
      'balloon.maximum',
      'vcpu.maximum',
      'block.count',
      'block.0.name',
      'block.0.capacity',
    ]) {
      expect(String(stats?.raw[name])).toBe(shown.get(name));
    }
    expect(stats).toMatchObject({
      name: 'web',
      uuid,
      state: { state: 'running', reason: 'booted' },
      vcpus: [{ index: 0, state: 1 }],
      blocks: [{ name: 'vda', path: disk, capacity: 32 * 1024 * 1024 }],
      interfaces: [],
    });
    expect((await libvirt.domains.stats(['state'], { domains: [domain] }))[0]?.blocks).toBeUndefined();
    expect(await domain.info()).toMatchObject({ state: 'running', memoryKiB: 262144, vcpus: 1 });
  });

  it('stops and goes on', async () => {
    await domain.suspend();
    expect(await domain.state()).toEqual({ state: 'paused', reason: 'user' });
    await domain.resume();
    expect(await domain.state()).toEqual({ state: 'running', reason: 'unpaused' });
    await events.expect({ kind: 'domain.lifecycle', event: 'suspended', detail: 'paused' });
    await events.expect({ kind: 'domain.lifecycle', event: 'resumed', detail: 'unpaused' });
  });

  it('keeps metadata in its own element', async () => {
    const of = { type: 'element', uri: 'http://example.org/own', key: 'own', live: true, config: true } as const;
    await domain.setMetadata('<owner/>', of);
    expect(await domain.metadata({ type: 'element', uri: of.uri, config: true })).toContain('<owner');
    await domain.setMetadata('a title', { type: 'title', live: true, config: true });
    expect(await domain.metadata({ type: 'title', live: true })).toBe('a title');
    await domain.setMetadata(null, of);
    await expect(domain.metadata({ type: 'element', uri: of.uri, live: true })).rejects.toSatisfy(isNotFound);
    await events.expect({ kind: 'domain.metadataChange', type: 'element', uri: of.uri });
  });

  it('takes another processor, in the guest too', async () => {
    await domain.setVcpus(2, { live: true, config: true });
    expect(await domain.vcpus({ live: true })).toBe(2);
    expect(await domain.vcpus({ config: true })).toBe(2);
    expect(await domain.vcpus({ live: true, maximum: true })).toBe(2);
    await domain.setVcpu('1', false, { config: true });
    expect(await domain.vcpus({ config: true })).toBe(1);
  });

  it('takes a disk and gives it back', async () => {
    await events.guestIsUp(domain);
    const xml = `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${node.dir}/second.qcow2'/><target dev='vdb' bus='virtio'/></disk>`;
    await domain.attachDevice(xml, { live: true, config: true });
    expect(await node.virsh('domblklist', 'web')).toContain('vdb');
    await events.expect({ kind: 'domain.deviceAdded', alias: 'virtio-disk1' });
    await domain.detachDevice(xml, { live: true });
    await events.expect({ kind: 'domain.deviceRemoved', alias: 'virtio-disk1' });
    expect(await node.virsh('domblklist', 'web')).not.toContain('vdb');
    expect(await domain.xml({ inactive: true })).toContain('vdb');
    await domain.detachDevice(xml, { config: true });
    expect(await domain.xml({ inactive: true })).not.toContain('vdb');
  });

  it('changes its memory through the balloon', async () => {
    await domain.setMemory(196608, { live: true });
    await events.expect({ kind: 'domain.balloonChange', actualKiB: 196608 });
    const [stats] = await libvirt.domains.stats(['balloon']);
    expect(stats?.balloon).toMatchObject({ current: 196608, maximum: 262144 });
    expect(await domain.xml()).toContain("<currentMemory unit='KiB'>196608</currentMemory>");
  });

  it('is tuned with the types that libvirt wants, as virsh reads them', async () => {
    await domain.tuning.setScheduler({ cpu_shares: 512, vcpu_quota: 50_000 }, { live: true, config: true });
    expect(await domain.tuning.scheduler({ live: true })).toMatchObject({ cpu_shares: 512, vcpu_quota: 50_000 });
    expect(await node.virsh('schedinfo', 'web', '--config')).toMatch(/cpu_shares *: 512/);
    await events.expect({ kind: 'domain.tunable', values: { 'cputune.cpu_shares': 512 } });
    await domain.tuning.setMemory({ soft_limit: 2_000_000 }, { live: true });
    expect(await domain.tuning.memory({ live: true })).toMatchObject({ soft_limit: 2_000_000 });
    await domain.tuning.setBlkio({ weight: 300 }, { config: true });
    expect(await domain.tuning.blkio({ config: true })).toMatchObject({ weight: 300 });
    await domain.tuning.setNuma({ numa_nodeset: '0' }, { config: true });
    expect(await domain.tuning.numa({ config: true })).toMatchObject({ numa_nodeset: '0' });
    await domain.tuning.pinVcpu(0, [1], { live: true, config: true });
    expect((await domain.tuning.vcpuPins({ live: true }))[0]).toEqual([1]);
    expect(await node.virsh('vcpupin', 'web', '--vcpu', '0')).toMatch(/0 +1$/m);
    await domain.tuning.pinEmulator([0], { live: true });
    await domain.tuning.addIoThread(3, { live: true, config: true });
    await domain.tuning.pinIoThread(3, [1], { live: true });
    expect(await domain.tuning.ioThreads({ live: true })).toEqual([{ id: 3, processors: [1] }]);
    await domain.tuning.setIoThread(3, { poll_max_ns: 4096 }, { live: true });
    await domain.tuning.deleteIoThread(3, { live: true, config: true });
    expect(await domain.tuning.ioThreads({ config: true })).toEqual([]);
    await domain.blocks.setIoTune('vda', { total_bytes_sec: 10_000_000 }, { live: true, config: true });
    expect(await domain.blocks.ioTune('vda', { live: true })).toMatchObject({ total_bytes_sec: 10_000_000 });
    expect(await node.virsh('blkdeviotune', 'web', 'vda')).toMatch(/total_bytes_sec: 10000000/);
  });

  it('is saved, and goes on from there', async () => {
    await domain.managedSave();
    expect(await domain.hasManagedSave()).toBe(true);
    expect(await domain.state()).toEqual({ state: 'shutoff', reason: 'saved' });
    await domain.start();
    expect(await domain.hasManagedSave()).toBe(false);
    expect(await domain.state()).toEqual({ state: 'running', reason: 'restored' });
    await events.expect({ kind: 'domain.lifecycle', event: 'stopped', detail: 'saved' });
    await events.expect({ kind: 'domain.lifecycle', event: 'started', detail: 'restored' });
    await domain.save(`${node.dir}/saved`);
    expect(await libvirt.domains.savedXml(`${node.dir}/saved`)).toContain('<name>web</name>');
    await libvirt.domains.restore(`${node.dir}/saved`);
    expect(await domain.state()).toMatchObject({ state: 'running' });
  });

  it('is reset and rebooted', async () => {
    await domain.reset();
    await events.expect({ kind: 'domain.reboot' });
    await events.guestIsUp(domain);
    await domain.reboot({ acpiPowerBtn: true });
    await events.expect({ kind: 'domain.reboot' });
  });

  it('says what taints it, and takes keys and interrupts', async () => {
    await events.guestIsUp(domain);
    await domain.sendKey([28], { codeset: 'linux', holdMs: 50 });
    await domain.injectNmi();
    expect(await domain.controlInfo()).toMatchObject({ state: 'ok' });
    expect((await domain.messages()).join('\n')).toContain('elevated privileges');
    expect(await domain.monitorCommand({ execute: 'query-status' })).toMatchObject({ return: { running: true } });
  });

  it('goes down when it is asked to', async () => {
    await domain.shutdown({ acpiPowerBtn: true });
    await events.expect({ kind: 'domain.lifecycle', event: 'shutdown' });
    await events.expect({ kind: 'domain.lifecycle', event: 'stopped', detail: 'shutdown' });
    expect(await domain.state()).toEqual({ state: 'shutoff', reason: 'shutdown' });
    await expect(domain.shutdown()).rejects.toSatisfy(isInvalidState);
  });

  it('is renamed, started with the machine, destroyed and undefined', async () => {
    await domain.rename('www');
    const renamed = await libvirt.domains.byUuid(uuid);
    expect(renamed.name).toBe('www');
    await renamed.setAutostart(true);
    expect(await renamed.autostart()).toBe(true);
    expect((await libvirt.domains.list({ autostart: true })).map(({ name }) => name)).toEqual(['www']);
    await renamed.start({ paused: true });
    expect(await renamed.state()).toEqual({ state: 'paused', reason: 'user' });
    await renamed.destroy();
    expect(await renamed.state()).toEqual({ state: 'shutoff', reason: 'destroyed' });
    await renamed.undefine();
    await events.expect({ kind: 'domain.lifecycle', event: 'undefined', detail: 'removed' });
    expect(await libvirt.domains.list()).toEqual([]);
  });
});
