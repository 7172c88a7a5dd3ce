import { describe, expect, it } from 'vitest';
import { machineRequests } from '../../src/scheduler/machine-requests.ts';
import type { VirtualMachineSpec } from '../../src/api/virtual-machine.ts';
import { choose, cluster, machine, node } from './cluster.ts';

const mib = 2 ** 20;
const gib = 2 ** 30;
const numa = (...gibs: number[]) => ({
  numa: { cell: gibs.map((memory, id) => ({ id, cpus: String(id), memory, unit: 'GiB' })) },
});
const huge = (...page: { size?: number; unit?: string; nodeset?: string }[]) => ({ hugepages: { page } });

/** Guest memory by resource, without QEMU's own. */
function guestMemory(domain: NonNullable<VirtualMachineSpec['domain']>): Record<string, number> {
  const requests = machineRequests({ domain });
  const total = Object.entries(requests).filter(([name]) => name === 'memory' || name.startsWith('hugepages-'));
  const found: Record<string, number> = {};
  for (const [name, bytes] of total) {
    // QEMU's own is below 200 MiB here, and no part of a guest is.
    const gibs = Math.floor(bytes / gib);
    if (gibs > 0) found[name] = gibs;
  }
  return found;
}

describe("a guest's memory", () => {
  it('is ordinary memory, a GiB when nothing says', () => {
    expect(guestMemory({})).toEqual({ memory: 1 });
    expect(guestMemory({ memory: { unit: 'GiB', value: 3 } })).toEqual({ memory: 3 });
  });

  it('is the sum of its NUMA cells and modules, whatever it says in all', () => {
    const cpu = numa(1, 2);
    expect(guestMemory({ cpu, memory: { unit: 'GiB', value: 7 } })).toEqual({ memory: 3 });
    const modules = { memory: [{ model: 'dimm', target: { size: { unit: 'GiB', value: 4 }, node: 0 } }] };
    expect(guestMemory({ cpu, memory: { unit: 'GiB', value: 7 }, devices: modules as never })).toEqual({ memory: 7 });
  });

  it('counts by the size of the huge pages behind each NUMA cell', () => {
    const memoryBacking = huge({ size: 1, unit: 'G', nodeset: '0,3' }, { size: 2, unit: 'M', nodeset: '1-2,^2' });
    expect(guestMemory({ cpu: numa(1, 2, 4, 8), memoryBacking })).toEqual({
      'hugepages-1Gi': 9,
      'hugepages-2Mi': 2,
      memory: 4,
    });
  });

  it('has the pages without a nodeset where no other is named', () => {
    const memoryBacking = huge({ size: 2048 }, { size: 1, unit: 'GiB', nodeset: '1' });
    expect(guestMemory({ cpu: numa(1, 2, 4), memoryBacking })).toEqual({ 'hugepages-2Mi': 5, 'hugepages-1Gi': 2 });
    expect(guestMemory({ memory: { unit: 'GiB', value: 1 }, memoryBacking })).toEqual({ 'hugepages-2Mi': 1 });
    expect(guestMemory({ memoryBacking: { hugepages: {} } })).toEqual({ 'hugepages-2Mi': 1 });
  });

  it('is ordinary where pages of the ordinary size are asked for', () => {
    expect(guestMemory({ cpu: numa(2), memoryBacking: huge({ size: 4, unit: 'KiB' }) })).toEqual({ memory: 2 });
  });

  it('has the pages that a module asks for, else those of its cell', () => {
    const module = (value: number, more: object) => ({
      model: 'dimm',
      target: { size: { unit: 'GiB', value }, node: 0 },
      ...more,
    });
    const memory = [module(2, { source: { pagesize: { unit: 'MiB', value: 2 } } }), module(4, {})];
    const memoryBacking = huge({ size: 1, unit: 'G' });
    expect(guestMemory({ cpu: numa(1), memoryBacking, devices: { memory } as never })).toEqual({
      'hugepages-1Gi': 5,
      'hugepages-2Mi': 2,
    });
  });

  it('wants enough huge pages of each size on one node', () => {
    const offers = (pages: Record<string, string>) => ({
      status: { allocatable: { cpu: '8', memory: '8Gi', ...pages } },
    });
    const web = machine('web', {
      domain: {
        cpu: numa(1, 2),
        memoryBacking: huge({ size: 1, unit: 'G', nodeset: '0' }, { size: 2, unit: 'M', nodeset: '1' }),
      },
    });
    const wrong = [
      node('a', offers({ 'hugepages-2Mi': '3Gi' })),
      node('b', offers({ 'hugepages-1Gi': '3Gi', 'hugepages-2Mi': '1Gi' })),
    ];
    expect(choose(cluster(wrong), web)).toBe(
      '2 nodes: 1 too few huge pages of 1Gi (needs 1 GiB, free 0 bytes), 1 too few huge pages of 2Mi (needs 2 GiB, free 1 GiB)',
    );
    const right = node('c', offers({ 'hugepages-1Gi': '1Gi', 'hugepages-2Mi': `${2 * 1024 * mib}` }));
    expect(choose(cluster([...wrong, right]), web)).toBe('c');
  });
});
