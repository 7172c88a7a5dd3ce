import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resourceOf, startExecutorNode, type ExecutorNode } from '../support/executor-node.ts';
import { runProgram } from '../support/run-program.ts';
import type { VirtualDisk } from '../../src/api/virtual-disk.ts';
import type { VirtualImage, VirtualImageSpec } from '../../src/api/virtual-image.ts';
import type { VirtualPool } from '../../src/api/virtual-pool.ts';
import type { ResourceClient } from '../../src/kube/resource-client.ts';

const MiB = 1024 * 1024;
const sha256 = (data: Buffer): string => createHash('sha256').update(data).digest('hex');

describe('images on real libvirt', () => {
  let node: ExecutorNode;
  let images: ResourceClient<VirtualImage>;
  let folder: string;
  let server: Server;
  let served = Buffer.alloc(0);
  /** Where the server cuts the next answers off, in bytes of the whole file. */
  let cuts: number[] = [];
  let ranges: (string | undefined)[] = [];
  const disk = randomBytes(4 * MiB);

  beforeAll(async () => {
    node = await startExecutorNode();
    images = node.client.resource(resourceOf('VirtualImage'));
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
    server = createServer((request, response) => {
      ranges.push(request.headers.range);
      const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
      const isPart = from > 0 && request.headers['if-range'] === '"one"';
      const start = isPart ? from : 0;
      response.writeHead(isPart ? 206 : 200, {
        etag: '"one"',
        'content-length': served.length - start,
        ...(isPart ? { 'content-range': `bytes ${start}-${served.length - 1}/${served.length}` } : {}),
      });
      const cut = cuts.shift();
      if (cut === undefined) response.end(served.subarray(start));
      else response.write(served.subarray(start, cut), () => response.destroy());
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  afterAll(async () => {
    server.closeAllConnections();
    server.close();
    await node.close();
  });

  const at = (name: string) => ({ namespace: 'default', name });
  const make = (name: string, spec: VirtualImageSpec): Promise<VirtualImage> =>
    images.create({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualImage',
      metadata: at(name),
      spec: { pool: 'local', ...spec },
    });
  async function until(name: string, phase: string): Promise<VirtualImage> {
    const end = Date.now() + 120_000;
    for (;;) {
      const image = await images.get(at(name));
      if (image.status?.phase === phase) return image;
      if (Date.now() > end) throw new Error(`${JSON.stringify(image, null, 1)}\n${(await node.log()).slice(-2500)}`);
      await delay(50);
    }
  }
  const reason = (image: VirtualImage) => image.status?.conditions?.find(({ type }) => type === 'Ready')?.reason;
  const url = (): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}/image`;
  const raw = async (path: string): Promise<Buffer> => {
    const flat = join(node.libvirtd.dir, 'flat.raw');
    await runProgram('qemu-img', ['convert', '-O', 'raw', path, flat]);
    return readFile(flat);
  };

  it('takes a file of the node, and a disk made from it holds the same', async () => {
    const path = join(node.libvirtd.dir, 'disk.raw');
    await writeFile(path, disk);
    await make('local', { source: { file: { path, checksum: `sha256:${sha256(disk)}` } } });
    const image = await until('local', 'Ready');
    expect(image.status).toMatchObject({ sourceFormat: 'raw', format: 'qcow2', virtualSize: '4Mi' });
    const made = image.status?.nodes?.[0]?.path ?? '';
    expect(made).toBe(join(folder, 'image_default.local.qcow2'));
    expect(sha256(await raw(made))).toBe(sha256(disk));
    const disks = node.client.resource<VirtualDisk>(resourceOf('VirtualDisk'));
    for (const mode of ['Copy', 'Overlay'] as const) {
      const name = `of-${mode.toLowerCase()}`;
      await disks.create({
        apiVersion: 'virtctl.dev/v1alpha1',
        kind: 'VirtualDisk',
        metadata: at(name),
        spec: { pool: 'local', nodeName: 'node-1', capacity: '8Mi', source: { image: { name: 'local', mode } } },
      });
      const end = Date.now() + 120_000;
      let found = await disks.get(at(name));
      for (; found.status?.phase !== 'Ready'; found = await disks.get(at(name))) {
        if (Date.now() > end) throw new Error(`${JSON.stringify(found.status)}\n${(await node.log()).slice(-2500)}`);
        await delay(50);
      }
      expect(found.status.capacity).toBe('8Mi');
      expect(sha256((await raw(found.status.path ?? '')).subarray(0, 4 * MiB))).toBe(sha256(disk));
    }
    await images.delete(at('local'));
    const end = Date.now() + 120_000;
    let waiting = await images.get(at('local'));
    for (; waiting.status?.message === undefined; waiting = await images.get(at('local'))) {
      if (Date.now() > end) throw new Error(JSON.stringify(waiting.status));
      await delay(50);
    }
    expect(waiting.status.message).toBe('deletion waits for VirtualDisk of-overlay');
    expect(waiting.status.conditions?.find(({ type }) => type === 'InUse')).toMatchObject({
      status: 'True',
      message: 'deletion waits for VirtualDisk of-overlay',
    });
    expect((await stat(made)).isFile()).toBe(true);
  });

  it('is not deleted under a file that somebody laid over it a moment ago', async () => {
    const path = join(node.libvirtd.dir, 'under.raw');
    await writeFile(path, disk.subarray(0, MiB));
    await make('under', { pool: 'local', source: { file: { path } } });
    const made = (await until('under', 'Ready')).status?.nodes?.[0]?.path ?? '';
    const over = join(folder, 'by-hand.qcow2');
    // By a path that is seen from the folder, as many write it.
    await runProgram('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', basename(made), '-F', 'qcow2', over]);
    await images.delete(at('under'));
    const end = Date.now() + 120_000;
    let waiting = await images.get(at('under'));
    for (; waiting.status?.message === undefined; waiting = await images.get(at('under'))) {
      if (Date.now() > end) throw new Error(JSON.stringify(waiting.status));
      await delay(50);
    }
    expect(waiting.status.message).toBe(`deletion waits for file ${over}`);
    expect(waiting.status.conditions?.find(({ type }) => type === 'InUse')).toMatchObject({
      status: 'True',
      message: `deletion waits for file ${over}`,
    });
    expect((await stat(made)).isFile()).toBe(true);
    await rm(over);
    for (let left = await images.find(at('under')); left !== undefined; left = await images.find(at('under'))) {
      if (Date.now() > end) throw new Error(JSON.stringify(left.status));
      await delay(50);
    }
    await expect(stat(made)).rejects.toThrow('ENOENT');
  });

  it('is not deleted under a domain that has its file, whoever made it', async () => {
    const path = join(node.libvirtd.dir, 'named.raw');
    await writeFile(path, disk.subarray(0, MiB));
    await make('named', { pool: 'local', source: { file: { path } } });
    const made = (await until('named', 'Ready')).status?.nodes?.[0]?.path ?? '';
    const xml = join(node.libvirtd.dir, 'outsider.xml');
    await writeFile(
      xml,
      `<domain type='qemu'><name>outsider</name><memory unit='MiB'>32</memory>
       <os><type arch='x86_64' machine='q35'>hvm</type></os><devices><disk type='file' device='disk'>
       <source file='${made}'/><target dev='vda' bus='virtio'/></disk></devices></domain>`,
    );
    await node.libvirtd.virsh('define', xml);
    await images.delete(at('named'));
    await expect
      .poll(async () => (await images.get(at('named'))).status?.message, { timeout: 120_000 })
      .toBe('deletion waits for domain outsider');
    expect((await stat(made)).isFile()).toBe(true);
    await node.libvirtd.virsh('undefine', 'outsider');
    await expect.poll(() => images.find(at('named')), { timeout: 120_000 }).toBeUndefined();
  });

  it('waits with its deletion for a pool that is stopped, and says so; tells what it leaves where the pool is no more', async () => {
    const pools = node.client.resource<VirtualPool>(resourceOf('VirtualPool'));
    await pools.create({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualPool',
      metadata: { name: 'passing' },
      spec: { pool: { type: 'dir', target: { path: join(node.libvirtd.dir, 'passing') } } },
    });
    const path = join(node.libvirtd.dir, 'small.raw');
    await writeFile(path, disk.subarray(0, MiB));
    for (const name of ['stopped', 'bereft']) await make(name, { pool: 'passing', source: { file: { path } } });
    const made = (await until('stopped', 'Ready')).status?.nodes?.[0]?.path ?? '';
    const left = (await until('bereft', 'Ready')).status?.nodes?.[0]?.path ?? '';
    const untilPool = async (holds: (pool: VirtualPool | undefined) => boolean): Promise<void> => {
      const end = Date.now() + 120_000;
      for (
        let pool = await pools.find({ name: 'passing' });
        !holds(pool);
        pool = await pools.find({ name: 'passing' })
      ) {
        if (Date.now() > end) throw new Error(`${JSON.stringify(pool, null, 1)}\n${(await node.log()).slice(-2500)}`);
        await delay(50);
      }
    };
    const untilGone = async (name: string): Promise<void> => {
      const end = Date.now() + 120_000;
      for (let one = await images.find(at(name)); one !== undefined; one = await images.find(at(name))) {
        if (Date.now() > end) throw new Error(`${JSON.stringify(one, null, 1)}\n${(await node.log()).slice(-2500)}`);
        await delay(50);
      }
    };
    await pools.mergePatch({ name: 'passing' }, { spec: { active: false } });
    await untilPool((pool) => pool?.status?.nodes?.[0]?.state === 'inactive');
    await images.delete(at('stopped'));
    const waiting = await until('stopped', 'Deleting');
    expect(waiting.status?.message).toBe('deletion waits: pool passing does not run on node node-1');
    expect(reason(waiting)).toBe('PoolNotReady');
    await pools.mergePatch({ name: 'passing' }, { spec: { active: true } });
    await untilGone('stopped');
    await expect(stat(made)).rejects.toThrow('ENOENT');

    // Somebody takes the pool's object away by force.
    await pools.delete({ name: 'passing' });
    await pools.mergePatch({ name: 'passing' }, { metadata: { finalizers: null } });
    await untilPool((pool) => pool === undefined);
    await images.delete(at('bereft'));
    await untilGone('bereft');
    expect((await stat(left)).isFile()).toBe(true);
    const end = Date.now() + 120_000;
    for (;;) {
      const { items } = await node.events.listAll({ namespace: 'default' });
      const event = items.find((one) => one.regarding?.name === 'bereft' && one.reason === 'VolumeLeft');
      if (event !== undefined) {
        expect(event.note).toBe(`${left} is left on node node-1: there is no VirtualPool "passing" any more`);
        break;
      }
      if (Date.now() > end) throw new Error(JSON.stringify(items));
      await delay(50);
    }
  });

  it('goes on where the server cut a download off, at every tenth', async () => {
    served = Buffer.from(disk);
    cuts = Array.from({ length: 9 }, (_, index) => Math.floor((served.length * (index + 1)) / 10));
    ranges = [];
    await make('web', { format: 'raw', source: { http: { url: url(), checksum: `sha256:${sha256(served)}` } } });
    const image = await until('web', 'Ready');
    expect(sha256(await readFile(image.status?.nodes?.[0]?.path ?? ''))).toBe(sha256(disk));
    expect(ranges).toHaveLength(10);
    expect(ranges.filter((one) => one !== undefined).length).toBeGreaterThan(0);
  });

  it('unpacks what is compressed', async () => {
    served = gzipSync(disk);
    cuts = [];
    await make('packed', { format: 'raw', source: { http: { url: url(), checksum: 'none' } } });
    const image = await until('packed', 'Ready');
    expect(sha256(await readFile(image.status?.nodes?.[0]?.path ?? ''))).toBe(sha256(disk));
    expect(image.status?.checksum).toBe(`sha256:${sha256(served)}`);
  });

  it('brings a file that cannot be unpacked anew, until its source is mended', async () => {
    const packed = gzipSync(disk);
    served = packed.subarray(0, packed.length / 2);
    cuts = [];
    await make('broken', { format: 'raw', source: { http: { url: url(), checksum: 'none' } } });
    const end = Date.now() + 120_000;
    for (;;) {
      const { status } = await images.get(at('broken'));
      if (status?.message?.startsWith('cannot unpack it: ') === true) break;
      if (Date.now() > end) throw new Error(`${JSON.stringify(status)}\n${(await node.log()).slice(-2500)}`);
      await delay(50);
    }
    served = packed;
    const image = await until('broken', 'Ready');
    expect(sha256(await readFile(image.status?.nodes?.[0]?.path ?? ''))).toBe(sha256(disk));
    expect(image.status?.message).toBeUndefined();
  });

  it('refuses a wrong checksum, a backing file of the host and an absurd size, and keeps nothing of them', async () => {
    served = Buffer.from(disk);
    await make('wrong', { source: { http: { url: url(), checksum: `sha256:${'0'.repeat(64)}` } } });
    expect(reason(await until('wrong', 'Failed'))).toBe('ChecksumMismatch');
    const path = join(node.libvirtd.dir, 'evil.qcow2');
    await runProgram('qemu-img', ['create', '-q', '-f', 'qcow2', '-u', '-b', '/etc/shadow', '-F', 'raw', path, '1M']);
    await make('evil', { source: { file: { path } } });
    const evil = await until('evil', 'Failed');
    expect(reason(evil)).toBe('UnsafeImage');
    expect(evil.status?.message).toContain('"/etc/shadow"');
    const huge = join(node.libvirtd.dir, 'huge.qcow2');
    await runProgram('qemu-img', ['create', '-q', '-f', 'qcow2', huge, '100T']);
    await make('huge', { source: { file: { path: huge } } });
    expect((await until('huge', 'Failed')).status?.message).toContain('100Ti large');
    for (const name of ['wrong', 'evil', 'huge']) {
      await expect(stat(join(folder, `image_default.${name}.qcow2`))).rejects.toThrow('ENOENT');
    }
  });

  it('keeps nothing of a volume that was begun when its source was still another', async () => {
    const path = join(node.libvirtd.dir, 'changed.qcow2');
    await runProgram('qemu-img', ['create', '-q', '-f', 'qcow2', '-u', '-b', '/etc/shadow', '-F', 'raw', path, '1M']);
    // As an executor leaves it that was killed while it sent the file into the pool.
    await node.stopExecutor('SIGKILL');
    await make('changed', { source: { file: { path } } });
    const nodes = [{ nodeName: 'node-1', phase: 'Converting' as const }];
    await images.mergePatch(at('changed'), { status: { nodes } }, { subresource: 'status' });
    await node.libvirtd.virsh('vol-create-as', 'local', 'image_default.changed.qcow2', '1M');
    await node.startExecutor();
    expect(reason(await until('changed', 'Failed'))).toBe('UnsafeImage');
    await expect(stat(join(folder, 'image_default.changed.qcow2'))).rejects.toThrow('ENOENT');
  });
});
