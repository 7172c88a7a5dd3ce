import { describe, expect, it } from 'vitest';
import { objectChanges } from '../../src/commands/plan/object-changes.ts';
import { busiest, usageOf, type MachineUsage } from '../../src/commands/top/machine-usage.ts';
import type { DomainStats } from '../../src/libvirt/objects/domain-stats.ts';

const stats = (id: number | undefined, cpuNs: number, readBytes: number): DomainStats => ({
  name: 'default.web',
  uuid: 'u',
  id,
  cpu: { time: cpuNs },
  balloon: { current: 2048, unused: 1024, rss: 4096 },
  blocks: [
    { index: 0, name: 'vda', rdBytes: readBytes, wrBytes: 0 },
    { index: 1, name: 'vda', backingIndex: 1, rdBytes: 1_000_000 },
  ],
  raw: {},
});

describe('the usage between two samples', () => {
  it('is a rate of one processor and of bytes a second, without the backing chain', () => {
    expect(usageOf(stats(3, 1e9, 100), stats(3, 2e9, 300), 2)).toMatchObject({
      cpuPercent: 50,
      blockReadBytesPerSecond: 100,
      memoryUsedBytes: 1024 * 1024,
    });
  });

  it('has no rates for a machine that was started in between', () => {
    expect(usageOf(stats(3, 9e9, 900), stats(4, 1e9, 1), 1)).toMatchObject({ cpuPercent: undefined });
    expect(usageOf(undefined, stats(4, 1e9, 1), 1).blockReadBytesPerSecond).toBeUndefined();
  });

  it('counts the memory used of what the guest had when it told, not of where the balloon is now', () => {
    const told = (balloon: NonNullable<DomainStats['balloon']>): number | undefined =>
      usageOf(undefined, { ...stats(3, 0, 0), balloon }, 1).memoryUsedBytes;
    expect(told({ current: 2048, available: 4000, unused: 3000, rss: 500 })).toBe(1000 * 1024);
    expect(told({ current: 2048, unused: 3000, rss: 500 })).toBe(500 * 1024);
  });

  it('is sorted, the largest first, and by name where equal', () => {
    const one = (name: string, cpu: number): MachineUsage => ({
      ...usageOf(stats(1, 0, 0), stats(1, cpu * 1e7, 0), 1),
      namespace: 'default',
      name,
    });
    const names = busiest([one('b', 1), one('c', 9), one('a', 1)], 'cpu').map(({ name }) => name);
    expect(names).toEqual(['c', 'a', 'b']);
  });
});

describe('the differences of two objects', () => {
  it('name each field, match entries by their names, and leave the server’s own fields out', () => {
    const object = (spec: object, resourceVersion: string) => ({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualMachine',
      metadata: { name: 'web', resourceVersion, labels: { a: resourceVersion === '1' ? 'x' : 'y' } },
      spec,
      status: { n: resourceVersion },
    });
    const before = object({ volumes: [{ name: 'a', serial: '1' }, { name: 'b' }], gone: true }, '1');
    const after = object({ volumes: [{ name: 'b' }, { name: 'a', serial: '2' }] }, '2');
    expect(objectChanges(before, after)).toEqual([
      { path: 'spec.volumes[a].serial', from: '"1"', to: '"2"' },
      { path: 'spec.gone', from: 'true' },
      { path: 'metadata.labels.a', from: '"x"', to: '"y"' },
    ]);
    expect(objectChanges(undefined, after)).toEqual([]);
  });
});
