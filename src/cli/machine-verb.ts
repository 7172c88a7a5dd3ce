/**
 * How every lifecycle verb runs: choose the machines, write what verb-plan.ts says, wait until it holds, print one line
 * for each. A failure of one machine does not stop the others.
 */
import { randomBytes } from 'node:crypto';
import type { Command } from 'commander';
import { Option } from 'commander';
import { addBooleanFlag } from './boolean-flags.ts';
import type { Context } from './context.ts';
import { parseDuration } from './duration.ts';
import { addKubeOptions, withKubeClient } from './kube-options.ts';
import type { KubeFlags } from './kube-options.ts';
import { reportError } from './report-error.ts';
import { exitCodeOf, ReportedFailure } from './reported-failure.ts';
import { addSelectionOptions, selectObjects } from './selection.ts';
import type { SelectionFlags } from './selection.ts';
import { OwnSecret } from './own-secret.ts';
import type { Verb, VerbPlan } from './verb-plan.ts';
import { planVerb } from './verb-plan.ts';
import { machineStarted, machineStopped } from './verb-progress.ts';
import { waitForObject } from './wait-for-object.ts';
import { findKind, virtualMachineKind, virtualMachineOperationKind } from '../api/kinds.ts';
import type { KindInfo } from '../api/kinds.ts';
import { apiVersion, group, version } from '../api/meta.ts';
import type { VirtualMachine } from '../api/virtual-machine.ts';
import type { VirtualMachineOperation } from '../api/virtual-machine-operation.ts';
import { FailedError, UsageError } from '../base/errors.ts';
import type { KubeClient } from '../kube/kube-client.ts';
import type { ResourceClient } from '../kube/resource-client.ts';
import type { ResourceType } from '../kube/resource-type.ts';
import { isConflict } from '../kube/status-error.ts';

/** The flags of every verb. */
export interface VerbFlags extends KubeFlags, SelectionFlags {
  readonly wait: boolean;
  /** Milliseconds. */
  readonly timeout: number;
  readonly output?: string;
}

/** A verb, and what was made for it. */
export type PreparedVerb = Verb & {
  /** The name of a Secret that the operation refers to and nobody else: it goes when the operation is over. */
  readonly ownSecret?: string | undefined;
  /** Set when the machine is what the verb would make it, as `on node-2`: then nothing is written. */
  readonly already?: string;
};

/** A kind of ours as the client addresses it. */
export function resourceTypeOf(kind: KindInfo): ResourceType {
  return { group, version, kind: kind.kind, plural: kind.plural, namespaced: kind.namespaced };
}

/** Adds what every verb takes: names, selection, `--wait`, `--timeout`, `-o name` and the server's flags. */
export function addVerbOptions(command: Command): void {
  command.argument('[name...]', 'the machines, as NAME or vm/NAME');
  addSelectionOptions(command);
  addBooleanFlag(command, 'wait', 'wait until it is done', true);
  command
    .addOption(
      new Option('--timeout <duration>', 'how long to wait, as 30s').argParser(parseDuration).default(300_000, '5m'),
    )
    .option('-o, --output <format>', 'name: print only KIND/NAME of what was done');
  addKubeOptions(command);
}

/**
 * Runs a verb on the machines that a command line names.
 *
 * @param done What is printed after a machine's name, as `started`.
 * @param prepare Runs before the verb for each machine and may make what the verb refers to (a Secret).
 * @throws UsageError; ReportedFailure when a machine failed, after each failure was printed.
 */
export async function runMachineVerb(
  context: Context,
  names: readonly string[],
  flags: VerbFlags,
  done: string,
  prepare: (machine: VirtualMachine, client: KubeClient) => PreparedVerb | Promise<PreparedVerb>,
): Promise<void> {
  await runOnMachines(context, names, flags, async (machine, client) => {
    const machines = client.resource<VirtualMachine>(resourceTypeOf(virtualMachineKind));
    return (await runOne(context, client, machines, machine, flags, prepare)) ?? done;
  });
}

/**
 * Does something for each machine that a command line names.
 *
 * @param work Returns what is printed after the machine's name.
 * @throws as {@link runMachineVerb}.
 */
export async function runOnMachines(
  context: Context,
  names: readonly string[],
  flags: VerbFlags,
  work: (machine: VirtualMachine, client: KubeClient) => Promise<string>,
): Promise<void> {
  if (flags.output !== undefined && flags.output !== 'name') {
    throw new UsageError(`-o ${flags.output}: only "name" is known here`);
  }
  await withKubeClient(context, flags, async (client) => {
    const machines = client.resource<VirtualMachine>(resourceTypeOf(virtualMachineKind));
    const plain = names.map(machineName);
    const { found, failed } = await selectObjects(machines, plain, flags, client.namespace, context.signal);
    const failures = [...failed];
    for (const failure of failed) context.stderr.write(reportError(failure, false).text);
    await forEachBounded(found, 16, async (machine) => {
      try {
        const result = await work(machine, client);
        const path = `virtualmachine.${group}/${machine.metadata.name ?? ''}`;
        context.stdout.write(flags.output === 'name' ? `${path}\n` : `${path} ${result}\n`);
      } catch (error) {
        context.signal.throwIfAborted();
        failures.push(error);
        const report = reportError(error, false).text.replace(/^error: /, `error: vm/${machine.metadata.name ?? ''}: `);
        context.stderr.write(report);
      }
    });
    if (found.length === 0 && failures.length === 0) context.stderr.write('No machines match.\n');
    if (failures.length > 0) throw new ReportedFailure(exitCodeOf(failures));
  });
}

/** `vm/web` and `web` are the same machine; another kind's name is refused. */
function machineName(word: string): string {
  const slash = word.indexOf('/');
  if (slash === -1) return word;
  if (findKind(word.slice(0, slash))?.kind !== virtualMachineKind.kind) {
    throw new UsageError(`${word}: this is for virtual machines only`);
  }
  return word.slice(slash + 1);
}

async function runOne(
  context: Context,
  client: KubeClient,
  machines: ResourceClient<VirtualMachine>,
  found: VirtualMachine,
  flags: VerbFlags,
  prepare: (machine: VirtualMachine, client: KubeClient) => PreparedVerb | Promise<PreparedVerb>,
): Promise<string | undefined> {
  const verb = await prepare(found, client);
  if (verb.already !== undefined) return `already ${verb.already}`;
  const { machine, plan } = await writeRunStrategy(machines, found, verb, context.signal);
  const ref = { namespace: machine.metadata.namespace, name: machine.metadata.name ?? '' };
  const wait = { signal: context.signal, timeoutMs: flags.timeout };
  if (plan.operation !== undefined) {
    const operations = client.resource<VirtualMachineOperation>(resourceTypeOf(virtualMachineOperationKind));
    const { ownSecret } = verb;
    const secret = ownSecret === undefined ? undefined : new OwnSecret(client, ref.namespace, ownSecret);
    // An object, because the compiler does not see what callbacks assign.
    const end = { isOver: false };
    try {
      const made = operationFor(machine, plan.operation);
      const operation = await operations.create(made, { signal: context.signal }).catch((error: unknown) => {
        end.isOver = true;
        throw error;
      });
      await secret?.giveTo(operation);
      if (!flags.wait) return undefined;
      const name = operation.metadata.name ?? '';
      const settled = (now: VirtualMachineOperation | undefined): boolean => {
        end.isOver = now === undefined || ['Succeeded', 'Failed'].includes(now.status?.phase ?? '');
        return operationOver(now, name);
      };
      await waitForObject(operations, { namespace: ref.namespace, name }, settled, {
        ...wait,
        what: `${plan.operation.verb} of vm/${ref.name} to be over (vmop/${name}; see 'virtctl describe vm ${ref.name}')`,
      });
      return undefined;
    } finally {
      if (end.isOver) await secret?.remove();
    }
  }
  if (plan.already !== undefined) return `already ${plan.already}`;
  if (!flags.wait) return undefined;
  const generation = machine.metadata.generation ?? 0;
  const settled = verb.verb === 'Start' ? machineStarted : machineStopped;
  await waitForObject(machines, ref, (now) => settled(now, generation), {
    ...wait,
    uid: machine.metadata.uid,
    what: `vm/${ref.name} to ${verb.verb === 'Start' ? 'run' : 'stop'} (see 'virtctl why vm/${ref.name}')`,
  });
  return undefined;
}

/** Somebody else's write in between (the executor's status, mostly) is no reason to fail: look again, decide again. */
const maxConflicts = 20;

async function writeRunStrategy(
  machines: ResourceClient<VirtualMachine>,
  found: VirtualMachine,
  verb: Verb,
  signal: AbortSignal,
): Promise<{ readonly machine: VirtualMachine; readonly plan: VerbPlan }> {
  let machine = found;
  for (let conflicts = 0; ; conflicts += 1) {
    const plan = planVerb(machine, verb);
    if (plan.runStrategy === undefined) return { machine, plan };
    const ref = { namespace: machine.metadata.namespace, name: machine.metadata.name ?? '' };
    try {
      const patch = {
        metadata: { resourceVersion: machine.metadata.resourceVersion },
        spec: { runStrategy: plan.runStrategy },
      };
      return { machine: await machines.mergePatch(ref, patch, { signal }), plan };
    } catch (error) {
      if (!isConflict(error) || conflicts >= maxConflicts) throw error;
      machine = await machines.get(ref, { signal });
    }
  }
}

/** An operation for a machine, which goes away with it. */
export function operationFor(
  machine: VirtualMachine,
  operation: NonNullable<VerbPlan['operation']>,
): VirtualMachineOperation {
  const { name = '', namespace, uid = '' } = machine.metadata;
  const verb = operation.verb.toLowerCase();
  return {
    apiVersion,
    kind: 'VirtualMachineOperation',
    metadata: {
      // Named here and not by the server: an answer that got lost shows as a conflict, never as a second operation.
      name: `${name.slice(0, 200)}-${verb}-${randomBytes(4).toString('hex')}`,
      ...(namespace === undefined ? {} : { namespace }),
      ownerReferences: [{ apiVersion, kind: 'VirtualMachine', name, uid }],
    },
    spec: { virtualMachine: name, ...operation },
  };
}

/**
 * Whether an operation is over, well.
 *
 * @throws FailedError when it failed, or was deleted before.
 */
export function operationOver(operation: VirtualMachineOperation | undefined, name: string): boolean {
  if (operation === undefined) throw new FailedError(`vmop/${name} was deleted before it was over`);
  const { phase, reason, message } = operation.status ?? {};
  if (phase === 'Failed') {
    throw new FailedError(`${operation.spec.verb} failed: ${reason ?? 'unknown reason'}: ${message ?? 'no message'}`);
  }
  return phase === 'Succeeded';
}

/** Runs `work` for every item, at most `limit` at a time. `work` does not throw, or ends it all. */
async function forEachBounded<T>(items: readonly T[], limit: number, work: (item: T) => Promise<void>): Promise<void> {
  const rest = [...items];
  const worker = async (): Promise<void> => {
    for (let item = rest.shift(); item !== undefined; item = rest.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
}
