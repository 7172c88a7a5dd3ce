import { describe, expect, it } from 'vitest';
import type { DomainView } from '../../../src/executor/virtual-machine/domain-view.ts';
import { observeInterfaces } from '../../../src/executor/virtual-machine/observe.ts';
import type { DataObject } from '../../../src/executor/virtual-machine/same-value.ts';
import type { VirtualMachine } from '../../../src/api/virtual-machine.ts';
import { LibvirtError } from '../../../src/libvirt/errors.ts';

const macs = { eth0: '52:54:00:00:00:01', eth1: '52:54:00:00:00:02', eth2: '52:54:00:00:00:03' };
const machine: VirtualMachine = {
  apiVersion: 'virtctl.dev/v1alpha1',
  kind: 'VirtualMachine',
  metadata: { name: 'web', namespace: 'shop', uid: '8a2b2f0c-0b4e-4d0e-9a5c-3c1d0b9e7f11' },
  spec: {
    interfaces: [
      { name: 'eth0', virtualNetwork: 'front', mac: macs.eth0 },
      { name: 'eth1', bridge: 'br0', mac: macs.eth1 },
      { name: 'eth2', bridge: 'br0', device: { mac: { address: macs.eth2.toUpperCase() } } },
    ],
  },
};

/** A running domain whose sources know these addresses, by MAC address. */
function view(sources: Readonly<Record<string, Readonly<Record<string, string>> | Error>>, agent = false): DomainView {
  const asked: string[] = [];
  const interfaceAddresses = (source: string): Promise<unknown> => {
    asked.push(source);
    const known = sources[source] ?? {};
    if (known instanceof Error) return Promise.reject(known);
    return Promise.resolve(
      Object.entries(known).map(([mac, address]) => ({ name: 'dev', mac, addresses: [{ address }] })),
    );
  };
  const channel = { type: 'unix', target: { type: 'virtio', name: 'org.qemu.guest_agent.0', state: 'connected' } };
  const live: DataObject = {
    devices: {
      interface: [
        { type: 'network', mac: { address: macs.eth0 } },
        { type: 'bridge', mac: { address: macs.eth1 } },
        { type: 'bridge', mac: { address: macs.eth2 } },
      ],
      ...(agent ? { channel: [channel] } : {}),
    },
  };
  return { domain: { guest: { interfaceAddresses } }, live, inactive: live, asked } as unknown as DomainView;
}
const told = async (domain: DomainView) =>
  (await observeInterfaces(machine, domain, {})).map(({ name, ips, source }) => [name, ips?.join(), source]);

describe('the addresses of interfaces', () => {
  it('come from whoever knows of each: the agent, else leases, else ARP', async () => {
    const sources = {
      agent: { [macs.eth1]: '10.1.0.2' },
      lease: { [macs.eth0]: '10.0.0.1', [macs.eth1]: '10.1.0.99' },
      arp: { [macs.eth0]: '10.0.0.98', [macs.eth2]: '10.2.0.3' },
    };
    expect(await told(view(sources, true))).toEqual([
      ['eth0', '10.0.0.1', 'lease'],
      ['eth1', '10.1.0.2', 'agent'],
      ['eth2', '10.2.0.3', 'arp'],
    ]);
    expect(await told(view(sources))).toEqual([
      ['eth0', '10.0.0.1', 'lease'],
      ['eth1', '10.1.0.99', 'lease'],
      ['eth2', '10.2.0.3', 'arp'],
    ]);
  });

  it('are told as far as they are known where a source refuses', async () => {
    const refusal = new LibvirtError('domainInterfaceAddresses', {
      ...{ code: 1, domain: 10, level: 2, message: 'internal error: wrong nlmsg len' },
      ...{ str1: null, str2: null, str3: null, int1: 0, int2: 0 },
    });
    expect(await told(view({ lease: { [macs.eth0]: '10.0.0.1' }, arp: refusal }))).toEqual([
      ['eth0', '10.0.0.1', 'lease'],
      ['eth1', undefined, undefined],
      ['eth2', undefined, undefined],
    ]);
  });

  it('are not asked for any more when all are known', async () => {
    const domain = view({ agent: { [macs.eth0]: '10.0.0.1', [macs.eth1]: '10.0.0.2', [macs.eth2]: '10.0.0.3' } }, true);
    await told(domain);
    expect((domain as unknown as { asked: string[] }).asked).toEqual(['agent']);
  });
});
