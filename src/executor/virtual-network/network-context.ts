/** What the parts of this folder share: where they look, and how they say that something is in the way. */
import type { NetworkUser } from './reservations.ts';
import type { StorageNode } from '../virtual-pool/storage-context.ts';
import type { NetworkClaim } from '../../api/network-claims.ts';
import type { VirtualNetwork, virtualNetworkReasons } from '../../api/virtual-network.ts';
import { FailedError, toError, UnreachableError } from '../../base/errors.ts';
import type { Clock } from '../../base/clock.ts';
import type { ResourceClient } from '../../kube/resource-client.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';
import type { EventRecord } from '../../reconcile/event-recorder.ts';

/** See the head of this file. */
export interface NetworkContext {
  readonly nodeName: string;
  readonly networks: ResourceClient<VirtualNetwork>;
  /** All Hypervisors. */
  readonly nodes: () => readonly StorageNode[];
  /** All VirtualNetworks, as last seen. */
  readonly known: () => readonly VirtualNetwork[];
  /** The machines that name a network, on every node. */
  readonly usersOf: (namespace: string, name: string) => readonly NetworkUser[];
  /** The machine of a domain of this node, as namespace/name. */
  readonly machineOf: (domain: string) => string | undefined;
  /** The network devices of the executor's own host, with their subnets, and its host name. */
  readonly host: () => { readonly name: string; readonly devices: readonly NetworkClaim[] };
  readonly libvirt: () => Libvirt | undefined;
  readonly record: (event: EventRecord) => void;
  readonly clock: Clock;
}

/** Something is in the way, and told in status; it is looked at again. */
export class NetworkProblem extends FailedError {
  override readonly code: string;
  /** The reason of the condition Ready. */
  readonly reason: keyof typeof virtualNetworkReasons;

  constructor(reason: keyof typeof virtualNetworkReasons, message: string, options: { cause?: unknown } = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : {});
    this.code = reason;
    this.reason = reason;
  }
}

/**
 * The connection to libvirt.
 *
 * @throws UnreachableError while there is none.
 */
export function libvirtOf(context: NetworkContext): Libvirt {
  const libvirt = context.libvirt();
  if (libvirt === undefined) throw new UnreachableError('libvirt is not connected');
  return libvirt;
}

/** Names the step that a refusal of libvirt belongs to. */
export async function during<T>(reason: keyof typeof virtualNetworkReasons, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof Error) || error.name !== 'LibvirtError') throw error;
    throw new NetworkProblem(reason, toError(error).message, { cause: error });
  }
}
