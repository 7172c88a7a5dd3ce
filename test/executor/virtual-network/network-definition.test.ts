import { describe, expect, it } from 'vitest';
import { canonicalNetwork } from '../../../src/executor/virtual-network/canonical-network.ts';
import {
  differencesOf,
  markFor,
  mergeNetwork,
  networkXml,
  wantedNetwork,
} from '../../../src/executor/virtual-network/network-definition.ts';
import { markOf, markXml } from '../../../src/executor/virtual-network/network-mark.ts';
import type { DataObject } from '../../../src/executor/virtual-machine/same-value.ts';
import type { VirtualNetwork } from '../../../src/api/virtual-network.ts';
import { analyse } from '../../../src/analyser/analyse.ts';

const object = (network: VirtualNetwork['spec']['network'], more: object = {}): VirtualNetwork => ({
  apiVersion: 'virtctl.dev/v1alpha1',
  kind: 'VirtualNetwork',
  metadata: { name: 'front', namespace: 'shop', uid: 'e9b1ad42-55a7-4a3d-8d3c-3ea9d4c2f7a1', generation: 3 },
  spec: { ...more, ...(network === undefined ? {} : { network }) },
});
const read = (xml: string): DataObject => canonicalNetwork(analyse(xml).value as DataObject);
/** What libvirt 9.0 makes of `{forward: {mode: nat}, ip: …}`. */
const libvirts = read(`<network connections='2'><name>shop.front</name><uuid>e9b1ad42-55a7-4a3d-8d3c-3ea9d4c2f7a1</uuid>
  <forward mode='nat'><nat><port start='1024' end='65535'/></nat></forward>
  <bridge name='virbr3' stp='on' delay='0'/><mac address='52:54:00:84:0B:64'/>
  <ip address='10.0.0.1' netmask='255.255.255.0'><dhcp><range start='10.0.0.2' end='10.0.0.9'/></dhcp></ip></network>`);
const spec: DataObject = {
  forward: { mode: 'nat' },
  ip: [{ address: '10.0.0.1', netmask: '255.255.255.0', dhcp: { range: [{ start: '10.0.0.2', end: '10.0.0.9' }] } }],
};

describe('what a network is to be', () => {
  it('has the name and the UUID of its object unless spec says otherwise', () => {
    expect(wantedNetwork(object(undefined), undefined, [])).toEqual({
      name: 'shop.front',
      uuid: 'e9b1ad42-55a7-4a3d-8d3c-3ea9d4c2f7a1',
    });
    const theirs = wantedNetwork(object({ name: 'default' }), '11111111-2222-4333-8444-555555555555', []);
    expect(theirs).toEqual({ name: 'default', uuid: '11111111-2222-4333-8444-555555555555' });
  });

  it('has the addresses that machines reserve, also in subnets that libvirt alone knows', () => {
    const hosts = [{ subnet: '10.0.0.1', mac: '52:54:00:00:00:01', ip: '10.0.0.5' }];
    const wanted = wantedNetwork(object({ name: 'default' }), undefined, hosts);
    expect(wanted['ip']).toEqual([
      { address: '10.0.0.1', dhcp: { host: [{ mac: '52:54:00:00:00:01', ip: '10.0.0.5' }] } },
    ]);
    const merged = mergeNetwork({}, wanted, libvirts);
    expect(merged['ip']).toEqual([
      {
        ...{ address: '10.0.0.1', netmask: '255.255.255.0' },
        dhcp: {
          range: [{ start: '10.0.0.2', end: '10.0.0.9' }],
          host: [{ mac: '52:54:00:00:00:01', ip: '10.0.0.5' }],
        },
      },
    ]);
    // And they go with the machine.
    const without = wantedNetwork(object({ name: 'default' }), undefined, [], wanted);
    const after = mergeNetwork(wanted, without, merged);
    expect(after['ip']).toEqual([
      {
        ...{ address: '10.0.0.1', netmask: '255.255.255.0' },
        dhcp: { range: [{ start: '10.0.0.2', end: '10.0.0.9' }], host: [] },
      },
    ]);
    expect(differencesOf(without, wanted, { ...libvirts, name: 'default' })).toEqual([]);
    expect(wantedNetwork(object({ name: 'default' }), undefined, hosts, without)).toEqual(wanted);
  });
});

describe('merging a network', () => {
  it('keeps what libvirt chose', () => {
    expect(mergeNetwork(spec, spec, libvirts)).toEqual(libvirts);
    expect(differencesOf(spec, spec, libvirts)).toEqual([]);
  });

  it('drops what libvirt derived from what is changed', () => {
    const routed = { ...spec, forward: { mode: 'route', dev: 'eth1' } };
    const merged = mergeNetwork(spec, routed, {
      ...libvirts,
      forward: { mode: 'nat', dev: 'eth0', interface: [{ dev: 'eth0' }] },
    });
    expect(merged['forward']).toEqual({ mode: 'route', dev: 'eth1' });
    const moved = { ...spec, ip: [{ address: '10.9.0.1', prefix: 24 }] };
    expect(mergeNetwork(spec, moved, libvirts)['ip']).toEqual([{ address: '10.9.0.1', prefix: 24 }]);
  });

  it('keeps nothing of a bridge of its own where one of the host follows, which libvirt refuses', () => {
    const hosts = { name: 'shop.front', forward: { mode: 'bridge' }, bridge: { name: 'br0' } };
    expect(mergeNetwork(spec, hosts, libvirts)).toEqual(hosts);
    expect(mergeNetwork(hosts, spec, { ...hosts, uuid: 'u' })).toMatchObject({ uuid: 'u', forward: spec.forward });
  });

  it('never has both prefix and netmask', () => {
    const prefixed = { ...spec, ip: [{ address: '10.0.0.1', prefix: 16 }] };
    expect(mergeNetwork({}, prefixed, libvirts)['ip']).toEqual([
      { address: '10.0.0.1', prefix: 16, dhcp: { range: [{ start: '10.0.0.2', end: '10.0.0.9' }] } },
    ]);
  });

  it('puts one back that somebody replaced, rather than beside it', () => {
    const bent = { ...libvirts, ip: [{ address: '10.0.0.77', netmask: '255.255.255.0' }] };
    expect(mergeNetwork(spec, spec, bent)['ip']).toEqual(spec['ip']);
  });

  it('takes out host entries of others that have an address that is wanted', () => {
    const wanted = { ip: [{ address: '10.0.0.1', dhcp: { host: [{ mac: '52:54:00:00:00:01', ip: '10.0.0.5' }] } }] };
    const current = {
      ip: [
        {
          address: '10.0.0.1',
          dhcp: {
            host: [
              { mac: '52:54:00:00:00:02', ip: '10.0.0.5' },
              { mac: '52:54:00:00:00:03', ip: '10.0.0.6' },
              { mac: '52:54:00:00:00:01', ip: '10.0.0.9' },
            ],
          },
        },
      ],
    };
    expect(mergeNetwork({}, wanted, current)).toMatchObject({
      ip: [{ dhcp: { host: [{ mac: '52:54:00:00:00:03' }, { mac: '52:54:00:00:00:01', ip: '10.0.0.5' }] } }],
    });
  });
});

describe('comparing a network', () => {
  it('takes addresses and words for what they mean', () => {
    const wanted = canonicalNetwork({
      ...{ mac: { address: '52:54:00:84:0B:64' }, ipv6: false, bridge: { name: 'virbr3' } },
      ip: [{ address: '10.0.0.1', dhcp: {} }],
    });
    expect(differencesOf(wanted, {}, libvirts)).toEqual([]);
    expect(canonicalNetwork({ ip: [{ address: '2001:DB8:0::1' }] })).toEqual({ ip: [{ address: '2001:db8::1' }] });
  });

  it('names fields below spec.network', () => {
    const wanted = { ...spec, mtu: { size: 1400 }, bridge: { name: 'br7' } };
    const before = { ...spec, domain: { name: 'lab' } };
    const live = { ...libvirts, domain: { name: 'lab' } };
    const paths = differencesOf(wanted, before, live).map(({ path }) => path);
    expect(paths).toEqual(['mtu', 'bridge.name', 'domain']);
  });
});

describe('our mark in a network', () => {
  it('comes back from the definition beside the metadata of others', () => {
    const one = object({ ...(spec as object), metadata: ['<a:note xmlns:a="urn:a">kept</a:note>'] });
    const wanted = wantedNetwork(one, undefined, []);
    const mark = markFor(one, wanted, { given: {}, ignored: [], restartedAt: '2026-01-01T00:00:00Z' });
    const { value } = analyse(networkXml(one, wanted, undefined, mark));
    expect(markOf((value as DataObject)['metadata'])).toEqual(mark);
    expect((value as { metadata: string[] }).metadata.join()).toContain('kept');
    expect(wanted).not.toHaveProperty('metadata');
  });

  it('is not taken from others', () => {
    expect(markOf(['<network xmlns="urn:other" uid="x"/>'])).toBeUndefined();
    expect(markOf(undefined)).toBeUndefined();
    expect(
      markOf([markXml({ ...markFor(object({}), {}, { given: {}, ignored: [], restartedAt: undefined }) })]),
    ).toMatchObject({
      ...{ namespace: 'shop', name: 'front', generation: 3, restartedAt: undefined },
    });
  });
});
