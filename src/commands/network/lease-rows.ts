import type { VirtualMachine } from '../../api/virtual-machine.ts';
import type { VirtualNetwork } from '../../api/virtual-network.ts';

/** A lease with all that is known of it: what `-o json` prints. */
export interface LeaseRow {
  readonly namespace: string;
  readonly network: string;
  readonly node: string;
  readonly ip: string;
  readonly mac: string;
  readonly prefix?: number | undefined;
  readonly hostname?: string | undefined;
  readonly clientId?: string | undefined;
  readonly expiresAt?: string | undefined;
  /** The machine of the namespace that has the MAC address. */
  readonly machine?: string;
}

/** The leases of networks, by network, node and address. */
export function leaseRows(networks: readonly VirtualNetwork[], machines: readonly VirtualMachine[]): LeaseRow[] {
  const owners = new Map<string, string>();
  for (const { metadata, status } of machines) {
    for (const { mac } of status?.interfaces ?? []) {
      owners.set(`${metadata.namespace ?? ''} ${mac.toLowerCase()}`, metadata.name ?? '');
    }
  }
  return networks.flatMap(({ metadata: { namespace = '', name: network = '' }, status }) =>
    (status?.nodes ?? []).flatMap(({ nodeName: node, leases }) =>
      (leases ?? []).map((lease): LeaseRow => {
        const machine = owners.get(`${namespace} ${lease.mac.toLowerCase()}`);
        return { namespace, network, node, ...lease, ...(machine === undefined ? {} : { machine }) };
      }),
    ),
  );
}
