import { describe, expect, it } from 'vitest';
import { leaseRows } from '../../src/commands/network/lease-rows.ts';
import { networkLines, networkState } from '../../src/commands/network/network-table.ts';
import type { VirtualMachine } from '../../src/api/virtual-machine.ts';
import type { VirtualNetwork } from '../../src/api/virtual-network.ts';

const network = (more: Partial<VirtualNetwork> = {}): VirtualNetwork => ({
  apiVersion: 'virtctl.dev/v1alpha1',
  kind: 'VirtualNetwork',
  metadata: { name: 'front', namespace: 'shop', creationTimestamp: '2026-01-01T00:00:00Z' },
  spec: { network: { forward: { mode: 'nat' }, ip: [{ address: '10.0.0.1', prefix: 24 }] } },
  status: {
    summary: '2/2',
    nodes: [
      {
        ...{ nodeName: 'a', state: 'Active', bridge: 'virbr0', attached: ['shop/web', 'shop/db'] },
        leases: [
          { mac: '52:54:00:00:00:01', ip: '10.0.0.9', prefix: 24, hostname: 'web', expiresAt: '2026-01-01T01:00:00Z' },
        ],
      },
      {
        nodeName: 'b',
        state: 'Active',
        bridge: 'virbr0',
        attached: ['shop/web'],
        leases: [{ mac: '52:54:00:00:00:02', ip: '10.0.0.8' }],
      },
    ],
    conditions: [{ type: 'Ready', status: 'True', reason: 'Running', lastTransitionTime: '2026-01-01T00:00:00Z' }],
  },
  ...more,
});
const web: VirtualMachine = {
  apiVersion: 'virtctl.dev/v1alpha1',
  kind: 'VirtualMachine',
  metadata: { name: 'web', namespace: 'shop' },
  spec: {},
  status: { interfaces: [{ mac: '52:54:00:00:00:01' }] },
};

describe('virtctl network leases', () => {
  it('says which machine of the namespace has an address', () => {
    expect(leaseRows([network()], [web, { ...web, metadata: { name: 'other', namespace: 'lab' } }])).toEqual([
      {
        ...{ namespace: 'shop', network: 'front', node: 'a', ip: '10.0.0.9', mac: '52:54:00:00:00:01', prefix: 24 },
        ...{ hostname: 'web', expiresAt: '2026-01-01T01:00:00Z', machine: 'web' },
      },
      { namespace: 'shop', network: 'front', node: 'b', ip: '10.0.0.8', mac: '52:54:00:00:00:02' },
    ]);
  });
});

describe('virtctl network list', () => {
  const nowMs = Date.parse('2026-01-01T00:05:00Z');

  it('counts each guest once, on whatever nodes', () => {
    const options = { wide: true, headers: true, namespaces: false, nowMs };
    expect(networkLines([network()], options)).toEqual([
      ['NAME', 'STATE', 'NODES', 'MODE', 'AUTOSTART', 'GUESTS', 'AGE', 'BRIDGE', 'SUBNETS', 'MESSAGE'],
      ['front', 'Active', '2/2', 'nat', 'yes', '2', '5m', 'virbr0', '10.0.0.1', ''],
    ]);
    const isolated = network({ spec: { autostart: false, network: {} } });
    expect(networkLines([isolated], { ...options, wide: false, headers: false, namespaces: true })).toEqual([
      ['shop', 'front', 'Active', '2/2', 'isolated', 'no', '2', '5m'],
    ]);
  });

  it('tells the state in one word', () => {
    const condition = (type: string, status: 'True' | 'False', reason: string) => ({
      ...{ type, status, reason, lastTransitionTime: '2026-01-01T00:00:00Z' },
    });
    const withConditions = (...conditions: ReturnType<typeof condition>[]) => network({ status: { conditions } });
    expect(networkState(network({ status: undefined }))).toBe('Pending');
    expect(networkState(withConditions(condition('Ready', 'False', 'BridgeInUse')))).toBe('BridgeInUse');
    const pending = withConditions(condition('Ready', 'True', 'Running'), condition('RestartRequired', 'True', 'x'));
    expect(networkState(pending)).toBe('RestartRequired');
    expect(networkState({ ...network(), spec: { active: false } })).toBe('Inactive');
    const going = { ...network().metadata, deletionTimestamp: '2026-01-01T00:00:00Z' };
    expect(networkState(network({ metadata: going }))).toBe('Terminating');
  });
});
