import { describe, expect, it } from 'vitest';
import type { VirtualDisk } from '../../../src/api/virtual-disk.ts';
import type { VirtualMachineSnapshot } from '../../../src/api/virtual-machine-snapshot.ts';
import { obstacleOf, type DiskSurroundings } from '../../../src/executor/migration/local-disks.ts';

const path = '/pool/shop.root.qcow2';

function obstacle(
  { spec = {}, ...status }: VirtualDisk['status'] & { readonly spec?: Partial<VirtualDisk['spec']> } = {},
  around: Partial<DiskSurroundings> = {},
): string | undefined {
  const usual = { phase: 'Ready', nodeName: 'node-1', path, format: 'qcow2' } as const;
  const disk: VirtualDisk = {
    ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualDisk', metadata: { name: 'root', namespace: 'shop' } },
    spec: spec,
    status: { ...usual, ...status },
  };
  const none = { machine: 'web', paths: new Set([path]), copyStorage: 'All', snapshots: [], inside: [] } as const;
  return obstacleOf(disk, { ...none, ...around });
}

function snapshot(name: string, virtualDisk: string): VirtualMachineSnapshot {
  return {
    ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualMachineSnapshot', metadata: { name } },
    spec: { virtualMachine: 'web' },
    status: { disks: [{ virtualDisk }] },
  } as unknown as VirtualMachineSnapshot;
}

describe('a disk in a pool of the node', () => {
  it('can be copied when it is one file of its machine alone', () => {
    expect(obstacle()).toBeUndefined();
    expect(obstacle({ format: 'raw', usedBy: [{ kind: 'VirtualMachine', name: 'web' }] })).toBeUndefined();
  });

  it('can be copied with what it lies over, and not without', () => {
    expect(obstacle({ backingChain: ['/pool/base.qcow2'] })).toBeUndefined();
    expect(obstacle({ backingChain: ['/pool/base.qcow2'] }, { copyStorage: 'Incremental' })).toBe(
      'it lies over /pool/base.qcow2; copyStorage All copies it with that',
    );
  });

  it.each<[string, VirtualDisk['status'] & { spec?: Partial<VirtualDisk['spec']> }, Partial<DiskSurroundings>, string]>(
    [
      ['is not ready', { phase: 'Resizing' }, {}, 'it is Resizing'],
      [
        'is encrypted',
        { spec: { encryption: { secretRef: { name: 'key' } } } },
        {},
        'it is encrypted, and its content would go over the network in the clear',
      ],
      [
        'is a logical volume',
        { path: '/dev/vg/root' },
        {},
        'it is a block device; only volumes that are files are copied',
      ],
      ['is of another format', { format: 'vmdk' }, {}, 'its format is vmdk; qcow2 and raw are copied'],
      [
        'has a layer over it',
        {},
        { paths: new Set(['/pool/over.qcow2']) },
        `the machine has another file for it than ${path}, which lies over that`,
      ],
      [
        'is what others lie over',
        { usedBy: [{ kind: 'VirtualDisk', name: 'thin' }] },
        {},
        'VirtualDisk thin would be left on this node without it',
      ],
      [
        'is another machine’s too',
        {
          usedBy: [
            { kind: 'VirtualMachine', name: 'web' },
            { kind: 'VirtualMachine', name: 'db' },
          ],
        },
        {},
        'VirtualMachine db has it too',
      ],
      [
        'has snapshots',
        {},
        { snapshots: [snapshot('before', 'root'), snapshot('other', 'data')] },
        'VirtualMachineSnapshot before would be left on this node',
      ],
      ['has snapshots inside', {}, { inside: ['old'] }, 'the snapshots inside of it would be lost: old'],
    ],
  )('cannot be copied when it %s', (_what, disk, around, why) => {
    expect(obstacle(disk, around)).toBe(why);
  });
});
