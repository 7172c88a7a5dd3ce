import { describe, expect, it } from 'vitest';
import type { VirtualMachineSpec } from '../../src/api/virtual-machine.ts';
import type { NamedKind } from '../../src/scheduler/queueing-hints.ts';
import { SchedulerWorld } from '../support/scheduler-world.ts';

type Put = readonly [kind: NamedKind, name: string, spec?: object, status?: object];

const root: VirtualMachineSpec = { volumes: [{ name: 'root', virtualDisk: 'root' }] };
const elsewhere = { nodeSelector: { matchLabels: { zone: 'z' } } };
const inactive = { nodes: [{ nodeName: 'a', state: 'inactive' }] };
const running = { nodes: [{ nodeName: 'a', state: 'running' }] };

/** What a machine names, what is there of it, why it waits, and what then helps. */
const cases: readonly (readonly [string, VirtualMachineSpec, readonly Put[], reason: string, help: Put])[] = [
  ['its disk', root, [], 'once VirtualDisk "root" exists', ['VirtualDisk', 'root']],
  [
    'its disk, which is where no machine can be placed, moved',
    root,
    [['VirtualDisk', 'root', {}, { nodeName: 'gone' }]],
    'VirtualDisk "root" is on gone',
    ['VirtualDisk', 'root', {}, { nodeName: 'a' }],
  ],
  [
    'the disk that its disk is cloned from',
    root,
    [['VirtualDisk', 'root', { source: { clone: { name: 'golden' } } }]],
    'once VirtualDisk "golden" exists',
    ['VirtualDisk', 'golden'],
  ],
  [
    'the image that its disk is made from',
    root,
    [['VirtualDisk', 'root', { source: { image: { name: 'debian' } } }]],
    'once VirtualImage "debian" exists',
    ['VirtualImage', 'debian'],
  ],
  [
    'the image that the disk is made from that its disk is cloned from',
    root,
    [
      ['VirtualDisk', 'root', { source: { clone: { name: 'golden' } } }],
      ['VirtualDisk', 'golden', { source: { image: { name: 'debian' } } }],
    ],
    'once VirtualImage "debian" exists',
    ['VirtualImage', 'debian'],
  ],
  [
    'the snapshot that its disk is made from',
    root,
    [['VirtualDisk', 'root', { source: { snapshot: { name: 'before', volume: 'root' } } }]],
    'once VirtualMachineSnapshot "before" exists',
    ['VirtualMachineSnapshot', 'before', {}, { nodeName: 'a' }],
  ],
  [
    'the snapshot that its disk is made from, taken at last',
    root,
    [
      ['VirtualDisk', 'root', { source: { snapshot: { name: 'before', volume: 'root' } } }],
      ['VirtualMachineSnapshot', 'before'],
    ],
    'once VirtualMachineSnapshot "before" is taken',
    ['VirtualMachineSnapshot', 'before', {}, { nodeName: 'a' }],
  ],
  [
    'the pool of its disk',
    root,
    [
      ['VirtualDisk', 'root', { pool: 'fast' }],
      ['VirtualPool', 'fast', {}, inactive],
    ],
    'where VirtualPool "fast" is inactive',
    ['VirtualPool', 'fast', {}, running],
  ],
  [
    'the default pool of its disk',
    root,
    [
      ['VirtualDisk', 'root'],
      ['VirtualPool', 'default', {}, inactive],
    ],
    'where VirtualPool "default" is inactive',
    ['VirtualPool', 'default', {}, running],
  ],
  [
    'the pool of its empty disk',
    { volumes: [{ name: 'swap', emptyDisk: { capacity: '1Gi', pool: 'fast' } }] },
    [['VirtualPool', 'fast', elsewhere]],
    'without VirtualPool "fast"',
    ['VirtualPool', 'fast'],
  ],
  [
    'its image',
    { volumes: [{ name: 'live', virtualImage: 'live' }] },
    [],
    'once VirtualImage "live" exists',
    ['VirtualImage', 'live'],
  ],
  [
    'its network',
    { interfaces: [{ name: 'eth0', virtualNetwork: 'front' }] },
    [],
    'once VirtualNetwork "front" exists',
    ['VirtualNetwork', 'front'],
  ],
  [
    'its network, on its node at last',
    { interfaces: [{ name: 'eth0', virtualNetwork: 'front' }] },
    [['VirtualNetwork', 'front', elsewhere]],
    'without VirtualNetwork "front"',
    ['VirtualNetwork', 'front'],
  ],
];

describe('a machine that waits for what it names', () => {
  for (const [what, spec, before, reason, help] of cases) {
    it(`is looked at again for ${what}, and for nothing else`, async () => {
      const world = new SchedulerWorld();
      world.addNode('a', '4096Mi');
      for (const one of before) world.put(...one);
      const { scheduler } = world.start();
      world.addMachine('web', 64, spec);
      await world.settle();
      const condition = world.machines.get('web')?.status?.conditions?.find(({ type }) => type === 'Scheduled');
      expect([condition?.message, scheduler.waiting]).toEqual([expect.stringContaining(reason), 1]);

      const attempts = scheduler.attempts;
      const [kind, name, given, status] = help;
      world.put(kind, 'other', given, status);
      if (kind !== 'VirtualPool') world.put(kind, name, given, status, 'elsewhere');
      for (const another of ['VirtualDisk', 'VirtualImage', 'VirtualPool', 'VirtualNetwork'] as const) {
        if (another !== kind) world.put(another, 'unrelated', given, status);
      }
      await world.settle();
      expect(scheduler.attempts).toBe(attempts);

      world.put(...help);
      await world.settle();
      expect([world.machines.get('web')?.spec.nodeName, scheduler.attempts]).toEqual(['a', attempts + 1]);
      expect(world.clock.slept).toEqual([]);
    });
  }
});
