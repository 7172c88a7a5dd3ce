import { describe, expect, it } from 'vitest';
import type { Lookup } from '../../src/api/lookup.ts';
import { validateObject } from '../../src/api/validate.ts';
import type { VirtualMachine } from '../../src/api/virtual-machine.ts';
import type { VirtualNetwork, VirtualNetworkSpec } from '../../src/api/virtual-network.ts';

const network = (name: string, spec: VirtualNetworkSpec, namespace = 'shop'): VirtualNetwork => ({
  apiVersion: 'virtctl.dev/v1alpha1',
  kind: 'VirtualNetwork',
  metadata: { name, namespace },
  spec,
});
const problems = (spec: VirtualNetworkSpec, others: VirtualNetwork[] = []) =>
  validateObject(network('front', spec), { lookup: { find: () => undefined, networks: () => others } }).map(
    ({ severity, path, message }) => `${severity} ${path}: ${message}`,
  );
const ip = (address: string, more: object = {}) => ({ network: { ip: [{ address, prefix: 24, ...more }] } });

describe('the rules of a VirtualNetwork', () => {
  it('let a sound one pass', () => {
    const dhcp = {
      range: [{ start: '10.0.0.10', end: '10.0.0.20' }],
      host: [{ mac: '52:54:00:00:00:01', ip: '10.0.0.5' }],
    };
    expect(problems(ip('10.0.0.1', { dhcp }))).toEqual([]);
    expect(problems({ network: { forward: { mode: 'bridge' }, bridge: { name: 'br0' } } })).toEqual([]);
  });

  it('tell what libvirt refuses in any case', () => {
    expect(problems(ip('10.0.0.1', { netmask: '255.255.255.0' }))).toEqual([
      'error spec.network.ip[0].netmask: expected only one of prefix and netmask',
    ]);
    expect(problems({ network: { ip: [{ address: '10.0.0.1', netmask: '255.0.255.0' }] } })).toEqual([
      'error spec.network.ip[0].netmask: 255.0.255.0 is not an IPv4 netmask; IPv6 has prefix',
    ]);
    expect(problems(ip('10.0.0.1', { prefix: 64 }))).toEqual([
      'error spec.network.ip[0].prefix: 64 is too long for an IPv4 address',
    ]);
    expect(problems(ip('10.0.0.1', { dhcp: { range: [{ start: '10.0.0.20', end: '10.0.0.10' }] } }))).toEqual([
      'error spec.network.ip[0].dhcp.range[0].end: 10.0.0.10 is before 10.0.0.20',
    ]);
    expect(problems(ip('10.0.0.1', { dhcp: { range: [{ start: '10.0.0.20', end: '10.0.1.10' }] } }))).toEqual([
      'error spec.network.ip[0].dhcp.range[0].end: 10.0.1.10 is not in 10.0.0.0/24',
    ]);
    const host = [
      { mac: '52:54:00:00:00:0A', ip: '10.0.0.5' },
      { mac: '52:54:00:00:00:0a', ip: '10.0.0.5' },
    ];
    expect(problems(ip('10.0.0.1', { dhcp: { host } }))).toEqual([
      'error spec.network.ip[0].dhcp.host[1].ip: 10.0.0.5 is in host[0] already',
      'error spec.network.ip[0].dhcp.host[1].mac: 52:54:00:00:00:0a is in host[0] already',
    ]);
    const twice = {
      network: {
        ip: [
          { address: '10.0.0.1', prefix: 8 },
          { address: '10.1.0.1', prefix: 16 },
        ],
      },
    };
    expect(problems(twice)).toEqual([
      'error spec.network.ip[1].address: 10.1.0.0/16 overlaps with 10.0.0.0/8 of spec.network.ip[0]',
    ]);
  });

  it('warn of another network that wants the same bridge or subnet', () => {
    const other = network(
      'back',
      { network: { bridge: { name: 'br7' }, ip: [{ address: '10.0.0.99', prefix: 25 }] } },
      'lab',
    );
    const clashing = { network: { bridge: { name: 'br7' }, ip: [{ address: '10.0.0.1', prefix: 24 }] } };
    expect(problems(clashing, [other])).toEqual([
      'warning spec.network.bridge.name: the bridge "br7" is that of VirtualNetwork "lab/back": a node can have one of them only',
      'warning spec.network.ip[0]: 10.0.0.0/24 overlaps with 10.0.0.0/25 of VirtualNetwork "lab/back": a node can have one of them only',
    ]);
    const going = { ...other, metadata: { ...other.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } };
    expect(problems(clashing, [going, network('front', clashing)])).toEqual([]);
  });
});

describe('the addresses of machines', () => {
  const machine = (name: string, ...ips: string[]): VirtualMachine => ({
    apiVersion: 'virtctl.dev/v1alpha1',
    kind: 'VirtualMachine',
    metadata: { name, namespace: 'shop' },
    spec: { interfaces: ips.map((one, index) => ({ name: `eth${index}`, virtualNetwork: 'front', ip: one })) },
  });
  const lookup = (...others: VirtualMachine[]): Lookup => ({
    find: () => network('front', {}),
    usersOfNetwork: () => others,
  });
  const errors = (one: VirtualMachine, options: Parameters<typeof validateObject>[1]) =>
    validateObject(one, options).map(({ path, message }) => `${path}: ${message}`);

  it('belong to one machine of the network', () => {
    expect(
      errors(machine('a', '10.0.0.5'), { lookup: lookup(machine('a', '10.0.0.5'), machine('b', '10.0.0.6')) }),
    ).toEqual([]);
    expect(errors(machine('a', '2001:db8::5'), { lookup: lookup(machine('b', '2001:DB8:0::5')) })).toEqual([
      'spec.interfaces[0].ip: 2001:db8::5 of VirtualNetwork "front" is that of VirtualMachine "b"',
    ]);
    expect(errors(machine('a', '10.0.0.5', '10.0.0.5'), { lookup: lookup() })).toEqual([
      'spec.interfaces[1].ip: 10.0.0.5 is in spec.interfaces[0] already',
    ]);
  });

  it('that were there before are for the executor to sort out', () => {
    const old = machine('a', '10.0.0.5');
    const now = { ...old, spec: { ...old.spec, runStrategy: 'Halted' as const } };
    expect(errors(now, { old, lookup: lookup(machine('b', '10.0.0.5')) })).toEqual([]);
  });

  it('are warned of where two machines of a network have one MAC address', () => {
    const withMac = (name: string, mac: string): VirtualMachine => {
      const made = machine(name, '10.0.0.5');
      return { ...made, spec: { ...made.spec, interfaces: [{ name: 'eth0', virtualNetwork: 'front', mac }] } };
    };
    const told = (other: VirtualMachine): string[] =>
      validateObject(withMac('a', '52:54:00:00:00:AA'), { lookup: lookup(other) })
        .filter(({ severity }) => severity === 'warning')
        .map(({ path, message }) => `${path}: ${message}`);
    expect(told(withMac('b', '52:54:00:00:00:aa'))).toEqual([
      'spec.interfaces[0].mac: 52:54:00:00:00:aa is that of VirtualMachine "b" too: only one of them can run in VirtualNetwork "front"',
    ]);
    expect(told(withMac('b', '52:54:00:00:00:ab'))).toEqual([]);
    expect(told(withMac('a', '52:54:00:00:00:aa'))).toEqual([]);
  });
});
