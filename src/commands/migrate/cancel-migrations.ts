import { virtualMachineKind, virtualMachineOperationKind } from '../../api/kinds.ts';
import type { VirtualMachineOperation } from '../../api/virtual-machine-operation.ts';
import type { VirtualMachine } from '../../api/virtual-machine.ts';
import type { Context } from '../../cli/context.ts';
import { resourceTypeOf, runOnMachines, type VerbFlags } from '../../cli/machine-verb.ts';
import { waitForObject } from '../../cli/wait-for-object.ts';
import { refOf } from '../../kube/object.ts';
import { isNotFound } from '../../kube/status-error.ts';

/** Calls migrations off, by deleting their operations: an operation stays until both nodes know how it ended. */
export async function cancelMigrations(context: Context, names: readonly string[], flags: VerbFlags): Promise<void> {
  await runOnMachines(context, names, flags, async (machine, client) => {
    const { signal } = context;
    const operations = client.resource<VirtualMachineOperation>(resourceTypeOf(virtualMachineOperationKind));
    const { items } = await operations.listAll({ namespace: machine.metadata.namespace, signal });
    const open = items.filter(
      ({ spec, status }) =>
        spec.verb === 'Migrate' &&
        spec.virtualMachine === machine.metadata.name &&
        status?.phase !== 'Succeeded' &&
        status?.phase !== 'Failed',
    );
    if (open.length === 0) return 'is not being migrated';
    for (const operation of open) {
      try {
        await operations.delete(refOf(operation), { preconditions: { uid: operation.metadata.uid }, signal });
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    }
    if (!flags.wait) return 'is told to stay';
    for (const operation of open) {
      const ref = refOf(operation);
      const what = `vmop/${ref.name} to end (see 'virtctl describe vmop ${ref.name}')`;
      // It stays a while longer where its target has something to remove, and is away.
      const isOver = (now: VirtualMachineOperation | undefined): boolean =>
        now?.metadata.uid !== operation.metadata.uid || ['Succeeded', 'Failed'].includes(now?.status?.phase ?? '');
      await waitForObject(operations, ref, isOver, { signal, timeoutMs: flags.timeout, what });
    }
    const machines = client.resource<VirtualMachine>(resourceTypeOf(virtualMachineKind));
    const { spec } = await machines.get(refOf(machine), { signal });
    const node = spec.nodeName ?? '';
    return node === machine.spec.nodeName ? `stays on ${node}` : `had moved to ${node} already`;
  });
}
