import { describe, expect, it } from 'vitest';
import { validateObject } from '../../../src/api/validate.ts';
import { UsageError } from '../../../src/base/errors.ts';
import { machineManifest, type MachineFiles, type MachineFlags } from '../../../src/cli/resources/machine-manifest.ts';

const noFiles: MachineFiles = { cloudInit: undefined, sshKeys: [] };

function made(flags: Partial<MachineFlags>, files: MachineFiles = noFiles): ReturnType<typeof machineManifest>['spec'] {
  const machine = machineManifest('web', 'shop', { cpus: 1, memory: 2 ** 30, ...flags }, files);
  expect(validateObject(machine)).toEqual([]);
  return machine.spec;
}

describe('machineManifest', () => {
  it('reads disks as names, paths and fields', () => {
    const { volumes } = made({
      disk: [
        'web-root',
        '/srv/a,b.img',
        'path=/srv/x.qcow2,format=qcow2,bus=scsi,name=x,readonly',
        'empty=10Gi,dev=vdz',
      ].map((text) => text.replace('a,b', 'a,,b')),
      cdrom: ['debian-iso', '/srv/d.iso,boot=1'],
    });
    expect(volumes).toEqual([
      { name: 'web-root', virtualDisk: 'web-root', target: { bus: 'virtio' } },
      { name: 'disk-1', hostPath: { path: '/srv/a,b.img' }, target: { bus: 'virtio' } },
      { name: 'x', hostPath: { path: '/srv/x.qcow2', format: 'qcow2' }, target: { bus: 'scsi' }, readOnly: true },
      { name: 'disk-3', emptyDisk: { capacity: '10Gi' }, target: { dev: 'vdz', bus: 'virtio' } },
      { name: 'cdrom-0', virtualImage: 'debian-iso', cdrom: true, target: { bus: 'sata' } },
      { name: 'cdrom-1', hostPath: { path: '/srv/d.iso' }, cdrom: true, target: { bus: 'sata' }, bootOrder: 1 },
    ]);
  });

  it('reads interfaces', () => {
    const { interfaces } = made({
      interface: ['front', 'bridge=br0,model=e1000e', 'user', 'direct=eth0,mode=vepa,name=up'],
    });
    expect(interfaces).toEqual([
      { name: 'eth0', virtualNetwork: 'front', model: 'virtio' },
      { name: 'eth1', bridge: 'br0', model: 'e1000e' },
      { name: 'eth2', user: {}, model: 'virtio' },
      { name: 'up', direct: { dev: 'eth0', mode: 'vepa' }, model: 'virtio' },
    ]);
  });

  it('puts firmware, kernel, CPU and emulation into the domain', () => {
    const { domain } = made({
      firmware: 'uefi',
      kernel: '/boot/vmlinuz',
      initrd: '/boot/initrd',
      cmdline: 'console=ttyS0 "quoted" <x>',
      cpuModel: 'host-model',
      domainType: 'qemu',
      arch: 'aarch64',
    });
    expect(domain).toMatchObject({
      type: 'qemu',
      cpu: { mode: 'host-model' },
      os: {
        type: { arch: 'aarch64', machine: 'virt', value: 'hvm' },
        firmware: 'efi',
        kernel: '/boot/vmlinuz',
        cmdline: 'console=ttyS0 "quoted" <x>',
      },
    });
    expect(domain?.features).toBeUndefined();
    expect(made({ cpuModel: 'Skylake-Server' }).domain?.cpu).toMatchObject({
      mode: 'custom',
      model: { value: 'Skylake-Server' },
    });
  });

  it('hands keys to cloud-init beside any user data', () => {
    const files = { cloudInit: { userData: '#!/bin/sh\n' }, sshKeys: ['ssh-ed25519 AAAA me@here'] };
    expect(made({}, files).volumes).toEqual([
      {
        name: 'cloud-init',
        cloudInit: { userData: '#!/bin/sh\n', metaData: 'public-keys:\n  - "ssh-ed25519 AAAA me@here"\n' },
        target: { bus: 'sata' },
      },
    ]);
  });

  it('says when it runs', () => {
    expect(made({}).runStrategy).toBe('Always');
    expect(made({ start: false }).runStrategy).toBe('Halted');
    expect(made({ start: false, runStrategy: 'Manual' }).runStrategy).toBe('Manual');
    expect(() => made({ start: true, runStrategy: 'Halted' })).toThrow(UsageError);
  });

  it.each([
    { disk: ['disk=a,path=/b'] },
    { disk: ['nmae=a'] },
    { disk: ['a,bus=virtio,bus=scsi'] },
    { disk: ['a', 'a'] },
    { interface: ['bridge=br0,network=x'] },
    { label: ['novalue'] },
    { disk: ['a,boot=first'] },
  ])('refuses %j', (flags) => {
    expect(() => made(flags)).toThrow(UsageError);
  });
});
