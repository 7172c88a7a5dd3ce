import { describe, expect, it } from 'vitest';
import {
  networkStatus,
  type NodeLine,
  type StatusFacts,
} from '../../../src/executor/virtual-network/network-status.ts';
import { findCondition } from '../../../src/api/meta.ts';
import type { VirtualNetwork, VirtualNetworkStatus } from '../../../src/api/virtual-network.ts';

const object = (status?: VirtualNetworkStatus): VirtualNetwork => ({
  apiVersion: 'virtctl.dev/v1alpha1',
  kind: 'VirtualNetwork',
  metadata: { name: 'front', namespace: 'shop', generation: 2 },
  spec: {},
  ...(status === undefined ? {} : { status }),
});
const line = (nodeName: string, more: Partial<NodeLine> = {}): NodeLine => ({ nodeName, state: 'Active', ...more });
const tell = (before: VirtualNetworkStatus | undefined, mine: NodeLine | undefined, more: Partial<StatusFacts> = {}) =>
  networkStatus(object(before), {
    ...{ nodeName: mine?.nodeName ?? 'a', line: mine, selected: ['a', 'b'], waitsFor: [], nowMs: 0 },
    ...more,
  });
const condition = (status: VirtualNetworkStatus, type: string) => {
  const { status: value, reason, message } = findCondition(status, type) ?? {};
  return [value, reason, message];
};

describe('the status of a network', () => {
  it('is ready when every selected node has it', () => {
    const first = tell(undefined, line('b'));
    expect([first.summary, ...condition(first, 'Ready')]).toEqual(['1/2', 'False', 'NotOnAllNodes', undefined]);
    const second = tell(first, line('a'));
    expect([second.summary, ...condition(second, 'Ready')]).toEqual(['2/2', 'True', 'Running', undefined]);
    expect(second.nodes?.map(({ nodeName }) => nodeName)).toEqual(['a', 'b']);
  });

  it('keeps the reason of a node that others write after', () => {
    const failed = tell(
      undefined,
      line('a', { state: 'Absent', reason: 'BridgeInUse', message: 'the bridge is taken' }),
    );
    const after = tell(failed, line('b'));
    expect(condition(after, 'Ready')).toEqual(['False', 'BridgeInUse', 'a: the bridge is taken']);
  });

  it('names what waits for a restart, on each node, and for whom', () => {
    const pending = tell(undefined, line('a', { restartRequired: ['mtu', 'domain'], attached: ['shop/web'] }));
    const both = tell(pending, line('b', { restartRequired: ['mtu'] }));
    expect(condition(both, 'RestartRequired')).toEqual([
      'True',
      'FieldsPending',
      'a: mtu, domain; attached: shop/web; b: mtu',
    ]);
    expect(condition(tell(both, line('a')), 'RestartRequired')[2]).toBe('b: mtu');
    expect(condition(tell(tell(both, line('a')), line('b')), 'RestartRequired')[0]).toBe('False');
  });

  it('does not date a line anew that says the same', () => {
    const first = tell(undefined, line('a'));
    expect(tell(first, line('a'), { nowMs: 60_000 })).toEqual(first);
    const changed = tell(first, line('a', { bridge: 'virbr1' }), { nowMs: 60_000 });
    expect(changed.nodes?.[0]?.lastUpdateTime).toBe('1970-01-01T00:01:00Z');
  });

  it('says what its deletion waits for, and forgets a node that left', () => {
    const users = ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => `shop/${name}`);
    const waiting = tell(undefined, line('a'), { waitsFor: users });
    expect(condition(waiting, 'InUse')).toEqual([
      'True',
      'InUse',
      'deletion waits for shop/a, shop/b, shop/c, shop/d, shop/e and 1 more',
    ]);
    const left = tell(waiting, undefined, { selected: [] });
    expect([left.nodes, ...condition(left, 'Ready')]).toEqual([[], 'False', 'NoNodes', 'no node is selected']);
  });
});
