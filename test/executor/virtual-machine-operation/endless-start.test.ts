import { describe, expect, it } from 'vitest';
import type { OperationVerb } from '../../../src/api/virtual-machine-operation.ts';
import { findCondition } from '../../../src/api/meta.ts';
import { ErrorNumber } from '../../../src/libvirt/constants.gen.ts';
import { libvirtError, MachineWorld } from '../../support/machine-world.ts';

const lockHeld = libvirtError(
  ErrorNumber.OPERATION_TIMEOUT,
  'Timed out during operation: cannot acquire state change lock (held by monitor=remoteDispatchDomainCreate)',
);

describe('an operation of a machine whose start libvirt does not end', () => {
  it.each<[OperationVerb, string]>([
    ['Stop', 'shutoff'],
    ['Restart', 'running'],
    ['Start', 'running'],
    ['Reset', 'running'],
  ])('says what it waits for, and is done when that has ended: %s', async (verb, state) => {
    const world = new MachineWorld('Once');
    expect(await world.killedAt('start', 'after')).toBe(true);
    world.domain.become({ state: 'paused', reason: 'starting-up' });
    world.fail((_call, when) => {
      if (when === 'before' && ['setMetadata', 'destroy', 'resume', 'reset'].includes(_call)) throw lockHeld;
    });
    world.ask('op', verb);
    await world.quiesce(3);
    if (verb !== 'Start') {
      expect(world.operation('op')?.message).toContain('waits: libvirt is starting the domain "shop.web"');
      expect(world.operation('op')?.phase).not.toBe('Failed');
    }
    expect(findCondition(world.status, 'Ready')?.reason).toBe('StartNotEnding');
    world.fail();
    world.domain.become({ state: 'paused', reason: 'user' });
    await world.quiesce();
    expect(world.operation('op')?.phase).toBe('Succeeded');
    expect(world.domain.is.state).toBe(state);
  });
});
