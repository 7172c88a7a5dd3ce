/** A machine's spec becomes that of a snapshot by the rights of the user, where the executor has none. */
import { restoredSpec, specThenNote } from '../../executor/virtual-machine-snapshot/compare-spec.ts';
import type { DataObject } from '../../executor/virtual-machine/same-value.ts';
import type { VirtualMachineOperation } from '../../api/virtual-machine-operation.ts';
import type { VirtualMachine } from '../../api/virtual-machine.ts';
import { FailedError } from '../../base/errors.ts';
import type { ResourceClient } from '../../kube/resource-client.ts';
import { isConflict } from '../../kube/status-error.ts';

const maxConflicts = 10;

/**
 * Puts the spec back that a Revert has noted, which failed because its executor may not.
 *
 * @returns Whether there was one to put back.
 * @throws ForbiddenError when the user may not either; FailedError when a secret of it is nowhere any more.
 */
export async function restoreSpec(
  machines: ResourceClient<VirtualMachine>,
  { metadata, spec, status }: VirtualMachineOperation,
  signal: AbortSignal,
): Promise<boolean> {
  const noted = status?.context?.[specThenNote];
  if (status?.reason !== 'SpecForbidden' || noted === undefined) return false;
  const ref = { namespace: metadata.namespace, name: spec.virtualMachine };
  for (let conflicts = 0; ; conflicts += 1) {
    const machine = await machines.get(ref, { signal });
    const patch = restoredSpec(JSON.parse(noted) as DataObject, JSON.parse(JSON.stringify(machine.spec)) as DataObject);
    if (patch === undefined) {
      throw new FailedError('a secret of the spec of the snapshot was not kept, and is nowhere now', {
        hint: 'put it back by hand, or use --force',
      });
    }
    const { uid, resourceVersion } = machine.metadata;
    try {
      await machines.mergePatch(ref, { metadata: { uid, resourceVersion }, spec: patch }, { signal });
      return true;
    } catch (error) {
      // The executor writes status at any time.
      if (!isConflict(error) || conflicts >= maxConflicts) throw error;
    }
  }
}
