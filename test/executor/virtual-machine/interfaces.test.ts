import { describe, expect, it } from 'vitest';
import { deviceXml } from '../../../src/executor/virtual-machine/apply-live.ts';
import { interfaceDevice, resolveInterfaces } from '../../../src/executor/virtual-machine/interfaces.ts';
import type { NetworkInterface, VirtualMachine } from '../../../src/api/virtual-machine.ts';
import type { VirtualNetwork } from '../../../src/api/virtual-network.ts';
import type { ResourceClient } from '../../../src/kube/resource-client.ts';

const mac = '52:54:00:00:00:01';
const xml = (entry: Omit<NetworkInterface, 'name' | 'mac'>): string =>
  deviceXml('interface', interfaceDevice({ name: 'eth0', mac, ...entry }, 'uid', 'shop.front'))
    .replace(`<mac address="${mac}"/>`, '')
    .replace('<model type="virtio"/>', '');

describe('an interface as libvirt’s element', () => {
  it('is plugged into a network, with all that spec can say of it', () => {
    expect(xml({ virtualNetwork: 'front', portgroup: 'web' })).toBe(
      '<interface type="network"><source network="shop.front" portgroup="web"/></interface>',
    );
    const all = xml({
      virtualNetwork: 'front',
      mtu: 1400,
      linkState: 'down',
      bandwidth: { inbound: { average: 100, peak: 200, burst: 64, floor: 50 }, outbound: { average: 10 } },
      vlan: { trunk: true, tags: [42, 47], nativeMode: 'untagged' },
      nwfilter: { name: 'clean-traffic', parameters: { IP: '10.0.0.5' } },
      bootOrder: 2,
    });
    for (const part of [
      '<mtu size="1400"/>',
      '<link state="down"/>',
      '<inbound average="100" peak="200" floor="50" burst="64"/>',
      '<vlan trunk="yes"><tag id="42" nativeMode="untagged"/><tag id="47"/></vlan>',
      '<filterref filter="clean-traffic"><parameter name="IP" value="10.0.0.5"/></filterref>',
      '<boot order="2"/>',
    ]) {
      expect(all).toContain(part);
    }
  });

  it('is on a bridge, on a device of the node, or in user mode', () => {
    expect(xml({ bridge: 'br0' })).toBe('<interface type="bridge"><source bridge="br0"/></interface>');
    expect(xml({ bridge: 'ovsbr0', device: { virtualport: { type: 'openvswitch' } } })).toContain(
      '<virtualport type="openvswitch"/>',
    );
    expect(xml({ direct: { dev: 'eth0' } })).toBe(
      '<interface type="direct"><source mode="bridge" dev="eth0"/></interface>',
    );
    for (const mode of ['vepa', 'bridge', 'private', 'passthrough'] as const) {
      expect(xml({ direct: { dev: 'eth0', mode } })).toContain(`mode="${mode}"`);
    }
    expect(xml({ user: {} })).toBe('<interface type="user"></interface>');
    const forwarded = xml({
      user: {
        backend: 'passt',
        portForwards: [
          { hostPort: 2222, guestPort: 22 },
          { hostPort: 8080, guestPort: 80 },
          { hostPort: 53, guestPort: 53, protocol: 'udp', hostAddress: '127.0.0.2' },
        ],
      },
    });
    expect(forwarded).toContain('<backend type="passt"/>');
    expect(forwarded).toContain(
      '<portForward proto="tcp" address="127.0.0.1"><range start="2222" to="22"/><range start="8080" to="80"/></portForward>',
    );
    expect(forwarded).toContain(
      '<portForward proto="udp" address="127.0.0.2"><range start="53" to="53"/></portForward>',
    );
  });

  it('keeps the address of its device fragment', () => {
    const device = interfaceDevice(
      { name: 'a', bridge: 'br0', device: { mac: { address: '52:54:00:AA:00:01' } } },
      'u',
      undefined,
    );
    expect(device['mac']).toEqual({ address: '52:54:00:AA:00:01' });
  });
});

describe('the interfaces of a machine', () => {
  const machine = (ip?: string): VirtualMachine => ({
    apiVersion: 'virtctl.dev/v1alpha1',
    kind: 'VirtualMachine',
    metadata: { name: 'web', namespace: 'shop', uid: 'uid' },
    spec: { interfaces: [{ name: 'eth0', virtualNetwork: 'front', mac, ...(ip === undefined ? {} : { ip }) }] },
  });
  const front: VirtualNetwork = {
    apiVersion: 'virtctl.dev/v1alpha1',
    kind: 'VirtualNetwork',
    metadata: { name: 'front', namespace: 'shop' },
    spec: { network: { name: 'theirs' } },
  };
  const networks = (found: VirtualNetwork | undefined) =>
    ({ find: () => Promise.resolve(found) }) as unknown as ResourceClient<VirtualNetwork>;
  const resolve = (found: VirtualNetwork | undefined, obstacle: string | undefined, live?: object) =>
    resolveInterfaces(machine('10.0.0.5'), networks(found), new AbortController().signal, {
      plugs: {
        obstacle: (key, { isPlugged, ip }) => {
          expect([key, ip]).toEqual(['shop/front', '10.0.0.5']);
          return isPlugged ? undefined : obstacle;
        },
      },
      live: live as never,
    });

  it('wait for their network, and say for which and why', async () => {
    await expect(resolve(undefined, undefined)).rejects.toThrow('interface eth0: there is no VirtualNetwork "front"');
    await expect(resolve(front, 'it is not started')).rejects.toMatchObject({
      ...{ reason: 'NetworkNotReady', printableStatus: 'ErrorNetwork' },
      message: 'interface eth0: VirtualNetwork "front": it is not started',
    });
    const going = { ...front, metadata: { ...front.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } };
    await expect(resolve(going, undefined)).rejects.toThrow('VirtualNetwork "front" is being deleted');
    expect(await resolve(front, undefined)).toMatchObject([{ type: 'network', source: { network: 'theirs' } }]);
  });

  it('stay plugged in where they are', async () => {
    const live = { devices: { interface: [{ mac: { address: mac }, source: { network: 'theirs' } }] } };
    expect(await resolve(front, 'it is not started', live)).toHaveLength(1);
    const elsewhere = { devices: { interface: [{ mac: { address: mac }, source: { network: 'other' } }] } };
    await expect(resolve(front, 'it is not started', elsewhere)).rejects.toThrow('not started');
  });
});
