import { describe, expect, it } from 'vitest';
import { MachineWorld } from '../../support/machine-world.ts';

const crash = { state: 'shutoff', reason: 'crashed' } as const;

/** A machine of RerunOnFailure that has crashed so often, and waits for its next start or is started. */
async function crashed(times: number): Promise<MachineWorld> {
  const world = new MachineWorld('RerunOnFailure');
  await world.quiesce();
  for (let time = 0; time < times; time += 1) {
    world.domain.become(crash);
    if (time + 1 < times) await world.quiesce();
  }
  return world;
}

describe('an operation Stop', () => {
  it('ends a start after a crash that was cut off for good', async () => {
    const world = await crashed(1);
    expect(await world.killedAt('start', 'after')).toBe(true);
    world.ask('stop', 'Stop');
    await world.quiesce();
    expect(world.operation('stop')?.phase).toBe('Succeeded');
    expect([world.domain.boots, world.domain.is.state, world.status.printableStatus]).toEqual([
      1,
      'shutoff',
      'Completed',
    ]);
  });

  it('ends the wait for the next start after crashes', async () => {
    const world = await crashed(2);
    await world.reconcile();
    expect(world.status.printableStatus).toBe('CrashLoopBackOff');
    world.ask('stop', 'Stop');
    await world.quiesce();
    expect([world.domain.boots, world.domain.is.state, world.status.printableStatus]).toEqual([
      2,
      'shutoff',
      'Completed',
    ]);
    expect(world.status.failures).toBeUndefined();
    world.ask('start', 'Start');
    await world.quiesce();
    expect([world.domain.boots, world.status.printableStatus]).toEqual([3, 'Running']);
  });

  it('tells how a guest ended that was asked to, as before', async () => {
    const world = await crashed(1);
    await world.quiesce();
    world.ask('stop', 'Stop');
    await world.quiesce();
    expect([world.domain.is.state, world.status.lastStop?.reason, world.domain.powerCuts]).toEqual([
      'shutoff',
      'Shutdown',
      0,
    ]);
  });

  it.each(['before', 'after'] as const)('keeps it off wherever the executor is killed (%s)', async (when) => {
    for (let nth = 1, wasKilled = true; wasKilled; nth += 1) {
      const world = await crashed(2);
      await world.reconcile();
      world.ask('stop', 'Stop');
      wasKilled = await world.killedAt('*', when, nth);
      await world.quiesce();
      expect([world.domain.boots, world.domain.is.state], `killed at ${nth}`).toEqual([2, 'shutoff']);
    }
  });
});
