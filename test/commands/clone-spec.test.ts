import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { VirtualMachineSpec } from '../../src/api/virtual-machine.ts';
import { clonedSpec } from '../../src/commands/clone/clone-spec.ts';

const clone = (spec: VirtualMachineSpec) =>
  clonedSpec(spec, { name: 'b', disks: new Map([['a-root', 'b-root']]), halted: false, nodeName: undefined });

describe('the spec of a clone', () => {
  it('has nothing that can be there once only', () => {
    const { spec } = clone({
      nodeName: 'node-1',
      deletionProtection: true,
      runStrategy: 'Always',
      volumes: [{ name: 'root', virtualDisk: 'a-root', target: { dev: 'vda' } }],
      interfaces: [{ name: 'eth0', virtualNetwork: 'front', mac: '52:54:00:00:00:01', ip: '10.0.0.5' }],
      domain: {
        name: 'mine',
        uuid: '11111111-2222-3333-4444-555555555555',
        memory: { value: 1024 },
        devices: {
          interface: [{ type: 'user', mac: { address: '52:54:00:00:00:02' } }],
          graphics: [{ type: 'vnc', port: 5901 }],
        },
      },
    });
    expect(spec).toEqual({
      runStrategy: 'Always',
      volumes: [{ name: 'root', virtualDisk: 'b-root', target: { dev: 'vda' } }],
      interfaces: [{ name: 'eth0', virtualNetwork: 'front' }],
      domain: { memory: { value: 1024 }, devices: { interface: [{ type: 'user' }], graphics: [{ type: 'vnc' }] } },
    });
  });

  it('has a host name and a machine id of its own, through cloud-init', () => {
    const userData = '#cloud-config\n# ours\nhostname: a\nfqdn: a.example.org\npackages: [nginx]\n';
    const metaData = 'instance-id: a-1\nlocal-hostname: a\npublic-keys: [x]\n';
    const { spec, notes } = clone({ volumes: [{ name: 'seed', cloudInit: { userData, metaData } }] });
    const own = spec.volumes?.[0]?.cloudInit;
    expect(own?.metaData).toBe('public-keys: [x]\n');
    expect(own?.userData).toMatch(/^#cloud-config\n/);
    const data = parse(own?.userData ?? '') as {
      hostname: string;
      fqdn: string;
      packages: string[];
      bootcmd: string[][];
    };
    expect(data).toMatchObject({ hostname: 'b', fqdn: 'b.example.org', packages: ['nginx'] });
    expect(data.bootcmd[0]?.slice(0, 2)).toEqual(['cloud-init-per', 'instance']);
    expect(notes).toEqual([]);
    // A clone of a clone does it once.
    const again = clone(spec).spec.volumes?.[0]?.cloudInit?.userData ?? '';
    expect((parse(again) as { bootcmd: unknown[] }).bootcmd).toHaveLength(1);
  });

  it('leaves user data alone that is no cloud-config, and says what stays without cloud-init', () => {
    const script = '#!/bin/sh\nhostname: a\n';
    expect(clone({ volumes: [{ name: 's', cloudInit: { userData: script } }] }).spec.volumes?.[0]?.cloudInit).toEqual({
      userData: script,
    });
    expect(clone({}).notes[0]).toContain('keeps its host name');
  });

  it('refuses disks that both would write to', () => {
    expect(() => clone({ volumes: [{ name: 'h', hostPath: { path: '/srv/x' } }] })).toThrow(
      /both machines would write/,
    );
    const disk = { type: 'file' as const, source: { file: '/srv/y' }, target: { dev: 'vdb' } };
    expect(() => clone({ domain: { devices: { disk: [disk] } } })).toThrow(/vdb of spec.domain is \/srv\/y/);
    expect(clone({ volumes: [{ name: 'h', hostPath: { path: '/srv/x' }, readOnly: true }] }).spec.volumes).toHaveLength(
      1,
    );
  });
});
