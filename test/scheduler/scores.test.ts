import { describe, expect, it } from 'vitest';
import type { VirtualMachineSpec } from '../../src/api/virtual-machine.ts';
import type { Score } from '../../src/scheduler/plugin.ts';
import * as scores from '../../src/scheduler/scores/all-scores.ts';
import type { Snapshot } from '../../src/scheduler/snapshot.ts';
import { choose, cluster, machine, node } from './cluster.ts';

const { allScores, ...byName } = scores;

/** What a score says of each node, by name; undefined when it has nothing to say about the machine. */
function rate(score: Score, snapshot: Snapshot, one: ReturnType<typeof machine>): Record<string, number> | undefined {
  const rating = score.prepare(one, snapshot);
  if (rating === undefined) return undefined;
  return Object.fromEntries(snapshot.list().map((each) => [each.name, Math.round(rating(each))]));
}

const sized = (cpu: string, memory: string) => ({ status: { allocatable: { cpu, memory } } });
const gib = (value: number, cpus = 1): VirtualMachineSpec => ({
  domain: { memory: { unit: 'GiB', value }, vcpu: { value: cpus } },
});
const zones = [
  node('a', { labels: { zone: 'x' } }),
  node('b', { labels: { zone: 'x' } }),
  node('c', { labels: { zone: 'y' } }),
];

describe('the score', () => {
  it('reservation takes up the place that is kept already', () => {
    const annotations = {
      'scheduler.virtctl.dev/allocation': JSON.stringify({ web: { m: 'shop/web', r: { memory: 1, cpu: 1 }, t: 'x' } }),
    };
    const kept = node('b', sized('4', '4Gi'));
    const snapshot = cluster([node('a'), { ...kept, metadata: { ...kept.metadata, annotations } }]);
    expect(rate(scores.reservation, snapshot, machine('web'))).toEqual({ a: 0, b: 100 });
    expect(rate(scores.reservation, snapshot, machine('other'))).toBeUndefined();
    expect(choose(snapshot, machine('web'))).toBe('b');
  });

  it('native puts KVM before emulation', () => {
    const conditions = [{ type: 'Ready', status: 'True' as const }];
    const snapshot = cluster([node('a', { status: { conditions }, spec: { allowEmulation: true } }), node('b')]);
    expect(rate(scores.native, snapshot, machine('web'))).toEqual({ a: 0, b: 100 });
    expect(rate(scores.native, snapshot, machine('web', { domain: { type: 'qemu' } }))).toBeUndefined();
  });

  it('leastAllocated likes the node on which most is left', () => {
    const snapshot = cluster([
      node('a', sized('8', '8Gi')),
      node('b', sized('16', '16Gi')),
      node('c', sized('8', '8Gi')),
    ]);
    snapshot.place(machine('other', gib(4, 4)), 'c');
    const rated = rate(scores.leastAllocated, snapshot, machine('web', gib(2, 2))) ?? {};
    expect(Object.keys(rated).sort((x, y) => (rated[y] ?? 0) - (rated[x] ?? 0))).toEqual(['b', 'a', 'c']);
    expect(choose(snapshot, machine('web', gib(2, 2)))).toBe('b');
  });

  it('balanced likes CPUs and memory used to a like part', () => {
    const snapshot = cluster([node('a', sized('8', '32Gi')), node('b', sized('32', '8Gi'))]);
    const rated = rate(scores.balanced, snapshot, machine('web', gib(6, 2))) ?? {};
    expect(rated['a']).toBeGreaterThan(rated['b'] ?? 0);
    const other = rate(scores.balanced, snapshot, machine('web', gib(1, 8))) ?? {};
    expect(other['b']).toBeGreaterThan(other['a'] ?? 0);
  });

  it('preferredNodes weighs the preferred node affinity', () => {
    const prefer = (weight: number, values: string[]) => ({
      weight,
      preference: { matchExpressions: [{ key: 'zone', operator: 'In' as const, values }] },
    });
    const affinity = {
      nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [prefer(30, ['x']), prefer(70, ['y'])] },
    };
    expect(rate(scores.preferredNodes, cluster(zones), machine('web', { affinity }))).toEqual({ a: 30, b: 30, c: 70 });
    expect(choose(cluster(zones), machine('web', { affinity }))).toBe('c');
    expect(rate(scores.preferredNodes, cluster(zones), machine('web'))).toBeUndefined();
  });

  it('preferredMachines weighs what a machine would like to be near and far from', () => {
    const prefer = (weight: number, app: string) => ({
      weight,
      vmAffinityTerm: { topologyKey: 'zone', labelSelector: { matchLabels: { app } } },
    });
    const affinity = {
      vmAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [prefer(40, 'db')] },
      vmAntiAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [prefer(60, 'web')] },
    };
    const snapshot = cluster(zones);
    snapshot.place(machine('db', {}, { app: 'db' }), 'a');
    snapshot.place(machine('w1'), 'a');
    expect(rate(scores.preferredMachines, snapshot, machine('web', { affinity }))).toEqual({ a: 40, b: 40, c: 60 });
    expect(rate(scores.preferredMachines, snapshot, machine('web'))).toBeUndefined();
  });

  it('preferredSpread likes the topology domain with fewest of the kind', () => {
    const topologySpreadConstraints = [
      {
        maxSkew: 1,
        topologyKey: 'zone',
        whenUnsatisfiable: 'ScheduleAnyway' as const,
        labelSelector: { matchLabels: { app: 'web' } },
      },
    ];
    const snapshot = cluster(zones);
    snapshot.place(machine('w1'), 'a');
    const web = machine('web', { topologySpreadConstraints });
    expect(rate(scores.preferredSpread, snapshot, web)).toEqual({ a: 50, b: 50, c: 100 });
    expect(choose(snapshot, web)).toBe('c');
  });

  it('preferredTaints avoids taints with PreferNoSchedule', () => {
    const tainted = node('a', { spec: { taints: [{ key: 'old', effect: 'PreferNoSchedule' }] } });
    const snapshot = cluster([tainted, node('b')]);
    expect(rate(scores.preferredTaints, snapshot, machine('web'))).toEqual({ a: 50, b: 100 });
    const tolerant = machine('web', { tolerations: [{ key: 'old', operator: 'Exists' }] });
    expect(rate(scores.preferredTaints, snapshot, tolerant)).toEqual({ a: 100, b: 100 });
    expect(choose(snapshot, machine('web'))).toBe('b');
  });

  it('imageLocality likes nodes that have the images already', () => {
    const things = {
      images: { debian: { on: ['b'] } as never },
      disks: { root: { source: { image: { name: 'debian' } } } },
    };
    const snapshot = cluster([node('a'), node('b')], things);
    const web = machine('web', { volumes: [{ name: 'root', virtualDisk: 'root' }] });
    expect(rate(scores.imageLocality, snapshot, web)).toEqual({ a: 0, b: 100 });
    expect(choose(snapshot, web)).toBe('b');
    expect(rate(scores.imageLocality, snapshot, machine('web'))).toBeUndefined();
  });

  it('never leaves 0 to 100', () => {
    const snapshot = cluster([node('tiny', sized('0', '0')), node('b', sized('1', '1Gi'))]);
    for (const score of allScores) {
      const values = Object.values(rate(score, snapshot, machine('web', gib(4, 16))) ?? {});
      expect(values.filter((value) => !(value >= 0 && value <= 100))).toEqual([]);
    }
  });
});

it('every score is used', () => {
  expect(new Set(Object.values(byName))).toEqual(new Set(allScores));
});
