import { describe, expect, it } from 'vitest';
import { withDefaults } from '../../src/api/defaults.ts';
import type { Domain } from '../../src/model/types.gen.ts';
import type { VirtualMachine } from '../../src/api/virtual-machine.ts';

const machine = (domain: Domain): VirtualMachine => ({
  apiVersion: 'virtctl.dev/v1alpha1',
  kind: 'VirtualMachine',
  metadata: { name: 'a' },
  spec: { domain },
});

const defaulted = (domain: Domain): Domain | undefined => withDefaults(machine(domain)).spec.domain;

describe('withDefaults', () => {
  it('adds the few things that we choose', () => {
    expect(defaulted({})).toEqual({
      type: 'kvm',
      os: { type: { arch: 'x86_64', machine: 'q35', value: 'hvm' } },
      features: { acpi: {}, apic: {} },
      devices: { serial: [{ type: 'pty' }], console: [{ type: 'pty', target: { type: 'serial' } }] },
    });
  });

  it('changes nothing that is said', () => {
    const domain: Domain = {
      type: 'qemu',
      os: { type: { arch: 'x86_64', machine: 'pc', value: 'hvm' } },
      features: { acpi: {} },
      devices: { console: [{ type: 'pty' }] },
    };
    expect(defaulted(domain)).toEqual(domain);
  });

  it('leaves a domain alone that a libvirt has, or of another hypervisor', () => {
    const dumped: Domain = {
      type: 'kvm',
      uuid: 'c7a5fdbd-edaf-9455-926a-d65c16db1809',
      os: { type: { value: 'hvm' } },
    };
    expect(defaulted(dumped)).toEqual(dumped);
    expect(defaulted({ type: 'test' })).toEqual({ type: 'test' });
  });

  it('is settled: a second time changes nothing', () => {
    const once = withDefaults(machine({ memory: { value: 1 } }));
    expect(withDefaults(once)).toEqual(once);
  });
});
