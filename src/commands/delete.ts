import { Option, type Command } from 'commander';
import { disksOfMachine } from './delete/machine-disks.ts';
import { virtualDiskKind, virtualMachineKind } from '../api/kinds.ts';
import { InvalidInputError, toError, UsageError } from '../base/errors.ts';
import { addBooleanFlag } from '../cli/boolean-flags.ts';
import type { Context } from '../cli/context.ts';
import { parseDuration } from '../cli/duration.ts';
import { addExamples } from '../cli/examples.ts';
import { addKubeOptions, withKubeClient } from '../cli/kube-options.ts';
import { chooseObjects, type ChosenObject } from '../cli/resources/choose-objects.ts';
import { printedName, resourceOf } from '../cli/resources/known-resources.ts';
import { parseInteger } from '../cli/resources/parse-integer.ts';
import {
  addChoiceOptions,
  addDryRunOption,
  dryRunNote,
  forEachReported,
  reportEach,
  type ChoiceFlags,
  type DryRun,
} from '../cli/resources/resource-options.ts';
import { waitForObject } from '../cli/wait-for-object.ts';
import { writeResult } from '../cli/write-result.ts';
import type { KubeClient } from '../kube/kube-client.ts';
import { refOf, type KubeObject } from '../kube/object.ts';
import type { ResourceClient } from '../kube/resource-client.ts';
import { isConflict, isNotFound } from '../kube/status-error.ts';

interface DeleteFlags extends ChoiceFlags {
  readonly wait: boolean;
  readonly timeout: number;
  readonly gracePeriod?: number;
  readonly force?: boolean;
  readonly cascade: string;
  readonly ignoreNotFound?: boolean;
  readonly withDisks?: boolean;
  readonly keepDisks?: boolean;
  readonly dryRun: DryRun;
  readonly output?: string;
}

const policies = { background: 'Background', foreground: 'Foreground', orphan: 'Orphan' } as const;
const cascades: Readonly<Record<string, (typeof policies)[keyof typeof policies]>> = {
  ...policies,
  true: 'Background',
  false: 'Orphan',
};

/** `virtctl delete`: deletes objects, and waits until they are gone. */
export function configure(command: Command, context: Context): void {
  command.argument('[kind or kind/name...]', 'a kind and names, or KIND/NAME');
  addChoiceOptions(command);
  command
    .option('--all', 'all objects of the kind in the namespace')
    .addOption(
      new Option('--grace-period <seconds>', 'how long a guest has for shutting down').argParser(
        parseInteger('a number of seconds', 0),
      ),
    )
    .option('--force', 'power guests off at once, as --grace-period=0')
    .addOption(
      new Option('--cascade [policy]', 'what becomes of objects that belong to it')
        .choices(Object.keys(cascades))
        .preset('background')
        .default('background'),
    )
    .option('--with-disks', "also delete the machine's VirtualDisks, once it is gone; not those that others use")
    .option('--keep-disks', 'keep its VirtualDisks, as when left out')
    .option('--ignore-not-found', 'a name that does not exist is no error')
    .option('-o, --output <format>', 'name: print only KIND/NAME of what was deleted')
    .addOption(
      new Option('--timeout <duration>', 'how long to wait, as 30s').argParser(parseDuration).default(600_000, '10m'),
    );
  addBooleanFlag(command, 'wait', 'wait until they are gone', true);
  addDryRunOption(command);
  addKubeOptions(command);
  addExamples(command, [
    ['Shut a machine down and delete it', 'virtctl delete vm web'],
    ['With the VirtualDisks of its volumes', 'virtctl delete vm web --with-disks'],
    ['Delete machines by a label at once', 'virtctl delete vm -l app=test --force --wait=false'],
  ]);
  command.action(async (words: readonly string[], flags: DeleteFlags) => {
    if (flags.output !== undefined && flags.output !== 'name')
      throw new UsageError(`-o ${flags.output}: only "name" is known here`);
    if (flags.withDisks === true && flags.keepDisks === true)
      throw new UsageError('give --with-disks or --keep-disks, not both');
    await withKubeClient(context, flags, async (client) => {
      const { targets, failed } = await chooseObjects(context, client, words, flags, 'virtctl delete vm web');
      // All are asked for before the first is waited for, as kubectl does: their guests shut down side by side.
      const ends: (() => Promise<void>)[] = [];
      const asked = new Set<string | undefined>();
      const left = [...targets];
      const refused = await reportEach(context, targets, async (target) => {
        left.shift();
        const { namespace } = target.ref;
        const machines = left.filter(
          ({ resource, ref }) => resource.kind === virtualMachineKind.kind && ref.namespace === namespace,
        );
        const toCome = new Set(machines.map(({ ref }) => `vm/${ref.name}`));
        ends.push(await deleteWithDisks(context, client, target, flags, asked, toCome));
      });
      await forEachReported(context, ends, (end) => end(), [...failed, ...refused]);
      if (targets.length === 0 && failed.length === 0) context.stderr.write('No resources found.\n');
    });
  });
}

/** Asks for a deletion, and for that of the disks; the function that is given back waits for their end. */
async function deleteWithDisks(
  context: Context,
  client: KubeClient,
  target: ChosenObject,
  flags: DeleteFlags,
  asked: Set<string | undefined>,
  toCome: ReadonlySet<string>,
): Promise<() => Promise<void>> {
  const isMachine = target.resource.kind === virtualMachineKind.kind;
  const machine =
    isMachine && flags.withDisks === true
      ? await client.resource<KubeObject>(target.resource).find(target.ref, { signal: context.signal })
      : undefined;
  const disks = machine === undefined ? [] : await disksOfMachine(context, client, machine, { asked, toCome });
  const ends = [await deleteOne(context, client, target, flags)];
  if (machine !== undefined) asked.add(machine.metadata.uid);
  const resource = resourceOf(virtualDiskKind);
  for (const name of disks) {
    const ref = { namespace: target.ref.namespace, name };
    try {
      // At once, and not only when the machine is gone: who ends the waiting would not have asked for it. A disk stays as
      // long as it has users. One that was never made, or is gone already, is no reason to stop.
      ends.push(await deleteOne(context, client, { resource, ref }, { ...flags, ignoreNotFound: true }));
    } catch (error) {
      ends.push(() => Promise.reject(toError(error)));
    }
  }
  return async () => {
    for (const end of ends) await end();
  };
}

async function deleteOne(
  context: Context,
  client: KubeClient,
  target: ChosenObject,
  flags: DeleteFlags,
): Promise<() => Promise<void>> {
  const { resource, ref } = target;
  const { signal } = context;
  const objects = client.resource<KubeObject>(resource);
  const name = printedName(resource, ref.name);
  try {
    const before = await objects.get(ref, { signal });
    await refuseProtected(before);
    const dryRun = flags.dryRun === 'server';
    const grace = flags.force === true ? 0 : flags.gracePeriod;
    if (flags.dryRun !== 'client') {
      await objects.delete(ref, {
        dryRun,
        propagationPolicy: cascades[flags.cascade],
        gracePeriodSeconds: grace,
        // Never another object that took the name meanwhile.
        preconditions: { uid: before.metadata.uid },
        signal,
      });
      if (grace !== undefined && resource.kind === 'VirtualMachine')
        await hurry(objects, before, grace, dryRun, signal);
    }
    await writeResult(context, flags.output === 'name' ? `${name}\n` : `${name} deleted${dryRunNote(flags.dryRun)}\n`);
    if (!flags.wait || flags.dryRun !== 'none') return () => Promise.resolve();
    const deadline = performance.now() + flags.timeout;
    return async () => {
      await waitForObject(objects, ref, (now) => now?.metadata.uid !== before.metadata.uid, {
        signal,
        // Of all that were asked for together, in tenths of a second.
        timeoutMs: Math.max(1, Math.ceil((deadline - performance.now()) / 100) * 100),
        what: `${name} to be gone (see 'virtctl describe ${resource.singular} ${ref.name}')`,
      });
    };
  } catch (error) {
    if (flags.ignoreNotFound === true && isNotFound(error)) return () => Promise.resolve();
    throw error;
  }
}

/**
 * Gives a guest that is on its way down so long and no longer. The API gives custom objects no grace period; the executor
 * goes by the machine's own, at each look. After the deletion: a machine that stays must not be powered off by a later stop.
 */
async function hurry(
  objects: ResourceClient<KubeObject>,
  machine: KubeObject,
  seconds: number,
  dryRun: boolean,
  signal: AbortSignal,
): Promise<void> {
  const patch = { metadata: { uid: machine.metadata.uid }, spec: { terminationGracePeriodSeconds: seconds } };
  try {
    await objects.mergePatch(refOf(machine), patch, { dryRun, signal });
  } catch (error) {
    // It is gone already, or another one has its name.
    if (!isNotFound(error) && !isConflict(error)) throw error;
  }
}

/** A cluster without our admission webhook would not keep it. */
async function refuseProtected(object: KubeObject): Promise<void> {
  if (object.kind !== 'VirtualMachine') return;
  const { validateDeletion } = await import('../api/validate.ts');
  const problems = validateDeletion(object);
  if (problems.length > 0) throw new InvalidInputError(problems);
}
