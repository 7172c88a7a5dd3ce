/** The node's libvirt and what the API has: what `adopt` and `recover` both begin with. */
import {
  hypervisorKind,
  virtualDiskKind,
  virtualMachineKind,
  virtualMachineSnapshotKind,
  virtualNetworkKind,
  virtualPoolKind,
} from '../../api/kinds.ts';
import type { Hypervisor } from '../../api/hypervisor.ts';
import type { VirtualDisk } from '../../api/virtual-disk.ts';
import type { VirtualMachineSnapshot } from '../../api/virtual-machine-snapshot.ts';
import type { VirtualMachine } from '../../api/virtual-machine.ts';
import type { VirtualNetwork } from '../../api/virtual-network.ts';
import type { VirtualPool } from '../../api/virtual-pool.ts';
import { ConflictError } from '../../base/errors.ts';
import { resourceTypeOf } from '../../cli/machine-verb.ts';
import { KnownObjects } from '../../executor/adoption/known-objects.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';
import { parseElement, type XmlElement } from '../../xml/element.ts';
import { maxReportedBytes } from '../../xml/reader.ts';

/** Everything of ours that there is, of every namespace. */
export async function readKnownObjects(client: KubeClient, signal: AbortSignal): Promise<KnownObjects> {
  const [machines, disks, pools, networks, snapshots] = await Promise.all([
    client.resource<VirtualMachine>(resourceTypeOf(virtualMachineKind)).listAll({ signal }),
    client.resource<VirtualDisk>(resourceTypeOf(virtualDiskKind)).listAll({ signal }),
    client.resource<VirtualPool>(resourceTypeOf(virtualPoolKind)).listAll({ signal }),
    client.resource<VirtualNetwork>(resourceTypeOf(virtualNetworkKind)).listAll({ signal }),
    client.resource<VirtualMachineSnapshot>(resourceTypeOf(virtualMachineSnapshotKind)).listAll({ signal }),
  ]);
  return new KnownObjects(machines.items, disks.items, pools.items, networks.items, snapshots.items);
}

/** The UUID of a libvirt's host, as capabilities say; empty where they do not. */
export async function hostUuid(libvirt: Libvirt, signal: AbortSignal): Promise<string> {
  const child = (element: XmlElement | undefined, name: string): XmlElement | undefined =>
    element?.children.find((one) => one.name === name);
  const xml = parseElement(await libvirt.node.capabilities({ signal }), { maxBytes: maxReportedBytes });
  return child(child(xml, 'host'), 'uuid')?.text.trim().toLowerCase() ?? '';
}

/** Every node. */
export async function readNodes(client: KubeClient, signal: AbortSignal): Promise<readonly Hypervisor[]> {
  return (await client.resource<Hypervisor>(resourceTypeOf(hypervisorKind)).listAll({ signal })).items;
}

/**
 * Makes sure that a libvirt is that of a node, by the UUID of the host: domains of another host must not become its machines.
 *
 * @param uuid That of the host, as {@link hostUuid} gives it.
 * @throws ConflictError when it is another node's, or one of the two does not say which host it is.
 */
export function assertSameHost(node: Hypervisor, uuid: string, uri: string): void {
  const name = node.metadata.name ?? '';
  const known = node.status?.nodeInfo?.systemUUID?.toLowerCase() ?? '';
  if (known === '') {
    throw new ConflictError(`node ${name} has not told which host it is: its executor was never connected to libvirt`, {
      hint: `start it there first: virtctl executor --node-name ${name}`,
    });
  }
  if (known === uuid) return;
  const what = uuid === '' ? 'does not say which host it is' : `is not that of node ${name}`;
  throw new ConflictError(`the libvirt at ${uri} ${what}`, {
    hint: 'run this on the node, or say with --connect where its libvirt is',
  });
}
