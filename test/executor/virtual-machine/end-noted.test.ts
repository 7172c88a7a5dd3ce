import { describe, expect, it } from 'vitest';
import { MachineWorld } from '../../support/machine-world.ts';

/** A machine that runs. */
async function running(...args: ConstructorParameters<typeof MachineWorld>): Promise<MachineWorld> {
  const world = new MachineWorld(...args);
  await world.quiesce();
  expect(world.status.printableStatus).toBe('Running');
  return world;
}

describe('a crash that is taken away', () => {
  it('is a crash also when the executor is killed right after', async () => {
    const world = await running('RerunOnFailure');
    world.domain.become({ state: 'crashed', reason: 'panicked' });
    expect(await world.killedAt('destroy', 'after')).toBe(true);
    await world.quiesce();
    expect([world.status.printableStatus, world.domain.boots]).toEqual(['Running', 2]);
    expect(world.status.lastStop?.reason).toBe('Crashed');
  });
});

describe('an operation Restart', () => {
  it.each([
    ['asks', {}, 'Shutdown'],
    ['forces', { restart: { force: true } }, 'Destroyed'],
  ])('that %s tells the end as asked for, wherever the executor is killed', async (_how, parameters, reason) => {
    let nth = 0;
    for (let wasKilled = true; wasKilled;) {
      nth += 1;
      const world = await running('Always');
      world.events.length = 0;
      world.ask('op', 'Restart', parameters);
      wasKilled = await world.killedAt('*', nth % 2 === 0 ? 'before' : 'after', Math.ceil(nth / 2));
      await world.quiesce();
      expect(world.operation('op')?.phase, `killed at ${nth}`).toBe('Succeeded');
      expect([world.domain.boots, world.status.lastStop?.reason], `killed at ${nth}`).toEqual([2, reason]);
      const words = world.events.map(({ note }) => note).filter((note) => note.includes('by itself'));
      expect([words, world.status.failures], `killed at ${nth}`).toEqual([[], undefined]);
    }
    expect(nth).toBeGreaterThan(10);
  });
});

describe('failures of an older spec', () => {
  it('are forgotten, also when the executor is killed in the start that follows', async () => {
    const world = await running('Always');
    for (let crash = 0; crash < 3; crash += 1) {
      world.domain.become({ state: 'shutoff', reason: 'crashed' });
      await world.quiesce();
    }
    world.domain.become({ state: 'shutoff', reason: 'crashed' });
    await world.reconcile();
    expect(world.status.failures?.count).toBe(4);
    world.change({ terminationGracePeriodSeconds: 5 });
    expect(await world.killedAt('start', 'before')).toBe(true);
    await world.quiesce();
    expect([world.status.printableStatus, world.status.failures]).toEqual(['Running', undefined]);
  });
});
