import { describe, expect, it } from 'vitest';
import type { Hypervisor } from '../../src/api/hypervisor.ts';
import type { VirtualMachine, VirtualMachineSpec } from '../../src/api/virtual-machine.ts';
import { machineInfo } from '../../src/scheduler/machine-info.ts';
import { selectNode } from '../../src/scheduler/select-node.ts';
import { Snapshot } from '../../src/scheduler/snapshot.ts';
import { unschedulableMessage } from '../../src/scheduler/unschedulable.ts';

const none = (): undefined => undefined;
const cluster = (nodes: readonly Hypervisor[]): Snapshot => {
  const snapshot = new Snapshot({ disk: none, image: none, pool: none, network: none, machineSnapshot: none });
  for (const one of nodes) snapshot.setNode(one);
  return snapshot;
};

function node(
  name: string,
  memory: string,
  spec: Hypervisor['spec'] = {},
  labels: Record<string, string> = {},
): Hypervisor {
  return {
    apiVersion: 'virtctl.dev/v1alpha1',
    kind: 'Hypervisor',
    metadata: { name, resourceVersion: '1', labels: { 'kubernetes.io/hostname': name, ...labels } },
    spec,
    status: { allocatable: { cpu: '8', memory }, conditions: [{ type: 'Ready', status: 'True' }] },
  };
}

function machine(name: string, gib: number, spec: VirtualMachineSpec = {}): VirtualMachine {
  return {
    apiVersion: 'virtctl.dev/v1alpha1',
    kind: 'VirtualMachine',
    metadata: { name, namespace: 'shop', uid: name, resourceVersion: '1', labels: { app: 'web' } },
    spec: { ...spec, domain: { memory: { unit: 'GiB', value: gib } } },
  };
}

const place = (snapshot: Snapshot, one: VirtualMachine): string | undefined => {
  const info = machineInfo(one);
  const { node: found } = selectNode(info, snapshot);
  if (found !== undefined) snapshot.place(info, found.name);
  return found?.name;
};

describe('selectNode', () => {
  it('says the reason of each node in one line', () => {
    const snapshot = cluster([node('a', '16Gi', { unschedulable: true }), node('b', '1536Mi'), node('c', '1Gi')]);
    const selection = selectNode(machineInfo(machine('web', 4)), snapshot);
    expect(selection.node).toBeUndefined();
    if (selection.node === undefined) {
      expect(unschedulableMessage(selection.failures)).toBe(
        '3 nodes: 1 cordoned, 2 too little memory (needs 4.1 GiB, free 1.5 GiB, 1 GiB)',
      );
    }
  });

  it('never fills a node beyond what it has', () => {
    const snapshot = cluster([node('a', '4Gi'), node('b', '4Gi')]);
    const placed = ['1', '2', '3', '4', '5', '6', '7'].map((name) => place(snapshot, machine(name, 1)));
    expect(placed.filter((name) => name === 'a')).toHaveLength(3);
    expect(placed.filter((name) => name === 'b')).toHaveLength(3);
    expect(placed.at(-1)).toBeUndefined();
  });

  it('keeps machines apart that are to be, in both directions', () => {
    const term = { topologyKey: 'kubernetes.io/hostname', labelSelector: { matchLabels: { app: 'web' } } };
    const far = { affinity: { vmAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] } } };
    const snapshot = cluster([node('a', '8Gi'), node('b', '8Gi')]);
    expect(new Set([place(snapshot, machine('1', 1, far)), place(snapshot, machine('2', 1, far))])).toEqual(
      new Set(['a', 'b']),
    );
    expect(place(snapshot, machine('3', 1))).toBeUndefined();
  });

  it('keeps machines off tainted nodes that do not tolerate the taint', () => {
    const taints = [{ key: 'gpu', effect: 'NoSchedule' as const }];
    expect(place(cluster([node('a', '8Gi', { taints })]), machine('1', 1))).toBeUndefined();
    const tolerations = [{ key: 'gpu', operator: 'Exists' as const }];
    expect(place(cluster([node('a', '8Gi', { taints })]), machine('1', 1, { tolerations }))).toBe('a');
  });

  it('spreads machines evenly over topology domains', () => {
    const rule = { maxSkew: 1, topologyKey: 'zone', whenUnsatisfiable: 'DoNotSchedule' as const };
    const spread = { topologySpreadConstraints: [{ ...rule, labelSelector: { matchLabels: { app: 'web' } } }] };
    const snapshot = cluster([node('a', '64Gi', {}, { zone: 'x' }), node('b', '3Gi', {}, { zone: 'y' })]);
    const placed = ['1', '2', '3', '4', '5', '6'].map((name) => place(snapshot, machine(name, 1, spread)));
    expect(placed.filter((name) => name === 'b')).toHaveLength(2);
    expect(placed.filter((name) => name === 'a')).toHaveLength(3);
  });
});
