import type { KubeObject, ObjectMeta, ObjectRef, OwnerReference } from '../kube/object.ts';
import type { RequestOptions, ResourceClient } from '../kube/resource-client.ts';
import { isAlreadyExists, isConflict, isNotFound } from '../kube/status-error.ts';
import { toKubernetesMicroTime } from '../base/clock.ts';
import type { Clock } from '../base/clock.ts';
import { toError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';

/** coordination.k8s.io/v1 Lease. */
export interface Lease extends KubeObject {
  readonly spec?: LeaseSpec | undefined;
}

/** What a lease says. */
export interface LeaseSpec {
  readonly holderIdentity?: string | undefined;
  readonly leaseDurationSeconds?: number | undefined;
  /** metav1.MicroTime. */
  readonly acquireTime?: string | undefined;
  /** metav1.MicroTime. */
  readonly renewTime?: string | undefined;
  readonly leaseTransitions?: number | undefined;
}

/** A lease object. */
export function makeLease(metadata: ObjectMeta, spec: LeaseSpec): Lease {
  return { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata, spec };
}

/** Options of {@link keepLease}. */
export interface HeartbeatOptions {
  readonly leases: ResourceClient<Lease>;
  readonly ref: ObjectRef;
  /** Who lives, such as the node's name. */
  readonly holder: string;
  /** After this long without a renewal others take the holder for lost; 40 s by default, as for a kubelet. */
  readonly durationSeconds?: number | undefined;
  /** The lease goes away with its owner. */
  readonly owner?: OwnerReference | undefined;
  /** Makes the namespace of the lease where it is gone, as after the loss of the API server's data. */
  readonly makeNamespace?: ((signal: AbortSignal) => Promise<void>) | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Keeps a lease that nobody contests, as a sign of life (a kubelet's node lease): renews it four times within its
 * duration until the signal aborts. Failures are logged and tried again.
 */
export async function keepLease(options: HeartbeatOptions, signal: AbortSignal): Promise<void> {
  const periodMs = ((options.durationSeconds ?? 40) * 1000) / 4;
  while (!signal.aborted) {
    let waitMs = periodMs;
    try {
      await renewLease(options, { signal, timeoutMs: periodMs });
    } catch (error) {
      if (isAborted(signal)) return;
      if (isNotFound(error)) await remake(options, signal);
      options.logger.warn('cannot renew the lease', { lease: options.ref, error: toError(error) });
      waitMs = periodMs / 4;
    }
    try {
      await options.clock.sleep(waitMs, signal);
    } catch (error) {
      if (!isAborted(signal)) throw error;
    }
  }
}

async function remake({ makeNamespace, logger, ref }: HeartbeatOptions, signal: AbortSignal): Promise<void> {
  try {
    await makeNamespace?.(signal);
  } catch (error) {
    if (!isAborted(signal))
      logger.warn('cannot make the namespace of the lease', { lease: ref, error: toError(error) });
  }
}

/** Renews a lease once; makes it when it does not exist. */
export async function renewLease(options: HeartbeatOptions, request: RequestOptions = {}): Promise<Lease> {
  const { leases, ref, holder, owner, clock, durationSeconds = 40 } = options;
  const renewTime = toKubernetesMicroTime(clock.now());
  const spec = { holderIdentity: holder, leaseDurationSeconds: durationSeconds, renewTime };
  const metadata = owner === undefined ? {} : { ownerReferences: [owner] };
  try {
    return await leases.mergePatch(ref, { metadata, spec }, request);
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
  try {
    return await leases.create(makeLease({ ...ref, ...metadata }, spec), request);
  } catch (error) {
    // Somebody made it in between.
    if (isAlreadyExists(error) || isConflict(error)) return leases.mergePatch(ref, { metadata, spec }, request);
    throw error;
  }
}

/** A function, because the compiler does not know that a signal changes while one waits. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}
