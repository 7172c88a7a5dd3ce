import { describe, expect, it } from 'vitest';
import type { VirtualMachineSnapshot } from '../../../src/api/virtual-machine-snapshot.ts';
import { snapshotObject, type KeptSnapshot } from '../../../src/executor/adoption/kept-snapshot.ts';
import { machineElement } from '../../../src/executor/virtual-machine/domain-metadata.ts';
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
  more: Partial<KeptSnapshot> = {},
  objectName = name,
): VirtualMachineSnapshot =>
  snapshotObject(machine, volumes, 'node-1', { name, value, isCurrent: true, ...more }, objectName);

describe('a snapshot that libvirt has and the API has lost', () => {
  it('becomes the object that it was', () => {
    expect(objectOf('second', kept)).toMatchObject({
      metadata: { namespace: 'shop', name: 'second', finalizers: ['virtctl.dev/snapshot'] },
      spec: { virtualMachine: 'web', mode: 'Internal', memory: true },
      status: {
        ...{ phase: 'Ready', nodeName: 'node-1', name: 'second', mode: 'Internal', memory: true, current: true },
        ...{ domainState: 'running', creationTime: '2023-11-14T22:13:20Z', parent: 'first' },
        disks: [
          { target: 'vda', mode: 'Internal', path: '/pool/web.qcow2', name: 'root', virtualDisk: 'web-root' },
          { target: 'sda', mode: 'None' },
        ],
      },
    });
  });

  it('keeps a description that somebody gave it, and a name that the API would not take at libvirt only', () => {
    const given = { ...kept, description: 'before the upgrade', parent: undefined, memory: undefined };
    const object = objectOf('Before Upgrade', given, { isCurrent: false }, 'before-upgrade');
    expect(object).toMatchObject({
      metadata: { name: 'before-upgrade' },
      spec: { description: 'before the upgrade' },
      status: { name: 'Before Upgrade', memory: false, current: false },
    });
    expect(object.status).not.toHaveProperty('parent');
    expect(object.spec).not.toHaveProperty('memory');
  });

  const external = {
    ...kept,
    state: 'disk-snapshot',
    memory: { snapshot: 'no' },
    disks: { disk: [{ name: 'vda', snapshot: 'external', source: { file: '/pool/web.snap.qcow2' } }] },
  };
  const inFile = { ...external, state: 'running', memory: { snapshot: 'external', file: '/data/web.mem' } };

  it('has the frozen file and the one over it where it is in files of its own', () => {
    const { spec, status } = objectOf('a', external);
    expect(spec).toEqual({ virtualMachine: 'web', mode: 'External' });
    expect(status).toMatchObject({ mode: 'External', memory: false, domainState: 'running' });
    const frozen = { path: '/pool/web.qcow2', format: 'qcow2', overlay: '/pool/web.snap.qcow2' };
    expect(status?.disks).toEqual([
      { target: 'vda', name: 'root', mode: 'External', virtualDisk: 'web-root', ...frozen },
    ]);
    expect(status).not.toHaveProperty('memoryFile');
  });

  it('has its memory in a file, unless that is gone', () => {
    expect(objectOf('a', inFile)).toMatchObject({
      spec: { mode: 'External', memory: true },
      status: { memory: true, memoryFile: '/data/web.mem', domainState: 'running' },
    });
    const without = objectOf('a', inFile, { isMemoryLost: true });
    expect(without).toMatchObject({ spec: { mode: 'External' }, status: { mode: 'External', memory: false } });
    expect(without.status).not.toHaveProperty('memoryFile');
  });

  it('has the file that took the place of the one that libvirt noted', () => {
    const moved = { path: '/pool/base.raw', format: 'raw' };
    const { status } = objectOf('a', external, { frozen: new Map([['vda', moved]]) });
    expect(status?.disks).toMatchObject([{ ...moved, overlay: '/pool/web.snap.qcow2' }]);
  });

  it('is of the disks that the machine had then, not of those that it has now', () => {
    const was = { namespace: 'shop', name: 'web', uid: 'u', generation: 1, metadata: {}, ignored: [] };
    const disk = { target: { dev: 'vda' }, source: { file: '/pool/old.qcow2' } };
    const element = machineElement({
      ...was,
      spec: { volumes: [{ name: 'system', virtualDisk: 'old' }] },
      applied: { devices: { disk: [disk] } },
    });
    const attributes = Object.entries(element.attributes).map(([key, value]) => ` ${key}='${value}'`);
    const mark = `<v:machine xmlns:v='${element.namespace}'${attributes.join('')}>${element.text}</v:machine>`;
    const then = { ...domain, metadata: [mark] };
    expect(objectOf('a', { ...external, domain: then }).status?.disks).toMatchObject([
      { target: 'vda', name: 'system', virtualDisk: 'old' },
    ]);
    const empty = { ...external, domain: then, inactiveDomain: { ...then, metadata: [] } };
    expect(objectOf('a', empty).status?.disks).toMatchObject([{ name: 'system', virtualDisk: 'old' }]);
  });

  it('says what of a machine it does not keep', () => {
    const withTpm = { ...domain, devices: { ...domain.devices, tpm: [{ backend: { type: 'emulator' } }] } };
    expect(objectOf('a', { ...external, domain: withTpm }).status?.notKept).toEqual(['the state of the TPM']);
    expect(objectOf('a', { ...inFile, domain: withTpm }).status).not.toHaveProperty('notKept');
  });

  it('has no disk for a drive that was empty', () => {
    const devices = { disk: [{ device: 'cdrom', target: { dev: 'sda' } }] };
    const value = { ...kept, domain: { devices }, disks: { disk: [{ name: 'sda', snapshot: 'no' }] } };
    expect(objectOf('a', value).status?.disks).toEqual([]);
  });
});
