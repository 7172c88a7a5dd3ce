import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { open, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commandLine, type CommandResult, type CommandSurroundings } from '../support/command-line.ts';
import { resourceOf, startExecutorNode, type ExecutorNode } from '../support/executor-node.ts';
import { runProgram } from '../support/run-program.ts';
import type { VirtualDisk } from '../../src/api/virtual-disk.ts';
import type { VirtualImage } from '../../src/api/virtual-image.ts';
import type { VirtualPool } from '../../src/api/virtual-pool.ts';
import type { ResourceClient } from '../../src/kube/resource-client.ts';

const MiB = 1024 * 1024;
const sha256 = (data: Buffer): string => createHash('sha256').update(data).digest('hex');

describe('sending and fetching images on real libvirt', () => {
  let node: ExecutorNode;
  let images: ResourceClient<VirtualImage>;
  let disks: ResourceClient<VirtualDisk>;
  let folder: string;
  /** A disk with data at its beginning and end, and a hole between. */
  const disk = Buffer.concat([randomBytes(2 * MiB), Buffer.alloc(12 * MiB), randomBytes(2 * MiB)]);

  beforeAll(async () => {
    node = await startExecutorNode();
    images = node.client.resource(resourceOf('VirtualImage'));
    disks = node.client.resource(resourceOf('VirtualDisk'));
    folder = join(node.libvirtd.dir, 'pool');
    const pools = node.client.resource<VirtualPool>(resourceOf('VirtualPool'));
    await pools.create({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualPool',
      metadata: { name: 'local' },
      spec: { pool: { type: 'dir', target: { path: folder } } },
    });
    for (const end = Date.now() + 120_000; (await pools.get({ name: 'local' })).status?.summary !== '1/1';) {
      if (Date.now() > end) throw new Error((await node.log()).slice(-2500));
      await delay(50);
    }
    await writeFile(file('disk.raw'), disk);
    await runProgram('qemu-img', ['convert', '-O', 'qcow2', file('disk.raw'), file('disk.qcow2')]);
  });
  afterAll(async () => {
    await node.close();
  });

  const at = (name: string) => ({ namespace: 'default', name });
  const file = (name: string): string => join(node.libvirtd.dir, name);
  const virtctl = (args: readonly string[], more: CommandSurroundings = {}): Promise<CommandResult> =>
    commandLine([...args, '--kubeconfig', node.kubeconfig, '--connect', node.libvirtd.uri], more);
  const done = async (...args: readonly string[]): Promise<string> => {
    const result = await virtctl(args);
    if (result.exitCode !== 0) throw new Error(`${result.stderr}\n${(await node.log()).slice(-1500)}`);
    return result.stdout;
  };
  async function until(name: string, holds: (image: VirtualImage) => boolean): Promise<VirtualImage> {
    const end = Date.now() + 120_000;
    for (;;) {
      const image = await images.get(at(name));
      if (holds(image)) return image;
      if (Date.now() > end) throw new Error(`${JSON.stringify(image, null, 1)}\n${(await node.log()).slice(-2500)}`);
      await delay(50);
    }
  }
  const content = async (path: string): Promise<string> => {
    const flat = file('flat.raw');
    await runProgram('qemu-img', ['convert', '-O', 'raw', path, flat]);
    return sha256(await readFile(flat));
  };

  it('sends a file, takes it in where it lies, and gives it back byte for byte, sparse', async () => {
    const sum = sha256(await readFile(file('disk.qcow2')));
    const said = await done(
      'image',
      'upload',
      'up',
      file('disk.qcow2'),
      '--pool',
      'local',
      '--checksum',
      `sha256:${sum}`,
    );
    expect(said).toBe(`vimg/up uploaded (sha256:${sum})\n`);
    const image = await images.get(at('up'));
    expect(image.status).toMatchObject({ phase: 'Ready', sourceFormat: 'qcow2', virtualSize: '16Mi' });
    expect(image.status?.checksum).toBe(`sha256:${sum}`);
    expect(await content(join(folder, 'image_default.up.qcow2'))).toBe(sha256(disk));
    expect(await done('image', 'download', 'up', file('back.qcow2'))).toContain(`sha256:${sum}`);
    expect(sha256(await readFile(file('back.qcow2')))).toBe(sum);
    const again = await virtctl(['image', 'download', 'up', file('back.qcow2')]);
    expect(again).toMatchObject({ exitCode: 4, stderr: expect.stringContaining('exists already') as string });
    expect(await virtctl(['image', 'upload', 'up', file('disk.qcow2')])).toMatchObject({ exitCode: 4 });
    // What was changed in the pool since is not taken for the image.
    await writeFile(join(folder, 'image_default.up.qcow2'), randomBytes(1000), { flag: 'r+' });
    const damaged = await virtctl(['image', 'download', 'up', file('damaged.qcow2')]);
    expect(damaged).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('what arrived is not vimg/up') as string,
    });
    await expect(stat(file('damaged.qcow2'))).rejects.toThrow('ENOENT');
    await expect(stat(file('damaged.qcow2.part'))).rejects.toThrow('ENOENT');
  });

  it('converts and unpacks what is sent in another form, and keeps holes', async () => {
    await writeFile(file('disk.raw.gz'), gzipSync(disk));
    await done('image', 'upload', 'packed', file('disk.raw.gz'), '--pool', 'local');
    expect(await content(join(folder, 'image_default.packed.qcow2'))).toBe(sha256(disk));
    await done('image', 'upload', 'flat', file('disk.raw'), '--pool', 'local', '--format', 'raw');
    expect((await stat(join(folder, 'image_default.flat.raw'))).blocks * 512).toBeLessThan(6 * MiB);
    await done('image', 'download', 'flat', file('flat-back.raw'));
    expect(sha256(await readFile(file('flat-back.raw')))).toBe(sha256(disk));
    expect((await stat(file('flat-back.raw'))).blocks * 512).toBeLessThan(6 * MiB);
  });

  it('takes vmdk, vdi and vhdx, and refuses what is empty or no file', async () => {
    for (const format of ['vmdk', 'vdi', 'vhdx']) {
      await runProgram('qemu-img', ['convert', '-O', format, file('disk.raw'), file(`disk.${format}`)]);
      await done('image', 'upload', format, file(`disk.${format}`), '--pool', 'local');
      expect((await images.get(at(format))).status).toMatchObject({ sourceFormat: format, format: 'qcow2' });
      expect(await content(join(folder, `image_default.${format}.qcow2`))).toBe(sha256(disk));
    }
    await writeFile(file('nothing'), '');
    const empty = await virtctl(['image', 'upload', 'none', file('nothing')]);
    expect(empty).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('nothing is empty') as string });
    const dir = await virtctl(['image', 'upload', 'none', folder]);
    expect(dir).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('is no file') as string });
    const nowhere = await virtctl(['image', 'upload', 'none', file('disk.raw'), '--pool', 'nowhere']);
    expect(nowhere).toMatchObject({ exitCode: 3, stderr: expect.stringContaining('"nowhere" not found') as string });
    const stop = ['pool', 'stop', 'default', '--kubeconfig', node.kubeconfig];
    expect(await commandLine(stop)).toMatchObject({ exitCode: 0 });
    const stopped = await virtctl(['image', 'upload', 'none', file('disk.raw')]);
    expect(stopped).toMatchObject({
      exitCode: 4,
      stderr: expect.stringContaining('vpool/default does not run on node node-1') as string,
    });
    expect(await images.find(at('none'))).toBeUndefined();
  });

  it('does not wait for an image that is being taken in already', async () => {
    await done('image', 'upload', 'twice', file('disk.raw'), '--pool', 'local', '--no-wait');
    const second = await virtctl(['image', 'upload', 'twice', file('disk.raw'), '--timeout', '120s']);
    // Before it was taken in, it is sent again; from then on it is refused.
    expect([0, 4]).toContain(second.exitCode);
    await until('twice', ({ status }) => status?.phase === 'Ready');
    expect(await content(join(folder, 'image_default.twice.qcow2'))).toBe(sha256(disk));
  });

  it('says on a machine that is no node how a node is reached from there', async () => {
    const there = ['--kubeconfig', node.kubeconfig, '--connect', `qemu+unix:///system?socket=${file('none.sock')}`];
    const result = await commandLine(['image', 'upload', 'far', file('disk.qcow2'), ...there]);
    expect(result.exitCode).toBe(6);
    expect(result.stderr).toContain('run this on a node (node-1), or reach its libvirt from here');
    expect(result.stderr).toContain('ssh -nNT -L /tmp/libvirt-sock:/run/libvirt/libvirt-sock root@node-1');
    expect(await images.find(at('far'))).toBeUndefined();
  });

  it('writes an image to stdout, and leaves nothing where it is interrupted or finds no space', async () => {
    const args = ['--kubeconfig', node.kubeconfig, '--connect', node.libvirtd.uri];
    const program = [process.execPath, '--import', 'tsx', join(import.meta.dirname, '../../bin/virtctl.ts')];
    const out = await open(file('stdout.raw'), 'w');
    const child = spawn(program[0] ?? '', [...program.slice(1), 'image', 'download', 'flat', '-', ...args], {
      stdio: ['ignore', out.fd, 'pipe'],
      cwd: join(import.meta.dirname, '../..'),
    });
    const said = child.stderr === null ? '' : await text(child.stderr);
    await out.close();
    expect(sha256(await readFile(file('stdout.raw')))).toBe(sha256(disk));
    expect(said).toContain(`vimg/flat written to stdout (${disk.length} bytes, sha256:${sha256(disk)})`);
    const over = new AbortController();
    const cut = virtctl(['image', 'download', 'flat', file('cut.raw')], { signal: over.signal });
    const parts = async (): Promise<string[]> =>
      (await readdir(dirname(file('cut.raw')))).filter((name) => name.startsWith('cut.raw.'));
    for (const end = Date.now() + 120_000; (await parts()).length === 0;) {
      if (Date.now() > end) throw new Error('no byte arrived');
      await delay(1);
    }
    over.abort(new Error('interrupted'));
    // Over before it was interrupted, or cut off: never half a file.
    const { exitCode } = await cut;
    const left = await readFile(file('cut.raw')).catch(() => undefined);
    expect([exitCode === 0, left === undefined ? undefined : sha256(left)]).toEqual(
      exitCode === 0 ? [true, sha256(disk)] : [false, undefined],
    );
    expect(await parts()).toEqual([]);
    const small = file('small');
    await node.libvirtd.exec('mkdir', '-p', small);
    await node.libvirtd.exec('mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', small);
    // Its mounts, and our network.
    const inside = ['-t', String(node.libvirtd.pid), '-m', `--wd=${join(import.meta.dirname, '../..')}`, '--'];
    const full = runProgram('nsenter', [
      ...inside,
      ...program,
      'image',
      'download',
      'flat',
      `${small}/flat.raw`,
      ...args,
    ]);
    await expect(full).rejects.toThrow(/there is no space left for .*flat\.raw/);
    expect(await node.libvirtd.exec('ls', small)).toBe('');
    const folderGiven = await virtctl(['image', 'download', 'flat', folder, '--force']);
    expect(folderGiven).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('is a folder') as string });
    await runProgram('mkfifo', [file('pipe')]);
    const pipeGiven = await virtctl(['image', 'download', 'flat', file('pipe'), '--force']);
    expect(pipeGiven).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('pipe is no file') as string });
    expect((await stat(file('pipe'))).isFIFO()).toBe(true);
  });

  it('tells of an upload that was cut off, and of how it is ended', async () => {
    const large = Buffer.concat([randomBytes(64 * MiB), disk]);
    await writeFile(file('large.raw'), large);
    const over = new AbortController();
    const cut = virtctl(['image', 'upload', 'cut', file('large.raw'), '--pool', 'local', '--format', 'raw'], {
      signal: over.signal,
    });
    const path = join(folder, 'image_default.cut.raw');
    for (const end = Date.now() + 120_000; ((await stat(path).catch(() => undefined))?.blocks ?? 0) === 0;) {
      if (Date.now() > end) throw new Error('no byte arrived');
      await delay(2);
    }
    over.abort(new Error('interrupted'));
    expect((await cut).exitCode).not.toBe(0);
    const waiting = await until('cut', ({ status }) => (status?.message ?? '').includes('has begun'));
    expect(waiting.status).toMatchObject({ phase: 'WaitForUpload', progress: { totalBytes: large.length } });
    expect(waiting.status?.message).toContain(
      'if it was cut off, the same command goes on with it: virtctl image upload cut FILE',
    );
    await done('image', 'upload', 'cut', file('large.raw'));
    expect(sha256(await readFile(path))).toBe(sha256(large));
    await images.delete(at('cut'));
    for (const end = Date.now() + 120_000; (await images.find(at('cut'))) !== undefined;) {
      if (Date.now() > end) throw new Error((await node.log()).slice(-2500));
      await delay(50);
    }
    await expect(stat(path)).rejects.toThrow('ENOENT');
  });

  it('refuses what is sent and lies over a file of the host, keeps nothing of it, and takes another', async () => {
    await runProgram('qemu-img', [
      ...['create', '-q', '-f', 'qcow2', '-u', '-b', '/etc/shadow', '-F', 'raw', file('evil.qcow2'), '1M'],
    ]);
    const refused = await virtctl(['image', 'upload', 'evil', file('evil.qcow2'), '--pool', 'local']);
    expect(refused).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('"/etc/shadow"') as string });
    await expect(stat(join(folder, 'image_default.evil.qcow2'))).rejects.toThrow('ENOENT');
    const sum = `sha256:${'0'.repeat(64)}`;
    const wrong = await virtctl(['image', 'upload', 'wrong', file('disk.raw'), '--pool', 'local', '--checksum', sum]);
    expect(wrong).toMatchObject({ exitCode: 1, stderr: expect.stringContaining(`not ${sum}`) as string });
    expect((await images.get(at('wrong'))).status?.phase).toBe('Failed');
    const packed = gzipSync(randomBytes(MiB));
    await writeFile(file('cut.raw.gz'), packed.subarray(0, packed.length / 2));
    const cut = await virtctl(['image', 'upload', 'cut', file('cut.raw.gz'), '--pool', 'local']);
    expect(cut).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('cannot unpack it') as string });
    expect((await images.get(at('cut'))).status?.phase).toBe('Failed');
    await done('image', 'upload', 'evil', file('disk.qcow2'));
    expect(await content(join(folder, 'image_default.evil.qcow2'))).toBe(sha256(disk));
  });

  it('never touches a volume that it did not make', async () => {
    const path = join(folder, 'image_default.theirs.qcow2');
    await writeFile(path, 'theirs');
    await node.libvirtd.virsh('pool-refresh', 'local');
    const args = ['image', 'upload', 'theirs', file('disk.qcow2'), '--pool', 'local', '--timeout', '3s'];
    expect((await virtctl(args)).exitCode).not.toBe(0);
    const image = await until('theirs', ({ status }) => (status?.message ?? '').includes('did not make'));
    expect(image.status?.phase).toBe('Pending');
    await images.delete(at('theirs'));
    for (const end = Date.now() + 120_000; (await images.find(at('theirs'))) !== undefined;) {
      if (Date.now() > end) throw new Error((await node.log()).slice(-2500));
      await delay(50);
    }
    expect(await readFile(path, 'utf8')).toBe('theirs');
  });

  it('makes an image of a disk, and writes a disk to a file, but none that a machine writes to', async () => {
    await done('image', 'upload', 'base', file('disk.qcow2'), '--pool', 'local');
    await disks.create({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualDisk',
      metadata: at('root'),
      spec: { pool: 'local', nodeName: 'node-1', format: 'raw', source: { image: { name: 'base' } } },
    });
    // Both wait: the image for the disk, the disk for its turn.
    await images.create({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualImage',
      metadata: at('golden'),
      spec: { pool: 'local', source: { disk: { name: 'root' } } },
    });
    const golden = await until('golden', ({ status }) => status?.phase === 'Ready');
    expect(golden.status).toMatchObject({ sourceFormat: 'raw', format: 'qcow2', virtualSize: '16Mi' });
    expect(await content(golden.status?.nodes?.[0]?.path ?? '')).toBe(sha256(disk));
    await done('image', 'download', 'disk/root', file('root.raw'));
    expect(sha256(await readFile(file('root.raw')))).toBe(sha256(disk));
    await node.create('writer', {
      runStrategy: 'Always',
      terminationGracePeriodSeconds: 0,
      volumes: [{ name: 'root', virtualDisk: 'root' }],
      domain: { type: 'qemu', memory: { unit: 'MiB', value: 64 } },
    });
    await node.untilStatus('writer', 'Running');
    const refused = await virtctl(['disk', 'download', 'root', file('root2.raw')]);
    expect(refused).toMatchObject({ exitCode: 4, stderr: expect.stringContaining('default.writer') as string });
    await node.delete('writer');
  });

  it('resizes disks by name, and shrinks none unless told to', async () => {
    const plain = (...args: readonly string[]) => commandLine(['disk', ...args, '--kubeconfig', node.kubeconfig]);
    await disks.create({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualDisk',
      metadata: at('size'),
      spec: { pool: 'local', nodeName: 'node-1', capacity: '4Mi', format: 'raw' },
    });
    for (const end = Date.now() + 120_000; (await disks.get(at('size'))).status?.phase !== 'Ready';) {
      if (Date.now() > end) throw new Error((await node.log()).slice(-2500));
      await delay(50);
    }
    expect(await plain('resize', 'size', '+4Mi')).toMatchObject({ exitCode: 0, stdout: 'vdisk/size resized to 8Mi\n' });
    expect((await stat(join(folder, 'default.size.raw'))).size).toBe(8 * MiB);
    const refused = await plain('resize', 'size', '2Mi');
    expect(refused).toMatchObject({
      exitCode: 4,
      stderr: expect.stringContaining('destroys what is stored') as string,
    });
    expect(await plain('resize', 'size', '2Mi', '--shrink')).toMatchObject({ exitCode: 0 });
    expect((await stat(join(folder, 'default.size.raw'))).size).toBe(2 * MiB);
  });
});
