import { describe, expect, it } from 'vitest';
import { ErrorNumber } from '../../../src/libvirt/constants.gen.ts';
import { libvirtError, MachineWorld } from '../../support/machine-world.ts';

/** A machine whose memory was saved by an operation. */
async function saved(): Promise<MachineWorld> {
  const world = new MachineWorld('Always');
  await world.quiesce();
  world.ask('save', 'Save');
  await world.quiesce();
  expect(world.status.printableStatus).toBe('Saved');
  return world;
}

describe('a start that was cut off', () => {
  it.each([
    ['ended', { state: 'shutoff', reason: 'shutdown' }],
    ['crashed', { state: 'crashed', reason: 'panicked' }],
  ] as const)('is begun anew when the guest ran and %s before the next executor looked', async (_how, is) => {
    const world = new MachineWorld('Always');
    expect(await world.killedAt('resume', 'after')).toBe(true);
    world.domain.become(is);
    await world.quiesce();
    expect([world.status.printableStatus, world.domain.boots]).toEqual(['Running', 2]);
  });

  it('is over with the guest that ran, and no start of later on, when the machine was halted meanwhile', async () => {
    const world = new MachineWorld('Once');
    expect(await world.killedAt('resume', 'after')).toBe(true);
    world.domain.become({ state: 'shutoff', reason: 'shutdown' });
    world.change({ runStrategy: 'Halted' });
    await world.quiesce();
    expect(world.status.power).not.toHaveProperty('bootStep');
    world.change({ runStrategy: 'Once' });
    await world.quiesce();
    expect([world.status.printableStatus, world.domain.boots]).toEqual(['Running', 2]);
  });

  it.each(['start', 'setMetadata'])(
    'of a saved guest does not cost it its memory when it is to be halted (after %s)',
    async (call) => {
      const world = await saved();
      world.ask('again', 'Start');
      expect(await world.killedAt(call, 'after')).toBe(true);
      world.operations.delete('again');
      world.change({ runStrategy: 'Halted' });
      await world.quiesce();
      expect(world.domain.is.state).toBe('shutoff');
      expect([world.domain.powerCuts, world.domain.asked]).toEqual([0, 1]);
    },
  );

  it.each([
    ['that somebody else had started and saved', 'start', 0],
    ['whose machine was made anew', 'setMetadata', 0],
    ['that libvirt was busy with at first', 'start', 2],
  ] as const)('of a saved guest %s does not cost it its memory either', async (how, call, refusals) => {
    const isOthers = how !== 'whose machine was made anew';
    const world = new MachineWorld(isOthers ? 'Halted' : 'Always');
    await world.quiesce();
    if (isOthers) await world.domain.start();
    await world.domain.managedSave();
    if (isOthers) world.change({ runStrategy: 'Always' });
    else world.machine = { ...world.machine, status: {} };
    expect(await world.killedAt(call, 'after')).toBe(true);
    let left: number = refusals;
    world.fail((name, when) => {
      if (name !== 'setMetadata' || when === 'after' || left === 0) return;
      left -= 1;
      throw libvirtError(ErrorNumber.OPERATION_TIMEOUT, 'Timed out during operation: cannot acquire state change lock');
    });
    for (let turn = 0; turn < refusals; turn += 1) await world.reconcile();
    world.change({ runStrategy: 'Halted' });
    await world.quiesce();
    expect([world.domain.is.state, left]).toEqual(['shutoff', 0]);
    expect([world.domain.powerCuts, world.domain.asked]).toEqual([0, 1]);
    expect(world.status.domain?.savedState).toBe(false);
  });

  it.each([
    ['before libvirt was asked', 'before'],
    ['before the guest was let go', 'after'],
  ] as const)('ends when the run strategy no longer wants it (%s)', async (_when, when) => {
    const world = new MachineWorld('Always');
    expect(await world.killedAt('start', when)).toBe(true);
    world.change({ runStrategy: 'Manual' });
    await world.quiesce();
    expect([world.domain.boots, world.domain.is.state, world.status.power?.bootStep]).toEqual([
      0,
      'shutoff',
      undefined,
    ]);
  });

  it.each(['before', 'after'] as const)('ends with the operation that was deleted meanwhile (%s)', async (when) => {
    const world = new MachineWorld('Manual');
    world.ask('op', 'Start');
    expect(await world.killedAt('start', when)).toBe(true);
    world.operations.delete('op');
    await world.quiesce();
    expect([world.domain.boots, world.domain.is.state]).toEqual([0, 'shutoff']);
  });

  it('ends with the operation whose deadline is over', async () => {
    const world = new MachineWorld('Manual');
    world.ask('op', 'Start', { activeDeadlineSeconds: 5 });
    expect(await world.killedAt('start', 'after')).toBe(true);
    await world.clock.advance(60_000);
    await world.quiesce();
    expect(world.operation('op')).toMatchObject({ phase: 'Failed', reason: 'DeadlineExceeded' });
    expect([world.domain.boots, world.domain.is.state]).toEqual([0, 'shutoff']);
  });

  it.each(['before', 'after'] as const)('stays ended when a Stop came meanwhile (%s)', async (when) => {
    const world = new MachineWorld('Once');
    expect(await world.killedAt('start', when)).toBe(true);
    world.ask('stop', 'Stop');
    await world.quiesce();
    expect(world.operation('stop')?.phase).toBe('Succeeded');
    expect([world.domain.boots, world.domain.is.state]).toEqual([0, 'shutoff']);
  });

  it.each([
    ['to be halted', (world: MachineWorld): void => world.change({ runStrategy: 'Halted' })],
    ['to be left alone', (world: MachineWorld): void => world.change({ runStrategy: 'Manual' })],
    ['stopped', (world: MachineWorld): void => world.ask('stop', 'Stop')],
  ])('executes nothing of a machine that is %s, wherever the executor is killed again', async (_how, change) => {
    let nth = 0;
    for (let wasKilled = true; wasKilled;) {
      nth += 1;
      const world = new MachineWorld('Once');
      expect(await world.killedAt('setMetadata', 'before')).toBe(true);
      change(world);
      wasKilled = await world.killedAt('*', nth % 2 === 0 ? 'before' : 'after', Math.ceil(nth / 2));
      await world.quiesce();
      expect([world.domain.boots, world.domain.is.state], `killed at ${nth}`).toEqual([0, 'shutoff']);
      expect(world.status.power?.bootStep, `killed at ${nth}`).toBeUndefined();
    }
    expect(nth).toBeGreaterThan(3);
  });

  it.each(['setMetadata', 'resume'])('goes on after libvirt refused a step of it (%s)', async (step) => {
    const world = new MachineWorld('Always');
    let refusals = 0;
    world.fail((call, when) => {
      if (call !== step || when === 'after' || refusals === 3) return;
      refusals += 1;
      throw libvirtError(ErrorNumber.OPERATION_TIMEOUT, 'Timed out during operation: cannot acquire state change lock');
    });
    await world.quiesce();
    expect([world.status.printableStatus, world.domain.boots, refusals]).toEqual(['Running', 1, 3]);
    expect(world.status.domain?.boots).toBe(1);
  });

  it('waits while something that the machine needs is not there', async () => {
    const world = new MachineWorld('Always');
    expect(await world.killedAt('start', 'before')).toBe(true);
    world.change({ volumes: [{ name: 'data', virtualDisk: 'missing' }] });
    await world.quiesce(5);
    expect([world.domain.boots, world.domain.is.state]).toEqual([0, 'shutoff']);
    world.change({ volumes: [] });
    await world.quiesce();
    expect([world.domain.boots, world.status.printableStatus]).toEqual([1, 'Running']);
  });
});
