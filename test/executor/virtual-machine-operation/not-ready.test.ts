import { describe, expect, it } from 'vitest';
import { MachineWorld } from '../../support/machine-world.ts';

describe('an operation that would start a machine of which something is missing', () => {
  it('fails as the run strategy would wait, with the definition of before: Start', async () => {
    const world = new MachineWorld('Manual');
    world.ask('first', 'Start');
    world.ask('stop', 'Stop');
    await world.quiesce();
    world.change({ volumes: [{ name: 'data', virtualDisk: 'missing' }] });
    world.ask('op', 'Start');
    await world.quiesce(4);
    expect(world.operation('op')).toMatchObject({
      phase: 'Failed',
      message: expect.stringContaining('missing') as string,
    });
    expect([world.domain.boots, world.domain.is.state]).toEqual([1, 'shutoff']);
  });

  it('fails before anything was stopped: Restart', async () => {
    const world = new MachineWorld('Always');
    await world.quiesce();
    world.change({ volumes: [{ name: 'data', virtualDisk: 'missing' }] });
    world.ask('op', 'Restart');
    await world.quiesce(4);
    expect(world.operation('op')).toMatchObject({
      phase: 'Failed',
      message: expect.stringContaining('missing') as string,
    });
    expect([world.domain.boots, world.domain.asked, world.status.printableStatus]).toEqual([1, 0, 'Running']);
  });
});
