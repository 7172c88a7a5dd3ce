import { leaseNamespace, type Hypervisor } from '../../api/hypervisor.ts';
import { hypervisorKind } from '../../api/kinds.ts';
import { findCondition } from '../../api/meta.ts';
import { resourceTypeOf } from '../../cli/machine-verb.ts';
import { waitForObject } from '../../cli/wait-for-object.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import { builtin } from '../../kube/resource-type.ts';
import type { Lease } from '../../reconcile/lease.ts';

/** How long to wait. */
export interface NodeWaitOptions {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
}

/**
 * Waits until the executor that was just started says that its node is ready. What the object says of itself is, on a host
 * that had an executor before, still that one's word: only what comes after a new sign of life counts.
 *
 * @param nodeName The node, whose former executor has ended.
 * @throws TimedOutError when it is silent, or not ready, at the deadline.
 */
export async function untilNodeReady(
  client: KubeClient,
  nodeName: string,
  { signal, timeoutMs }: NodeWaitOptions,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  const left = (): number => Math.max(1, Math.ceil((deadline - performance.now()) / 100) * 100);
  const leases = client.resource<Lease>(builtin.leases);
  const ref = { namespace: leaseNamespace, name: nodeName };
  const before = await leases.find(ref, { signal });
  const isRenewed = (now: Lease | undefined): boolean =>
    now !== undefined && now.spec?.renewTime !== before?.spec?.renewTime;
  const what = `node ${nodeName} to give a sign of life (see 'journalctl -u virtctl-executor' there)`;
  await waitForObject(leases, ref, isRenewed, { signal, timeoutMs: left(), what });
  const hypervisors = client.resource<Hypervisor>(resourceTypeOf(hypervisorKind));
  const isReady = (now: Hypervisor | undefined): boolean => findCondition(now?.status, 'Ready')?.status === 'True';
  await waitForObject(hypervisors, { name: nodeName }, isReady, {
    signal,
    timeoutMs: left(),
    what: `node ${nodeName} to be ready`,
  });
}
