import { describe, expect, it } from 'vitest';
import { cluster, machine, node, place } from './cluster.ts';
import { chooseTarget } from '../../src/scheduler/migration-targets.ts';
import type { Snapshot } from '../../src/scheduler/snapshot.ts';

const none = new Map<string, string>();
const small = { status: { allocatable: { cpu: '8', memory: '2Gi' } } };

function whereabouts(snapshot: Snapshot): Record<string, string[]> {
  return Object.fromEntries([...snapshot.nodes].map(([name, { machines }]) => [name, [...machines.keys()].sort()]));
}

describe('where a machine is migrated to', () => {
  it('is another node that would take it, and nothing is changed by choosing', () => {
    const snapshot = cluster([node('a'), node('b', { spec: { unschedulable: true } }), node('c')]);
    snapshot.place(machine('web'), 'a');
    const before = whereabouts(snapshot);
    expect(chooseTarget('web', snapshot, none)).toEqual({ target: 'c' });
    expect(whereabouts(snapshot)).toEqual(before);
  });

  it('is nowhere when no other node will do, and each says why', () => {
    const snapshot = cluster([node('a'), node('b', { spec: { unschedulable: true } })]);
    expect(place(snapshot, machine('web'))).toBe('a');
    expect(chooseTarget('web', snapshot, none)).toEqual({
      refusal: expect.stringMatching(/^2 nodes: 1 cordoned, 1 where it is now$/) as string,
    });
  });

  it('is not where others that move are about to fill the room', () => {
    const snapshot = cluster([node('a'), node('b', small), node('c', small)]);
    for (const name of ['web', 'db']) snapshot.place(machine(name), 'a');
    const first = chooseTarget('web', snapshot, none);
    if (!('target' in first)) throw new Error(first.refusal);
    const second = chooseTarget('db', snapshot, new Map([['web', first.target]]));
    expect([first.target, second]).toEqual([first.target, { target: first.target === 'b' ? 'c' : 'b' }]);
  });

  it('is the node that is asked for, or none, with what speaks against it', () => {
    const snapshot = cluster([node('a'), node('b', { spec: { unschedulable: true } }), node('c'), node('d', small)]);
    snapshot.place(machine('web', { domain: { memory: { unit: 'GiB', value: 4 } } }), 'a');
    expect(chooseTarget('web', snapshot, none, 'c')).toEqual({ target: 'c' });
    expect(chooseTarget('web', snapshot, none, 'b')).toEqual({ refusal: 'b: cordoned' });
    expect(chooseTarget('web', snapshot, none, 'd')).toEqual({
      refusal: 'd: too little memory (needs 4.1 GiB, free 2 GiB)',
    });
    expect(chooseTarget('web', snapshot, none, 'e')).toEqual({ refusal: 'there is no node "e"' });
  });

  it('is not known for a machine that the scheduler has not seen', () => {
    expect(chooseTarget('web', cluster([node('a')]), none)).toEqual({
      refusal: 'the scheduler does not know where it is',
    });
  });
});

describe('a machine with disks in a pool of its node', () => {
  const spec = {
    volumes: [
      { name: 'root', virtualDisk: 'root' },
      { name: 'data', emptyDisk: { capacity: '9Gi', pool: 'fast' } },
    ],
  };
  const things = {
    disks: {
      root: { pool: 'fast', on: 'a', takes: '2Gi' },
      'web-data': { pool: 'fast', on: 'a', takes: '1Gi' },
    },
    pools: {
      fast: {
        states: { a: 'running', b: 'running', c: 'inactive', d: 'running' },
        free: { b: '2Gi', c: '9Gi', d: '3Gi' },
      },
    },
  };
  const nodes = ['a', 'b', 'c', 'd', 'e'].map((name) => node(name));
  const choose = (wanted?: string, isCopied = true): unknown => {
    const snapshot = cluster(nodes, things);
    snapshot.place(machine('web', spec), 'a');
    return chooseTarget('web', snapshot, none, wanted, isCopied);
  };

  it('stays on it, unless they go with it', () => {
    expect(choose('d', false)).toEqual({ refusal: 'd: the wrong one: VirtualDisk "root" is on a' });
    expect(choose('d')).toEqual({ target: 'd' });
  });

  it('goes where the pool runs and has room for all that they take', () => {
    expect(choose()).toEqual({ target: 'd' });
    expect(choose('b')).toEqual({
      refusal: 'b: with too little room in VirtualPool "fast" (needs 3 GiB, free 2 GiB)',
    });
    expect(choose('c')).toEqual({ refusal: 'c: where VirtualPool "fast" is inactive' });
    expect(choose('e')).toEqual({ refusal: 'e: without VirtualPool "fast"' });
  });

  it('still waits for what else its volumes need', () => {
    const image = { volumes: [...spec.volumes, { name: 'tools', virtualImage: 'tools' }] };
    const snapshot = cluster(nodes, {
      ...things,
      images: { tools: { nodeSelector: { matchLabels: { tools: 'yes' } }, source: {} } },
    });
    snapshot.place(machine('web', image), 'a');
    expect(chooseTarget('web', snapshot, none, 'd', true)).toEqual({ refusal: 'd: without VirtualImage "tools"' });
  });
});
