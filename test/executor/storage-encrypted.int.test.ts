import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readFile, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resourceOf, startExecutorNode, type ExecutorNode } from '../support/executor-node.ts';
import { guestMachine, untilBoots } from '../support/guest-machine.ts';
import { inGuest } from '../support/guest-shell.ts';
import { testGuest } from '../support/guest.ts';
import { runProgram } from '../support/run-program.ts';
import type { VirtualDisk, VirtualDiskSpec } from '../../src/api/virtual-disk.ts';
import type { VirtualMachineSnapshot } from '../../src/api/virtual-machine-snapshot.ts';
import type { VirtualPool } from '../../src/api/virtual-pool.ts';
import type { SecretObject } from '../../src/executor/virtual-machine/volumes.ts';
import type { ResourceClient } from '../../src/kube/resource-client.ts';
import { builtin } from '../../src/kube/resource-type.ts';

const MiB = 1024 * 1024;
/** In a MiB. */
const sectors = 2048;
const base64 = (text: string): string => Buffer.from(text).toString('base64');

describe('encrypted disks on real libvirt', () => {
  let node: ExecutorNode;
  let disks: ResourceClient<VirtualDisk>;
  let secrets: ResourceClient<SecretObject>;
  let folder: string;
  const content = randomBytes(4 * MiB);
  const passphrase = `correct horse, battery=${randomBytes(8).toString('hex')}`;

  beforeAll(async () => {
    // Its own admission would refuse names of what is not there: what stands in for it must hold too.
    node = await startExecutorNode({ withoutAdmission: true });
    disks = node.client.resource(resourceOf('VirtualDisk'));
    secrets = node.client.resource(builtin.secrets);
    folder = join(node.libvirtd.dir, 'pool');
    await mkdir(folder);
    await writeFile(join(folder, 'plain.raw'), content);
    await node.client.resource<VirtualPool>(resourceOf('VirtualPool')).create({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualPool',
      metadata: { name: 'local' },
      spec: { pool: { type: 'dir', target: { path: folder } } },
    });
  });
  afterAll(async () => {
    await node.close();
  });

  const at = (name: string) => ({ namespace: 'default', name });
  const disk = (name: string, spec: VirtualDiskSpec): Promise<VirtualDisk> =>
    disks.create({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualDisk',
      metadata: at(name),
      spec: { pool: 'local', nodeName: 'node-1', ...spec },
    });
  async function until(name: string, holds: (disk: VirtualDisk | undefined) => boolean): Promise<VirtualDisk> {
    const end = Date.now() + 120_000;
    for (;;) {
      const found = await disks.find(at(name));
      if (holds(found)) return found as VirtualDisk;
      if (Date.now() > end) throw new Error(`${JSON.stringify(found, null, 1)}\n${(await node.log()).slice(-2500)}`);
      await delay(50);
    }
  }
  const isReady = (one: VirtualDisk | undefined): boolean => one?.status?.phase === 'Ready';
  const why = (one: VirtualDisk | undefined, type = 'Ready') => one?.status?.conditions?.find((c) => c.type === type);
  const hasSize = (name: string, capacity: string) =>
    until(name, ({ status } = {} as VirtualDisk) => status?.capacity === capacity);
  const sh = (command: string): Promise<string> => inGuest(node.libvirtd, 'default.vault', command);
  const encryption = { secretRef: { name: 'key' } };

  it('waits for their key, and says what it misses', async () => {
    await disk('sealed', { capacity: '32Mi', encryption });
    const missing = await until('sealed', (one) => why(one)?.reason === 'SecretNotFound');
    expect(why(missing)?.message).toBe('spec.encryption.secretRef: there is no Secret "key"');
    await secrets.create({ apiVersion: 'v1', kind: 'Secret', metadata: at('key'), data: { other: base64('x') } });
    const other = await until('sealed', (one) => why(one)?.reason === 'SecretNotReady');
    expect(why(other)?.message).toContain('has no key "passphrase"');
    await secrets.mergePatch(at('key'), { data: { passphrase: base64(passphrase) } });
    await disk('raw', {
      format: 'raw',
      encryption,
      capacity: '8Mi',
      source: { import: { path: join(folder, 'plain.raw') } },
    });
    const { status } = await until('sealed', isReady);
    expect(status).toMatchObject({ format: 'qcow2', capacity: '32Mi' });
    await until('raw', isReady);
    for (const [name, format] of [
      ['default.sealed.qcow2', 'qcow2'],
      ['default.raw.raw', 'luks'],
    ] as const) {
      const info = await runProgram('qemu-img', ['info', '--output=json', join(folder, name)]);
      expect(JSON.parse(info)).toMatchObject({ format, encrypted: true });
      expect((await stat(join(folder, name))).mode & 0o077).toBe(0);
    }
  });

  it('show the guest what is in them, keep what it writes unreadable, and grow while it runs', async () => {
    const volumes = [
      { name: 'sealed', virtualDisk: 'sealed' },
      { name: 'raw', virtualDisk: 'raw', serial: 'RAW' },
    ];
    await node.create(
      'vault',
      guestMachine(node, await testGuest(), 'vault', { runStrategy: 'Manual', spec: { volumes } }),
    );
    await node.operate('vault', 'Start');
    await untilBoots(node, 'vault', 1);
    expect(node.condition(await node.untilObserved('vault'), 'Synchronized')).toMatchObject({ status: 'True' });
    const sum = createHash('sha256').update(content).digest('hex');
    expect(await sh(`head -c ${4 * MiB} /dev/vdb | sha256sum`)).toContain(sum);
    await sh('yes plain-text-marker | head -c 1000000 > /data/marks; sync; sha256sum < /data/marks > /data/sum; sync');
    for (const name of ['default.sealed.qcow2', 'default.raw.raw']) {
      const file = await readFile(join(folder, name));
      expect([name, file.includes('plain-text-marker'), file.includes(content.subarray(0, 512))]).toEqual([
        name,
        false,
        false,
      ]);
    }
    await disks.mergePatch(at('raw'), { spec: { capacity: '16Mi' } });
    await disks.mergePatch(at('sealed'), { spec: { capacity: '48Mi' } });
    await Promise.all([hasSize('raw', '16Mi'), hasSize('sealed', '48Mi')]);
    expect(await sh('cat /sys/block/vda/size /sys/block/vdb/size')).toBe(`${48 * sectors}\n${16 * sectors}`);
    expect(await sh(`head -c ${4 * MiB} /dev/vdb | sha256sum`)).toContain(sum);
  });

  it('are told from what would leave them in the clear: no external snapshot, no copy', async () => {
    const snapshots = node.client.resource<VirtualMachineSnapshot>(resourceOf('VirtualMachineSnapshot'));
    await snapshots.create({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualMachineSnapshot',
      metadata: at('outside'),
      spec: { virtualMachine: 'vault', mode: 'External', memory: false },
    });
    await expect
      .poll(async () => (await snapshots.get(at('outside'))).status?.message, { timeout: 120_000 })
      .toContain('is encrypted, and the new file would not be');
    await snapshots.delete(at('outside'));
    await node.operate('vault', 'Stop', { stop: { force: true } });
    await node.untilStatus('vault', 'Stopped');
    await disk('copy', { source: { clone: { name: 'sealed' } } });
    const refused = await until('copy', (one) => one?.status?.phase === 'Failed');
    expect(refused.status?.message).toContain('is encrypted, and libvirt reads what is encrypted for guests only');
    await disks.delete(at('copy'));
  });

  it('are resized when no machine runs, also after libvirtd has forgotten all keys', async () => {
    await node.libvirtd.restart('KILL');
    await node.libvirtd.virsh('pool-refresh', 'local');
    await disks.mergePatch(at('raw'), { spec: { capacity: '24Mi' } });
    await disks.mergePatch(at('sealed'), { spec: { capacity: '64Mi' } });
    await Promise.all([hasSize('raw', '24Mi'), hasSize('sealed', '64Mi')]);
    await secrets.mergePatch(at('key'), { data: { passphrase: base64('wrong') } });
    await disks.mergePatch(at('raw'), { spec: { capacity: '32Mi' } });
    const wrong = await until('raw', (one) => why(one, 'Resizing')?.reason === 'ResizeFailed');
    expect(why(wrong, 'Resizing')?.message).toContain('Invalid password, cannot unlock any keyslot');
    const locked = await node.operate('vault', 'Start');
    expect(locked.status?.phase).toBe('Failed');
    expect(locked.status?.message).toContain('Invalid password, cannot unlock any keyslot');
    expect(await node.libvirtd.virsh('list', '--name')).toBe('');
    await secrets.mergePatch(at('key'), { data: { passphrase: base64(passphrase) } });
    // The start waits for a resize that goes on, which holds QEMU's lock on the file.
    await disks.mergePatch(at('sealed'), { spec: { capacity: '72Mi' } });
    expect((await node.operate('vault', 'Start')).status).toMatchObject({ phase: 'Succeeded' });
    await untilBoots(node, 'vault', 2);
    await Promise.all([hasSize('raw', '32Mi'), hasSize('sealed', '72Mi')]);
    expect(await sh('cat /sys/block/vda/size /sys/block/vdb/size')).toBe(`${72 * sectors}\n${32 * sectors}`);
    await sh('sha256sum < /data/marks | cmp - /data/sum');
  });

  it('leave no key behind, and show it to nobody', async () => {
    const [uuid = ''] = /[0-9a-f]{8}-[0-9a-f-]{27}/.exec(await node.libvirtd.virsh('secret-list')) ?? [];
    await expect(node.libvirtd.virsh('secret-get-value', uuid)).rejects.toThrow('private');
    expect(await readdir(join(node.libvirtd.dir, 'etc/secrets')).catch(() => [])).toEqual([]);
    await node.delete('vault');
    for (const name of ['sealed', 'raw']) {
      await disks.delete(at(name));
      await until(name, (one) => one === undefined);
    }
    expect(await node.libvirtd.virsh('secret-list')).toBe('');
    const { items } = await node.events.listAll();
    const seen = `${await node.log()}${JSON.stringify(items)}${JSON.stringify((await disks.listAll()).items)}`;
    for (const text of [passphrase, base64(passphrase)]) expect(seen).not.toContain(text);
    expect(
      (await readdir(join(node.libvirtd.dir, 'executor'), { recursive: true })).filter((one) => one.includes('key')),
    ).toEqual([]);
  });
});
