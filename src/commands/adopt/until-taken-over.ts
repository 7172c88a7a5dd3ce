import { virtualMachineKind } from '../../api/kinds.ts';
import { findCondition } from '../../api/meta.ts';
import type { VirtualMachine } from '../../api/virtual-machine.ts';
import { NotFoundError } from '../../base/errors.ts';
import { resourceTypeOf } from '../../cli/machine-verb.ts';
import { waitForObject } from '../../cli/wait-for-object.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import { refOf } from '../../kube/object.ts';

/**
 * Waits until a node's executor has taken an adopted machine over.
 *
 * @param machine As it was made.
 * @throws NotFoundError when it is gone; TimedOutError.
 */
export async function untilTakenOver(
  client: KubeClient,
  machine: VirtualMachine,
  { signal, timeoutMs }: { readonly signal: AbortSignal; readonly timeoutMs: number },
): Promise<void> {
  const { name = '', uid, generation = 0 } = machine.metadata;
  const machines = client.resource<VirtualMachine>(resourceTypeOf(virtualMachineKind));
  const isTaken = (now: VirtualMachine | undefined): boolean => {
    if (now === undefined) throw new NotFoundError(`vm/${name} is gone`);
    const synchronized = findCondition(now.status, 'Synchronized');
    // Later, when somebody has changed it meanwhile.
    return (now.status?.observedGeneration ?? 0) >= generation && synchronized?.status === 'True';
  };
  const what = `vm/${name} to be taken over by the executor (see 'virtctl why ${name}')`;
  await waitForObject(machines, refOf(machine), isTaken, { signal, timeoutMs, uid, what });
}
