import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commandLine } from '../support/command-line.ts';
import { NetworkLab } from '../support/network-lab.ts';
import type { VirtualNetwork } from '../../src/api/virtual-network.ts';
import type { KubeObject } from '../../src/kube/object.ts';
import { builtin } from '../../src/kube/resource-type.ts';
import type { Network } from '../../src/model/types.gen.ts';

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
    await lab.remove('front');
    expect(await lab.virsh('net-list', '--all', '--name')).not.toContain('front');
    await lab.node.untilEvents('front', ['Defined', 'Started', 'Removed']);
  });

  const kindsOfForward: Readonly<Record<string, Network>> = {
    isolated: {
      bridge: { name: 'vk1' },
      ip: [{ address: '10.30.1.1', prefix: 24 }],
      domain: { name: 'lab', localOnly: true },
    },
    route: {
      ...{ forward: { mode: 'route' }, bridge: { name: 'vk2', stp: false, delay: 2 }, mtu: { size: 1400 } },
      ip: [
        { address: '10.30.2.1', netmask: '255.255.255.0' },
        {
          family: 'ipv6',
          address: '2001:DB8:CA2:2:0:0:0:1',
          prefix: 64,
          dhcp: { range: [{ start: '2001:db8:ca2:2::100', end: '2001:db8:ca2:2::1ff' }] },
        },
      ],
      route: [{ address: '10.31.0.0', prefix: 16, gateway: '10.30.2.2' }],
    },
    open: {
      forward: { mode: 'open' },
      bridge: { name: 'vk3' },
      ip: [{ address: '10.30.3.1', netmask: '255.255.255.0' }],
    },
    hostbridge: { forward: { mode: 'bridge' }, bridge: { name: 'br0' } },
    private: { forward: { mode: 'private', interface: [{ dev: 'lan0' }, { dev: 'lan1' }] } },
    vepa: { forward: { mode: 'vepa', interface: [{ dev: 'lan0' }] } },
    macvtap: { forward: { mode: 'bridge', dev: 'lan0', interface: [{ dev: 'lan0' }] } },
    passthrough: { forward: { mode: 'passthrough', interface: [{ dev: 'lan1' }] } },
    ovs: {
      ...{ forward: { mode: 'bridge' }, bridge: { name: 'ovsbr0' }, virtualport: { type: 'openvswitch' } },
      portgroup: [
        { name: 'web', default: true, vlan: { tag: [{ id: 42 }] } },
        {
          name: 'trunk',
          vlan: { trunk: 'yes', tag: [{ id: 42, nativeMode: 'untagged' }, { id: 47 }] },
          bandwidth: { inbound: { average: 1000, peak: 5000, burst: 1024 }, outbound: { average: 128 } },
        },
      ],
    },
    shaped: {
      ...{ forward: { mode: 'nat', nat: { port: { start: 2000, end: 3000 } } }, bridge: { name: 'vk4' } },
      bandwidth: {
        inbound: { average: 1000, peak: 5000, burst: 5120 },
        outbound: { average: 128, peak: 256, burst: 256 },
      },
      dns: {
        forwarder: [{ addr: '1.1.1.1' }],
        host: [{ ip: '10.30.4.9', hostname: ['nine', 'neun'] }],
        txt: [{ name: 'a', value: 'b c' }],
      },
      ip: [
        {
          address: '10.30.4.1',
          netmask: '255.255.255.0',
          dhcp: {
            range: [{ start: '10.30.4.10', end: '10.30.4.20', lease: { expiry: 2, unit: 'hours' } }],
            host: [{ mac: '52:54:00:AA:BB:CC', name: 'ten', ip: '10.30.4.10' }],
            bootp: { file: 'pxe.0' },
          },
        },
      ],
    },
    sriov: { forward: { mode: 'hostdev', managed: true, pf: { dev: 'lan0' } }, vlan: { tag: [{ id: 7 }] } },
    dnsmasq: {
      ...{ bridge: { name: 'vk5' }, ip: [{ address: '10.30.5.1', prefix: 24 }] },
      'dnsmasq:options': { 'dnsmasq:option': [{ value: 'log-queries' }] },
    },
  };

  it('gives libvirt every kind of forward, and finds it as it gave it', async () => {
    for (const [name, network] of Object.entries(kindsOfForward))
      await lab.make(`k-${name}`, { active: false, network });
    for (const name of Object.keys(kindsOfForward)) {
      const found = await lab.untilReady(`k-${name}`);
      expect(found.status?.nodes, name).toMatchObject([{ state: 'Inactive', autostart: true }]);
      expect(lab.condition(found, 'Synchronized'), name).toMatchObject({ status: 'True', reason: 'InSync' });
      expect(line(found), name).not.toHaveProperty('ignored');
      // Looking again changes nothing.
      const before = await lab.dump(`default.k-${name}`, '--inactive');
      await lab.patch(`k-${name}`, { spec: { driftPolicy: 'Report' } });
      await lab.untilReady(`k-${name}`);
      const drifted = await lab.until(
        `k-${name}`,
        (one) => lab.condition(one, 'Synchronized')?.observedGeneration === 2,
      );
      expect(line(drifted), name).not.toHaveProperty('drift');
      expect(await lab.dump(`default.k-${name}`, '--inactive')).toBe(before);
    }
  });

  it("tells why libvirt refuses a definition, in libvirt's words", async () => {
    await lab.make('functions', {
      network: {
        forward: {
          ...{ mode: 'hostdev', managed: true, driver: { name: 'vfio' } },
          address: [{ type: 'pci', domain: '0x0000', bus: '0x03', slot: '0x10', function: '0x0' }],
        },
      },
    });
    const refused = await lab.untilReason('functions', 'Ready', 'DefineFailed');
    expect(lab.condition(refused, 'Ready')?.message).toContain('is not an SR-IOV Virtual Function');
    expect(line(refused)).toMatchObject({ state: 'Absent', reason: 'DefineFailed' });
    await lab.remove('functions');
  });

  it("tells why libvirt cannot start one, in libvirt's words, wherever somebody looks", async () => {
    const ip = (...args: string[]) => lab.node.libvirtd.exec('ip', ...args);
    await ip('link', 'add', 'pf0', 'type', 'veth', 'peer', 'name', 'pf1');
    await ip('addr', 'add', '10.22.0.1/24', 'dev', 'pf0');
    await ip('link', 'set', 'pf0', 'up');
    await ip('link', 'set', 'pf1', 'up');
    await ip('route', 'add', '10.23.0.0/24', 'via', '10.22.0.9');
    const virtctl = (...args: string[]) =>
      commandLine([...args, '--kubeconfig', lab.node.kubeconfig], {
        home: lab.node.libvirtd.dir,
        cwd: lab.node.libvirtd.dir,
      });
    const refusals: Readonly<Record<string, readonly [Network, RegExp]>> = {
      'no-functions': [
        { forward: { mode: 'hostdev', managed: true, pf: { dev: 'pf0' } } },
        /No usable Vf's present on SRIOV PF pf0/,
      ],
      // The node's own address and route, which no network of libvirt's has.
      'own-address': [{ bridge: { name: 'vs0' }, ip: [{ address: '10.22.0.7', prefix: 24 }] }, /already in use by/],
      'own-route': [{ bridge: { name: 'vs1' }, ip: [{ address: '10.23.0.1', prefix: 24 }] }, /already in use by/],
    };
    for (const [name, [network, words]] of Object.entries(refusals)) {
      await lab.make(name, { network });
      const refused = await lab.untilReason(name, 'Ready', 'StartFailed');
      expect(lab.condition(refused, 'Ready')?.message, name).toMatch(words);
      expect(line(refused), name).toMatchObject({ state: 'Inactive', reason: 'StartFailed', autostart: true });
      await lab.node.untilEvents(name, ['StartFailed']);
      expect((await virtctl('describe', 'vnet', name)).stdout).toMatch(words);
      const waited = await virtctl('wait', `vnet/${name}`, '--for=condition=Ready', '--timeout=1s');
      expect(waited.exitCode, name).toBe(5);
      const started = await virtctl('network', 'start', name, '--timeout=1s');
      expect([started.exitCode, started.stderr], name).toEqual([5, expect.stringMatching(words)]);
      await lab.remove(name);
    }
    await ip('link', 'del', 'pf0');
  });

  it('tells what libvirt does not keep', async () => {
    // libvirt has titles of networks since 9.7.
    await lab.make('titled', { network: { ...nat('vn1', '10.21.0'), title: 'the front' } });
    const found = await lab.untilReady('titled');
    const kept = (await lab.dump('default.titled')).includes('the front');
    expect(lab.condition(found, 'Synchronized')).toMatchObject(
      kept
        ? { status: 'True' }
        : { status: 'False', reason: 'IgnoredByLibvirt', message: 'node-1: libvirt did not keep title' },
    );
    expect(line(found)?.ignored ?? []).toEqual(kept ? [] : ['title']);
    await lab.remove('titled');
  });

  it('starts those that the node can carry', async () => {
    await lab.node.libvirtd.exec('ip', 'link', 'add', 'br0', 'type', 'bridge');
    for (const name of [
      'isolated',
      'route',
      'open',
      'hostbridge',
      'private',
      'vepa',
      'macvtap',
      'passthrough',
      'dnsmasq',
    ]) {
      await lab.patch(`k-${name}`, { spec: { active: true } });
      expect(line(await lab.untilReady(`k-${name}`)), name).toMatchObject({ state: 'Active' });
    }
    for (const name of Object.keys(kindsOfForward)) await lab.remove(`k-${name}`);
    expect(await lab.virsh('net-list', '--all', '--name')).toBe('');
  });

  describe('that nobody is plugged into', () => {
    const subnet = '10.40.0';
    const host = (last: number, name: string) => ({
      mac: `52:54:00:00:40:${String(last).padStart(2, '0')}`,
      name,
      ip: `${subnet}.${last}`,
    });
    const xml = (...more: string[]) => lab.dump('default.live', ...more);

    beforeAll(async () => {
      await lab.make('live', {
        network: {
          ...{ forward: { mode: 'nat' }, bridge: { name: 'vl0' }, domain: { name: 'lab' } },
          ip: [
            {
              ...{ address: `${subnet}.1`, prefix: 24 },
              dhcp: {
                range: [{ start: `${subnet}.100`, end: `${subnet}.120` }],
                host: [host(10, 'ten'), host(11, 'eleven')],
              },
            },
          ],
        },
      });
      await lab.untilReady('live');
    });
    afterAll(async () => {
      await lab.remove('live');
    });

    it('is changed while it runs where virNetworkUpdate can', async () => {
      const dnsmasq = await lab.node.libvirtd.exec('cat', '/run/libvirt/network/default.live.pid');
      await lab.patch('live', {
        spec: {
          network: {
            dns: {
              host: [{ ip: `${subnet}.50`, hostname: ['fifty'] }],
              txt: [{ name: 'greeting', value: 'hello' }],
              srv: [{ service: 'ldap', protocol: 'tcp', domain: 'lab', target: 'fifty.lab', port: 389 }],
            },
            portgroup: [{ name: 'slow', bandwidth: { inbound: { average: 100 } } }],
            ip: [
              {
                ...{ address: `${subnet}.1`, prefix: 24 },
                dhcp: {
                  range: [{ start: `${subnet}.100`, end: `${subnet}.130` }],
                  host: [host(11, 'elf'), { ...host(12, 'twelve') }],
                },
              },
            ],
          },
        },
      });
      const changed = await lab.untilReady('live');
      expect(lab.condition(changed, 'RestartRequired')).toMatchObject({ status: 'False' });
      for (const dump of [await xml(), await xml('--inactive')]) {
        expect(dump).toContain(`start='${subnet}.100' end='${subnet}.130'`);
        expect(dump).not.toContain(`end='${subnet}.120'`);
        expect(dump).not.toContain("name='ten'");
        for (const part of ["name='elf'", "name='twelve'", 'fifty', 'greeting', 'ldap', "name='slow'"]) {
          expect(dump).toContain(part);
        }
      }
      expect(await lab.eventsOf('live')).not.toContain('Restarted');
      expect(await lab.node.libvirtd.exec('cat', '/var/lib/libvirt/dnsmasq/default.live.hostsfile')).toContain(
        'twelve',
      );
      expect(dnsmasq).toMatch(/^\d+$/);
      // What is taken back goes.
      await lab.patch('live', { spec: { network: { dns: null, portgroup: null } } });
      await lab.untilReady('live');
      for (const dump of [await xml(), await xml('--inactive')]) expect(dump).not.toMatch(/fifty|greeting|ldap|slow/);
      expect(await lab.eventsOf('live')).not.toContain('Restarted');
    });

    it('is put right when somebody changes it behind our back', async () => {
      const twelve = `<host mac='${host(12, '').mac}'/>`;
      await lab.patch('live', { spec: { driftPolicy: 'Report' } });
      await lab.untilReady('live');
      await lab.virsh('net-update', 'default.live', 'delete', 'ip-dhcp-host', twelve, '--live', '--config');
      const told = await lab.untilReason('live', 'Synchronized', 'Drifted');
      expect(line(told)?.drift?.join()).toContain('ip[0].dhcp.host[1]');
      expect(await xml()).not.toContain("name='twelve'");
      await lab.patch('live', { spec: { driftPolicy: 'Enforce' } });
      await lab.untilReason('live', 'Synchronized', 'InSync');
      for (const dump of [await xml(), await xml('--inactive')]) expect(dump).toContain("name='twelve'");
      // What spec says nothing about belongs to whoever put it there.
      const theirs = `<host mac='52:54:00:00:40:77' name='theirs' ip='${subnet}.77'/>`;
      await lab.virsh('net-update', 'default.live', 'add', 'ip-dhcp-host', theirs, '--live', '--config');
      await lab.virsh('net-destroy', 'default.live');
      await lab.virsh('net-autostart', 'default.live', '--disable');
      await lab.until('live', (one) => line(one)?.state === 'Active' && line(one)?.autostart === true);
      expect(await xml()).toContain('theirs');
      await lab.node.untilEvents('live', ['DriftCorrected']);
    });

    it('is restarted at once for what cannot be changed while it runs', async () => {
      await lab.patch('live', { spec: { network: { bridge: { name: 'vl9' } } } });
      const restarted = await lab.untilReady('live');
      expect(line(restarted)).toMatchObject({ state: 'Active', bridge: 'vl9' });
      expect(lab.condition(restarted, 'RestartRequired')).toMatchObject({ status: 'False' });
      await lab.node.untilEvents('live', ['Restarted']);
    });

    it('follows its object again when libvirtd was killed', async () => {
      await lab.node.libvirtd.signal('KILL');
      await lab.patch('live', { spec: { network: { mtu: { size: 1400 } } } });
      await lab.node.libvirtd.start();
      expect(line(await lab.untilReady('live'))).toMatchObject({ state: 'Active', bridge: 'vl9' });
      expect(await xml()).toContain('1400');
      expect(await lab.node.libvirtd.exec('ip', 'link', 'show', 'vl9')).toContain('mtu 1400');
    });

    it('is listed, restarted, stopped, started and unmarked with virtctl network', async () => {
      const virtctl = async (...args: string[]): Promise<string> => {
        const { exitCode, stdout, stderr } = await commandLine(
          ['network', ...args, '--kubeconfig', lab.node.kubeconfig],
          { home: lab.node.libvirtd.dir, cwd: lab.node.libvirtd.dir },
        );
        expect(exitCode, stderr).toBe(0);
        return stdout;
      };
      const pid = () => lab.node.libvirtd.exec('cat', '/run/libvirt/network/default.live.pid');
      expect(await virtctl('list', '--no-headers')).toMatch(/^live +Active +1\/1 +nat +yes +0 /);
      const old = await pid();
      expect(await virtctl('restart', 'vnet/live')).toBe('virtualnetwork.virtctl.dev/live restarted\n');
      expect(await pid()).not.toBe(old);
      expect(await virtctl('stop', 'live')).toBe('virtualnetwork.virtctl.dev/live stopped\n');
      expect(await lab.virsh('net-list', '--name')).not.toContain('live');
      expect(await virtctl('start', 'live')).toBe('virtualnetwork.virtctl.dev/live started\n');
      expect(await lab.virsh('net-list', '--name')).toContain('live');
      expect(await virtctl('start', 'live')).toBe('virtualnetwork.virtctl.dev/live already started\n');
      await virtctl('autostart', 'live', '--disable');
      expect(await lab.virsh('net-list', '--autostart', '--name')).not.toContain('live');
      expect(await virtctl('leases', 'live', '-o', 'json')).toBe('[]\n');
    });

    it('is left by a node that is no longer selected', async () => {
      await lab.patch('live', { spec: { nodeSelector: { matchLabels: { rack: 'other' } } } });
      const left = await lab.until('live', (one) => one?.status?.nodes?.length === 0);
      expect(lab.condition(left, 'Ready')).toMatchObject({ status: 'False', reason: 'NoNodes' });
      expect(await lab.virsh('net-list', '--all', '--name')).not.toContain('live');
    });
  });

  describe('beside what is there already', () => {
    const foreign = (name: string, bridge: string, subnet: string) =>
      `<network><name>${name}</name><bridge name='${bridge}'/><ip address='${subnet}.1' netmask='255.255.255.0'/></network>`;
    const define = async (xml: string, name: string) => {
      const file = join(lab.node.libvirtd.dir, `${name}.xml`);
      await writeFile(file, xml);
      await lab.virsh('net-define', file);
      await lab.virsh('net-start', name);
    };

    it('leaves a network alone that no object names, and takes over the one that spec.network.name names', async () => {
      await define(foreign('default', 'vf0', '10.50.0'), 'default');
      await define(foreign('default.taken', 'vf1', '10.50.1'), 'default.taken');
      const before = await lab.dump('default', '--inactive');
      await lab.make('taken', { network: nat('vf9', '10.50.9') });
      const refused = await lab.untilReason('taken', 'Ready', 'ForeignNetwork');
      expect(line(refused)).toMatchObject({ state: 'Absent', reason: 'ForeignNetwork' });
      await lab.remove('taken');
      expect(await lab.virsh('net-list', '--name')).toContain('default.taken');
      expect(await lab.dump('default', '--inactive')).toBe(before);
      const uuid = await lab.virsh('net-uuid', 'default');
      await lab.make('adopted', {
        network: { name: 'default', dns: { host: [{ ip: '10.50.0.9', hostname: ['nine'] }] } },
      });
      const adopted = await lab.untilReady('adopted');
      expect(line(adopted)).toMatchObject({ name: 'default', uuid, bridge: 'vf0', state: 'Active' });
      expect(await lab.dump('default')).toContain('nine');
      await lab.make('again', { network: { name: 'default' } });
      const second = await lab.untilReason('again', 'Ready', 'ForeignNetwork');
      expect(lab.condition(second, 'Ready')?.message).toContain('VirtualNetwork "default/adopted"');
      await lab.remove('again');
      expect(await lab.virsh('net-list', '--name')).toContain('default');
    });

    it('finds clashes of bridges and subnets before libvirt does, and names the other', async () => {
      await lab.make('same-bridge', { network: nat('vf0', '10.50.7') });
      const bridge = await lab.untilReason('same-bridge', 'Ready', 'BridgeInUse');
      expect(lab.condition(bridge, 'Ready')?.message).toContain('VirtualNetwork "default/adopted"');
      await lab.make('same-subnet', { network: nat('vf8', '10.50.1') });
      const subnet = await lab.untilReason('same-subnet', 'Ready', 'SubnetOverlaps');
      expect(lab.condition(subnet, 'Ready')?.message).toContain('libvirt\'s network "default.taken"');
      await lab.node.libvirtd.exec('ip', 'link', 'add', 'vf7', 'type', 'bridge');
      await lab.make('same-device', { network: nat('vf7', '10.50.8') });
      const device = await lab.untilReason('same-device', 'Ready', 'BridgeInUse');
      expect(lab.condition(device, 'Ready')?.message).toContain('network device "vf7"');
      expect(await lab.virsh('net-list', '--all', '--name')).not.toContain('same');
      // In whatever namespace the other is.
      const namespaces = lab.node.client.resource<KubeObject>(builtin.namespaces);
      await namespaces.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'far' } });
      await lab.make('far', { network: nat('vf0', '10.50.6') }, 'far');
      const far = { namespace: 'far', name: 'far' };
      await expect
        .poll(async () => lab.condition(await lab.networks.find(far), 'Ready')?.message)
        .toContain('the bridge "vf0" is that of VirtualNetwork "default/adopted"');
      await lab.networks.delete(far);
      // It goes on once the other is gone.
      await lab.virsh('net-destroy', 'default.taken');
      await lab.virsh('net-undefine', 'default.taken');
      await lab.untilReady('same-subnet');
      for (const name of ['same-bridge', 'same-subnet', 'same-device', 'adopted']) await lab.remove(name);
      expect(await lab.virsh('net-list', '--all', '--name')).toBe('');
    });
  });
});
