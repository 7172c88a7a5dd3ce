import { describe, expect, it } from 'vitest';
import type { VirtualDisk } from '../../../src/api/virtual-disk.ts';
import type { VirtualPool } from '../../../src/api/virtual-pool.ts';
import type { AdoptionContext } from '../../../src/executor/adoption/host-objects.ts';
import { KnownObjects, type NewObject } from '../../../src/executor/adoption/known-objects.ts';
import { recoverEmptyDisk } from '../../../src/executor/adoption/recover-empty-disk.ts';

const pool: VirtualPool = {
  ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualPool', metadata: { name: 'fast' } },
  spec: { pool: { type: 'dir' } },
};
const entry = { name: 'scratch', emptyDisk: { capacity: '1Gi', pool: 'fast' } };
const volume = { pool: 'fast', name: 'shop-web-scratch.qcow2', path: '/fast/shop-web-scratch.qcow2', format: 'qcow2' };

/** Recovers the empty disk of shop/web on node-1, where these disks are already. */
async function recover(disks: readonly VirtualDisk[]): Promise<{ disk: string | undefined; added: NewObject[] }> {
  const added: NewObject[] = [];
  const context = {
    node: { name: 'node-1', labels: {} },
    inventory: {},
    known: new KnownObjects([], disks, [pool], [], []),
    add: (object: NewObject) => void added.push(object),
  } as unknown as AdoptionContext;
  const disk = await recoverEmptyDisk(context, { namespace: 'shop', name: 'web' }, entry, volume);
  return { disk: disk?.metadata.name, added };
}

describe('the empty disk of a lost machine', () => {
  it('is made again with the volume that it has', async () => {
    const { disk, added } = await recover([]);
    expect(added).toMatchObject([
      { kind: 'VirtualDisk', metadata: { name: disk }, spec: { source: { import: { volume: volume.name } } } },
    ]);
  });

  it('is not made where another disk has the volume, which would be deleted with the machine', async () => {
    const other: VirtualDisk = {
      ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualDisk', metadata: { namespace: 'other', name: 'saved' } },
      spec: { pool: 'fast', nodeName: 'node-1', source: { import: { volume: volume.name } }, reclaimPolicy: 'Retain' },
    };
    expect(await recover([other])).toEqual({ disk: 'saved', added: [] });
  });
});
