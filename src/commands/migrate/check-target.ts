import type { Hypervisor } from '../../api/hypervisor.ts';
import { findCondition } from '../../api/meta.ts';
import type { VirtualMachine } from '../../api/virtual-machine.ts';
import { ConflictError, ForbiddenError, NotFoundError } from '../../base/errors.ts';
import type { ResourceClient } from '../../kube/resource-client.ts';
import { cordonTaint } from '../../scheduler/filters/availability.ts';
import { isTolerated } from '../../scheduler/label-match.ts';

/**
 * Refuses a node that the scheduler would refuse in any case, before an operation is made that could only fail later.
 * What else may speak against it (room, CPUs, affinity) the scheduler alone knows. A user who may not read nodes is left
 * to it, too.
 *
 * @throws NotFoundError when there is no such node; ConflictError when it is cordoned and the machine does not tolerate
 *   that, or when it is not ready; what the API server answers, but for a refusal for want of rights.
 */
export async function checkTarget(
  hypervisors: Pick<ResourceClient<Hypervisor>, 'find'>,
  machine: VirtualMachine,
  nodeName: string,
  signal: AbortSignal,
): Promise<void> {
  let hypervisor: Hypervisor | undefined;
  try {
    hypervisor = await hypervisors.find({ name: nodeName }, { signal });
  } catch (error) {
    if (error instanceof ForbiddenError) return;
    throw error;
  }
  if (hypervisor === undefined) {
    throw new NotFoundError(`there is no node "${nodeName}"`, { hint: 'virtctl node list says which there are' });
  }
  if (hypervisor.spec.unschedulable === true && !isTolerated(cordonTaint, machine.spec.tolerations)) {
    const hint = `virtctl node uncordon ${nodeName} lets machines come to it again`;
    throw new ConflictError(`node ${nodeName} is cordoned`, { hint });
  }
  const ready = findCondition(hypervisor.status, 'Ready');
  if (ready?.status === 'True') return;
  const { message = 'its executor has never reported' } = ready ?? {};
  throw new ConflictError(`node ${nodeName} is not ready: ${message}`, { hint: `virtctl describe node ${nodeName}` });
}
