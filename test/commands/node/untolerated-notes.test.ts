import { describe, expect, it } from 'vitest';
import type { Hypervisor } from '../../../src/api/hypervisor.ts';
import type { VirtualMachine, VirtualMachineSpec } from '../../../src/api/virtual-machine.ts';
import { untoleratedNotes } from '../../../src/commands/node/untolerated-notes.ts';

const apiVersion = 'virtctl.dev/v1alpha1';
const node = (spec: Hypervisor['spec']): Hypervisor => ({
  apiVersion,
  kind: 'Hypervisor',
  metadata: { name: 'n1' },
  spec,
});
const machine = (tolerations: VirtualMachineSpec['tolerations']): VirtualMachine => ({
  apiVersion,
  kind: 'VirtualMachine',
  metadata: { name: 'web' },
  spec: { tolerations },
});

describe('the machines of a node that do not tolerate NoExecute', () => {
  const broken = node({ taints: [{ key: 'disk', value: 'broken', effect: 'NoExecute' }] });

  it('are told of, with what takes them away', () => {
    expect(untoleratedNotes(broken, [machine(undefined)])).toBe(
      "Note: 1 machine here does not tolerate disk=broken:NoExecute; only 'virtctl node drain n1' takes it away.\n",
    );
    expect(untoleratedNotes(broken, [machine([]), machine([{ key: 'disk', value: 'slow' }])])).toContain(
      '2 machines here do not tolerate disk=broken:NoExecute',
    );
  });

  it('are not told of when they tolerate it, or only new machines are kept away', () => {
    expect(untoleratedNotes(broken, [machine([{ key: 'disk', operator: 'Exists', effect: 'NoExecute' }])])).toBe('');
    expect(untoleratedNotes(node({ taints: [{ key: 'disk', effect: 'NoSchedule' }] }), [machine([])])).toBe('');
    expect(untoleratedNotes({ ...broken, spec: undefined as never }, [machine([])])).toBe('');
  });
});
