import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { VirtualDisk } from '../../../src/api/virtual-disk.ts';
import type { VirtualMachineSnapshot } from '../../../src/api/virtual-machine-snapshot.ts';
import { fileExists } from '../../../src/executor/virtual-machine-snapshot/image-files.ts';
import { mergeDisk, type MergeInput } from '../../../src/executor/virtual-machine-snapshot/merge-layers.ts';
import type { SnapshotContext } from '../../../src/executor/virtual-machine-snapshot/snapshot-context.ts';

describe('the file of a snapshot that is to go, under a file of nobody that its disk knows', () => {
  let folder: string;
  let frozen: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'virtctl-merge-'));
    frozen = join(folder, 'frozen.raw');
    await writeFile(frozen, '');
  });
  afterEach(() => rm(folder, { recursive: true }));

  /** Removes it; libvirt tells that `/p/over` lies over it, which is a disk with this status in another namespace. */
  async function remove(over: NonNullable<VirtualDisk['status']>): Promise<unknown> {
    const xml = `<volume><target><path>/p/over</path></target><backingStore><path>${frozen}</path></backingStore></volume>`;
    const pool = {
      name: 'p',
      refresh: () => Promise.resolve(),
      volumes: () => Promise.resolve([{ xml: () => Promise.resolve(xml) }]),
    };
    const pools = { volumeByPath: () => Promise.resolve({ pool: 'p' }), byName: () => Promise.resolve(pool) };
    const own = { metadata: { name: 'data', namespace: 'shop' }, spec: {} } as VirtualDisk;
    const other = { metadata: { name: 'x', namespace: 'other' }, spec: {}, status: { path: '/p/over', ...over } };
    const listAll = ({ namespace }: { readonly namespace: string | undefined }) =>
      Promise.resolve({ items: namespace === undefined ? [own, other] : [own] });
    const context = { nodeName: 'node-1', disks: { listAll } } as unknown as SnapshotContext;
    const snapshot = { metadata: { name: 's' }, spec: { virtualMachine: 'web' } } as VirtualMachineSnapshot;
    const disk = { target: 'vda', mode: 'External' as const, virtualDisk: 'data', path: frozen, format: 'raw' };
    const { signal } = new AbortController();
    const input = { libvirt: { pools }, view: undefined, others: [], disks: [own], signal };
    return mergeDisk(context, snapshot, disk, input as unknown as MergeInput).catch((error: unknown) => error);
  }

  it('stays while that may need it', async () => {
    for (const over of [
      { nodeName: 'node-1', format: 'qcow2' },
      { nodeName: 'node-2', format: 'raw' },
    ]) {
      expect(String(await remove(over))).toContain('/p/over of no VirtualDisk here lies over');
      expect(await fileExists(frozen)).toBe(true);
    }
  });

  it('goes where that is a raw disk, into which its guest wrote the header of an overlay', async () => {
    expect(await remove({ nodeName: 'node-1', format: 'raw' })).toEqual({ isDone: true });
    expect(await fileExists(frozen)).toBe(false);
  });
});
