/** Takes a machine off a node that is drained by moving it, where that can be done. */
import { virtualMachineKind, virtualMachineOperationKind } from '../../api/kinds.ts';
import { hypervisorConditions, type Hypervisor } from '../../api/hypervisor.ts';
import { findCondition } from '../../api/meta.ts';
import type { VirtualMachineOperation } from '../../api/virtual-machine-operation.ts';
import type { VirtualMachine } from '../../api/virtual-machine.ts';
import type { Context } from '../../cli/context.ts';
import { operationFor, resourceTypeOf } from '../../cli/machine-verb.ts';
import { waitForObject } from '../../cli/wait-for-object.ts';
import { FailedError } from '../../base/errors.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import { refOf } from '../../kube/object.ts';
import { label } from './drain-node.ts';
import { migrationsOf, untilOver } from './open-migrations.ts';

/** Which disks are copied, when any is. */
export type CopyStorage = NonNullable<NonNullable<VirtualMachineOperation['spec']['migrate']>['copyStorage']>;

/** What a drain does with a machine. */
export type DrainPlan = 'migrate' | 'migrate or stop' | 'stop' | 'refuse';

/**
 * What its evictionStrategy wants done with a machine, and what can be: a machine that is off has nothing to move.
 *
 * @param canMove Whether there is another node, and this one's executor answers.
 */
export function drainPlan({ spec, status }: VirtualMachine, canMove: boolean): DrainPlan {
  const state = status?.domain?.state;
  const isOn = state === 'running' || state === 'paused';
  switch (spec.evictionStrategy ?? 'MigrateIfPossible') {
    case 'None':
      return isOn ? 'refuse' : 'stop';
    case 'Migrate':
      return isOn ? 'migrate' : 'stop';
    case 'Stop':
      return 'stop';
    case 'MigrateIfPossible':
      return isOn && canMove ? 'migrate or stop' : 'stop';
  }
}

/** Whether any node but one takes machines. */
export function hasOtherNode(nodes: readonly Hypervisor[], name: string): boolean {
  return nodes.some(
    ({ metadata, spec, status }) =>
      metadata.name !== name &&
      spec.unschedulable !== true &&
      findCondition(status, hypervisorConditions.Ready)?.status === 'True',
  );
}

/**
 * Has a machine moved to whatever node the scheduler chooses.
 *
 * @returns What was done, in words.
 * @throws FailedError with the reason when it could not be moved; TimedOutError when it is still on its way.
 */
export async function migrateForDrain(
  context: Context,
  client: KubeClient,
  machine: VirtualMachine,
  options: { readonly wait: boolean; readonly timeoutMs: number; readonly copyStorage?: CopyStorage | undefined },
): Promise<string> {
  const { signal } = context;
  const open = await migrationsOf(client, machine, signal);
  if (open.length > 0) {
    // A second one would begin where the first ends, and take it from there.
    if (!options.wait) return 'is being migrated';
    for (const one of open) await untilOver(client, one, { signal, timeoutMs: options.timeoutMs });
    const machines = client.resource<VirtualMachine>(resourceTypeOf(virtualMachineKind));
    const now = await machines.find(refOf(machine), { signal });
    if (now === undefined || now.metadata.uid !== machine.metadata.uid) return 'gone';
    if (now.spec.nodeName !== machine.spec.nodeName) return `migrated to ${now.spec.nodeName ?? ''}`;
  }
  const operations = client.resource<VirtualMachineOperation>(resourceTypeOf(virtualMachineOperationKind));
  const { copyStorage } = options;
  const parameters = copyStorage === undefined ? {} : { migrate: { copyStorage } };
  const operation = await operations.create(operationFor(machine, { verb: 'Migrate', ...parameters }), { signal });
  if (!options.wait) return 'told to migrate';
  let target = '';
  await waitForObject(
    operations,
    refOf(operation),
    (now) => {
      if (now === undefined) throw new FailedError('the migration was called off');
      const { phase, reason, message, context: notes } = now.status ?? {};
      target = notes?.['target'] ?? '';
      if (phase === 'Failed') throw new FailedError(`${reason ?? 'Failed'}: ${message ?? ''}`);
      return phase === 'Succeeded';
    },
    {
      signal,
      timeoutMs: options.timeoutMs,
      what: `${label(machine)} to be migrated (see 'virtctl why vm/${machine.metadata.name ?? ''}')`,
    },
  );
  return `migrated to ${target}`;
}
