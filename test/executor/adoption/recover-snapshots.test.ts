import { describe, expect, it } from 'vitest';
import type { VirtualMachineSnapshot } from '../../../src/api/virtual-machine-snapshot.ts';
import { snapshotObject } from '../../../src/executor/adoption/recover-snapshots.ts';
import type { DataObject } from '../../../src/executor/virtual-machine/same-value.ts';

const machine = { namespace: 'shop', name: 'web' };
const volumes = [{ name: 'root', target: 'vda', virtualDisk: 'web-root' }];
const domain = {
  devices: {
    disk: [
      { source: { file: '/pool/web.qcow2' }, driver: { type: 'qcow2' }, target: { dev: 'vda' } },
      { source: { file: '/pool/seed.iso' }, driver: { type: 'raw' }, target: { dev: 'sda' } },
    ],
  },
};
const kept = {
  state: 'running',
  creationTime: '1700000000',
  description: 'VirtualMachineSnapshot shop/second',
  parent: { name: 'first' },
  memory: { snapshot: 'internal' },
  disks: {
    disk: [
      { name: 'vda', snapshot: 'internal' },
      { name: 'sda', snapshot: 'no' },
    ],
  },
  domain,
};

const objectOf = (
  name: string,
  value: DataObject,
  isCurrent = true,
  objectName = name,
): VirtualMachineSnapshot | undefined =>
  snapshotObject(machine, volumes, 'node-1', { name, value, isCurrent }, objectName);

describe('a snapshot that libvirt has and the API has lost', () => {
  it('becomes the object that it was', () => {
    expect(objectOf('second', kept, true)).toMatchObject({
      metadata: { namespace: 'shop', name: 'second', finalizers: ['virtctl.dev/snapshot'] },
      spec: { virtualMachine: 'web', mode: 'Internal', memory: true },
      status: {
        ...{ phase: 'Ready', nodeName: 'node-1', name: 'second', mode: 'Internal', memory: true, current: true },
        ...{ domainState: 'running', creationTime: '2023-11-14T22:13:20Z', parent: 'first' },
        disks: [
          { target: 'vda', mode: 'Internal', path: '/pool/web.qcow2', name: 'root', virtualDisk: 'web-root' },
          { target: 'sda', mode: 'None', path: '/pool/seed.iso' },
        ],
      },
    });
  });

  it('keeps a description that somebody gave it, and a name that the API would not take at libvirt only', () => {
    const given = { ...kept, description: 'before the upgrade', parent: undefined, memory: undefined };
    const object = objectOf('Before Upgrade', given, false, 'before-upgrade');
    expect(object).toMatchObject({
      metadata: { name: 'before-upgrade' },
      spec: { description: 'before the upgrade' },
      status: { name: 'Before Upgrade', memory: false, current: false },
    });
    expect(object?.status).not.toHaveProperty('parent');
    expect(object?.spec).not.toHaveProperty('memory');
  });

  it('stays libvirt’s alone when it is in files of its own', () => {
    const disks = { disk: [{ name: 'vda', snapshot: 'external', source: { file: '/pool/web.snap.qcow2' } }] };
    expect(objectOf('a', { ...kept, disks })).toBeUndefined();
    const memory = { snapshot: 'external', file: '/pool/memory' };
    expect(objectOf('a', { ...kept, memory })).toBeUndefined();
  });
});
