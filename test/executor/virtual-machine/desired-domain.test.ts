import { describe, expect, it } from 'vitest';
import { desiredDomain, movePath } from '../../../src/executor/virtual-machine/desired-domain.ts';
import { interfaceDevice, stableMac } from '../../../src/executor/virtual-machine/interfaces.ts';
import { deviceXml } from '../../../src/executor/virtual-machine/apply-live.ts';
import type { DataObject } from '../../../src/executor/virtual-machine/same-value.ts';
import type { VirtualMachine, VirtualMachineSpec } from '../../../src/api/virtual-machine.ts';

const node = { arch: 'x86_64', nativeType: 'kvm', emulate: false };
const none = { disks: [], interfaces: [] };
const machine = (spec: VirtualMachineSpec): VirtualMachine => ({
  apiVersion: 'virtctl.dev/v1alpha1',
  kind: 'VirtualMachine',
  metadata: { name: 'web', namespace: 'shop', uid: '8a2b2f0c-0b4e-4d0e-9a5c-3c1d0b9e7f11' },
  spec,
});

describe('the domain that a machine asks for', () => {
  it('has its identity and our few defaults', () => {
    expect(desiredDomain(machine({}), none, node)).toMatchObject({
      type: 'kvm',
      name: 'shop.web',
      uuid: '8a2b2f0c-0b4e-4d0e-9a5c-3c1d0b9e7f11',
      memory: { unit: 'MiB', value: 1024 },
      vcpu: { value: 1 },
      os: { type: { arch: 'x86_64', machine: 'q35', value: 'hvm' } },
      features: { acpi: {}, apic: {} },
      devices: { serial: [{ type: 'pty' }] },
    });
  });

  it('keeps the identity that spec gives', () => {
    const uuid = '00000000-0000-4000-8000-000000000001';
    expect(desiredDomain(machine({ domain: { name: 'old', uuid } }), none, node)).toMatchObject({ name: 'old', uuid });
  });

  it('keeps root ports for devices to come on q35 only, and only where nobody laid out the buses', () => {
    const controllers = (domain: VirtualMachineSpec['domain']): unknown =>
      (desiredDomain(machine({ ...(domain === undefined ? {} : { domain }) }), none, node)['devices'] as DataObject)[
        'controller'
      ];
    expect(controllers({})).toHaveLength(11);
    expect(controllers({ os: { type: { machine: 'pc', value: 'hvm' } } })).toBeUndefined();
    const own = [{ type: 'pci' as const, index: 0, model: 'pcie-root' as const }];
    expect(controllers({ devices: { controller: own } })).toEqual(own);
  });

  it('runs a kvm machine under emulation only where that is allowed, with the largest CPU there is', () => {
    const spec: VirtualMachineSpec = { domain: { cpu: { mode: 'host-passthrough', topology: { cores: 2 } } } };
    expect(desiredDomain(machine(spec), none, { ...node, emulate: true })).toMatchObject({
      type: 'qemu',
      cpu: { mode: 'maximum', topology: { cores: 2 } },
    });
    expect(desiredDomain(machine(spec), none, node)).toMatchObject({ type: 'kvm', cpu: { mode: 'host-passthrough' } });
  });

  it('adds what volumes and interfaces became to the devices of spec', () => {
    const devices = { disk: [{ target: { dev: 'vda' } }] };
    const resolved = { disks: [{ target: { dev: 'vdb' } }], interfaces: [{ type: 'user' }] };
    expect(desiredDomain(machine({ domain: { devices } }), resolved, node)['devices']).toMatchObject({
      disk: [{ target: { dev: 'vda' } }, { target: { dev: 'vdb' } }],
      interface: [{ type: 'user' }],
    });
  });
});

describe('an interface of spec', () => {
  it('has a MAC address that stays', () => {
    expect(stableMac('uid', 'eth0')).toMatch(/^52:54:00(:[0-9a-f]{2}){3}$/);
    expect(stableMac('uid', 'eth0')).toBe(stableMac('uid', 'eth0'));
    expect(stableMac('uid', 'eth1')).not.toBe(stableMac('uid', 'eth0'));
  });

  it('becomes the element of its kind', () => {
    expect(
      interfaceDevice({ name: 'a', virtualNetwork: 'front', mac: '52:54:00:AA:00:01' }, 'u', 'shop.front'),
    ).toEqual({
      type: 'network',
      source: { network: 'shop.front' },
      mac: { address: '52:54:00:aa:00:01' },
      model: { type: 'virtio' },
    });
    expect(interfaceDevice({ name: 'a', direct: { dev: 'eth0' } }, 'u', undefined)).toMatchObject({
      type: 'direct',
      source: { dev: 'eth0', mode: 'bridge' },
    });
  });
});

describe('the place of an overlay entry', () => {
  it('follows its device', () => {
    const from = { devices: { disk: [{ target: { dev: 'vda' } }, { target: { dev: 'vdb' } }] } };
    const to = {
      devices: { disk: [{ target: { dev: 'vdc' } }, { target: { dev: 'vdb' } }, { target: { dev: 'vda' } }] },
    };
    expect(movePath('devices.disk[0].driver', from, to)).toBe('devices.disk[2].driver');
    expect(movePath('', from, to)).toBe('');
    expect(movePath('devices.disk[0]', from, { devices: { disk: [] } })).toBeUndefined();
  });
});

describe('the XML of one device', () => {
  it('is the element alone, whatever its values are', () => {
    const file = `/a'"<>&]]>`;
    expect(deviceXml('disk', { type: 'file', source: { file }, target: { dev: 'vda' } })).toMatch(
      /^<disk type="file">.*<\/disk>$/,
    );
    expect(deviceXml('memballoon', { model: 'virtio' })).toBe('<memballoon model="virtio"/>');
  });
});
