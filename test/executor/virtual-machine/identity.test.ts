import { describe, expect, it } from 'vitest';
import { findCondition } from '../../../src/api/meta.ts';
import { machineFinalizer } from '../../../src/executor/virtual-machine/delete-machine.ts';
import { machineUid, MachineWorld } from '../../support/machine-world.ts';

const otherUuid = '0b2a6c1e-52a4-4c8e-8f63-1d7b8e0c9f55';

/** A machine whose name and UUID somebody changed, at an API server without our admission. */
async function renamed(isOff: boolean): Promise<MachineWorld> {
  const world = new MachineWorld('Always');
  await world.quiesce();
  if (isOff) {
    world.change({ runStrategy: 'Halted' });
    await world.quiesce();
  }
  world.change({ domain: { type: 'test', name: 'another', uuid: otherUuid } });
  await world.quiesce(4);
  return world;
}

describe('a machine that is given another name and UUID', () => {
  it.each([
    ['runs', false],
    ['is off', true],
  ])('has no second domain where its own %s', async (_what, isOff) => {
    const world = await renamed(isOff);
    expect(world.others).toEqual([]);
    expect(world.domain.boots).toBe(1);
    expect(findCondition(world.status, 'Synchronized')).toMatchObject({ status: 'False', reason: 'DefineFailed' });
    expect(world.status.domain?.uuid).toBe(machineUid);
  });

  it('takes its domain with it when it is deleted', async () => {
    const world = await renamed(false);
    const { metadata } = world.machine;
    world.machine = { ...world.machine, metadata: { ...metadata, deletionTimestamp: '2030-01-01T00:00:00Z' } };
    await world.quiesce();
    expect(world.domain.isDefined).toBe(false);
    expect(world.machine.metadata.finalizers).not.toContain(machineFinalizer);
  });
});
