import { randomBytes } from 'node:crypto';
import { mkdir, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commandLine } from '../support/command-line.ts';
import { resourceOf, startExecutorNode, type ExecutorNode } from '../support/executor-node.ts';
import { runProgram } from '../support/run-program.ts';
import type { VirtualDisk } from '../../src/api/virtual-disk.ts';
import type { VirtualPool, VirtualPoolSpec } from '../../src/api/virtual-pool.ts';
import type { StoragePool } from '../../src/model/types.gen.ts';
import type { SecretObject } from '../../src/executor/virtual-machine/volumes.ts';
import type { ResourceClient } from '../../src/kube/resource-client.ts';
import { builtin } from '../../src/kube/resource-type.ts';

describe('storage pools on real libvirt', () => {
  let node: ExecutorNode;
  let pools: ResourceClient<VirtualPool>;

  beforeAll(async () => {
    node = await startExecutorNode();
    pools = node.client.resource(resourceOf('VirtualPool'));
  });
  afterAll(async () => {
    await node.close();
  });

  const make = (name: string, spec: VirtualPoolSpec): Promise<VirtualPool> =>
    pools.create({ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualPool', metadata: { name }, spec });

  async function until(name: string, holds: (pool: VirtualPool | undefined) => boolean): Promise<VirtualPool> {
    const end = Date.now() + 120_000;
    for (;;) {
      const pool = await pools.find({ name });
      if (holds(pool)) return pool as VirtualPool;
      if (Date.now() > end) throw new Error(`${JSON.stringify(pool, null, 1)}\n${(await node.log()).slice(-2500)}`);
      await delay(50);
    }
  }
  const isReady = (pool: VirtualPool | undefined): boolean =>
    pool?.status?.conditions?.find(({ type }) => type === 'Ready')?.status === 'True' &&
    pool.status.observedGeneration === pool.metadata.generation;
  const condition = (pool: VirtualPool, type: string) => pool.status?.conditions?.find((one) => one.type === type);

  it('has a pool default on each node', async () => {
    const pool = await until('default', isReady);
    expect(pool.status).toMatchObject({ summary: '1/1', nodes: [{ nodeName: 'node-1', state: 'running' }] });
    expect(await node.libvirtd.virsh('pool-list', '--autostart', '--name')).toContain('default');
  });

  it('defines, builds, starts, autostarts and removes a pool, and keeps what is in its folder', async () => {
    const path = join(node.libvirtd.dir, 'fast');
    await make('fast', { pool: { type: 'dir', target: { path } } });
    const pool = await until('fast', isReady);
    expect(pool.status?.nodes?.[0]).toMatchObject({ state: 'running', path, volumes: 0, observedGeneration: 1 });
    expect(pool.status?.nodes?.[0]?.available).toMatch(/^\d/);
    expect((await stat(path)).isDirectory()).toBe(true);
    await writeFile(join(path, 'kept.raw'), 'kept');
    await pools.delete({ name: 'fast' });
    await until('fast', (one) => one === undefined);
    expect(await node.libvirtd.virsh('pool-list', '--all', '--name')).not.toContain('fast');
    expect((await stat(join(path, 'kept.raw'))).size).toBe(4);
  });

  it('removes an empty folder where the reclaim policy says so', async () => {
    const path = join(node.libvirtd.dir, 'passing');
    await make('passing', { reclaimPolicy: 'Delete', pool: { type: 'dir', target: { path } } });
    await until('passing', isReady);
    await pools.delete({ name: 'passing' });
    await until('passing', (one) => one === undefined);
    await expect(stat(path)).rejects.toThrow('ENOENT');
  });

  it("tells why a pool does not start, in libvirt's words, and starts it once the reason is gone", async () => {
    const path = join(node.libvirtd.dir, 'late');
    await make('late', { build: 'Never', pool: { type: 'dir', target: { path } } });
    const failed = await until('late', (one) => condition(one as VirtualPool, 'Ready')?.status === 'False');
    expect(condition(failed, 'Ready')).toMatchObject({ reason: 'StartFailed' });
    expect(condition(failed, 'Ready')?.message).toContain('No such file or directory');
    expect(failed.status?.nodes?.[0]).toMatchObject({ state: 'inactive' });
    await mkdir(path);
    await until('late', isReady);
    await pools.delete({ name: 'late' });
    await until('late', (one) => one === undefined);
  });

  it('puts right what somebody changes behind our back', async () => {
    const path = join(node.libvirtd.dir, 'steady');
    await make('steady', { refreshIntervalSeconds: 5, pool: { type: 'dir', target: { path } } });
    await until('steady', isReady);
    await node.libvirtd.virsh('pool-destroy', 'steady');
    await node.libvirtd.virsh('pool-autostart', 'steady', '--disable');
    await pools.mergePatch({ name: 'steady' }, { spec: { refreshIntervalSeconds: 6 } });
    await until('steady', (one) => isReady(one) && one?.status?.nodes?.[0]?.observedGeneration === 2);
    expect(await node.libvirtd.virsh('pool-list', '--autostart', '--name')).toContain('steady');
    const moved = join(node.libvirtd.dir, 'steadier');
    await pools.mergePatch({ name: 'steady' }, { spec: { pool: { target: { path: moved } } } });
    await until('steady', (one) => isReady(one) && one?.status?.nodes?.[0]?.path === moved);
    await pools.delete({ name: 'steady' });
    await until('steady', (one) => one === undefined);
  });

  it('gives libvirt the password of a Secret, waits for it, and takes it away with the pool', async () => {
    const auth = { username: 'admin' };
    const iscsi = { type: 'iscsi', target: { path: '/dev/disk/by-path' } } as const;
    const source = { host: [{ name: '127.0.0.1' }], device: [{ path: 'iqn.2020-01.com.example:disks' }] };
    const authSecretRef = { namespace: 'default', name: 'chap' };
    await make('lun', { active: false, authSecretRef, pool: { ...iscsi, source } });
    const waiting = await until('lun', (one) => condition(one as VirtualPool, 'Ready')?.reason === 'SecretNotFound');
    expect(condition(waiting, 'Ready')?.message).toContain('there is no Secret default/chap');
    const secrets = node.client.resource<SecretObject>(builtin.secrets);
    const base64 = (text: string): string => Buffer.from(text).toString('base64');
    await secrets.create({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'chap', namespace: 'default' },
      data: { username: base64('admin'), password: base64('tell-nobody') },
    });
    await until('lun', isReady);
    const xml = await node.libvirtd.virsh('pool-dumpxml', 'lun');
    const uuid = /<secret uuid='([^']+)'/.exec(xml)?.[1] ?? '';
    expect(xml).toContain("<auth type='chap' username='admin'>");
    expect(await node.libvirtd.virsh('secret-dumpxml', uuid)).toContain('<target>virtctl pool lun</target>');
    await expect(node.libvirtd.virsh('secret-get-value', uuid)).rejects.toThrow('private');
    const kept = join(node.libvirtd.dir, 'etc/secrets', `${uuid}.base64`);
    expect(await readFile(kept, 'utf8')).toBe(base64('tell-nobody'));
    await make('ceph', {
      active: false,
      authSecretRef: { ...authSecretRef, name: 'ceph', key: 'userKey' },
      pool: {
        type: 'rbd',
        source: { name: ['disks'], host: [{ name: '127.0.0.1' }], auth: { type: 'ceph', ...auth } },
      },
    });
    const key = randomBytes(28).toString('base64');
    await secrets.create({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'ceph', namespace: 'default' },
      data: { userKey: base64(`${key}\n`) },
    });
    // A libvirt without Ceph's driver has the secret, and says that it cannot have the pool.
    const decided = await until(
      'ceph',
      (one) => isReady(one) || condition(one as VirtualPool, 'Ready')?.reason === 'DefineFailed',
    );
    if (!isReady(decided)) expect(condition(decided, 'Ready')?.message).toContain('missing backend for pool type');
    const ceph = /^ *([0-9a-f-]{36}) .*virtctl pool ceph$/m.exec(await node.libvirtd.virsh('secret-list'))?.[1] ?? '';
    expect(await readFile(join(node.libvirtd.dir, 'etc/secrets', `${ceph}.base64`), 'utf8')).toBe(key);
    // Another password reaches libvirt with the next look.
    await secrets.mergePatch({ namespace: 'default', name: 'chap' }, { data: { password: base64('other') } });
    await pools.mergePatch({ name: 'lun' }, { spec: { refreshIntervalSeconds: 60 } });
    await until('lun', (one) => one?.status?.nodes?.[0]?.observedGeneration === 2 && isReady(one));
    expect(await readFile(kept, 'utf8')).toBe(base64('other'));
    for (const name of ['lun', 'ceph']) {
      await pools.delete({ name });
      await until(name, (one) => one === undefined);
    }
    expect(await node.libvirtd.virsh('secret-list')).toBe('');
    const log = await node.log();
    for (const secret of ['tell-nobody', base64('tell-nobody'), key]) expect(log).not.toContain(secret);
  });

  it('makes a file system on a device that has none, mounts it, and overwrites none that is there', async () => {
    const backing = join(node.libvirtd.dir, 'fs.img');
    await writeFile(backing, '');
    await truncate(backing, 64 * 1024 * 1024);
    const device = await runProgram('losetup', ['--find', '--show', backing]);
    try {
      const path = join(node.libvirtd.dir, 'fs');
      const pool = (target: string) => ({
        type: 'fs' as const,
        source: { device: [{ path: device }], format: { type: 'ext4' as const } },
        target: { path: target },
      });
      await make('fs', { pool: pool(path) });
      const made = await until('fs', isReady);
      expect(made.status?.nodes?.[0]).toMatchObject({ state: 'running', path });
      await node.libvirtd.exec('sh', '-c', `echo kept > ${path}/kept`);
      await pools.delete({ name: 'fs' });
      await until('fs', (one) => one === undefined);
      await make('fs2', { pool: pool(`${path}2`) });
      await until('fs2', isReady);
      expect(await node.libvirtd.exec('cat', `${path}2/kept`)).toBe('kept');
      await pools.delete({ name: 'fs2' });
      await until('fs2', (one) => one === undefined);
    } finally {
      await runProgram('losetup', ['--detach', device]);
    }
  });

  it("defines pools of every other type, or says in libvirt's words that it cannot have them", async () => {
    const host = [{ name: '127.0.0.1' }];
    const target = { path: join(node.libvirtd.dir, 'target') };
    const types: readonly StoragePool[] = [
      { type: 'netfs', source: { host, dir: { path: '/export' }, format: { type: 'nfs' } }, target },
      { type: 'logical', source: { name: ['vg'], device: [{ path: '/dev/none' }] }, target: { path: '/dev/vg' } },
      { type: 'disk', source: { device: [{ path: '/dev/none' }], format: { type: 'gpt' } }, target: { path: '/dev' } },
      {
        type: 'iscsi',
        source: { host, device: [{ path: 'iqn.2020-01.com.example:a' }] },
        target: { path: '/dev/disk/by-path' },
      },
      {
        type: 'scsi',
        source: { adapter: { type: 'scsi_host', name: 'scsi_host0' } },
        target: { path: '/dev/disk/by-path' },
      },
      { type: 'mpath', target: { path: '/dev/mapper' } },
      { type: 'rbd', source: { name: ['rbd'], host } },
      { type: 'gluster', source: { name: ['volume'], host, dir: { path: '/' } } },
    ];
    for (const [index, pool] of types.entries()) {
      const name = `type-${index}`;
      await make(name, { active: false, autostart: false, pool });
      const decided = await until(
        name,
        (one) => isReady(one) || condition(one as VirtualPool, 'Ready')?.reason === 'DefineFailed',
      );
      if (isReady(decided))
        expect(await node.libvirtd.virsh('pool-dumpxml', name)).toContain(`<pool type='${pool.type ?? ''}'`);
      else expect(condition(decided, 'Ready')?.message).toContain('missing backend for pool type');
      await pools.delete({ name });
      await until(name, (one) => one === undefined);
    }
  });

  it('is stopped, started and refreshed by commands, and not stopped while something is in it', async () => {
    const path = join(node.libvirtd.dir, 'verbs');
    await make('verbs', { pool: { type: 'dir', target: { path } } });
    await until('verbs', isReady);
    const pool = (...args: string[]) => commandLine(['pool', ...args, '--kubeconfig', node.kubeconfig]);
    await writeFile(join(path, 'came.raw'), 'came');
    expect(await pool('refresh', 'verbs')).toMatchObject({ stdout: 'vpool/verbs refreshed\n', exitCode: 0 });
    expect((await pools.get({ name: 'verbs' })).status?.nodes?.[0]?.volumes).toBe(1);
    expect(await pool('stop', 'vpool/verbs')).toMatchObject({ stdout: 'vpool/verbs stopped\n', exitCode: 0 });
    expect(await node.libvirtd.virsh('pool-list', '--name')).not.toContain('verbs');
    expect(await pool('start', 'verbs')).toMatchObject({ stdout: 'vpool/verbs started\n', exitCode: 0 });
    expect(await pool('autostart', 'verbs', '--disable')).toMatchObject({ exitCode: 0 });
    expect(await node.libvirtd.virsh('pool-list', '--autostart', '--name')).not.toContain('verbs');
    expect(await pool('start', 'nowhere')).toMatchObject({ exitCode: 3 });
    await pools.delete({ name: 'verbs' });
    await until('verbs', (one) => one === undefined);
    await node.untilEvents('verbs', ['Running', 'Deleted']);
  });

  it('is left by a node that is no longer selected', async () => {
    const path = join(node.libvirtd.dir, 'elsewhere');
    await make('elsewhere', { pool: { type: 'dir', target: { path } } });
    await until('elsewhere', isReady);
    await pools.mergePatch({ name: 'elsewhere' }, { spec: { nodeSelector: { matchLabels: { disk: 'nvme' } } } });
    const left = await until('elsewhere', (one) => one?.status?.nodes?.length === 0);
    expect(condition(left, 'Ready')).toMatchObject({ status: 'False', reason: 'NoNodes' });
    expect(await node.libvirtd.virsh('pool-list', '--all', '--name')).not.toContain('elsewhere');
    await pools.delete({ name: 'elsewhere' });
    await until('elsewhere', (one) => one === undefined);
  });

  it('is neither left nor deleted under a domain that names a volume of it, and says which', async () => {
    const path = join(node.libvirtd.dir, 'lent');
    await make('lent', { pool: { type: 'dir', target: { path } } });
    await until('lent', isReady);
    const file = join(node.libvirtd.dir, 'outsider.xml');
    await writeFile(
      file,
      `<domain type='qemu'><name>outsider</name><memory unit='MiB'>32</memory>
       <os><type arch='x86_64' machine='q35'>hvm</type></os><devices><disk type='volume' device='disk'>
       <source pool='lent' volume='data.raw'/><target dev='vda' bus='virtio'/></disk></devices></domain>`,
    );
    await node.libvirtd.virsh('vol-create-as', 'lent', 'data.raw', '1M');
    await node.libvirtd.virsh('define', file);
    await pools.mergePatch({ name: 'lent' }, { spec: { nodeSelector: { matchLabels: { disk: 'nvme' } } } });
    const kept = await until('lent', (one) => one?.status?.nodes?.[0]?.message !== undefined);
    expect(kept.status?.nodes?.[0]?.message).toBe(
      'the node is no longer selected, but the pool is in use by domain outsider',
    );
    await pools.delete({ name: 'lent' });
    const waiting = await until('lent', (one) => condition(one as VirtualPool, 'InUse')?.status === 'True');
    expect(condition(waiting, 'InUse')?.message).toBe('deletion waits for domain outsider on node node-1');
    expect(await node.libvirtd.virsh('pool-list', '--name')).toContain('lent');
    await node.libvirtd.virsh('undefine', 'outsider');
    await until('lent', (one) => one === undefined);
    expect(await node.libvirtd.virsh('pool-list', '--all', '--name')).not.toContain('lent');
  });

  it('is not deleted while a disk is in it, and says which', async () => {
    const path = join(node.libvirtd.dir, 'used');
    await make('used', { pool: { type: 'dir', target: { path } } });
    await until('used', isReady);
    const disks = node.client.resource<VirtualDisk>(resourceOf('VirtualDisk'));
    await disks.create({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualDisk',
      metadata: { name: 'data', namespace: 'default' },
      spec: { pool: 'used', capacity: '1Mi' },
    });
    await until('used', (one) => one?.status?.usedBy === 1);
    await pools.delete({ name: 'used' });
    const waiting = await until('used', (one) => condition(one as VirtualPool, 'InUse')?.status === 'True');
    expect(condition(waiting, 'InUse')?.message).toBe('deletion waits for VirtualDisk default/data');
    expect(await node.libvirtd.virsh('pool-list', '--name')).toContain('used');
    await disks.delete({ namespace: 'default', name: 'data' });
    await until('used', (one) => one === undefined);
  });
});
