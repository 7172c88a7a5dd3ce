import { virtualMachineKind } from '../../api/kinds.ts';
import type { VirtualMachine } from '../../api/virtual-machine.ts';
import { resourceTypeOf } from '../../cli/machine-verb.ts';
import { awaitedStrategy, recoveredAnnotation, settledStatus } from '../../executor/adoption/settled-machine.ts';
import type { DomainView } from '../../executor/virtual-machine/domain-view.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import { refOf } from '../../kube/object.ts';

/**
 * Gives a machine that was made as Manual (settled-machine.ts) its run strategy, once its status says that it had its run.
 *
 * @returns Whether it waited for one.
 */
export async function settleMachine(
  client: KubeClient,
  machine: VirtualMachine,
  view: DomainView,
  signal: AbortSignal,
): Promise<boolean> {
  const runStrategy = awaitedStrategy(machine);
  if (runStrategy === undefined) return false;
  const machines = client.resource<VirtualMachine>(resourceTypeOf(virtualMachineKind));
  const { uid } = machine.metadata;
  const status = settledStatus(runStrategy, view);
  // In this order: it must not be started for a strategy whose run it had.
  if (status !== undefined) {
    await machines.mergePatch(refOf(machine), { metadata: { uid }, status }, { subresource: 'status', signal });
  }
  const metadata = { uid, annotations: { [recoveredAnnotation]: null } };
  await machines.mergePatch(refOf(machine), { metadata, spec: { runStrategy } }, { signal });
  return true;
}
