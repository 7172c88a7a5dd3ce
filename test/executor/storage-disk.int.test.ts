import { createHash } from 'node:crypto';
import { open, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resourceOf, startExecutorNode, type ExecutorNode } from '../support/executor-node.ts';
import { consolePath, guestMachine, untilBoots } from '../support/guest-machine.ts';
import { testGuest } from '../support/guest.ts';
import { runProgram } from '../support/run-program.ts';
import type { VirtualDisk, VirtualDiskSpec } from '../../src/api/virtual-disk.ts';
import type { VirtualPool } from '../../src/api/virtual-pool.ts';
import type { ResourceClient } from '../../src/kube/resource-client.ts';

const MiB = 1024 * 1024;

describe('disks on real libvirt', () => {
  let node: ExecutorNode;
  let disks: ResourceClient<VirtualDisk>;
  let folder: string;

  beforeAll(async () => {
    node = await startExecutorNode();
    disks = node.client.resource(resourceOf('VirtualDisk'));
    folder = join(node.libvirtd.dir, 'pool');
    await node.client.resource<VirtualPool>(resourceOf('VirtualPool')).create({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualPool',
      metadata: { name: 'local' },
      spec: { pool: { type: 'dir', target: { path: folder } } },
    });
    const pools = node.client.resource<VirtualPool>(resourceOf('VirtualPool'));
    for (const end = Date.now() + 120_000; (await pools.get({ name: 'local' })).status?.summary !== '1/1';) {
      if (Date.now() > end) throw new Error((await node.log()).slice(-2500));
      await delay(50);
    }
  });
  afterAll(async () => {
    await node.close();
  });

  const at = (name: string) => ({ namespace: 'default', name });
  const make = (name: string, spec: VirtualDiskSpec): Promise<VirtualDisk> =>
    disks.create({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualDisk',
      metadata: at(name),
      spec: { pool: 'local', nodeName: 'node-1', ...spec },
    });
  const set = (name: string, spec: Partial<VirtualDiskSpec>): Promise<VirtualDisk> =>
    disks.mergePatch(at(name), { spec });

  async function until(name: string, holds: (disk: VirtualDisk) => boolean, what = 'it holds'): Promise<VirtualDisk> {
    const end = Date.now() + 120_000;
    for (;;) {
      const disk = await disks.get(at(name));
      if (holds(disk)) return disk;
      if (Date.now() > end) {
        throw new Error(`waited for ${what}: ${JSON.stringify(disk, null, 1)}\n${(await node.log()).slice(-2500)}`);
      }
      await delay(50);
    }
  }
  const ready = (name: string): Promise<VirtualDisk> =>
    until(name, ({ status }) => status?.phase === 'Ready', `${name} to be ready`);
  const condition = (disk: VirtualDisk, type: string) => disk.status?.conditions?.find((one) => one.type === type);
  async function gone(name: string): Promise<void> {
    const found = await disks.find(at(name));
    if (found !== undefined && found.metadata.deletionTimestamp === undefined) await disks.delete(at(name));
    const end = Date.now() + 120_000;
    for (let left = await disks.find(at(name)); left !== undefined; left = await disks.find(at(name))) {
      if (Date.now() > end) throw new Error(`${JSON.stringify(left.status)}\n${(await node.log()).slice(-2500)}`);
      await delay(50);
    }
  }
  const info = async (path: string): Promise<Record<string, unknown>> =>
    JSON.parse(await runProgram('qemu-img', ['info', '-U', '--output=json', path])) as Record<string, unknown>;
  const sha256 = async (path: string): Promise<string> =>
    createHash('sha256')
      .update(await readFile(path))
      .digest('hex');
  /** A pattern that differs at every offset. */
  const pattern = (bytes: number): Buffer => {
    const data = Buffer.alloc(bytes);
    for (let at = 0; at < bytes; at += 4) data.writeUInt32LE((at * 2654435761) >>> 0, at);
    return data;
  };

  it('makes blank disks of each format and preallocation, and deletes them', async () => {
    await make('blank', { capacity: '64Mi' });
    await make('full', { capacity: '8Mi', format: 'raw', preallocation: 'Full' });
    await make('meta', { capacity: '64Mi', preallocation: 'Metadata' });
    const blank = await ready('blank');
    const path = join(folder, 'default.blank.qcow2');
    expect(blank.status).toMatchObject({ path, nodeName: 'node-1', format: 'qcow2', capacity: '64Mi', pool: 'local' });
    expect(await info(path)).toMatchObject({ format: 'qcow2', 'virtual-size': 64 * MiB });
    const full = (await ready('full')).status?.path ?? '';
    expect((await stat(full)).blocks * 512).toBeGreaterThanOrEqual(8 * MiB);
    expect(Number((await info((await ready('meta')).status?.path ?? ''))['virtual-size'])).toBe(64 * MiB);
    await Promise.all(['blank', 'full', 'meta'].map(gone));
    await expect(stat(path)).rejects.toThrow('ENOENT');
  });

  it('grows offline; shrinks only when told to, and names the risk', async () => {
    await make('grow', { capacity: '16Mi', format: 'raw' });
    const { path = '' } = (await ready('grow')).status ?? {};
    const file = await open(path, 'r+');
    await file.write(pattern(MiB), 0, MiB, 0);
    await file.close();
    await set('grow', { capacity: '32Mi' });
    await until('grow', ({ status }) => status?.capacity === '32Mi');
    expect((await stat(path)).size).toBe(32 * MiB);
    expect((await readFile(path)).subarray(0, MiB).equals(pattern(MiB))).toBe(true);
    await expect(set('grow', { capacity: '8Mi' })).rejects.toThrow('destroys what is stored behind the new end');
    await set('grow', { capacity: '8Mi', allowShrink: true });
    await until('grow', ({ status }) => status?.capacity === '8Mi');
    expect((await stat(path)).size).toBe(8 * MiB);
    await make('grow2', { capacity: '16Mi' });
    await ready('grow2');
    await set('grow2', { capacity: '8Mi', allowShrink: true });
    await until('grow2', ({ status }) => status?.capacity === '8Mi');
    await Promise.all([gone('grow'), gone('grow2')]);
  });

  it('clones a disk in full and as an overlay, whose base then cannot go', async () => {
    await writeFile(join(folder, 'found.raw'), pattern(4 * MiB));
    await node.libvirtd.virsh('pool-refresh', 'local');
    await make('base', { format: 'raw', source: { import: { volume: 'found.raw' } } });
    const base = await ready('base');
    expect(base.status).toMatchObject({ path: join(folder, 'found.raw'), capacity: '4Mi', volume: 'found.raw' });
    await make('copy', { format: 'raw', source: { clone: { name: 'base' } } });
    await make('thin', { capacity: '8Mi', source: { clone: { name: 'base', mode: 'Overlay' } } });
    const copy = (await ready('copy')).status?.path ?? '';
    const thin = await ready('thin');
    expect(await sha256(copy)).toBe(await sha256(join(folder, 'found.raw')));
    expect(thin.status).toMatchObject({ backingChain: [join(folder, 'found.raw')], capacity: '8Mi' });
    const flat = join(node.libvirtd.dir, 'flat.raw');
    await runProgram('qemu-img', ['convert', '-O', 'raw', thin.status?.path ?? '', flat]);
    expect((await readFile(flat)).subarray(0, 4 * MiB).equals(pattern(4 * MiB))).toBe(true);
    await until('base', ({ status }) => (status?.usedBy ?? []).length === 1, 'the overlay to be known');
    await node.create('writer', {
      runStrategy: 'Always',
      volumes: [{ name: 'root', virtualDisk: 'base' }],
      domain: { type: 'qemu', memory: { unit: 'MiB', value: 64 } },
    });
    const refused = await node.until('writer', (vm) => node.condition(vm, 'Ready').reason === 'VolumeNotReady');
    expect(node.condition(refused, 'Ready').message).toContain('is the base of "thin"');
    await node.delete('writer');
    await disks.delete(at('base'));
    const waiting = await until('base', (disk) => condition(disk, 'InUse')?.status === 'True');
    await until('base', ({ status }) => status?.phase === 'Deleting');
    expect((await disks.get(at('base'))).status?.message).toBe('deletion waits for VirtualDisk default/thin');
    expect(waiting.metadata.finalizers).toContain('virtctl.dev/disk');
    await Promise.all([gone('copy'), gone('thin')]);
    await gone('base');
    await expect(stat(join(folder, 'found.raw'))).rejects.toThrow('ENOENT');
  });

  it('knows a domain that names the volume by its pool: no clone while it runs, no deletion while it is defined', async () => {
    await make('pooled', { capacity: '4Mi', format: 'raw' });
    const { path = '' } = (await ready('pooled')).status ?? {};
    const file = join(node.libvirtd.dir, 'outsider.xml');
    await writeFile(
      file,
      `<domain type='qemu'><name>outsider</name><memory unit='MiB'>32</memory>
       <os><type arch='x86_64' machine='q35'>hvm</type></os><devices><disk type='volume' device='disk'>
       <driver name='qemu' type='raw'/><source pool='local' volume='default.pooled.raw'/><target dev='vda' bus='virtio'/>
       </disk></devices></domain>`,
    );
    await node.libvirtd.virsh('define', file);
    await node.libvirtd.virsh('start', 'outsider');
    await make('pooled-copy', { format: 'raw', source: { clone: { name: 'pooled' } } });
    const held = await until('pooled-copy', (disk) => condition(disk, 'Ready')?.reason === 'SourceNotReady');
    expect(condition(held, 'Ready')?.message).toBe('VirtualDisk "pooled" is written to by outsider; stop it first');
    await node.libvirtd.virsh('destroy', 'outsider');
    await ready('pooled-copy');
    await disks.delete(at('pooled'));
    const waiting = await until('pooled', (disk) => condition(disk, 'InUse')?.status === 'True');
    expect(waiting.status?.message).toBe('deletion waits for domain outsider');
    expect((await stat(path)).isFile()).toBe(true);
    await node.libvirtd.virsh('undefine', 'outsider');
    await Promise.all([gone('pooled'), gone('pooled-copy')]);
    await expect(stat(path)).rejects.toThrow('ENOENT');
  });

  it('never touches a volume that it did not make, and never makes a lost one anew', async () => {
    const path = join(folder, 'default.theirs.raw');
    await writeFile(path, pattern(MiB));
    await node.libvirtd.virsh('pool-refresh', 'local');
    const before = await sha256(path);
    await make('theirs', { capacity: '1Mi', format: 'raw' });
    const refused = await until('theirs', (disk) => condition(disk, 'Ready')?.status === 'False');
    expect(condition(refused, 'Ready')).toMatchObject({ reason: 'CreateFailed' });
    expect(condition(refused, 'Ready')?.message).toContain('which this disk did not make');
    await gone('theirs');
    expect(await sha256(path)).toBe(before);
    await make('lost', { capacity: '1Mi' });
    await ready('lost');
    await node.libvirtd.virsh('vol-delete', 'default.lost.qcow2', '--pool', 'local');
    await disks.mergePatch(at('lost'), { spec: { capacity: '2Mi' } });
    const lost = await until('lost', ({ status }) => status?.phase === 'Failed');
    expect(condition(lost, 'Ready')).toMatchObject({ reason: 'VolumeMissing' });
    await gone('lost');
  });

  it('does not believe a raw disk that claims to be something else', async () => {
    await make('liar', { capacity: '1Mi', format: 'raw' });
    const { path = '' } = (await ready('liar')).status ?? {};
    await runProgram('qemu-img', ['create', '-q', '-f', 'qcow2', '-u', '-b', '/etc/passwd', '-F', 'raw', path, '1M']);
    await node.libvirtd.virsh('pool-refresh', 'local');
    await set('liar', { capacity: '2Mi' });
    const found = await until('liar', (disk) => condition(disk, 'Resizing')?.reason === 'ResizeFailed');
    expect(found.status).toMatchObject({ format: 'raw', capacity: '1Mi' });
    await make('victim', { source: { clone: { name: 'liar' } } });
    const refused = await until('victim', ({ status }) => status?.phase === 'Failed');
    expect(refused.status?.message).toContain('claims to be qcow2, but was made as raw');
    await Promise.all([gone('victim'), gone('liar')]);
  });

  it('makes a volume again that an executor left half made', async () => {
    await node.stopExecutor('SIGKILL');
    await make('half', { capacity: '4Mi', format: 'raw' });
    // As the executor leaves it when it is killed in between: the name is told, the volume is too short.
    await disks.mergePatch(
      at('half'),
      {
        metadata: { finalizers: ['virtctl.dev/disk'] },
        status: { phase: 'Creating', pool: 'local', volume: 'default.half.raw', nodeName: 'node-1' },
      },
      { subresource: 'status' },
    );
    await writeFile(join(folder, 'default.half.raw'), 'half');
    await node.libvirtd.virsh('pool-refresh', 'local');
    await node.startExecutor();
    const { status } = await ready('half');
    expect((await stat(status?.path ?? '')).size).toBe(4 * MiB);
    await gone('half');
  });

  it('keeps a volume that is to be retained, and wipes one that is to be wiped', async () => {
    await make('kept', { capacity: '1Mi', format: 'raw', reclaimPolicy: 'Retain' });
    await make('wiped', { capacity: '1Mi', format: 'raw', wipe: 'zero' });
    const kept = (await ready('kept')).status?.path ?? '';
    const wiped = (await ready('wiped')).status?.path ?? '';
    await writeFile(wiped, pattern(MiB));
    const secret = await open(wiped, 'r');
    try {
      await gone('wiped');
      await gone('kept');
      expect((await stat(kept)).size).toBe(MiB);
      // The file is gone by name; what our handle still sees is what is on the disk.
      const { buffer } = await secret.read(Buffer.alloc(MiB), 0, MiB, 0);
      expect(buffer.equals(Buffer.alloc(MiB))).toBe(true);
    } finally {
      await secret.close();
    }
  });

  it('says plainly that there is no space left, and goes on when there is', async () => {
    const small = join(node.libvirtd.dir, 'small');
    await node.libvirtd.exec('mkdir', '-p', small);
    await node.libvirtd.exec('mount', '-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', small);
    await node.client.resource<VirtualPool>(resourceOf('VirtualPool')).create({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualPool',
      metadata: { name: 'small' },
      spec: { pool: { type: 'dir', target: { path: small } } },
    });
    await make('big', { pool: 'small', capacity: '16Mi', format: 'raw', preallocation: 'Full' });
    const full = await until('big', (disk) => condition(disk, 'Ready')?.reason === 'OutOfSpace');
    expect(full.status?.message).toMatch(/there is no space left in pool small: .*No space left on device/);
    await node.libvirtd.exec('mount', '-o', 'remount,size=64m', small);
    await ready('big');
    await gone('big');
  });

  it('is made where its first machine is, read and written by the guest, grown while it runs, kept while in use', async () => {
    const guest = await testGuest();
    await make('data', { capacity: '32Mi', nodeName: '' });
    const waiting = await until('data', ({ status }) => status?.phase === 'WaitForFirstConsumer');
    expect(condition(waiting, 'Ready')).toMatchObject({ reason: 'WaitingForConsumer' });
    const spec = { volumes: [{ name: 'data', virtualDisk: 'data' }] };
    await node.create('user', guestMachine(node, guest, 'user', { spec }));
    const made = await ready('data');
    expect(made.status).toMatchObject({ nodeName: 'node-1', path: join(folder, 'default.data.qcow2') });
    await untilBoots(node, 'user', 1);
    expect(await readFile(consolePath(node, 'user'), 'utf8')).toContain('boots=1');
    await set('data', { capacity: '48Mi' });
    await until('data', ({ status }) => status?.capacity === '48Mi');
    expect(await node.libvirtd.virsh('domblkinfo', 'default.user', 'vda')).toContain(String(48 * MiB));
    await disks.delete(at('data'));
    const kept = await until('data', ({ status }) => status?.phase === 'Deleting');
    expect(kept.status?.message).toBe('deletion waits for VirtualMachine user');
    expect(kept.status?.usedBy).toEqual([{ kind: 'VirtualMachine', name: 'user' }]);
    await node.operate('user', 'Restart');
    await untilBoots(node, 'user', 2);
    expect(await readFile(consolePath(node, 'user'), 'utf8')).toContain('boots=2');
    await node.delete('user');
    await gone('data');
    await expect(stat(join(folder, 'default.data.qcow2'))).rejects.toThrow('ENOENT');
  });
});
