import { describe, expect, it } from 'vitest';
import type { VirtualMachineSpec } from '../../src/api/virtual-machine.ts';
import { SchedulerWorld } from '../support/scheduler-world.ts';
import type { SchedulerProcess } from '../support/scheduler-world.ts';

const nodeOf = (world: SchedulerWorld, name: string): string => world.machines.get(name)?.spec.nodeName ?? '';
const near = (label: string): VirtualMachineSpec => ({
  affinity: {
    vmAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: [
        { topologyKey: 'kubernetes.io/hostname', labelSelector: { matchLabels: { app: label } } },
      ],
    },
  },
});
const far = (label: string): VirtualMachineSpec => ({
  affinity: { vmAntiAffinity: near(label).affinity?.vmAffinity },
});

/** A machine that waits on a full or wrong cluster, and its scheduler. */
async function waiting(
  spec: VirtualMachineSpec = {},
  prepare: (world: SchedulerWorld) => void = () => undefined,
): Promise<{ world: SchedulerWorld; process: SchedulerProcess }> {
  const world = new SchedulerWorld();
  world.addNode('a', '4096Mi', {}, { zone: 'x' });
  prepare(world);
  const process = world.start();
  await world.settle();
  world.addMachine('web', 3500, spec);
  await world.settle();
  expect([nodeOf(world, 'web'), process.scheduler.waiting]).toEqual(['', 1]);
  return { world, process };
}

const full = (world: SchedulerWorld): void => world.addMachine('other', 3500);

describe('a machine for which no node would do', () => {
  it('is not looked at again while nothing happens, however much time passes', async () => {
    const { world, process } = await waiting({}, full);
    const before = [process.scheduler.attempts, world.served];
    await world.clock.advance(24 * 3600 * 1000);
    await world.settle();
    expect([process.scheduler.attempts, world.served]).toEqual(before);
    expect(world.clock.sleeping).toBe(0);
  });

  it('is not looked at again for what cannot help', async () => {
    const { world, process } = await waiting({}, full);
    const before = process.scheduler.attempts;
    // A heartbeat, a status, a machine that comes to be elsewhere, a node's room that is still too small.
    world.change('node', 'a', ({ status }) => ({ status: { ...status, lastHeartbeatTime: '2030-01-01T00:00:00Z' } }));
    world.change('machine', 'web', ({ status }) => ({ status: { ...status, printableStatus: 'Unknown' } }));
    world.change('machine', 'other', ({ status }) => ({ status: { ...status, printableStatus: 'Running' } }));
    await world.settle();
    expect(process.scheduler.attempts).toBe(before);
  });

  it('is told of the whole cluster in one line', async () => {
    const { world } = await waiting({}, full);
    expect(world.machines.get('web')?.status?.printableStatus).toBe('ErrorUnschedulable');
    expect(world.machines.get('web')?.status?.conditions).toMatchObject([
      {
        type: 'Scheduled',
        status: 'False',
        reason: 'Unschedulable',
        message: '1 node: 1 too little memory (needs 3.5 GiB, free 517.2 MiB)',
      },
    ]);
  });

  const helps: readonly (readonly [
    string,
    VirtualMachineSpec,
    (world: SchedulerWorld) => void,
    (world: SchedulerWorld) => void,
  ])[] = [
    ['a machine is deleted', {}, full, (world) => world.delete('machine', 'other')],
    [
      'a machine is taken off its node',
      {},
      full,
      (world) => world.change('machine', 'other', ({ spec }) => ({ spec: { ...spec, nodeName: 'b' } })),
    ],
    [
      'a machine becomes smaller',
      {},
      full,
      (world) =>
        world.change('machine', 'other', ({ spec, metadata }) => ({
          metadata: { ...metadata, generation: 2 },
          spec: { ...spec, domain: { memory: { unit: 'MiB', value: 64 } } },
        })),
    ],
    ['a node comes', {}, full, (world) => world.addNode('b', '8192Mi')],
    [
      'a node gets more memory',
      {},
      full,
      (world) =>
        world.change('node', 'a', ({ status }) => ({
          status: { ...status, allocatable: { cpu: '9', memory: '16Gi' } },
        })),
    ],
    [
      'a node is uncordoned',
      {},
      (world) => world.change('node', 'a', () => ({ spec: { unschedulable: true } })),
      (world) => world.change('node', 'a', () => ({ spec: {} })),
    ],
    [
      'a node is ready again',
      {},
      (world) =>
        world.change('node', 'a', ({ status }) => ({
          status: { ...status, conditions: [{ type: 'Ready', status: 'Unknown' }] },
        })),
      (world) =>
        world.change('node', 'a', ({ status }) => ({
          status: { ...status, conditions: [{ type: 'Ready', status: 'True' }] },
        })),
    ],
    [
      'a node loses its taint',
      {},
      (world) => world.change('node', 'a', () => ({ spec: { taints: [{ key: 'gpu', effect: 'NoSchedule' }] } })),
      (world) => world.change('node', 'a', () => ({ spec: {} })),
    ],
    [
      'a node gets the label it asks for',
      { nodeSelector: { disk: 'fast' } },
      () => undefined,
      (world) =>
        world.change('node', 'a', ({ metadata }) => ({
          metadata: { ...metadata, labels: { ...metadata.labels, disk: 'fast' } },
        })),
    ],
    [
      'its own rules change',
      { nodeSelector: { disk: 'fast' } },
      () => undefined,
      (world) =>
        world.change('machine', 'web', ({ metadata, spec: { nodeSelector: _gone, ...spec } }) => ({
          metadata: { ...metadata, generation: 2 },
          spec,
        })),
    ],
    [
      'the machine comes that it must be near',
      near('db'),
      () => undefined,
      (world) => world.addMachine('db', 64, {}, { app: 'db' }),
    ],
    [
      'the machine goes that it must be far from',
      far('db'),
      (world) => world.addMachine('db', 64, {}, { app: 'db' }),
      (world) => world.delete('machine', 'db'),
    ],
    [
      'a machine is no longer one that it must be far from',
      far('db'),
      (world) => world.addMachine('db', 64, {}, { app: 'db' }),
      (world) =>
        world.change('machine', 'db', ({ metadata }) => ({ metadata: { ...metadata, labels: { app: 'cache' } } })),
    ],
    [
      'machines of its kind come to where there were fewer',
      {
        topologySpreadConstraints: [
          {
            maxSkew: 1,
            topologyKey: 'zone',
            whenUnsatisfiable: 'DoNotSchedule',
            labelSelector: { matchLabels: { app: 'web' } },
          },
        ],
      },
      (world) => {
        world.addNode('b', '900Mi', {}, { zone: 'y' });
        world.addMachine('w1', 64, { nodeName: 'a' }, { app: 'web' });
        world.addMachine('w2', 64, { nodeName: 'a' }, { app: 'web' });
      },
      (world) => {
        world.addMachine('w3', 64, { nodeName: 'b' }, { app: 'web' });
        world.addMachine('w4', 64, { nodeName: 'b' }, { app: 'web' });
      },
    ],
  ];

  for (const [what, spec, prepare, help] of helps) {
    it(`gets its node when ${what}`, async () => {
      const { world } = await waiting(spec, prepare);
      if (what.startsWith('machines of its kind')) {
        // It counts as one of its kind itself.
        world.change('machine', 'web', ({ metadata }) => ({ metadata: { ...metadata, labels: { app: 'web' } } }));
        await world.settle();
        expect(nodeOf(world, 'web')).toBe('');
      }
      help(world);
      await world.settle();
      expect(nodeOf(world, 'web')).not.toBe('');
      expect(world.clock.slept).toEqual([]);
    });
  }

  it('gets the room that was found for a more important one, when that goes elsewhere', async () => {
    const world = new SchedulerWorld();
    world.addNode('a', '4096Mi');
    world.addNode('b', '9000Mi');
    world.addMachine('old-a', 3800, { nodeName: 'a' });
    world.addMachine('old-b', 8500, { nodeName: 'b' });
    world.start();
    world.addMachine('anywhere', 3500, { priority: 5 });
    world.addMachine('only-a', 3500, { nodeSelector: { 'kubernetes.io/hostname': 'a' } });
    await world.settle();
    expect([nodeOf(world, 'anywhere'), nodeOf(world, 'only-a')]).toEqual(['', '']);
    // Both at once: the room on `a` is found first, and the emptier `b` is chosen.
    world.delete('machine', 'old-a');
    world.delete('machine', 'old-b');
    await world.settle();
    expect([nodeOf(world, 'anywhere'), nodeOf(world, 'only-a')]).toEqual(['b', 'a']);
  });

  it('is not woken by room that is enough for another one only', async () => {
    const world = new SchedulerWorld();
    world.addNode('a', '4096Mi');
    world.addMachine('old', 3500);
    const { scheduler } = world.start();
    await world.settle();
    for (let number = 0; number < 100; number += 1) world.addMachine(`w${number}`, 3500);
    await world.settle();
    const before = scheduler.attempts;
    world.delete('machine', 'old');
    await world.settle();
    expect([scheduler.attempts - before, scheduler.waiting]).toEqual([1, 99]);
  });

  it('gets its node when pods on the host end', async () => {
    const world = new SchedulerWorld();
    world.addNode('a', '4096Mi');
    const { scheduler } = world.start();
    scheduler.onPods('a', { memory: 2 ** 30 });
    world.addMachine('web', 3500);
    await world.settle();
    expect(nodeOf(world, 'web')).toBe('');
    scheduler.onPods('a', { memory: 2 ** 20 });
    await world.settle();
    expect(nodeOf(world, 'web')).toBe('a');
  });
});

describe('machines on nodes that do not exist', () => {
  it('say so, until the node comes', async () => {
    const world = new SchedulerWorld();
    world.start();
    world.addMachine('web', 64, { nodeName: 'nowhere' });
    await world.settle();
    const scheduled = () => world.machines.get('web')?.status?.conditions?.[0];
    expect(scheduled()).toMatchObject({
      status: 'False',
      reason: 'NodeUnknown',
      message: 'there is no Hypervisor nowhere',
    });
    world.addNode('nowhere', '1Gi');
    await world.settle();
    expect(scheduled()).toMatchObject({ status: 'True', reason: 'Bound', message: 'on node nowhere' });
  });
});
