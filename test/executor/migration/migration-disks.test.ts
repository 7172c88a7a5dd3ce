import { describe, expect, it } from 'vitest';
import { networksOf, planDisks, type CopyStorage } from '../../../src/executor/migration/migration-disks.ts';
import type { DataObject } from '../../../src/executor/virtual-machine/same-value.ts';
import type { Volume } from '../../../src/api/virtual-machine.ts';

const file = (dev: string, path: string, more: object = {}): DataObject => ({
  ...{ type: 'file', device: 'disk', driver: { name: 'qemu', type: 'qcow2' } },
  ...{ source: { file: path }, target: { dev, bus: 'virtio' } },
  ...more,
});

function plan(
  disks: readonly DataObject[],
  volumes: readonly Volume[] = [],
  copyStorage: CopyStorage = 'Auto',
  shared: readonly string[] = [],
  obstacles: Readonly<Record<string, string>> = {},
): ReturnType<typeof planDisks> {
  return planDisks({
    machine: {
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualMachine',
      metadata: { name: 'web' },
      spec: { volumes: [...volumes] },
    },
    live: { devices: { disk: [...disks] } },
    volumes: new Map(volumes.map(({ name, target }) => [target?.dev ?? '', name])),
    sharedDisks: new Set(shared),
    obstacles: new Map(Object.entries(obstacles)),
    copyStorage,
  });
}

const target = { dev: 'vda' };

describe('the disks of a machine that is migrated', () => {
  it('are sent when they were made on the node for the machine', () => {
    const empty: Volume = { name: 'data', emptyDisk: { capacity: '1Gi' }, target };
    expect(plan([file('vda', '/m/data.qcow2')], [empty])).toEqual({
      disks: [{ target: 'vda', path: '/m/data.qcow2', format: 'qcow2', copy: true, isMade: true }],
    });
  });

  it('are made anew at the target when the guest only reads them', () => {
    const seed: Volume = { name: 'seed', cloudInit: { userData: '#cloud-config' }, target: { dev: 'sda' } };
    const disk = file('sda', '/m/seed.iso', { device: 'cdrom', readonly: {}, driver: { type: 'raw' } });
    expect(plan([disk], [seed])).toEqual({
      disks: [{ target: 'sda', path: '/m/seed.iso', format: 'raw', copy: false, isMade: true }],
    });
  });

  it('stay where they are in a pool that all nodes share', () => {
    const root: Volume = { name: 'root', virtualDisk: 'web-root', target };
    expect(plan([file('vda', '/nfs/root')], [root], 'Auto', ['web-root'])).toMatchObject({
      disks: [{ copy: false, isMade: false }],
    });
  });

  describe('in a pool of the node', () => {
    const root: Volume = { name: 'root', virtualDisk: 'web-root', target };

    it.each(['Auto', 'None'] as const)('keep the machine there with copyStorage %s', (copyStorage) => {
      expect(plan([file('vda', '/var/root')], [root], copyStorage)).toEqual({
        refusal:
          'disk vda (/var/root): VirtualDisk "web-root" is in a pool of this node only; ' +
          '`virtctl migrate web --copy-storage All` copies it, a shared pool would be on all nodes',
      });
    });

    it.each(['All', 'Incremental'] as const)('go with it with copyStorage %s', (copyStorage) => {
      expect(plan([file('vda', '/var/root')], [root], copyStorage)).toEqual({
        disks: [{ target: 'vda', path: '/var/root', format: 'qcow2', copy: true, isMade: false, disk: 'web-root' }],
      });
    });

    it('go with it too when they are empty disks of that pool', () => {
      const data: Volume = { name: 'data', emptyDisk: { capacity: '1Gi', pool: 'fast' }, target };
      expect(plan([file('vda', '/fast/data')], [data], 'All')).toMatchObject({ disks: [{ disk: 'web-data' }] });
    });

    it.each([
      ['only read', { readonly: {} }, {}, 'the machine only reads it, and libvirt copies only what is written to'],
      ['shareable', { shareable: {} }, {}, 'it is shareable'],
      ['otherwise not to be copied', {}, { 'web-root': 'it is encrypted' }, 'it is encrypted'],
    ])('keep it there when they are %s', (_what, more, obstacles, why) => {
      expect(plan([file('vda', '/var/root', more)], [root], 'All', [], obstacles)).toEqual({
        refusal: `disk vda (/var/root): VirtualDisk "web-root" cannot be copied: ${why}`,
      });
    });
  });

  it.each([
    ['Auto', true],
    ['Incremental', true],
    ['All', true],
    ['None', false],
  ] as const)('in files of the host are, with copyStorage %s, copied: %s', (copyStorage, copy) => {
    expect(plan([file('vda', '/srv/a.qcow2')], [], copyStorage)).toMatchObject({ disks: [{ copy, isMade: false }] });
  });

  it('that are block devices are not copied, but may be said to be everywhere', () => {
    const block = { type: 'block', source: { dev: '/dev/vg/a' }, target };
    expect(plan([block])).toMatchObject({ refusal: expect.stringContaining('copyStorage None') as string });
    expect(plan([block], [], 'None')).toMatchObject({ disks: [{ path: '/dev/vg/a', copy: false }] });
  });

  it('cannot be left behind when they were made for the machine', () => {
    const empty: Volume = { name: 'data', emptyDisk: { capacity: '1Gi' }, target };
    expect(plan([file('vda', '/m/data.qcow2')], [empty], 'None')).toMatchObject({
      refusal: expect.stringContaining('copyStorage None has nothing copied') as string,
    });
  });

  it('that are on the network, or drives without a medium, are nobody’s business', () => {
    const ceph = { type: 'network', source: { protocol: 'rbd', name: 'pool/a' }, target };
    expect(plan([ceph, { type: 'file', device: 'cdrom', target: { dev: 'sda' } }])).toEqual({ disks: [] });
  });
});

describe('the networks of a machine that is migrated', () => {
  it('are those of libvirt, each once', () => {
    const card = (network: string) => ({ type: 'network', source: { network } });
    const bridge = { type: 'bridge', source: { bridge: 'br0' } };
    expect(networksOf({ devices: { interface: [card('front'), card('back'), card('front'), bridge] } })).toEqual([
      'front',
      'back',
    ]);
  });
});
