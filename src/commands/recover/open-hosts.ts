import { assertSameHost, hostUuid, readNodes } from '../adopt/known-host.ts';
import type { Hypervisor } from '../../api/hypervisor.ts';
import { ConflictError, FailedError } from '../../base/errors.ts';
import type { Context } from '../../cli/context.ts';
import { reportError } from '../../cli/report-error.ts';
import { HostInventory } from '../../executor/adoption/host-inventory.ts';
import type { AdoptingNode } from '../../executor/adoption/known-objects.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import { openLibvirt, type Libvirt } from '../../libvirt/libvirt.ts';

/** A node whose libvirt was reached. */
export interface Host {
  readonly uri: string;
  readonly libvirt: Libvirt;
  readonly node: AdoptingNode;
  readonly inventory: HostInventory;
}

/** The hosts that were reached, and why others were not, which was told. */
export interface OpenedHosts {
  readonly hosts: readonly Host[];
  readonly failures: readonly unknown[];
}

/**
 * Connects to the libvirt of each URI, and finds out which node it is.
 *
 * @param given The node's name, where it is one and its Hypervisor may be lost, too.
 */
export async function openHosts(
  context: Context,
  client: KubeClient,
  uris: readonly string[],
  given: string | undefined,
): Promise<OpenedHosts> {
  const { signal } = context;
  const nodes = await readNodes(client, signal);
  const hosts: Host[] = [];
  const failures: unknown[] = [];
  for (const uri of new Set(uris)) {
    try {
      const libvirt = await openLibvirt(uri, { signal });
      try {
        const node = nodeAt(nodes, await hostUuid(libvirt, signal), given, uri);
        const same = hosts.find((one) => one.node.name === node.name);
        if (same !== undefined) throw new ConflictError(`${uri} and ${same.uri} are both node ${node.name}`);
        hosts.push({ uri, libvirt, node, inventory: new HostInventory(libvirt, signal) });
      } catch (error) {
        await libvirt.close();
        throw error;
      }
    } catch (error) {
      signal.throwIfAborted();
      if (uris.length === 1) throw error;
      failures.push(error);
      context.stderr.write(reportError(error, false).text);
    }
  }
  return { hosts, failures };
}

/**
 * The node whose libvirt was reached: the one that is given, else the one whose Hypervisor says so. It is never guessed:
 * machines that a node has which there is not are nobody's.
 *
 * @param uuid The host's; empty where its libvirt does not tell.
 * @param given The node's name. Its Hypervisor may be lost, too: its executor makes it again.
 * @throws ConflictError when it is another node's, or may be that of several; FailedError when nobody knows whose it is.
 */
export function nodeAt(
  nodes: readonly Hypervisor[],
  uuid: string,
  given: string | undefined,
  uri: string,
): AdoptingNode {
  const named = nodes.find(({ metadata }) => metadata.name === given);
  if (named !== undefined) {
    assertSameHost(named, uuid, uri);
    return asNode(named);
  }
  const owners = nodes.filter(({ status }) => uuid !== '' && status?.nodeInfo?.systemUUID?.toLowerCase() === uuid);
  const [own] = owners;
  const names = owners.map(({ metadata }) => metadata.name ?? '').join(' and ');
  if (given !== undefined) {
    if (own === undefined) return { name: given, labels: { 'kubernetes.io/hostname': given } };
    throw new ConflictError(`the libvirt at ${uri} is that of node ${names}, not of ${given}`);
  }
  if (own === undefined) {
    throw new FailedError(`no Hypervisor is that of ${uri}`, {
      hint: 'start its executor first, or give it alone, and say with --node which node it is',
    });
  }
  if (owners.length > 1) {
    throw new ConflictError(`the nodes ${names} have the same host UUID: ${uri} may be each of them`, {
      hint: 'give it alone, and say with --node which node it is',
    });
  }
  return asNode(own);
}

function asNode({ metadata: { name = '', labels } }: Hypervisor): AdoptingNode {
  return { name, labels: labels ?? { 'kubernetes.io/hostname': name } };
}
