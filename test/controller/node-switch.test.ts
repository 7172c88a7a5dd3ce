import { describe, expect, it } from 'vitest';
import type { VirtualMachine } from '../../src/api/virtual-machine.ts';
import { newNode, NodeSwitch, type NodeSwitchOptions } from '../../src/controller/node-switch.ts';
import { statusError } from '../../src/kube/status-error.ts';

const conflict = statusError(409, { kind: 'Status', status: 'Failure', code: 409, reason: 'Conflict' }, { what: 'it' });
const { signal } = new AbortController();

const machine = (wanted: string, status: VirtualMachine['status']): VirtualMachine => ({
  ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualMachine' },
  metadata: { name: 'web', namespace: 'shop', uid: 'u', resourceVersion: '7' },
  spec: { nodeName: wanted },
  status,
});
const moved = (phase: 'Running' | 'Succeeded' | 'Failed', is: string): VirtualMachine['status'] => ({
  nodeName: is,
  migration: { phase, sourceNode: 'node-1', targetNode: 'node-2' },
});

describe('a machine that was migrated', () => {
  it('is given to the node that its source says it is on, on the version that was looked at', async () => {
    const patches: unknown[] = [];
    const machines: NodeSwitchOptions['machines'] = {
      find: () => Promise.resolve(machine('node-1', moved('Succeeded', 'node-2'))),
      mergePatch: (_ref, patch) => {
        patches.push(patch);
        return Promise.resolve(machine('node-2', {}));
      },
    };
    const caches = {} as NodeSwitchOptions['caches'];
    expect(await new NodeSwitch({ caches, machines }).reconcile('shop/web', signal)).toBeUndefined();
    expect(patches).toEqual([{ metadata: { uid: 'u', resourceVersion: '7' }, spec: { nodeName: 'node-2' } }]);
  });

  it('is looked at again when somebody wrote it meanwhile', async () => {
    const machines: NodeSwitchOptions['machines'] = {
      find: () => Promise.resolve(machine('node-1', moved('Succeeded', 'node-2'))),
      mergePatch: () => Promise.reject(conflict),
    };
    const caches = {} as NodeSwitchOptions['caches'];
    expect(await new NodeSwitch({ caches, machines }).reconcile('shop/web', signal)).toEqual({ requeueAfterMs: 20 });
  });

  it.each([
    ['goes on', machine('node-1', moved('Running', 'node-1'))],
    ['failed', machine('node-1', moved('Failed', 'node-1'))],
    ['is given already', machine('node-2', moved('Succeeded', 'node-2'))],
    ['is elsewhere by now', machine('node-3', moved('Succeeded', 'node-2'))],
    ['never moved', machine('node-1', { nodeName: 'node-1' })],
  ])('stays where it is when the migration %s', (_what, one) => {
    expect(newNode(one)).toBeUndefined();
  });
});
