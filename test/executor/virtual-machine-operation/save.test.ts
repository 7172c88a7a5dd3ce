import { describe, expect, it } from 'vitest';
import { MachineWorld } from '../../support/machine-world.ts';

/** A machine that runs, under Always, and an operation that is to save it. */
async function beingSaved(parameters: object = {}): Promise<MachineWorld> {
  const world = new MachineWorld('Always');
  await world.quiesce();
  world.ask('save', 'Save', parameters);
  return world;
}

function expectStartedAnew({ status, domain }: MachineWorld): void {
  expect([status.power?.held, status.printableStatus, domain.boots]).toEqual([undefined, 'Running', 2]);
  expect(status.lastStop?.reason).toBe('Crashed');
}

describe('a guest that ends by itself while it is being saved', () => {
  it('is not taken for a saved one', async () => {
    const world = await beingSaved();
    world.fail((call, when) => {
      if (call === 'managedSave' && when === 'before') world.domain.become({ state: 'shutoff', reason: 'crashed' });
    });
    await world.quiesce();
    expect(world.operation('save')?.phase).toBe('Failed');
    expectStartedAnew(world);
  });

  it('is not taken for a saved one when the deadline of the operation is over by then', async () => {
    const world = await beingSaved({ activeDeadlineSeconds: 5 });
    expect(await world.killedAt('managedSave', 'before')).toBe(true);
    world.domain.become({ state: 'shutoff', reason: 'crashed' });
    await world.clock.advance(60_000);
    await world.quiesce();
    expect(world.operation('save')).toMatchObject({ phase: 'Failed', reason: 'DeadlineExceeded' });
    expectStartedAnew(world);
  });

  it('is not taken for a saved one when the operation is deleted', async () => {
    const world = await beingSaved();
    expect(await world.killedAt('managedSave', 'before')).toBe(true);
    world.domain.become({ state: 'shutoff', reason: 'crashed' });
    world.operations.delete('save');
    await world.quiesce();
    expectStartedAnew(world);
  });
});

describe('a saved guest', () => {
  it('stays saved, wherever the executor is killed, and its operation succeeded', async () => {
    let nth = 0;
    for (let wasKilled = true; wasKilled;) {
      nth += 1;
      const world = await beingSaved();
      wasKilled = await world.killedAt('*', nth % 2 === 0 ? 'before' : 'after', Math.ceil(nth / 2));
      await world.quiesce();
      expect(world.operation('save')?.phase, `killed at ${nth}`).toBe('Succeeded');
      const { status, domain } = world;
      expect([status.printableStatus, domain.boots, domain.powerCuts], `killed at ${nth}`).toEqual(['Saved', 1, 0]);
      expect([status.lastStop?.reason, status.failures], `killed at ${nth}`).toEqual(['Saved', undefined]);
    }
    expect(nth).toBeGreaterThan(6);
  });
});

describe('a saved guest whose machine is halted', () => {
  it('goes on when the machine is to run again, which is how a halted one is started', async () => {
    const world = await beingSaved();
    await world.quiesce();
    world.change({ runStrategy: 'Halted' });
    await world.quiesce();
    expect([world.status.printableStatus, world.domain.hasSave]).toEqual(['Saved', true]);
    world.change({ runStrategy: 'Always' });
    await world.quiesce();
    expect([world.status.printableStatus, world.domain.boots, world.domain.hasSave]).toEqual(['Running', 1, false]);
  });
});
