import { describe, expect, it } from 'vitest';
import type { OperationVerb } from '../../../src/api/virtual-machine-operation.ts';
import { ErrorNumber } from '../../../src/libvirt/constants.gen.ts';
import { libvirtError, MachineWorld } from '../../support/machine-world.ts';

const refusal = libvirtError(ErrorNumber.INTERNAL_ERROR, 'internal error: process exited while connecting to monitor');

describe.each<OperationVerb>(['Start', 'Restart'])('an operation %s whose start libvirt refuses', (verb) => {
  it('failed, also when its end could not be written at once', async () => {
    const world = new MachineWorld('Manual');
    world.ask('op', verb);
    let isAway = true;
    let isRefused = false;
    world.fail((call, when) => {
      if (when === 'after') return;
      if (call === 'operation' && isRefused && isAway) {
        isAway = false;
        throw new Error('503: the server is not there');
      }
      if (call !== 'start') return;
      isRefused = true;
      throw refusal;
    });
    await world.quiesce();
    expect([isAway, world.domain.boots]).toEqual([false, 0]);
    expect(world.operation('op')).toMatchObject({ phase: 'Failed', reason: 'LibvirtError' });
    expect(world.status.power).not.toHaveProperty('bootStep');
  });
});

describe('an operation Start', () => {
  it.each(['Manual', 'Once', 'Always'] as const)(
    'begins a crashed guest anew that is kept, under %s',
    async (strategy) => {
      const world = new MachineWorld(strategy);
      world.ask('first', 'Start');
      await world.quiesce();
      world.domain.become({ state: 'crashed', reason: 'panicked' });
      world.ask('op', 'Start');
      await world.quiesce();
      expect(world.operation('op')).toMatchObject({ phase: 'Succeeded', message: 'it runs' });
      expect([world.domain.boots, world.domain.is.state, world.status.printableStatus]).toEqual([
        2,
        'running',
        'Running',
      ]);
      expect(world.status.lastStop?.reason).toBe('Crashed');
    },
  );

  it.each(['Manual', 'Once', 'RerunOnFailure'] as const)(
    'succeeds with a machine that runs where the start before it was cut off and is not wanted, under %s',
    async (strategy) => {
      const world = new MachineWorld(strategy);
      await world.quiesce();
      if (strategy !== 'Manual') world.domain.become({ state: 'shutoff', reason: 'shutdown' });
      await world.quiesce();
      const { boots } = world.domain;
      world.ask('before', 'Start');
      expect(await world.killedAt('start', 'after')).toBe(true);
      world.operations.delete('before');
      world.ask('op', 'Start');
      await world.quiesce();
      expect(world.operation('op')).toMatchObject({ phase: 'Succeeded', message: 'it runs' });
      expect([world.domain.boots, world.status.printableStatus]).toEqual([boots + 1, 'Running']);
    },
  );

  it('goes on with the memory of a guest whose start before it was cut off', async () => {
    const world = new MachineWorld('Manual');
    world.ask('first', 'Start');
    await world.quiesce();
    world.ask('save', 'Save');
    await world.quiesce();
    world.ask('before', 'Start');
    expect(await world.killedAt('start', 'after')).toBe(true);
    world.operations.delete('before');
    world.ask('op', 'Start');
    await world.quiesce();
    expect(world.operation('op')?.phase).toBe('Succeeded');
    expect([world.domain.boots, world.domain.powerCuts, world.status.printableStatus]).toEqual([1, 0, 'Running']);
  });

  it('leaves a crashed guest as it is while a volume is not there', async () => {
    const world = new MachineWorld('Manual');
    world.ask('first', 'Start');
    await world.quiesce();
    world.domain.become({ state: 'crashed', reason: 'panicked' });
    world.change({ volumes: [{ name: 'data', virtualDisk: 'missing' }] });
    world.ask('op', 'Start');
    await world.quiesce(5);
    expect(world.operation('op')).toMatchObject({ phase: 'Failed' });
    expect(world.domain.is.state).toBe('crashed');
  });

  it('that libvirt refuses half way leaves nothing half started behind', async () => {
    const world = new MachineWorld('Manual');
    world.ask('op', 'Start');
    world.fail((call, when) => {
      if (call === 'setMetadata' && when === 'before') throw refusal;
    });
    await world.quiesce();
    expect(world.operation('op')).toMatchObject({ phase: 'Failed', reason: 'LibvirtError' });
    expect([world.domain.boots, world.domain.is.state]).toEqual([0, 'shutoff']);
    expect([world.status.printableStatus, world.status.power]).toEqual(['Stopped', { generation: 1 }]);
  });

  it('starts the machine once, wherever the executor is killed', async () => {
    let nth = 0;
    for (let wasKilled = true; wasKilled;) {
      nth += 1;
      const world = new MachineWorld('Manual');
      world.ask('op', 'Start');
      wasKilled = await world.killedAt('*', nth % 2 === 0 ? 'before' : 'after', Math.ceil(nth / 2));
      await world.quiesce();
      expect(world.operation('op')?.phase, `killed at ${nth}`).toBe('Succeeded');
      const { boots } = world.status.domain ?? {};
      expect([world.domain.boots, boots, world.status.printableStatus], `killed at ${nth}`).toEqual([1, 1, 'Running']);
    }
    expect(nth).toBeGreaterThan(10);
  });
});
