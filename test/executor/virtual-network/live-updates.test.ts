import { describe, expect, it } from 'vitest';
import { planUpdates } from '../../../src/executor/virtual-network/live-updates.ts';
import type { DataObject } from '../../../src/executor/virtual-machine/same-value.ts';

const dhcp = (parts: DataObject): DataObject => ({ ip: [{ address: '10.0.0.1', prefix: 24, dhcp: parts }] });
const plan = (live: DataObject, target: DataObject) =>
  planUpdates(live, target).map(({ command, section, xml, parentIndex }) =>
    [command, section, parentIndex, xml].filter((part) => part !== undefined).join(' '),
  );

describe('the calls of virNetworkUpdate', () => {
  it('are none where nothing differs', () => {
    const network = dhcp({ host: [{ mac: '52:54:00:00:00:01', ip: '10.0.0.5' }] });
    expect(plan(network, network)).toEqual([]);
  });

  it('change a host entry in place, and take out before they put in', () => {
    const live = dhcp({
      host: [
        { mac: '52:54:00:00:00:01', ip: '10.0.0.5' },
        { mac: '52:54:00:00:00:02', ip: '10.0.0.6' },
      ],
    });
    const target = dhcp({
      host: [
        { mac: '52:54:00:00:00:03', ip: '10.0.0.6', name: 'six' },
        { mac: '52:54:00:00:00:01', ip: '10.0.0.7' },
      ],
    });
    expect(plan(live, target)).toEqual([
      'delete ip-dhcp-host 0 <host mac="52:54:00:00:00:02" ip="10.0.0.6"/>',
      'modify ip-dhcp-host 0 <host mac="52:54:00:00:00:01" ip="10.0.0.7"/>',
      'add-last ip-dhcp-host 0 <host mac="52:54:00:00:00:03" name="six" ip="10.0.0.6"/>',
    ]);
  });

  it('replace ranges, which libvirt cannot modify, with their lease times', () => {
    const live = dhcp({ range: [{ start: '10.0.0.10', end: '10.0.0.20' }] });
    const target = dhcp({ range: [{ start: '10.0.0.10', end: '10.0.0.20', lease: { expiry: 1, unit: 'hours' } }] });
    expect(plan(live, target)).toEqual([
      'delete ip-dhcp-range 0 <range start="10.0.0.10" end="10.0.0.20"/>',
      'add-last ip-dhcp-range 0 <range start="10.0.0.10" end="10.0.0.20"><lease expiry="1" unit="hours"/></range>',
    ]);
  });

  it('find the address that they are about by its index in the running network', () => {
    const live = {
      ip: [
        { address: '2001:db8::1', prefix: 64 },
        { address: '10.0.0.1', prefix: 24 },
      ],
    };
    const target = {
      ip: [
        { address: '10.0.0.1', prefix: 24, dhcp: { host: [{ name: 'a', ip: '10.0.0.9' }] } },
        { address: '2001:db8::1', prefix: 64, dhcp: { host: [{ name: 'a', ip: '2001:db8::9' }] } },
      ],
    };
    expect(plan(live, target)).toEqual([
      'add-last ip-dhcp-host 0 <host name="a" ip="2001:db8::9"/>',
      'add-last ip-dhcp-host 1 <host name="a" ip="10.0.0.9"/>',
    ]);
  });

  it('cover port groups, interfaces of a pool and names', () => {
    const live = {
      forward: { mode: 'bridge', interface: [{ dev: 'eth0' }, { dev: 'eth1' }] },
      portgroup: [{ name: 'web', default: true }],
      dns: { host: [{ ip: '10.0.0.2', hostname: ['two'] }], txt: [{ name: 'a', value: 'b' }] },
    };
    const target = {
      forward: { mode: 'bridge', interface: [{ dev: 'eth1' }, { dev: 'eth2' }] },
      portgroup: [{ name: 'web', default: true, vlan: { tag: [{ id: 4 }] } }, { name: 'db' }],
      dns: {
        host: [{ ip: '10.0.0.2', hostname: ['two', 'zwei'] }],
        srv: [{ service: 'ldap', protocol: 'tcp', target: 'two', port: 389 }],
      },
    };
    expect(plan(live, target)).toEqual([
      'delete forward-interface <interface dev="eth0"/>',
      'delete dns-host <host ip="10.0.0.2"><hostname>two</hostname></host>',
      'delete dns-txt <txt name="a" value="b"/>',
      'modify portgroup <portgroup name="web" default="yes"><vlan><tag id="4"/></vlan></portgroup>',
      'add-last forward-interface <interface dev="eth2"/>',
      'add-last portgroup <portgroup name="db"/>',
      'add-last dns-host <host ip="10.0.0.2"><hostname>two</hostname><hostname>zwei</hostname></host>',
      'add-last dns-srv <srv service="ldap" protocol="tcp" target="two" port="389"/>',
    ]);
  });

  it('make nothing of what waits for a restart', () => {
    const live = { bridge: { name: 'br1' }, ip: [{ address: '10.0.0.1', prefix: 24 }] };
    expect(
      plan(live, { bridge: { name: 'br2' }, mtu: { size: 1400 }, ip: [{ address: '10.0.1.1', prefix: 24 }] }),
    ).toEqual([]);
  });
});
