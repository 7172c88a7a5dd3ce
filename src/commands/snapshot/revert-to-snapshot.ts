import { restoreSpec } from './restore-spec.ts';
import { snapshotsOf } from './take-snapshot.ts';
import { virtualMachineKind, virtualMachineOperationKind } from '../../api/kinds.ts';
import type { VirtualMachineOperation } from '../../api/virtual-machine-operation.ts';
import type { VirtualMachine } from '../../api/virtual-machine.ts';
import { FailedError, NotFoundError } from '../../base/errors.ts';
import type { Context } from '../../cli/context.ts';
import { withKubeClient, type KubeFlags } from '../../cli/kube-options.ts';
import { operationFor, resourceTypeOf } from '../../cli/machine-verb.ts';
import { waitForObject } from '../../cli/wait-for-object.ts';
import { writeResult } from '../../cli/write-result.ts';
import type { ResourceClient } from '../../kube/resource-client.ts';

/** The flags of `virtctl snapshot revert`. */
export interface RevertFlags extends KubeFlags {
  readonly powerState?: 'Running' | 'Paused' | 'Stopped';
  readonly restoreSpec?: boolean;
  readonly force?: boolean;
  readonly wait: boolean;
  readonly timeout: number;
}

/**
 * Reverts a machine to one of its snapshots, and waits until it is done.
 *
 * @throws FailedError with the operation's reason: what differs, what is missing, libvirt's words.
 */
export async function revertToSnapshot(context: Context, name: string, flags: RevertFlags): Promise<void> {
  const { signal } = context;
  await withKubeClient(context, flags, async (client) => {
    const { namespace } = client;
    const snapshot = await snapshotsOf(client).get({ namespace, name }, { signal });
    const machines = client.resource<VirtualMachine>(resourceTypeOf(virtualMachineKind));
    const machine = await machines.get({ namespace, name: snapshot.spec.virtualMachine }, { signal });
    const operations = client.resource<VirtualMachineOperation>(resourceTypeOf(virtualMachineOperationKind));
    const revert = {
      snapshot: name,
      ...(flags.powerState === undefined ? {} : { powerState: flags.powerState }),
      ...(flags.restoreSpec === true ? { restoreSpec: true } : {}),
      ...(flags.force === true ? { force: true } : {}),
    };
    const vm = `vm/${machine.metadata.name ?? ''}`;
    const ask = async (): Promise<string> => {
      const created = await operations.create(operationFor(machine, { verb: 'Revert', revert }), { signal });
      return created.metadata.name ?? '';
    };
    const first = await ask();
    if (!flags.wait) {
      await writeResult(context, `${vm} is to be reverted to vmsnap/${name} (vmop/${first})\n`);
      return;
    }
    let over = await untilOver(context, operations, namespace, first, vm, flags.timeout);
    if (flags.restoreSpec === true && (await restoreSpec(machines, over, signal))) {
      context.stderr.write(`note: the spec of ${vm} was put back with your rights, since its executor has none\n`);
      over = await untilOver(context, operations, namespace, await ask(), vm, flags.timeout);
    }
    const { phase, reason, message } = over.status ?? {};
    if (phase === 'Failed') throw new FailedError(`${vm} is not reverted: ${reason ?? ''}: ${message ?? ''}`);
    await writeResult(context, `${vm} reverted: ${message ?? ''}\n`);
  });
}

/** Waits until a Revert is over, well or not. */
async function untilOver(
  { signal }: Context,
  operations: ResourceClient<VirtualMachineOperation>,
  namespace: string,
  operation: string,
  vm: string,
  timeoutMs: number,
): Promise<VirtualMachineOperation> {
  let last: VirtualMachineOperation | undefined;
  const isOver = (now: VirtualMachineOperation | undefined): boolean => {
    if (now === undefined) throw new NotFoundError(`vmop/${operation} was deleted before it was over`);
    last = now;
    return now.status?.phase === 'Succeeded' || now.status?.phase === 'Failed';
  };
  const what = `${vm} to be reverted (vmop/${operation}; see 'virtctl describe vmop ${operation}')`;
  await waitForObject(operations, { namespace, name: operation }, isOver, { signal, timeoutMs, what });
  return last ?? operations.get({ namespace, name: operation }, { signal });
}
