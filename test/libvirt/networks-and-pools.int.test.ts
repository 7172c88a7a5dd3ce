import { createHash, randomBytes } from 'node:crypto';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isNotFound, LibvirtError } from '../../src/libvirt/errors.ts';
import { openLibvirt, type Libvirt } from '../../src/libvirt/libvirt.ts';
import type { Pool } from '../../src/libvirt/objects/pools.ts';
import { startLibvirtd, type LibvirtdNode } from '../support/libvirtd.ts';
import { runProgram } from '../support/run-program.ts';
import { EventLog } from './event-log.ts';

const networkXml = `<network><name>front</name><forward mode='nat'/><bridge name='virbr7'/><ip address='192.168.77.1' netmask='255.255.255.0'><dhcp><range start='192.168.77.10' end='192.168.77.20'/></dhcp></ip></network>`;
const volumeXml = (name: string, format: string, bytes: number): string =>
  `<volume><name>${name}</name><capacity unit='bytes'>${bytes}</capacity><allocation>0</allocation><target><format type='${format}'/></target></volume>`;
const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');

describe('a host beside its domains', () => {
  let node: LibvirtdNode;
  let libvirt: Libvirt;
  let events: EventLog;
  let pool: Pool;

  beforeAll(async () => {
    node = await startLibvirtd();
    libvirt = await openLibvirt(node.uri);
    events = new EventLog(
      await libvirt.watch([
        'network.lifecycle',
        'storagePool.lifecycle',
        'storagePool.refresh',
        'secret.lifecycle',
        'secret.valueChanged',
        'nodeDevice.lifecycle',
      ]),
    );
  });

  afterAll(async () => {
    await libvirt.close();
    await node.close();
  });

  it('describes itself as virsh does', async () => {
    expect(await libvirt.node.hostname()).toBe(node.name);
    expect(await libvirt.node.hypervisor()).toBe('QEMU');
    expect((await libvirt.node.capabilities()).trimEnd()).toBe(await node.virsh('capabilities'));
    expect(await libvirt.node.capabilities()).toContain(`<uuid>${node.hostUuid}</uuid>`);
    const ask = { machine: 'q35', virtType: 'qemu', arch: 'x86_64' };
    const shown = await node.virsh('domcapabilities', '--machine', 'q35', '--virttype', 'qemu', '--arch', 'x86_64');
    expect((await libvirt.node.domainCapabilities(ask)).trimEnd()).toBe(shown);
    const versions = await node.virsh('version', '--daemon');
    expect(versions).toContain(`Running against daemon: ${await libvirt.node.libvirtVersion()}`);
    expect(versions).toContain(`Running hypervisor: QEMU ${await libvirt.node.hypervisorVersion()}`);
    const info = await libvirt.node.info();
    expect(await node.virsh('nodeinfo')).toMatch(new RegExp(`CPU\\(s\\): +${info.cpus}\n`));
    expect(await node.virsh('nodememstats')).toMatch(
      new RegExp(`total *: +${(await libvirt.node.memoryStats())['total'] ?? ''} KiB`),
    );
    expect(Object.keys(await libvirt.node.cpuStats())).toContain('idle');
    expect(await libvirt.node.onlineProcessors()).toHaveLength(info.cpus);
    expect(await libvirt.node.cpuModels('x86_64')).toContain('qemu64');
    expect(await libvirt.node.freePages([4])).toHaveLength(1);
    expect(await libvirt.node.uri()).toBe('qemu:///system');
    expect(await libvirt.node.maxVcpus('qemu')).toBeGreaterThan(0);
  });

  it('has networks: defined, started, changed, stopped, undefined', async () => {
    const network = await libvirt.networks.defineXml(networkXml);
    expect(await network.isActive()).toBe(false);
    await network.start();
    expect((await network.xml()).trimEnd()).toBe(await node.virsh('net-dumpxml', 'front'));
    expect(await network.bridgeName()).toBe('virbr7');
    await network.setAutostart(true);
    expect(await network.autostart()).toBe(true);
    expect((await libvirt.networks.list({ active: true, autostart: true })).map(({ name }) => name)).toEqual(['front']);
    const host = `<host mac='52:54:00:00:00:01' name='one' ip='192.168.77.15'/>`;
    await network.update('add-last', 'ip-dhcp-host', host, { live: true, config: true });
    expect(await node.virsh('net-dumpxml', 'front')).toContain('192.168.77.15');
    expect(await network.xml({ inactive: true })).toContain('192.168.77.15');
    await network.update('delete', 'ip-dhcp-host', host, { live: true, config: true });
    expect(await network.xml()).not.toContain('192.168.77.15');
    expect(await network.leases()).toEqual([]);
    await network.destroy();
    await network.undefine();
    await expect(libvirt.networks.byUuid(network.uuid)).rejects.toSatisfy(isNotFound);
    for (const event of ['defined', 'started', 'stopped', 'undefined']) {
      await events.expect({ kind: 'network.lifecycle', event, network: { name: 'front', uuid: network.uuid } });
    }
  });

  it('has pools: defined, built, started, refreshed', async () => {
    const xml = `<pool type='dir'><name>images</name><target><path>${node.dir}/images</path></target></pool>`;
    pool = await libvirt.pools.defineXml(xml);
    expect((await pool.info()).state).toBe('inactive');
    await pool.build();
    await pool.start();
    await pool.setAutostart(true);
    expect(await pool.autostart()).toBe(true);
    expect((await pool.xml()).trimEnd()).toBe(await node.virsh('pool-dumpxml', 'images'));
    expect((await libvirt.pools.list({ active: true, dir: true })).map(({ name }) => name)).toEqual(['images']);
    expect((await libvirt.pools.byTargetPath(`${node.dir}/images`)).uuid).toBe(pool.uuid);
    const info = await pool.info();
    expect(info.state).toBe('running');
    expect(info.capacityBytes).toBeGreaterThan(info.allocationBytes);
    await writeFile(`${node.dir}/images/stray`, 'x');
    await pool.refresh();
    expect((await pool.volumes()).map(({ name }) => name)).toEqual(['stray']);
    expect(await libvirt.pools.capabilities()).toContain("type='dir'");
    await events.expect({ kind: 'storagePool.lifecycle', event: 'defined', pool: { name: 'images' } });
    await events.expect({ kind: 'storagePool.lifecycle', event: 'started' });
    await events.expect({ kind: 'storagePool.refresh' });
  });

  it('has volumes: created, cloned, resized, wiped, deleted', async () => {
    const volume = await pool.createVolume(volumeXml('disk', 'qcow2', 8 << 20));
    expect(await volume.path()).toBe(`${node.dir}/images/disk`);
    expect((await volume.xml()).trimEnd()).toBe(await node.virsh('vol-dumpxml', 'disk', 'images'));
    expect((await libvirt.pools.volumeByPath(await volume.path())).key).toBe(volume.key);
    expect((await libvirt.pools.volumeByKey(volume.key)).name).toBe('disk');
    const clone = await pool.cloneVolume(volumeXml('clone', 'raw', 8 << 20), volume);
    expect(await clone.info()).toMatchObject({ type: 'file', capacityBytes: 8 << 20 });
    await clone.resize(4 << 20, { delta: true });
    expect((await clone.info()).capacityBytes).toBe(12 << 20);
    await writeFile(await clone.path(), randomBytes(12 << 20));
    await pool.refresh();
    await clone.wipe({ algorithm: 'zero' });
    expect((await readFile(await clone.path())).every((byte) => byte === 0)).toBe(true);
    await clone.delete();
    await expect(pool.volume('clone')).rejects.toSatisfy(isNotFound);
  });

  it('moves a volume up and down with equal checksums and progress', async () => {
    const content = randomBytes(10_000_019);
    await writeFile(`${node.dir}/up`, content);
    const volume = await pool.createVolume(volumeXml('moved', 'raw', content.length));
    const progress: number[] = [];
    const sent = await volume.upload(`${node.dir}/up`, { onProgress: (bytes) => progress.push(bytes) });
    expect(sent).toBe(content.length);
    expect(progress.at(-1)).toBe(content.length);
    expect(progress.length).toBeGreaterThan(3);
    expect(sha256(await readFile(await volume.path()))).toBe(sha256(content));
    expect(await volume.download(`${node.dir}/down`)).toBe(content.length);
    expect(sha256(await readFile(`${node.dir}/down`))).toBe(sha256(content));
    await node.virsh('vol-download', 'moved', `${node.dir}/down-virsh`, '--pool', 'images');
    expect(sha256(await readFile(`${node.dir}/down-virsh`))).toBe(sha256(content));
    const parts: Buffer[] = [];
    const part = { offsetBytes: 1000, lengthBytes: 500_000 };
    await volume.download((piece) => {
      if (piece.type === 'data') parts.push(piece.data);
      return Promise.resolve();
    }, part);
    expect(Buffer.concat(parts).equals(content.subarray(1000, 501_000))).toBe(true);
  });

  it('keeps the holes of a sparse volume both ways', async () => {
    const content = Buffer.alloc(32 << 20);
    randomBytes(1 << 20).copy(content, 5 << 20);
    const source = `${node.dir}/sparse`;
    await writeFile(source, content);
    const volume = await pool.createVolume(volumeXml('sparse', 'raw', content.length));
    await volume.upload(source, { sparse: true });
    expect(sha256(await readFile(await volume.path()))).toBe(sha256(content));
    expect((await stat(await volume.path())).blocks * 512).toBeLessThan(3 << 20);
    let holes = 0;
    await volume.download(
      (piece) => {
        if (piece.type === 'hole') holes += piece.length;
        return Promise.resolve();
      },
      { sparse: true },
    );
    expect(holes).toBeGreaterThan(28 << 20);
    expect(await volume.download(`${node.dir}/sparse-down`, { sparse: true })).toBe(content.length);
    expect(sha256(await readFile(`${node.dir}/sparse-down`))).toBe(sha256(content));
    expect((await stat(`${node.dir}/sparse-down`)).blocks * 512).toBeLessThan(3 << 20);
  });

  it('says why an upload fails, and a given-up one leaves the connection whole', async () => {
    const volume = await pool.createVolume(volumeXml('small', 'raw', 4096));
    const failing = volume.upload(`${node.dir}/up`, { lengthBytes: 4096 });
    await expect(failing).rejects.toBeInstanceOf(LibvirtError);
    const aborter = new AbortController();
    const big = await pool.volume('moved');
    const aborted = big.download(
      () => {
        aborter.abort(new Error('enough'));
        return Promise.resolve();
      },
      { signal: aborter.signal },
    );
    await expect(aborted).rejects.toThrow('enough');
    expect(await libvirt.node.hostname()).toBe(node.name);
    expect(await runProgram('cmp', [await big.path(), `${node.dir}/up`])).toBe('');
  });

  it('has secrets, whose values are bytes', async () => {
    const secret = await libvirt.secrets.defineXml(
      `<secret ephemeral='no' private='no'><usage type='ceph'><name>client.admin</name></usage></secret>`,
    );
    const value = randomBytes(40);
    await secret.setValue(value);
    expect(Buffer.from(await secret.value()).equals(value)).toBe(true);
    expect((await libvirt.secrets.byUsage('ceph', 'client.admin')).uuid).toBe(secret.uuid);
    expect((await libvirt.secrets.byUuid(secret.uuid)).usageType).toBe('ceph');
    expect((await secret.xml()).trimEnd()).toBe(await node.virsh('secret-dumpxml', secret.uuid));
    expect(await libvirt.secrets.list({ noEphemeral: true })).toHaveLength(1);
    await events.expect({ kind: 'secret.valueChanged', uuid: secret.uuid });
    await secret.undefine();
    await events.expect({ kind: 'secret.lifecycle', event: 'undefined', uuid: secret.uuid });
    await expect(libvirt.secrets.byUuid(secret.uuid)).rejects.toSatisfy(isNotFound);
  });

  it('has network filters', async () => {
    const filter = await libvirt.nwfilters.byName('no-mac-spoofing');
    expect((await filter.xml()).trimEnd()).toBe(await node.virsh('nwfilter-dumpxml', 'no-mac-spoofing'));
    const own = await libvirt.nwfilters.defineXml(
      `<filter name='own'><rule action='drop' direction='in'><tcp dstportstart='23'/></rule></filter>`,
    );
    expect((await libvirt.nwfilters.list()).map(({ name }) => name)).toContain('own');
    expect((await libvirt.nwfilters.byUuid(own.uuid)).name).toBe('own');
    await own.undefine();
    await expect(libvirt.nwfilters.byName('own')).rejects.toSatisfy(isNotFound);
  });

  it('has devices', async () => {
    const devices = await libvirt.nodeDevices.list();
    const shown = (await node.virsh('nodedev-list')).split('\n');
    expect(devices.map(({ name }) => name).sort()).toEqual(shown.sort());
    const computer = await libvirt.nodeDevices.byName('computer');
    expect((await computer.xml()).trimEnd()).toBe(await node.virsh('nodedev-dumpxml', 'computer'));
  });

  it('lets a pool go', async () => {
    for (const volume of await pool.volumes()) await volume.delete();
    await pool.destroy();
    await pool.delete();
    await pool.undefine();
    await events.expect({ kind: 'storagePool.lifecycle', event: 'stopped' });
    await events.expect({ kind: 'storagePool.lifecycle', event: 'undefined' });
    expect(await libvirt.pools.list()).toEqual([]);
  });
});
