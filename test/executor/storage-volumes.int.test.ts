import { createHash, randomBytes } from 'node:crypto';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commandLine, type CommandResult } from '../support/command-line.ts';
import { resourceOf, startExecutorNode, type ExecutorNode } from '../support/executor-node.ts';
import { guestMachine, untilBoots } from '../support/guest-machine.ts';
import { inGuest } from '../support/guest-shell.ts';
import { testGuest, type Guest } from '../support/guest.ts';
import { runProgram } from '../support/run-program.ts';
import type { VirtualDisk, VirtualDiskSpec } from '../../src/api/virtual-disk.ts';
import type { VirtualImage } from '../../src/api/virtual-image.ts';
import type { VirtualMachine, Volume } from '../../src/api/virtual-machine.ts';
import type { VirtualPool } from '../../src/api/virtual-pool.ts';
import type { ConfigMapObject, SecretObject } from '../../src/executor/virtual-machine/volumes.ts';
import type { ResourceClient } from '../../src/kube/resource-client.ts';
import { builtin } from '../../src/kube/resource-type.ts';

const MiB = 1024 * 1024;
const sha256 = (data: Buffer): string => createHash('sha256').update(data).digest('hex');
const base64 = (text: string): string => Buffer.from(text).toString('base64');

/** In the guest: the device with a serial number. */
const deviceOf = 'dev() { grep -l "$1" /sys/block/*/serial | cut -d/ -f4 | sed s,^,/dev/,; }';

describe('volumes of machines on real libvirt', () => {
  let node: ExecutorNode;
  let disks: ResourceClient<VirtualDisk>;
  let guest: Guest;
  const content = randomBytes(4 * MiB);

  beforeAll(async () => {
    guest = await testGuest();
    // What stands in for a webhook that is not there must hold too.
    node = await startExecutorNode({ withoutAdmission: true });
    disks = node.client.resource(resourceOf('VirtualDisk'));
    await node.client.resource<VirtualPool>(resourceOf('VirtualPool')).create({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualPool',
      metadata: { name: 'local' },
      spec: { pool: { type: 'dir', target: { path: join(node.libvirtd.dir, 'pool') } } },
    });
    await writeFile(join(node.libvirtd.dir, 'host.raw'), content);
  });
  afterAll(async () => {
    await node.close();
  });

  const at = (name: string) => ({ namespace: 'default', name });
  const disk = (name: string, spec: VirtualDiskSpec = {}): Promise<VirtualDisk> =>
    disks.create({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualDisk',
      metadata: at(name),
      spec: { pool: 'local', capacity: '32Mi', ...spec },
    });
  const machine = (name: string, volumes: readonly Volume[], more: object = {}): Promise<VirtualMachine> =>
    node.create(
      name,
      guestMachine(node, guest, name, {
        spec: { volumes: [...volumes], ...more },
        domain: { devices: { controller: [{ type: 'scsi', index: 0, model: 'virtio-scsi' }] } },
      }),
    );
  const sh = (name: string, command: string): Promise<string> =>
    inGuest(node.libvirtd, `default.${name}`, `${deviceOf}; ${command}`);
  const virtctl = (...args: readonly string[]): Promise<CommandResult> =>
    commandLine([...args, '--kubeconfig', node.kubeconfig]);
  async function gone(name: string): Promise<void> {
    const end = Date.now() + 120_000;
    for (let left = await disks.find(at(name)); left !== undefined; left = await disks.find(at(name))) {
      if (Date.now() > end) throw new Error(`${JSON.stringify(left.status)}\n${(await node.log()).slice(-2500)}`);
      await delay(50);
    }
  }

  it('shows the guest disks, images, cloud-init, ConfigMaps, Secrets, files and empty disks with what is in them', async () => {
    const secrets = node.client.resource<SecretObject>(builtin.secrets);
    await secrets.create({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: at('init'),
      data: { userData: base64('#cloud-config\nhostname: from-secret\n'), networkData: base64('{"links": []}') },
    });
    await secrets.create({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: at('keys'),
      data: { 'tls.key': base64('private'), 'odd..name': base64('odd') },
    });
    await node.client.resource<ConfigMapObject>(builtin.configMaps).create({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: at('settings'),
      data: { 'app.conf': 'colour = blue\n' },
      binaryData: { blob: Buffer.from([0, 255, 1]).toString('base64') },
    });
    await node.client.resource<VirtualImage>(resourceOf('VirtualImage')).create({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualImage',
      metadata: at('base'),
      spec: { pool: 'local', source: { file: { path: join(node.libvirtd.dir, 'host.raw'), checksum: 'none' } } },
    });
    await disk('root');
    await machine('all', [
      { name: 'root', virtualDisk: 'root', bootOrder: 1, cache: 'none', serial: 'ROOT1' },
      { name: 'drive', cloudInit: { type: 'ConfigDrive', secretRef: { name: 'init' } }, target: { bus: 'scsi' } },
      {
        name: 'cloud',
        cloudInit: { userData: '#!/bin/sh\ntrue\n', metaData: 'role: web\n' },
        target: { bus: 'virtio' },
      },
      { name: 'settings', configMap: { name: 'settings', label: 'settings' } },
      { name: 'keys', secret: { name: 'keys', label: 'keys' }, cdrom: true, target: { bus: 'scsi' } },
      { name: 'absent', configMap: { name: 'absent', optional: true } },
      {
        name: 'host',
        hostPath: { path: join(node.libvirtd.dir, 'host.raw') },
        readOnly: true,
        target: { bus: 'scsi' },
      },
      { name: 'scratch', emptyDisk: { capacity: '8Mi', format: 'raw' }, serial: 'SCRATCH1' },
      { name: 'image', virtualImage: 'base', target: { dev: 'vdz' }, serial: 'IMAGE1' },
    ]);
    await untilBoots(node, 'all', 1);
    // By the label in the ISO's descriptor, at byte 32808.
    const find =
      'for d in /dev/sr* /dev/vd* /dev/sd*; do [ "$(dd if=$d bs=8 skip=4101 count=4 2>/dev/null | tr -d " ")" = $l ] && break; done';
    const files = (label: string): Promise<string> =>
      sh(
        'all',
        `l=${label}; ${find}; mkdir -p /m/$l; mount -t iso9660 -o ro $d /m/$l && cd /m/$l && find . -type f | sort`,
      );
    expect(await files('config-2')).toBe(
      ['meta_data.json', 'network_data.json', 'user_data'].map((one) => `./openstack/latest/${one}`).join('\n'),
    );
    expect(await sh('all', 'cat /m/config-2/openstack/latest/user_data')).toBe('#cloud-config\nhostname: from-secret');
    const meta = JSON.parse(await sh('all', 'cat /m/config-2/openstack/latest/meta_data.json')) as object;
    const { uid } = (await node.get('all')).metadata;
    expect(meta).toMatchObject({ uuid: uid, hostname: 'all' });
    expect(await files('cidata')).toBe('./meta-data\n./user-data');
    expect(await sh('all', 'cat /m/cidata/meta-data')).toBe(
      `instance-id: ${uid ?? ''}\nlocal-hostname: all\nrole: web`,
    );
    expect(await files('settings')).toBe('./app.conf\n./blob');
    expect(await sh('all', 'cat /m/settings/app.conf; wc -c < /m/settings/blob')).toBe('colour = blue\n3');
    expect(await files('keys')).toBe('./odd..name\n./tls.key');
    expect(await sh('all', 'cat /m/keys/tls.key')).toBe('private');
    expect(await sh('all', 'blockdev --getsize64 $(dev ROOT1)')).toBe(String(32 * MiB));
    expect(await sh('all', 'sha256sum < $(dev IMAGE1)')).toContain(sha256(content));
    expect(await sh('all', 'cat /sys/block/sd*/ro; sha256sum < /dev/sda')).toMatch(
      new RegExp(`^1\n.*${sha256(content)}`),
    );
    const xml = await node.libvirtd.virsh('dumpxml', 'default.all');
    expect(xml).toMatch(
      /<driver name='qemu' type='qcow2' cache='none'\/>[^]*<serial>ROOT1<\/serial>\s*<boot order='1'\/>/,
    );
    // What a guest writes to an image is thrown away with its run; what it writes to an empty disk stays.
    await sh('all', 'echo written > $(dev IMAGE1); echo kept > $(dev SCRATCH1); sync');
    await node.operate('all', 'Restart', { restart: { force: true } });
    await untilBoots(node, 'all', 2);
    expect(await sh('all', 'sha256sum < $(dev IMAGE1)')).toContain(sha256(content));
    expect(await sh('all', 'head -c 4 $(dev SCRATCH1)')).toBe('kept');
    expect(sha256(await readFile(join(node.libvirtd.dir, 'host.raw')))).toBe(sha256(content));
    // It grows while the guest runs, keeps what is on it, and is never cut off.
    const scratch = (emptyDisk: Volume['emptyDisk']) => async (): Promise<VirtualMachine> => {
      const { spec } = await node.get('all');
      const changed = (spec.volumes ?? []).map((one) => (one.name === 'scratch' ? { ...one, emptyDisk } : one));
      return node.patch('all', { volumes: changed });
    };
    await scratch({ capacity: '16Mi', format: 'raw' })();
    await expect
      .poll(() => sh('all', 'blockdev --getsize64 $(dev SCRATCH1)'), { timeout: 120_000 })
      .toBe(String(16 * MiB));
    for (const refused of [{ capacity: '4Mi', format: 'raw' as const }, { capacity: '16Mi' }]) {
      await scratch(refused)();
      const words = refused.format === undefined ? 'made raw, not qcow2' : 'has 16Mi, and is not made smaller';
      await node.until('all', (vm) => (node.condition(vm, 'Synchronized').message ?? '').includes(words));
    }
    expect(await sh('all', 'head -c 4 $(dev SCRATCH1); blockdev --getsize64 $(dev SCRATCH1)')).toBe(
      `kept${String(16 * MiB)}`,
    );
    // … and when it is off.
    await node.patch('all', { runStrategy: 'Halted' });
    await scratch({ capacity: '24Mi', format: 'raw' })();
    await node.untilStatus('all', 'Stopped');
    const source = (await node.get('all')).status?.volumes?.find(({ name }) => name === 'scratch')?.source ?? '';
    await expect.poll(async () => (await stat(source)).size, { timeout: 120_000 }).toBe(24 * MiB);
    expect((await readFile(source)).toString('latin1', 0, 4)).toBe('kept');
    const { spec } = await node.get('all');
    await node.patch('all', { volumes: (spec.volumes ?? []).filter(({ name }) => name !== 'scratch') });
    await expect.poll(() => stat(source).then(String, String), { timeout: 120_000 }).toContain('ENOENT');
    await node.delete('all');
  });

  it('changes a medium in its drive, a disk with the next start, and breaks no saved guest meanwhile', async () => {
    const maps = node.client.resource<ConfigMapObject>(builtin.configMaps);
    const secrets = node.client.resource<SecretObject>(builtin.secrets);
    await maps.create({ apiVersion: 'v1', kind: 'ConfigMap', metadata: at('medium'), data: { colour: 'blue' } });
    await secrets.create({ apiVersion: 'v1', kind: 'Secret', metadata: at('fixed'), data: { word: base64('old') } });
    await machine('reader', [
      { name: 'scratch', emptyDisk: { capacity: '8Mi' } },
      { name: 'medium', configMap: { name: 'medium' }, cdrom: true, target: { bus: 'scsi' } },
      { name: 'fixed', secret: { name: 'fixed' }, target: { dev: 'vdc' } },
    ]);
    await untilBoots(node, 'reader', 1);
    const see = (device: string, name: string): Promise<string> =>
      sh('reader', `mkdir -p /m/x; mount -t iso9660 -o ro ${device} /m/x && cat /m/x/${name}; umount /m/x`);
    expect([await see('/dev/sr0', 'colour'), await see('/dev/vdb', 'word')]).toEqual(['blue', 'old']);
    const sources = (await node.get('reader')).status?.volumes?.map(({ source = '' }) => source) ?? [];
    // What Debian's own reader says is in it.
    const listed = await runProgram('isoinfo', ['-R', '-f', '-i', sources[1] ?? '']);
    expect(listed.trim()).toBe('/colour');
    await maps.mergePatch(at('medium'), { data: { colour: 'green' } });
    await secrets.mergePatch(at('fixed'), { data: { word: base64('new') } });
    await node.patch('reader', { terminationGracePeriodSeconds: 5 });
    await expect.poll(() => see('/dev/sr0', 'colour'), { timeout: 120_000 }).toBe('green');
    await node.until('reader', ({ status }) => (status?.restartRequired ?? []).length > 0);
    expect(await see('/dev/vdb', 'word')).toBe('old');
    expect((await stat(sources[2] ?? '')).isFile()).toBe(true);
    expect((await node.operate('reader', 'Save')).status?.phase).toBe('Succeeded');
    await node.untilStatus('reader', 'Saved');
    await node.patch('reader', { terminationGracePeriodSeconds: 6 });
    await node.untilObserved('reader');
    expect((await node.operate('reader', 'Start')).status).toMatchObject({ phase: 'Succeeded' });
    expect(await see('/dev/vdb', 'word')).toBe('old');
    await node.operate('reader', 'Restart', { restart: { force: true } });
    await untilBoots(node, 'reader', 2);
    expect([await see('/dev/sr0', 'colour'), await see('/dev/vdb', 'word')]).toEqual(['green', 'new']);
    await node.patch('reader', { terminationGracePeriodSeconds: 0 });
    await node.untilObserved('reader');
    // Nothing has the images of before any more.
    await expect(stat(sources[2] ?? '')).rejects.toThrow('ENOENT');
    await node.delete('reader');
  });

  it('says which file of the host is missing, and starts once it is there', async () => {
    const path = join(node.libvirtd.dir, 'absent.raw');
    await machine('bereft', [{ name: 'data', hostPath: { path } }], { terminationGracePeriodSeconds: 0 });
    const words = `volume data: there is no file ${path} on node node-1; a hostPath has to be there before the start`;
    const told = await node.until('bereft', (vm) => (node.condition(vm, 'Ready').message ?? '').includes(words));
    expect(told.status?.failures?.message).toContain(words);
    expect((await node.operate('bereft', 'Start')).status).toMatchObject({
      phase: 'Failed',
      message: expect.stringContaining(words) as string,
    });
    await writeFile(path, Buffer.alloc(MiB));
    expect((await node.operate('bereft', 'Start')).status).toMatchObject({ phase: 'Succeeded' });
    await node.delete('bereft');
  });

  it('plugs disks in and out by the list and by commands, and moves no other disk for it', async () => {
    await Promise.all(['root2', 'one', 'two'].map((name) => disk(name)));
    await machine('plug', [{ name: 'root', virtualDisk: 'root2' }]);
    await untilBoots(node, 'plug', 1);
    const before = await node.get('plug');
    const first = { name: 'one', virtualDisk: 'one', serial: 'ONE' };
    await node.patch('plug', { volumes: [first, ...(before.spec.volumes ?? [])] });
    await node.until('plug', (vm) => vm.status?.volumes?.find(({ name }) => name === 'one')?.phase === 'Attached');
    await expect.poll(() => sh('plug', 'cat /sys/block/*/serial'), { timeout: 120_000 }).toContain('ONE');
    expect(await virtctl('attach', 'disk', 'plug', '--disk', 'two', '--serial', 'TWO')).toMatchObject({
      stderr: '',
      exitCode: 0,
    });
    await expect.poll(() => sh('plug', 'cat /sys/block/*/serial'), { timeout: 120_000 }).toContain('TWO');
    await sh(
      'plug',
      'd=$(dev TWO); dd if=/dev/urandom of=$d bs=64k count=16 2>/dev/null; sync; sha256sum < $d > /run/two',
    );
    const targets = (vm: VirtualMachine) => vm.status?.volumes?.map(({ name, target }) => `${name}=${target ?? ''}`);
    const with2 = await node.untilObserved('plug');
    expect(await virtctl('detach', 'disk', 'plug', 'one')).toMatchObject({ exitCode: 0 });
    await expect.poll(() => sh('plug', 'cat /sys/block/*/serial'), { timeout: 120_000 }).not.toContain('ONE');
    const without = await node.until('plug', (vm) => vm.status?.volumes?.every(({ name }) => name !== 'one') === true);
    expect(targets(without)).toEqual(targets(with2)?.filter((one) => !one.startsWith('one=')));
    expect(without.status?.restartRequired ?? []).toEqual([]);
    // Another disk takes no place that is taken, and what was written is still there.
    await sh('plug', 'd=$(dev TWO); sha256sum < $d | cmp - /run/two');
    await disks.delete(at('one'));
    await gone('one');
  });

  it('lets one machine at a time write to a disk; the second waits, says for which, and goes on', async () => {
    await machine('second', [{ name: 'two', virtualDisk: 'two' }]);
    const waiting = await node.until('second', (vm) => (node.condition(vm, 'Ready').message ?? '').includes('in use'));
    expect(node.condition(waiting, 'Ready').message).toContain('VirtualDisk "two" is in use by VirtualMachine "plug"');
    expect(await node.libvirtd.virsh('list', '--name')).not.toContain('default.second');
    expect((await node.operate('plug', 'Save')).status).toMatchObject({ phase: 'Succeeded' });
    await node.untilStatus('plug', 'Saved');
    // Its saved memory expects the disk as it is.
    await node.patch('second', { terminationGracePeriodSeconds: 5 });
    const saved = await node.untilObserved('second');
    expect(node.condition(saved, 'Ready').message).toContain('in use by VirtualMachine "plug"');
    await node.delete('plug');
    await untilBoots(node, 'second', 1);
    await disks.delete(at('two'));
    await expect
      .poll(async () => (await disks.get(at('two'))).status?.message, { timeout: 120_000 })
      .toBe('deletion waits for VirtualMachine second');
    // Who has it already goes on with it.
    await node.patch('second', { terminationGracePeriodSeconds: 6 });
    expect(node.condition(await node.untilObserved('second'), 'Ready')).toMatchObject({ status: 'True' });
    await node.delete('second');
    await gone('two');
  });

  it('lets machines share a disk that is shareable in both', async () => {
    await disk('shared', { format: 'raw', capacity: '8Mi' });
    const volumes = [{ name: 'shared', virtualDisk: 'shared', shareable: true, cache: 'none' as const }];
    await Promise.all(['left', 'right'].map((name) => machine(name, volumes)));
    await Promise.all(['left', 'right'].map((name) => untilBoots(node, name, 1)));
    await sh('left', 'echo from-left | dd of=/dev/vda bs=512 seek=12288 conv=sync,fsync 2>/dev/null');
    expect(
      await sh(
        'right',
        'echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/vda bs=512 skip=12288 count=1 2>/dev/null | head -c 9',
      ),
    ).toBe('from-left');
    const kept = await virtctl('delete', 'vm', 'left', '--with-disks', '--force');
    expect(kept).toMatchObject({ exitCode: 0, stderr: 'vdisk/shared stays: vm/right has it too\n' });
    const both = await virtctl('delete', 'vm', 'right', '--with-disks', '--force');
    expect(both.stdout).toBe('virtualmachine.virtctl.dev/right deleted\nvirtualdisk.virtctl.dev/shared deleted\n');
    expect(await disks.find(at('shared'))).toBeUndefined();
  });

  it('keeps disks unless told otherwise, and what is protected stays whoever deletes it', async () => {
    await disk('safe');
    await node.create('guarded', {
      deletionProtection: true,
      runStrategy: 'Always',
      volumes: [{ name: 'safe', virtualDisk: 'safe' }],
      domain: { type: 'qemu', memory: { unit: 'MiB', value: 64 } },
    });
    await node.untilStatus('guarded', 'Running');
    const refused = await virtctl('delete', 'vm', 'guarded', '--with-disks');
    expect(refused).toMatchObject({ exitCode: 8, stderr: expect.stringContaining('is protected') as string });
    // As kubectl does, past our command; with or without admission the guest goes on.
    await node.machines.delete(at('guarded')).catch((error: unknown) => {
      expect(String(error)).toContain('is protected');
    });
    const left = await node.get('guarded');
    if (left.metadata.deletionTimestamp !== undefined) {
      const held = await node.untilStatus('guarded', 'Terminating');
      expect(node.condition(held, 'Ready').message).toContain('it is protected');
      await node.untilEvents('guarded', ['DeletionProtected']);
    }
    expect(await node.libvirtd.virsh('list', '--name')).toContain('default.guarded');
    await node.patch('guarded', { deletionProtection: false });
    const deleted = await virtctl('delete', 'vm', 'guarded', '--keep-disks', '--force');
    expect(deleted.exitCode).toBe(0);
    const { status } = await disks.get(at('safe'));
    expect(status?.phase).toBe('Ready');
    expect((await stat(status?.path ?? '')).isFile()).toBe(true);
  });
});
