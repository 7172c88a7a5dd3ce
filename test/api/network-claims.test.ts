import { describe, expect, it } from 'vitest';
import {
  claimOf,
  claimOfNetwork,
  comesFirst,
  networkClashes,
  type NetworkDocument,
} from '../../src/api/network-claims.ts';
import type { VirtualNetwork } from '../../src/api/virtual-network.ts';

const network = (bridge: string | undefined, ...addresses: string[]): NetworkDocument => ({
  forward: { mode: 'nat' },
  ...(bridge === undefined ? {} : { bridge: { name: bridge } }),
  ip: addresses.map((text) => {
    const [address, prefix] = text.split('/');
    return { address, ...(prefix === undefined ? {} : { prefix: Number(prefix) }) };
  }),
});
const clashes = (mine: NetworkDocument, other: NetworkDocument) =>
  networkClashes(claimOf('mine', mine), [claimOf('the other', other)]);

describe('clashes of networks', () => {
  it('are found where two want the same bridge', () => {
    expect(clashes(network('br7'), network('br7'))).toEqual([
      { reason: 'BridgeInUse', path: 'bridge.name', message: 'the bridge "br7" is that of the other' },
    ]);
    expect(clashes(network('br7'), network('br8'))).toEqual([]);
    expect(clashes(network(undefined), network(undefined))).toEqual([]);
    // libvirt counts a pattern up by itself.
    expect(clashes(network('lab%d'), network('lab%d'))).toEqual([]);
  });

  it('are none where networks use a bridge that the node has', () => {
    const onHost = { forward: { mode: 'bridge' }, bridge: { name: 'br0' } };
    expect(clashes(onHost, onHost)).toEqual([]);
    expect(clashes({ bridge: { name: 'br0' } }, { bridge: { name: 'br0' } })).toHaveLength(1);
  });

  it('are found where subnets overlap, however they are written', () => {
    const [clash] = clashes(network('a', '10.0.0.1/8'), network('b', '192.168.1.1/24', '10.20.30.1/24'));
    expect(clash).toEqual({
      reason: 'SubnetOverlaps',
      path: 'ip[0]',
      message: '10.0.0.0/8 overlaps with 10.20.30.0/24 of the other',
    });
    const masked = { ip: [{ address: '10.20.30.200', netmask: '255.255.255.128' }] };
    expect(clashes(network('a', '10.20.30.1/25'), masked)).toEqual([]);
    expect(clashes(network('a', '10.20.30.129/25'), masked)).toHaveLength(1);
    // Without either libvirt takes the address' class.
    expect(clashes(network('a', '172.16.0.1'), network('b', '172.16.9.1/24'))).toHaveLength(1);
    expect(clashes(network('a', '2001:db8::1/64'), network('b', '2001:db8:0:0:ff::1/80'))).toHaveLength(1);
    expect(clashes(network('a', '2001:db8::1/64'), network('b', '10.0.0.1/8'))).toEqual([]);
  });

  it('are the younger one’s', () => {
    const of = (name: string, creationTimestamp: string): VirtualNetwork => ({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualNetwork',
      metadata: { name, namespace: 'shop', creationTimestamp },
      spec: {},
    });
    const [old, young] = [of('z', '2026-01-01T00:00:00Z'), of('a', '2026-01-02T00:00:00Z')];
    expect([comesFirst(old, young), comesFirst(young, old)]).toEqual([true, false]);
    const twin = of('b', '2026-01-02T00:00:00Z');
    expect([comesFirst(young, twin), comesFirst(twin, young), comesFirst(twin, twin)]).toEqual([true, false, false]);
    expect(claimOfNetwork(old).owner).toBe('VirtualNetwork "shop/z"');
  });
});
