import { describe, expect, it } from 'vitest';
import { drainPlan, hasOtherNode } from '../../../src/commands/node/migrate-for-drain.ts';
import type { VirtualMachine, VirtualMachineSpec } from '../../../src/api/virtual-machine.ts';
import { node } from '../../scheduler/cluster.ts';

const machine = (evictionStrategy: VirtualMachineSpec['evictionStrategy'], state: string): VirtualMachine => ({
  ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualMachine', metadata: { name: 'web' } },
  spec: { evictionStrategy },
  status: { domain: { state } },
});

describe('what a drain does with a machine', () => {
  it.each([
    [undefined, 'running', true, 'migrate or stop'],
    [undefined, 'paused', true, 'migrate or stop'],
    [undefined, 'running', false, 'stop'],
    [undefined, 'shutoff', true, 'stop'],
    ['MigrateIfPossible', 'running', true, 'migrate or stop'],
    ['Migrate', 'running', true, 'migrate'],
    ['Migrate', 'running', false, 'migrate'],
    ['Migrate', 'shutoff', true, 'stop'],
    ['Stop', 'running', true, 'stop'],
    ['None', 'running', true, 'refuse'],
    ['None', 'shutoff', true, 'stop'],
  ] as const)('with evictionStrategy %s, %s, and a node to move to: %s, is to %s', (strategy, state, canMove, plan) => {
    expect(drainPlan(machine(strategy, state), canMove)).toBe(plan);
  });

  it('moves nothing when no other node takes machines', () => {
    const away = node('b', { status: { conditions: [{ type: 'Ready', status: 'Unknown' }] } });
    expect(hasOtherNode([node('a'), away, node('c', { spec: { unschedulable: true } })], 'a')).toBe(false);
    expect(hasOtherNode([node('a'), away, node('d')], 'a')).toBe(true);
  });
});
