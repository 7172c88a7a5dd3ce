import { describe, expect, it } from 'vitest';
import type { MutableSpec } from '../../src/cli/machine-edit.ts';
import { applyFlags } from '../../src/commands/set.ts';

const server = { wait: true, timeout: 0 };

function set(spec: MutableSpec, flags: object): MutableSpec {
  applyFlags(spec, { ...server, ...flags });
  return spec;
}

describe('virtctl set', () => {
  it('takes CPUs away below the maximum', () => {
    expect(set({ domain: { vcpu: { value: 4 } } }, { cpus: 2 }).domain?.vcpu).toEqual({ value: 4, current: 2 });
  });

  it('raises the maximum with the CPUs', () => {
    expect(set({ domain: { vcpu: { value: 4, current: 2 } } }, { cpus: 8 }).domain?.vcpu).toEqual({ value: 8 });
  });

  it('makes room without changing what it has', () => {
    expect(set({ domain: { vcpu: { value: 2 } } }, { maxCpus: 8 }).domain?.vcpu).toEqual({ value: 8, current: 2 });
  });

  it('refuses a maximum below what it has', () => {
    expect(() => set({ domain: { vcpu: { value: 4 } } }, { maxCpus: 2 })).toThrow('maximum of 2');
  });

  it('gives memory back below the maximum', () => {
    const spec: MutableSpec = { domain: { memory: { unit: 'KiB', value: 4194304 } } };
    expect(set(spec, { memory: 2 ** 30 }).domain).toEqual({
      memory: { unit: 'GiB', value: 4 },
      currentMemory: { unit: 'GiB', value: 1 },
    });
  });

  it('raises the memory of a machine that has none yet', () => {
    expect(set({}, { memory: 3 * 2 ** 29 }).domain).toEqual({ memory: { unit: 'MiB', value: 1536 } });
  });

  it('takes an empty title away', () => {
    expect(set({ domain: { title: 'Shop', description: 'x' } }, { title: '' }).domain).toEqual({ description: 'x' });
  });
});
