/** Migrations that go on while a node is drained: who is on the way needs no second one, and who comes has to go again. */
import { virtualMachineOperationKind } from '../../api/kinds.ts';
import type { VirtualMachineOperation } from '../../api/virtual-machine-operation.ts';
import type { VirtualMachine } from '../../api/virtual-machine.ts';
import { resourceTypeOf } from '../../cli/machine-verb.ts';
import { waitForObject } from '../../cli/wait-for-object.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import { refOf } from '../../kube/object.ts';
import type { ResourceClient } from '../../kube/resource-client.ts';

/** The migrations of a machine that are not over. */
export async function migrationsOf(
  client: KubeClient,
  { metadata }: VirtualMachine,
  signal: AbortSignal,
): Promise<readonly VirtualMachineOperation[]> {
  const open = await openMigrations(client, metadata.namespace, signal);
  return open.filter(({ spec }) => spec.virtualMachine === metadata.name);
}

/** The migrations, of whatever namespace, that bring machines to a node. */
export async function migrationsTo(
  client: KubeClient,
  node: string,
  signal: AbortSignal,
): Promise<readonly VirtualMachineOperation[]> {
  const open = await openMigrations(client, undefined, signal);
  return open.filter(({ spec, status }) => (status?.context?.['target'] ?? spec.migrate?.nodeName) === node);
}

async function openMigrations(
  client: KubeClient,
  namespace: string | undefined,
  signal: AbortSignal,
): Promise<readonly VirtualMachineOperation[]> {
  const { items } = await operationsOf(client).listAll({ namespace, signal });
  return items.filter((one) => one.spec.verb === 'Migrate' && !isOver(one));
}

/**
 * Waits until a migration is over, well or not, or gone.
 *
 * @throws TimedOutError.
 */
export async function untilOver(
  client: KubeClient,
  operation: VirtualMachineOperation,
  { signal, timeoutMs }: { readonly signal: AbortSignal; readonly timeoutMs: number },
): Promise<void> {
  const { name = '', uid } = operation.metadata;
  const what = `vmop/${name}, which migrates vm/${operation.spec.virtualMachine}, to be over`;
  const settled = (now: VirtualMachineOperation | undefined): boolean => now === undefined || isOver(now);
  await waitForObject(operationsOf(client), refOf(operation), settled, { signal, timeoutMs, uid, what });
}

function operationsOf(client: KubeClient): ResourceClient<VirtualMachineOperation> {
  return client.resource(resourceTypeOf(virtualMachineOperationKind));
}

function isOver({ status }: VirtualMachineOperation): boolean {
  return status?.phase === 'Succeeded' || status?.phase === 'Failed';
}
