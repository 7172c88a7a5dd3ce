import { createHash, randomBytes } from 'node:crypto';
import { open, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resourceOf, startExecutorNode, type ExecutorNode } from '../support/executor-node.ts';
import type { VirtualDisk, VirtualDiskSpec } from '../../src/api/virtual-disk.ts';
import type { VirtualPool } from '../../src/api/virtual-pool.ts';
import type { ResourceClient } from '../../src/kube/resource-client.ts';

const MiB = 1024 * 1024;
const sha256 = (data: Buffer): string => createHash('sha256').update(data).digest('hex');

describe('disks whose source goes, or whose executor is killed, in the middle of something', () => {
  let node: ExecutorNode;
  let disks: ResourceClient<VirtualDisk>;
  let folder: string;
  const content = randomBytes(96 * MiB);

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
      spec: { pool: 'local', nodeName: 'node-1', format: 'raw', ...spec },
    });
  async function until(name: string, holds: (disk: VirtualDisk | undefined) => boolean): Promise<VirtualDisk> {
    const end = Date.now() + 120_000;
    for (;;) {
      const found = await disks.find(at(name));
      if (holds(found)) return found as VirtualDisk;
      if (Date.now() > end) throw new Error(`${JSON.stringify(found, null, 1)}\n${(await node.log()).slice(-2500)}`);
      await delay(10);
    }
  }
  const ready = (name: string): Promise<VirtualDisk> => until(name, (one) => one?.status?.phase === 'Ready');
  const gone = (name: string): Promise<VirtualDisk> => until(name, (one) => one === undefined);

  it('a clone is whole, or told why not, when its source is deleted while it is copied', async () => {
    await disk('source', { capacity: '96Mi' });
    await writeFile((await ready('source')).status?.path ?? '', content, { flag: 'r+' });
    await disk('clone', { source: { clone: { name: 'source' } } });
    await until('clone', (one) => one?.status?.phase === 'Creating' || one?.status?.phase === 'Ready');
    await disks.delete(at('source'));
    const { status } = await until(
      'clone',
      (one) => one?.status?.phase === 'Ready' || (one?.status?.message ?? '') !== '',
    );
    if (status?.phase === 'Ready') expect(sha256(await readFile(status.path ?? ''))).toBe(sha256(content));
    else expect(status?.message).toMatch(/VirtualDisk "source"|source/);
    await gone('source');
    await expect(stat(join(folder, 'default.source.raw'))).rejects.toThrow('ENOENT');
    await disks.delete(at('clone'));
    await gone('clone');
  });

  it('a disk is wiped to its end, and gone, when the executor is killed while it is wiped', async () => {
    await disk('secret', { capacity: '96Mi', wipe: 'zero' });
    const { path = '' } = (await ready('secret')).status ?? {};
    await writeFile(path, content, { flag: 'r+' });
    const seen = await open(path, 'r');
    try {
      await disks.delete(at('secret'));
      await until('secret', (one) => one === undefined || one.status?.phase === 'Wiping');
      await node.stopExecutor('SIGKILL');
      await node.startExecutor();
      await gone('secret');
      // Its name is gone; what the handle still reads is what is on the disk.
      const { buffer } = await seen.read(Buffer.alloc(96 * MiB), 0, 96 * MiB, 0);
      expect(buffer.equals(Buffer.alloc(96 * MiB))).toBe(true);
      await expect(stat(path)).rejects.toThrow('ENOENT');
    } finally {
      await seen.close();
    }
  });

  it('a disk has its new size, and what was in it, when the executor is killed while it grows', async () => {
    await disk('grown', { capacity: '8Mi' });
    const { path = '' } = (await ready('grown')).status ?? {};
    await writeFile(path, content.subarray(0, 8 * MiB), { flag: 'r+' });
    for (const [index, capacity] of ['16Mi', '24Mi', '32Mi'].entries()) {
      await disks.mergePatch(at('grown'), { spec: { capacity } });
      await delay(index * 5);
      await node.stopExecutor('SIGKILL');
      await node.startExecutor();
      await until('grown', (one) => one?.status?.capacity === capacity);
    }
    const now = await readFile(path);
    expect([now.length, sha256(now.subarray(0, 8 * MiB))]).toEqual([32 * MiB, sha256(content.subarray(0, 8 * MiB))]);
    await disks.delete(at('grown'));
    await gone('grown');
  });
});
