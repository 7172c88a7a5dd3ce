import { virtualMachineKind } from '../../api/kinds.ts';
import type { VirtualMachine } from '../../api/virtual-machine.ts';
import { resourceTypeOf } from '../../cli/machine-verb.ts';
import { retryOnConflict } from '../../cli/retry-on-conflict.ts';
import { awaitedStrategy, recoveredAnnotation, settledStatus } from '../../executor/adoption/settled-machine.ts';
import type { DomainView } from '../../executor/virtual-machine/domain-view.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import { refOf } from '../../kube/object.ts';
import type { ResourceClient } from '../../kube/resource-client.ts';

/**
 * Gives a machine that was made as Manual (settled-machine.ts) its run strategy, once its status says that it had its run;
 * not where somebody else has meanwhile, or has given it another one.
 *
 * @param found As it was seen.
 * @returns It, as it is then.
 */
export async function settleMachine(
  client: KubeClient,
  found: VirtualMachine,
  view: DomainView,
  signal: AbortSignal,
): Promise<VirtualMachine> {
  const machines = client.resource<VirtualMachine>(resourceTypeOf(virtualMachineKind));
  let machine: VirtualMachine | undefined = found;
  return retryOnConflict(async () => {
    machine ??= await machines.get(refOf(found), { signal });
    const seen = machine;
    machine = undefined;
    return seen.metadata.uid === found.metadata.uid ? settle(machines, seen, view, signal) : seen;
  });
}

async function settle(
  machines: ResourceClient<VirtualMachine>,
  machine: VirtualMachine,
  view: DomainView,
  signal: AbortSignal,
): Promise<VirtualMachine> {
  const runStrategy = awaitedStrategy(machine);
  const ref = refOf(machine);
  let { resourceVersion } = machine.metadata;
  const annotations = { [recoveredAnnotation]: null };
  if (runStrategy === undefined) {
    if (machine.metadata.annotations?.[recoveredAnnotation] === undefined) return machine;
    // Else a later recovery would take it for one that waits, should its user make it Manual.
    return machines.mergePatch(ref, { metadata: { resourceVersion, annotations } }, { signal });
  }
  const status = settledStatus(runStrategy, view);
  // In this order: it must not be started for a strategy whose run it had.
  if (status !== undefined) {
    const patch = { metadata: { resourceVersion }, status };
    ({ resourceVersion } = (await machines.mergePatch(ref, patch, { subresource: 'status', signal })).metadata);
  }
  return machines.mergePatch(ref, { metadata: { resourceVersion, annotations }, spec: { runStrategy } }, { signal });
}
