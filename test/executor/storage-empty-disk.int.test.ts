import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resourceOf, startExecutorNode, type ExecutorNode } from '../support/executor-node.ts';
import { guestMachine, untilBoots } from '../support/guest-machine.ts';
import { inGuest } from '../support/guest-shell.ts';
import { testGuest, type Guest } from '../support/guest.ts';
import type { VirtualDisk } from '../../src/api/virtual-disk.ts';
import type { Volume } from '../../src/api/virtual-machine.ts';
import type { VirtualPool } from '../../src/api/virtual-pool.ts';
import type { ResourceClient } from '../../src/kube/resource-client.ts';

const MiB = 1024 * 1024;

describe('empty disks in a pool on real libvirt', () => {
  let node: ExecutorNode;
  let disks: ResourceClient<VirtualDisk>;
  let pools: ResourceClient<VirtualPool>;
  let guest: Guest;
  let folder: string;
  let small: string;

  beforeAll(async () => {
    guest = await testGuest();
    node = await startExecutorNode();
    disks = node.client.resource(resourceOf('VirtualDisk'));
    pools = node.client.resource(resourceOf('VirtualPool'));
    folder = await pool('fast', join(node.libvirtd.dir, 'fast'));
    small = join(node.libvirtd.dir, 'small');
    await node.libvirtd.exec('mkdir', '-p', small);
    await node.libvirtd.exec('mount', '-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', small);
    await pool('small', small);
  });
  afterAll(async () => {
    await node.close();
  });

  async function pool(name: string, path: string): Promise<string> {
    await pools.create({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualPool',
      metadata: { name },
      spec: { pool: { type: 'dir', target: { path } } },
    });
    await until(
      () => pools.get({ name }),
      ({ status }) => status?.summary === '1/1',
    );
    return path;
  }
  async function until<T>(read: () => Promise<T>, holds: (value: T) => boolean): Promise<T> {
    const end = Date.now() + 120_000;
    for (;;) {
      const value = await read();
      if (holds(value)) return value;
      if (Date.now() > end) throw new Error(`${JSON.stringify(value, null, 1)}\n${(await node.log()).slice(-2500)}`);
      await delay(50);
    }
  }
  const at = (name: string) => ({ namespace: 'default', name });
  const gone = (name: string): Promise<unknown> =>
    until(
      () => disks.find(at(name)),
      (disk) => disk === undefined,
    );
  const machine = (name: string, volumes: readonly Volume[]) =>
    node.create(name, guestMachine(node, guest, name, { spec: { volumes: [...volumes] } }));
  const sh = (name: string, command: string): Promise<string> => inGuest(node.libvirtd, `default.${name}`, command);

  it('are made with the machine, keep what the guest writes, and go with their entry or the machine', async () => {
    await machine('web', [
      { name: 'scratch', emptyDisk: { capacity: '32Mi', pool: 'fast' } },
      { name: 'swap', emptyDisk: { capacity: '8Mi', pool: 'fast', format: 'raw' }, serial: 'SWAP' },
    ]);
    await untilBoots(node, 'web', 1);
    expect((await disks.get(at('web-scratch'))).status).toMatchObject({
      phase: 'Ready',
      path: join(folder, 'default.web-scratch.qcow2'),
      usedBy: [{ kind: 'VirtualMachine', name: 'web' }],
    });
    expect((await readdir(folder)).sort()).toEqual(['default.web-scratch.qcow2', 'default.web-swap.raw']);
    await sh(
      'web',
      'dd if=/dev/urandom of=/dev/vdb bs=64k count=64 2>/dev/null; sha256sum < /dev/vdb > /data/sum; sync',
    );
    await node.operate('web', 'Restart', { restart: { force: true } });
    await untilBoots(node, 'web', 2);
    await sh('web', 'sha256sum < /dev/vdb | cmp - /data/sum');
    await pools.delete({ name: 'fast' });
    const used = await until(
      () => pools.get({ name: 'fast' }),
      ({ status }) => status?.conditions?.find(({ type }) => type === 'InUse')?.status === 'True',
    );
    expect(used.status?.conditions?.find(({ type }) => type === 'InUse')?.message).toBe(
      'deletion waits for VirtualDisk default/web-scratch, VirtualDisk default/web-swap',
    );
    const { spec } = await node.get('web');
    await node.patch('web', { volumes: (spec.volumes ?? []).filter(({ name }) => name !== 'swap') });
    await gone('web-swap');
    expect(await readdir(folder)).toEqual(['default.web-scratch.qcow2']);
    expect(await sh('web', 'ls /dev/vd*')).toBe('/dev/vda');
    await node.delete('web');
    await gone('web-scratch');
    expect(await readdir(folder).catch(() => [])).toEqual([]);
    await until(
      () => pools.find({ name: 'fast' }),
      (one) => one === undefined,
    );
  });

  it('wait for space, and hold a guest that runs out of it until there is some', async () => {
    await node.libvirtd
      .exec('dd', 'if=/dev/zero', `of=${small}/filler`, 'bs=64k', 'status=none')
      .catch(() => undefined);
    await machine('full', [{ name: 'scratch', emptyDisk: { capacity: '64Mi', pool: 'small' } }]);
    const waiting = await node.until('full', (vm) => (node.condition(vm, 'Ready').message ?? '').includes('no space'));
    expect(node.condition(waiting, 'Ready')).toMatchObject({ status: 'False', reason: 'VolumeNotReady' });
    expect(node.condition(waiting, 'Ready').message).toMatch(
      /volume scratch: VirtualDisk "full-scratch" is .*there is no space left in pool small/,
    );
    await node.libvirtd.exec('rm', `${small}/filler`);
    await untilBoots(node, 'full', 1);
    await sh(
      'full',
      '(dd if=/dev/urandom of=/data/big bs=64k count=512 conv=fsync 2>/dev/null; sha256sum < /data/big > /run/sum) >/dev/null 2>&1 &',
    );
    const held = await node.untilStatus('full', 'Paused');
    expect(held.status?.domain?.reason).toBe('io-error');
    expect(node.condition(held, 'Paused').message).toBe(
      `volume scratch (${small}/default.full-scratch.qcow2): there is no space left; once that is mended, unpause it`,
    );
    await node.libvirtd.exec('mount', '-o', 'remount,size=128m', small);
    expect((await node.operate('full', 'Unpause')).status?.phase).toBe('Succeeded');
    await expect
      .poll(() => sh('full', 'cat /run/sum 2>/dev/null || true'), { timeout: 120_000 })
      .toMatch(/^[0-9a-f]{64}/);
    await sh('full', 'echo 3 > /proc/sys/vm/drop_caches; sha256sum < /data/big | cmp - /run/sum');
    expect((await disks.get(at('full-scratch'))).status?.capacity).toBe('64Mi');
    await node.delete('full');
    await gone('full-scratch');
  });

  it("take nobody else's disk, and say what cannot be changed", async () => {
    await disks.create({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualDisk',
      metadata: at('other-data'),
      spec: { pool: 'small', capacity: '1Mi', format: 'raw', nodeName: 'node-1' },
    });
    const { status } = await until(
      () => disks.get(at('other-data')),
      (disk) => disk.status?.phase === 'Ready',
    );
    await node.libvirtd.exec('mount', '-o', 'remount,size=128m', small);
    await writeFile(join(`/proc/${node.libvirtd.pid}/root`, status?.path ?? ''), Buffer.alloc(MiB, 'x'));
    const halted = { runStrategy: 'Halted' as const, domain: { type: 'qemu' as const } };
    await node.create('other', {
      ...halted,
      runStrategy: 'Always',
      volumes: [{ name: 'data', emptyDisk: { capacity: '1Mi', pool: 'small' } }],
    });
    const refused = await node.until('other', (vm) => node.condition(vm, 'Ready').message !== undefined);
    expect(node.condition(refused, 'Ready').message).toContain("is there already and not this machine's");
    await node.delete('other');
    expect((await disks.get(at('other-data'))).status?.phase).toBe('Ready');
    await node.create('grown', {
      ...halted,
      volumes: [{ name: 'data', emptyDisk: { capacity: '1Mi', pool: 'small' } }],
    });
    await node.until('grown', (vm) => vm.status?.volumes?.[0]?.source !== undefined);
    await node.patch('grown', { volumes: [{ name: 'data', emptyDisk: { capacity: '2Mi', pool: 'small' } }] });
    await disks.mergePatch(at('grown-data'), { spec: { capacity: '2Mi' } });
    await until(
      () => disks.get(at('grown-data')),
      (disk) => disk.status?.capacity === '2Mi',
    );
    await node.untilObserved('grown');
    await node.delete('grown');
    await gone('grown-data');
  });
});
