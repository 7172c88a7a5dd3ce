import { describe, expect, it } from 'vitest';
import { compareWanted } from '../../../src/executor/virtual-machine/compare.ts';
import { asPlugged } from '../../../src/executor/virtual-machine/plugged-interfaces.ts';

const mac = { address: '52:54:00:00:00:01' };
const domain = (device: object) => ({ devices: { interface: [{ mac, ...device }] } });

describe('an interface of a running domain', () => {
  it('is one of its network, whatever libvirt made of it', () => {
    const wanted = domain({ type: 'network', source: { network: 'shop.front' } });
    const port = { network: 'shop.front', portid: '7f4a3b2e-0000-4000-8000-000000000001' };
    for (const live of [
      domain({ type: 'network', source: { ...port, bridge: 'virbr0' } }),
      domain({ type: 'bridge', source: { ...port, bridge: 'br0' } }),
      domain({ type: 'direct', source: { ...port, dev: 'eth0', mode: 'bridge' } }),
    ]) {
      expect(compareWanted(wanted, asPlugged(live))).toEqual([]);
    }
  });

  it('keeps its type when no network is behind it', () => {
    const live = domain({ type: 'bridge', source: { bridge: 'br0' } });
    expect(asPlugged(live)).toEqual(live);
    expect(asPlugged({ name: 'a' })).toEqual({ name: 'a' });
  });
});
