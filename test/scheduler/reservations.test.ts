import { describe, expect, it } from 'vitest';
import { allocationAnnotation } from '../../src/scheduler/allocation.ts';
import { SchedulerWorld, turn } from '../support/scheduler-world.ts';

const nodeOf = (world: SchedulerWorld, name: string): string | undefined => world.machines.get(name)?.spec.nodeName;
const messageOf = (world: SchedulerWorld, name: string): string | undefined =>
  world.machines.get(name)?.status?.conditions?.find(({ type }) => type === 'Scheduled')?.message;
const reservedOn = (world: SchedulerWorld, name: string): string[] => {
  const text = world.nodes.get(name)?.metadata.annotations?.[allocationAnnotation] ?? '{}';
  return Object.values(JSON.parse(text) as Record<string, { m: string }>).map(({ m }) => m);
};
const cordon = (world: SchedulerWorld, name: string, unschedulable: boolean): void =>
  world.change('node', name, () => ({ spec: { unschedulable } }));

/** A world in which a scheduler reserved room for `m1` on `a` and died; its bind is still on the way. */
async function reservedAndDead(message = ''): Promise<SchedulerWorld> {
  const world = new SchedulerWorld();
  world.addNode('a', '4096Mi');
  world.addMachine('m1', 3500);
  const condition = { type: 'Scheduled', status: 'False', reason: 'Unschedulable', message };
  if (message !== '') world.change('machine', 'm1', () => ({ status: { conditions: [condition] } }));
  const first = world.start();
  await turn();
  world.serve(0);
  await turn();
  expect([reservedOn(world, 'a'), world.requests.length]).toEqual([['shop/m1'], 1]);
  first.kill();
  return world;
}

describe('a reservation', () => {
  it('is written before the machine gets its node, and stays with it', async () => {
    const world = new SchedulerWorld();
    world.addNode('a', '4096Mi');
    world.addMachine('m1', 1024);
    world.start();
    await world.settle();
    expect([nodeOf(world, 'm1'), reservedOn(world, 'a')]).toEqual(['a', ['shop/m1']]);
    world.delete('machine', 'm1');
    await world.settle();
    expect(reservedOn(world, 'a')).toEqual([]);
  });

  it('of a scheduler that died before the bind is taken up by the next one', async () => {
    const world = await reservedAndDead();
    world.addNode('b', '64000Mi');
    world.requests.length = 0;
    world.start();
    await world.settle();
    expect(nodeOf(world, 'm1')).toBe('a');
  });

  it('is given back when its node will not do any more, and the late bind is refused', async () => {
    const world = await reservedAndDead();
    cordon(world, 'a', true);
    const second = world.start();
    await world.settleOnly(second);
    expect([messageOf(world, 'm1'), reservedOn(world, 'a')]).toEqual(['1 node: 1 cordoned', []]);
    // The room goes to another machine; then what the dead one asked for arrives.
    world.delete('machine', 'm1');
    world.addMachine('m2', 3500);
    cordon(world, 'a', false);
    await world.settleOnly(second);
    expect(nodeOf(world, 'm2')).toBe('a');
    await world.settle();
    expect(world.overcommitted()).toEqual([]);
  });

  it('that was given back does not let a late bind overfill the node', async () => {
    // Nothing new is to be said of it, so no report changes its resourceVersion.
    const world = await reservedAndDead('1 node: 1 cordoned');
    cordon(world, 'a', true);
    const second = world.start();
    await world.settleOnly(second);
    world.addMachine('important', 3500, { priority: 10 });
    cordon(world, 'a', false);
    await world.settleOnly(second, 'm1');
    expect([nodeOf(world, 'important'), nodeOf(world, 'm1') ?? '']).toEqual(['a', '']);
    // The bind of the dead one comes before anything else about m1.
    world.serve(0);
    expect(world.overcommitted()).toEqual([]);
    await world.settle();
    expect([world.overcommitted(), nodeOf(world, 'm1') ?? '']).toEqual([[], '']);
  });

  it('does not survive a cordon that came before it was written', async () => {
    const world = new SchedulerWorld();
    world.addNode('a', '4096Mi');
    world.addMachine('m1', 1024);
    world.start();
    await turn();
    cordon(world, 'a', true);
    await world.settle();
    expect([nodeOf(world, 'm1') ?? '', messageOf(world, 'm1')]).toEqual(['', '1 node: 1 cordoned']);
  });

  it('does not hide who would have to move for a more important machine', async () => {
    const world = new SchedulerWorld();
    world.addNode('a', '4096Mi');
    world.addMachine('m1', 3500);
    world.start();
    await world.settle();
    expect(reservedOn(world, 'a')).toEqual(['shop/m1']);
    world.addMachine('m2', 3500, { priority: 10 });
    await world.settle();
    expect(messageOf(world, 'm2')).toMatch(/; moving shop\/m1 away from a would make room$/);
    // What was supposed for that is not so.
    world.addMachine('m3', 3500);
    await world.settle();
    expect([nodeOf(world, 'm3') ?? '', world.overcommitted()]).toEqual(['', []]);
  });

  it('is tried again until it is given back', async () => {
    const world = new SchedulerWorld();
    world.addNode('a', '4096Mi');
    world.addMachine('m1', 1024);
    world.start();
    await world.settle();
    world.delete('machine', 'm1');
    for (const { deliver } of world.schedulers) deliver(1);
    await turn();
    // The write is refused by a fault, three times over.
    for (let round = 0; round < 3; round += 1) {
      const [request] = world.requests.splice(0, 1);
      request?.fail(new Error('the API server is away'));
      await turn();
      await world.clock.advance(60_000);
    }
    await world.settle();
    expect(reservedOn(world, 'a')).toEqual([]);
  });

  it('that two schedulers want at the same time goes to one of them', async () => {
    const world = new SchedulerWorld();
    world.addNode('a', '4096Mi');
    world.addMachine('m1', 3500);
    const first = world.start();
    await turn();
    // The second has not heard of m1, and the first has not heard of m2.
    const second = world.start();
    second.kill();
    world.addMachine('m2', 3500);
    const third = world.start();
    await turn();
    await world.settle();
    const placed = ['m1', 'm2'].filter((name) => nodeOf(world, name) === 'a');
    expect(placed).toHaveLength(1);
    expect(world.overcommitted()).toEqual([]);
    for (const one of [first, third]) one.kill();
  });
});

describe('a Hypervisor that is deleted and made anew', () => {
  /** One scheduler has room for `m1` on `a`, its bind on the way; another one has seen that. Then `a` is made anew. */
  async function remade() {
    const world = new SchedulerWorld();
    world.addNode('a', '4096Mi');
    const first = world.start();
    const second = world.start();
    world.addMachine('m1', 3500);
    first.deliver(1);
    await turn();
    world.serve(0);
    await turn();
    expect([reservedOn(world, 'a'), world.requests.length]).toEqual([['shop/m1'], 1]);
    world.remake('a');
    expect(reservedOn(world, 'a')).toEqual([]);
    return { world, first, second };
  }

  it('has what was reserved on the one before', async () => {
    const { world, second } = await remade();
    world.addMachine('important', 3500, { priority: 10 });
    // Nothing is heard of m1 here but its reservation; the bind of the other one is still on the way.
    await world.settleOnly(second, 'm1');
    expect([reservedOn(world, 'a'), nodeOf(world, 'important')]).toEqual([['shop/m1'], undefined]);
    await world.settle();
    expect([nodeOf(world, 'm1'), nodeOf(world, 'important'), world.overcommitted()]).toEqual(['a', undefined, []]);
  });

  it('gives it back when the bind does not come', async () => {
    const { world, first, second } = await remade();
    first.kill();
    world.requests.length = 0;
    world.delete('machine', 'm1');
    world.addMachine('m2', 3500);
    await world.settleOnly(second);
    expect([reservedOn(world, 'a'), nodeOf(world, 'm2')]).toEqual([['shop/m2'], 'a']);
  });

  it('is not booked by who has not heard of what was reserved on the one before', async () => {
    const { world, second } = await remade();
    world.addMachine('important', 3500, { priority: 10 });
    // The machines come at once, while the watch of nodes still tells of the old one.
    const [lag, rest] = [
      second.inbox.filter(({ table }) => table === 'node'),
      second.inbox.filter(({ table }) => table === 'machine'),
    ];
    second.inbox.splice(0, second.inbox.length, ...rest);
    await world.settleOnly(second, 'm1');
    expect([reservedOn(world, 'a'), nodeOf(world, 'important')]).toEqual([[], undefined]);
    second.inbox.push(...lag);
    for (let round = 0; round < 3; round += 1) {
      await world.settle();
      await world.clock.advance(30_000);
    }
    expect([nodeOf(world, 'm1'), nodeOf(world, 'important'), world.overcommitted()]).toEqual(['a', undefined, []]);
  });

  it('is not taken for the one before when the answer to a reservation comes late', async () => {
    const world = new SchedulerWorld();
    world.addNode('a', '4096Mi');
    const { deliver, snapshot } = world.start();
    world.addMachine('m1', 3500);
    deliver(1);
    await turn();
    const [request] = world.requests.splice(0);
    const old = request?.run();
    world.remake('a');
    deliver(3);
    request?.answer(old);
    await turn();
    expect(snapshot.nodes.get('a')?.hypervisor.metadata.uid).toBe(world.nodes.get('a')?.metadata.uid);
    await world.settle();
    expect([nodeOf(world, 'm1'), reservedOn(world, 'a')]).toEqual(['a', ['shop/m1']]);
  });
});
