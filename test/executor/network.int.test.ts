import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NetworkLab } from '../support/network-lab.ts';
import type { VirtualNetwork } from '../../src/api/virtual-network.ts';

/** The networks of one node, on real libvirt with dnsmasq in the node's own network namespace. */
describe('networks on real libvirt', () => {
  let lab: NetworkLab;

  beforeAll(async () => {
    lab = await NetworkLab.start();
  });
  afterAll(async () => {
    await lab.close();
  });

  const nat = (bridge: string, subnet: string) => ({
    forward: { mode: 'nat' as const },
    bridge: { name: bridge },
    ip: [
      {
        address: `${subnet}.1`,
        netmask: '255.255.255.0',
        dhcp: { range: [{ start: `${subnet}.10`, end: `${subnet}.90` }] },
      },
    ],
  });
  const line = (network: VirtualNetwork | undefined) => network?.status?.nodes?.[0];

  it('defines, starts, autostarts and removes a network, with its object named in its metadata', async () => {
    await lab.make('front', { network: nat('vn0', '10.20.0') });
    const ready = await lab.untilReady('front');
    expect(ready.status?.summary).toBe('1/1');
    expect(line(ready)).toMatchObject({
      ...{ nodeName: 'node-1', state: 'Active', name: 'default.front', bridge: 'vn0', uuid: ready.metadata.uid },
      ...{ persistent: true, autostart: true, observedGeneration: 1 },
    });
    expect(await lab.virsh('net-dumpxml', 'default.front')).toContain('https://virtctl.dev/network/1');
    expect(await lab.virsh('net-list', '--autostart', '--name')).toContain('default.front');
    await lab.networks.delete({ namespace: 'default', name: 'front' });
    await lab.untilGone('front');
    expect(await lab.virsh('net-list', '--all', '--name')).not.toContain('front');
    expect(await lab.eventsOf('front')).toEqual(expect.arrayContaining(['Defined', 'Started', 'Removed']));
  });
});
