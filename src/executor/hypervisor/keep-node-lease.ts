import { leaseNamespace } from '../../api/hypervisor.ts';
import type { Clock } from '../../base/clock.ts';
import { toError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import { builtin } from '../../kube/resource-type.ts';
import { isAlreadyExists } from '../../kube/status-error.ts';
import { keepLease, type Lease } from '../../reconcile/lease.ts';

/** What {@link keepNodeLease} needs. */
export interface NodeLeaseOptions {
  readonly client: KubeClient;
  readonly nodeName: string;
  /** How long a sign of life holds, in seconds; reconcile/lease.ts's when left out. */
  readonly leaseSeconds?: number | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** How long after a failure the namespace is tried again, in milliseconds. */
const retryMs = 5_000;

/** Keeps the node's Lease, its sign of life, until the signal aborts; makes the namespace of leases where there is none. */
export async function keepNodeLease(options: NodeLeaseOptions, signal: AbortSignal): Promise<void> {
  const { client, nodeName, leaseSeconds, clock, logger } = options;
  while (!isAborted(signal)) {
    try {
      await ensureNamespace(client, signal);
      break;
    } catch (error) {
      if (isAborted(signal)) return;
      logger.warn('cannot make the namespace of leases', { error: toError(error) });
      try {
        await clock.sleep(retryMs, signal);
      } catch (reason) {
        if (!isAborted(signal)) throw reason;
      }
    }
  }
  const leases = client.resource<Lease>(builtin.leases);
  const ref = { namespace: leaseNamespace, name: nodeName };
  const makeNamespace = (until: AbortSignal): Promise<void> => ensureNamespace(client, until);
  const lease = { leases, ref, holder: nodeName, durationSeconds: leaseSeconds, makeNamespace, clock, logger };
  await keepLease(lease, signal);
}

async function ensureNamespace(client: KubeClient, signal: AbortSignal): Promise<void> {
  const namespaces = client.resource(builtin.namespaces);
  // It may be allowed to read it only, where an installation has made it.
  if ((await namespaces.find({ name: leaseNamespace }, { signal })) !== undefined) return;
  try {
    await namespaces.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: leaseNamespace } }, { signal });
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
  }
}

/** A function, because the compiler does not know that a signal changes while one waits. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}
