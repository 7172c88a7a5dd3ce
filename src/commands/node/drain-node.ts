/**
 * Takes the machines off a node by shutting them down (migrate-for-drain.ts moves them). What a machine's run
 * strategy was is kept in an annotation, so that `uncordon --start` can give it back.
 */
import type { Context } from '../../cli/context.ts';
import { operationFor, resourceTypeOf } from '../../cli/machine-verb.ts';
import { defaultRunStrategy, planVerb } from '../../cli/verb-plan.ts';
import { retryOnConflict } from '../../cli/retry-on-conflict.ts';
import { machineStopped } from '../../cli/verb-progress.ts';
import { waitForObject } from '../../cli/wait-for-object.ts';
import { virtualMachineKind, virtualMachineOperationKind } from '../../api/kinds.ts';
import { runStrategies, type RunStrategy, type VirtualMachine } from '../../api/virtual-machine.ts';
import type { VirtualMachineOperation } from '../../api/virtual-machine-operation.ts';
import { NotFoundError } from '../../base/errors.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import { refOf } from '../../kube/object.ts';
import type { ResourceClient } from '../../kube/resource-client.ts';
import { isConflict, isNotFound } from '../../kube/status-error.ts';

/** Has the run strategy that a machine had before its node was drained. */
export const drainedAnnotation = 'virtctl.dev/drained-run-strategy';
/** Somebody else's write in between (the executor's status, mostly) is no reason to fail. */
const maxConflicts = 20;

/** How machines are stopped. */
export interface DrainOptions {
  readonly force: boolean;
  readonly gracePeriodSeconds: number | undefined;
  readonly wait: boolean;
  readonly timeoutMs: number;
}

/** The machines that are bound to a node, in every namespace, by name. */
export async function machinesOn(client: KubeClient, node: string, signal: AbortSignal): Promise<VirtualMachine[]> {
  const { items } = await client.resource<VirtualMachine>(resourceTypeOf(virtualMachineKind)).listAll({ signal });
  return items.filter(({ spec }) => spec.nodeName === node).sort((a, b) => (label(a) < label(b) ? -1 : 1));
}

/** `vm/NAME` with its namespace, for messages. */
export function label({ metadata }: VirtualMachine): string {
  return `vm/${metadata.name ?? ''} in ${metadata.namespace ?? ''}`;
}

/**
 * Shuts one machine down and waits until it is off.
 *
 * @returns What was done, in words: `stopped`, or that it was off already.
 * @throws what the API server refuses with; TimedOutError when it is still on at the deadline.
 */
export async function stopForDrain(
  context: Context,
  client: KubeClient,
  found: VirtualMachine,
  options: DrainOptions,
): Promise<string> {
  const { signal } = context;
  const machines = client.resource<VirtualMachine>(resourceTypeOf(virtualMachineKind));
  const ref = refOf(found);
  const plan = (machine: VirtualMachine): ReturnType<typeof planVerb> =>
    planVerb(machine, { verb: 'Stop', force: options.force, gracePeriodSeconds: options.gracePeriodSeconds });
  if ((found.spec.runStrategy ?? defaultRunStrategy) === 'Halted' && isOff(found) && isTakenUp(found)) {
    return 'already stopped';
  }
  let machine = found;
  for (let conflicts = 0; ; conflicts += 1) {
    const { runStrategy } = plan(machine);
    if (runStrategy === undefined) break;
    const annotations = { [drainedAnnotation]: machine.spec.runStrategy ?? defaultRunStrategy };
    const metadata = { resourceVersion: machine.metadata.resourceVersion, annotations };
    try {
      const operation = plan(machine).operation;
      machine = await machines.mergePatch(ref, { metadata, spec: { runStrategy } }, { signal });
      if (operation !== undefined) await createOperation(client, machine, operation, signal);
      return await finish(machine);
    } catch (error) {
      if (!isConflict(error) || conflicts >= maxConflicts) throw error;
      const now = await machines.find(ref, { signal });
      if (now === undefined || now.metadata.uid !== found.metadata.uid) return 'gone';
      // Off the node: somebody has moved it meanwhile.
      if (now.spec.nodeName !== found.spec.nodeName) return `moved to ${now.spec.nodeName ?? ''}`;
      machine = now;
    }
  }
  const { operation } = plan(machine);
  if (operation !== undefined && !isOff(machine)) await createOperation(client, machine, operation, signal);
  return finish(machine);

  async function finish(stopping: VirtualMachine): Promise<string> {
    if (!options.wait) return 'told to stop';
    const generation = stopping.metadata.generation ?? 0;
    try {
      await waitForObject(machines, ref, (now) => machineStopped(now, generation), {
        signal,
        timeoutMs: options.timeoutMs,
        uid: stopping.metadata.uid,
        what: `${label(stopping)} to stop (see 'virtctl why vm/${ref.name} -n ${ref.namespace ?? ''}')`,
      });
    } catch (error) {
      // Deleted meanwhile: it is off the node as well.
      if (!(error instanceof NotFoundError) && !isNotFound(error)) throw error;
      return 'gone';
    }
    return 'stopped';
  }
}

/** Gives a machine the run strategy back that it had before; false when none was kept. */
export async function startAfterDrain(
  client: KubeClient,
  found: VirtualMachine,
  signal: AbortSignal,
): Promise<boolean> {
  const machines = client.resource<VirtualMachine>(resourceTypeOf(virtualMachineKind));
  const ref = refOf(found);
  let machine: VirtualMachine | undefined = found;
  return retryOnConflict(async () => {
    machine ??= await machines.get(ref, { signal });
    const seen = machine;
    machine = undefined;
    // Another one of its name was never stopped.
    return seen.metadata.uid === found.metadata.uid && giveBack(machines, seen, signal);
  });
}

async function giveBack(
  machines: ResourceClient<VirtualMachine>,
  machine: VirtualMachine,
  signal: AbortSignal,
): Promise<boolean> {
  const kept = machine.metadata.annotations?.[drainedAnnotation];
  const strategy = runStrategies.find((one) => one === kept) satisfies RunStrategy | undefined;
  if (strategy === undefined) return false;
  // Who gave it another strategy since then wanted that one.
  const isStill = machine.spec.runStrategy === 'Halted';
  const metadata = { resourceVersion: machine.metadata.resourceVersion, annotations: { [drainedAnnotation]: null } };
  const spec = isStill ? { spec: { runStrategy: strategy } } : {};
  await machines.mergePatch(refOf(machine), { metadata, ...spec }, { signal });
  return isStill;
}

async function createOperation(
  client: KubeClient,
  machine: VirtualMachine,
  operation: Parameters<typeof operationFor>[1],
  signal: AbortSignal,
): Promise<void> {
  const operations = client.resource<VirtualMachineOperation>(resourceTypeOf(virtualMachineOperationKind));
  await operations.create(operationFor(machine, operation), { signal });
}

/** Whether the executor knows that an earlier drain has stopped it: until then it may be about to start. */
function isTakenUp({ metadata, status }: VirtualMachine): boolean {
  const isDrained = metadata.annotations?.[drainedAnnotation] !== undefined;
  return !isDrained || (status?.observedGeneration ?? 0) >= (metadata.generation ?? 0);
}

function isOff(machine: VirtualMachine): boolean {
  const state = machine.status?.domain?.state;
  return state === undefined || state === 'shutoff' || state === 'crashed';
}
