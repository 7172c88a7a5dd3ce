import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, readFile, readdir, stat, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commandLine } from '../support/command-line.ts';
import { resourceOf, startExecutorNode, type ExecutorNode } from '../support/executor-node.ts';
import { runProgram } from '../support/run-program.ts';
import type { VirtualDisk, VirtualDiskSpec } from '../../src/api/virtual-disk.ts';
import type { VirtualImage, VirtualImageSpec } from '../../src/api/virtual-image.ts';
import type { VirtualPool } from '../../src/api/virtual-pool.ts';
import type { ResourceClient } from '../../src/kube/resource-client.ts';

const MiB = 1024 * 1024;
const sha256 = (data: Buffer): string => createHash('sha256').update(data).digest('hex');

/** Whoever is killed in the middle of something: afterwards it is done, once, and nothing is lost or left over. */
describe('storage when the executor or libvirtd is killed, or there is no space', () => {
  let node: ExecutorNode;
  let images: ResourceClient<VirtualImage>;
  let disks: ResourceClient<VirtualDisk>;
  let server: Server;
  let folder: string;
  /** Told when the server has sent so many bytes of an answer; it waits until it is released. */
  let onHalf: (() => void) | undefined;
  const content = Buffer.concat([randomBytes(24 * MiB), Buffer.alloc(8 * MiB), randomBytes(4 * MiB)]);
  const sum = sha256(content);

  beforeAll(async () => {
    node = await startExecutorNode();
    images = node.client.resource(resourceOf('VirtualImage'));
    disks = node.client.resource(resourceOf('VirtualDisk'));
    folder = await makePool('local', join(node.libvirtd.dir, 'pool'));
    await writeFile(join(node.libvirtd.dir, 'disk.raw'), content);
    server = createServer((request, response) => {
      const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
      const head = { etag: '"one"', 'content-length': content.length - from };
      const range = `bytes ${from}-${content.length - 1}/${content.length}`;
      response.writeHead(from > 0 ? 206 : 200, from > 0 ? { ...head, 'content-range': range } : head);
      const half = content.length / 2;
      const tell = onHalf;
      if (tell === undefined || from >= half) response.end(content.subarray(from));
      else response.write(content.subarray(from, half), () => tell());
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  afterAll(async () => {
    server.closeAllConnections();
    server.close();
    await node.close();
  });

  async function makePool(name: string, path: string): Promise<string> {
    const pools = node.client.resource<VirtualPool>(resourceOf('VirtualPool'));
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
  const at = (name: string) => ({ namespace: 'default', name });
  const url = (): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}/image`;
  const file = (name: string): string => join(node.libvirtd.dir, name);
  async function until<T extends object>(read: () => Promise<T>, holds: (object: T) => boolean): Promise<T> {
    const end = Date.now() + 120_000;
    for (;;) {
      const object = await read();
      if (holds(object)) return object;
      if (Date.now() > end) throw new Error(`${JSON.stringify(object, null, 1)}\n${(await node.log()).slice(-2500)}`);
      await delay(20);
    }
  }
  const image = (name: string, spec: VirtualImageSpec): Promise<VirtualImage> =>
    images.create({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualImage',
      metadata: at(name),
      spec: { pool: 'local', ...spec },
    });
  const disk = (name: string, spec: VirtualDiskSpec): Promise<VirtualDisk> =>
    disks.create({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualDisk',
      metadata: at(name),
      spec: { pool: 'local', nodeName: 'node-1', ...spec },
    });
  const imageReady = (name: string) =>
    until(
      () => images.get(at(name)),
      ({ status }) => status?.phase === 'Ready',
    );
  const diskReady = (name: string) =>
    until(
      () => disks.get(at(name)),
      ({ status }) => status?.phase === 'Ready',
    );
  const inPhase = (name: string, phase: string) =>
    until(
      () => images.get(at(name)),
      ({ status }) => status?.phase === phase,
    );
  async function raw(path: string): Promise<string> {
    await runProgram('qemu-img', ['convert', '-O', 'raw', path, file('flat.raw')]);
    return sha256(await readFile(file('flat.raw')));
  }
  async function killExecutor(): Promise<void> {
    await node.stopExecutor('SIGKILL');
    await node.startExecutor();
  }
  const killers: readonly (readonly [string, () => Promise<void>])[] = [
    ['the executor', killExecutor],
    ['libvirtd', () => node.libvirtd.restart('KILL')],
  ];

  describe.each(killers)('%s is killed', (who, kill) => {
    const tag = who === 'libvirtd' ? 'l' : 'e';

    it('in the middle of a download, which goes on where it was', async () => {
      const half = new Promise<void>((resolve) => (onHalf = resolve));
      await image(`get-${tag}`, { format: 'raw', source: { http: { url: url(), checksum: `sha256:${sum}` } } });
      await half;
      onHalf = undefined;
      await kill();
      server.closeAllConnections();
      const { status } = await imageReady(`get-${tag}`);
      expect(sha256(await readFile(status?.nodes?.[0]?.path ?? ''))).toBe(sum);
    });

    it('while an image is converted and sent into the pool', async () => {
      await image(`convert-${tag}`, { source: { file: { path: file('disk.raw'), checksum: `sha256:${sum}` } } });
      await inPhase(`convert-${tag}`, 'Converting');
      await kill();
      const { status } = await imageReady(`convert-${tag}`);
      expect(await raw(status?.nodes?.[0]?.path ?? '')).toBe(sum);
    });

    it('while a disk is cloned, and while the clone grows', async () => {
      await disk(`clone-${tag}`, { format: 'raw', source: { image: { name: `convert-${tag}` } } });
      await until(
        () => disks.get(at(`clone-${tag}`)),
        ({ status }) => ['Creating', 'Ready'].includes(status?.phase ?? ''),
      );
      await kill();
      const path = (await diskReady(`clone-${tag}`)).status?.path ?? '';
      expect(sha256(await readFile(path))).toBe(sum);
      await disks.mergePatch(at(`clone-${tag}`), { spec: { capacity: '64Mi' } });
      await kill();
      await until(
        () => disks.get(at(`clone-${tag}`)),
        ({ status }) => status?.capacity === '64Mi',
      );
      const grown = await readFile(path);
      expect([grown.length, sha256(grown.subarray(0, content.length))]).toEqual([64 * MiB, sum]);
    });

    it('while a file is uploaded, which goes on', async () => {
      const args = ['image', 'upload', `up-${tag}`, file('disk.raw'), '--pool', 'local', '--format', 'raw'];
      const virtctl = () => commandLine([...args, '--kubeconfig', node.kubeconfig, '--connect', node.libvirtd.uri]);
      const sent = virtctl();
      const path = join(folder, `image_default.up-${tag}.raw`);
      await until(
        async () => ({ is: await stat(path).catch(() => undefined) }),
        ({ is }) => (is?.blocks ?? 0) > 0,
      );
      await kill();
      // libvirtd's end cuts the stream off, and the command goes on; the executor's is nothing to it.
      expect(await sent).toMatchObject({ exitCode: 0 });
      await imageReady(`up-${tag}`);
      expect(sha256(await readFile(path))).toBe(sum);
    });
  });

  it('leaves nothing behind in the spool', async () => {
    await expect.poll(() => readdir(join(node.libvirtd.dir, 'executor/images'))).toEqual([]);
  });

  it('goes on when there is space again: images, uploads, clones and growing', async () => {
    const small = file('small');
    await mkdir(small);
    // Mounted in the node's namespace only: libvirtd is there, the executor is not.
    const inside = (name: string): string => join(`/proc/${node.libvirtd.pid}/root${small}`, name);
    await node.libvirtd.exec('mount', '-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', small);
    await makePool('small', small);
    const reason = (object: VirtualImage | VirtualDisk) =>
      object.status?.conditions?.find(({ type }) => type === 'Ready')?.reason;
    await image('full', {
      pool: 'small',
      format: 'raw',
      source: { file: { path: file('disk.raw'), checksum: 'none' } },
    });
    const full = await until(
      () => images.get(at('full')),
      (one) => reason(one) === 'OutOfSpace',
    );
    expect(full.status?.message).toMatch(/no space left in pool small/);
    await disk('full', { pool: 'small', capacity: '32Mi', format: 'raw', preallocation: 'Full' });
    await until(
      () => disks.get(at('full')),
      (one) => reason(one) === 'OutOfSpace',
    );
    await node.untilEvents('full', ['OutOfSpace']);
    const args = ['image', 'upload', 'sent', file('disk.raw'), '--pool', 'small', '--format', 'raw'];
    const virtctl = () => commandLine([...args, '--kubeconfig', node.kubeconfig, '--connect', node.libvirtd.uri]);
    const refused = await virtctl();
    expect(refused).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('No space left') as string });
    expect((await images.get(at('sent'))).status?.phase).toBe('WaitForUpload');
    await node.libvirtd.exec('mount', '-o', 'remount,size=256m', small);
    expect(await virtctl()).toMatchObject({ exitCode: 0 });
    expect(sha256(await readFile(inside('image_default.sent.raw')))).toBe(sum);
    await imageReady('full');
    expect(sha256(await readFile(inside('image_default.full.raw')))).toBe(sum);
    await diskReady('full');
  });
});
