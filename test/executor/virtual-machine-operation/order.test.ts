import { describe, expect, it } from 'vitest';
import type { OperationVerb } from '../../../src/api/virtual-machine-operation.ts';
import { MachineWorld } from '../../support/machine-world.ts';

describe('operations of one machine', () => {
  it('go on with the one that was begun, when the cache has not seen yet that it was', async () => {
    const world = new MachineWorld('Always');
    await world.quiesce();
    world.domain.obeys = false;
    world.ask('z', 'Restart');
    await world.reconcile();
    expect(world.operation('z')?.phase).toBe('Running');
    world.ask('a', 'Pause');
    world.known = ['a', 'z'];
    await world.reconcile();
    expect(world.operation('a')).toBeUndefined();
    world.domain.obeys = true;
    await world.quiesce();
    expect([world.operation('z')?.phase, world.operation('a')?.phase]).toEqual(['Succeeded', 'Succeeded']);
    expect([world.domain.boots, world.domain.is.state]).toEqual([2, 'paused']);
  });

  it.each<[OperationVerb, string, boolean]>([
    ['Pause', 'paused', false],
    ['Save', 'shutoff', true],
  ])('wait for the end of a start that was cut off: %s', async (verb, state, isSaved) => {
    const world = new MachineWorld('Always');
    expect(await world.killedAt('setMetadata', 'before')).toBe(true);
    world.ask('op', verb);
    await world.quiesce();
    expect(world.operation('op')?.phase).toBe('Succeeded');
    expect([world.domain.boots, world.domain.is.state, world.domain.hasSave]).toEqual([1, state, isSaved]);
  });
});
