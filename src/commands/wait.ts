import { Option, type Command } from 'commander';
import { NotFoundError, UsageError } from '../base/errors.ts';
import type { Condition } from '../api/meta.ts';
import type { Context } from '../cli/context.ts';
import { parseDuration } from '../cli/duration.ts';
import { addExamples } from '../cli/examples.ts';
import { addKubeOptions, withKubeClient } from '../cli/kube-options.ts';
import { compileExpression, foundText } from '../cli/resources/json-path.ts';
import { printedName, type KnownResource } from '../cli/resources/known-resources.ts';
import { addChoiceOptions, forEachReported, type ChoiceFlags } from '../cli/resources/resource-options.ts';
import { parseTargets } from '../cli/resources/targets.ts';
import { waitForObject } from '../cli/wait-for-object.ts';
import { writeResult } from '../cli/write-result.ts';
import type { KubeClient } from '../kube/kube-client.ts';
import { refOf, type KubeObject, type ObjectRef } from '../kube/object.ts';

interface WaitFlags extends ChoiceFlags {
  readonly for: readonly string[];
  readonly timeout: number;
}

/** What is waited for. */
interface Goal {
  /** For messages: `condition=Ready`. */
  readonly text: string;
  readonly isMet: (object: KubeObject | undefined) => boolean;
  /** Whether an object that does not exist is an error. */
  readonly needsObject: boolean;
}

/** `virtctl wait`: waits until something holds of objects. */
export function configure(command: Command, context: Context): void {
  command.argument('[kind or kind/name...]', 'a kind and names, or KIND/NAME');
  addChoiceOptions(command);
  command
    .option('--all', 'all objects of the kind in the namespace')
    .addOption(
      new Option(
        '--for <goal>',
        'condition=TYPE[=STATUS], jsonpath=EXPRESSION[=VALUE], create, or delete; several must all hold',
      )
        .argParser((value: string, before: readonly string[] | undefined) => [...(before ?? []), value])
        .makeOptionMandatory(),
    )
    .addOption(
      new Option('--timeout <duration>', 'how long to wait, as 30s').argParser(parseDuration).default(30_000, '30s'),
    );
  addKubeOptions(command);
  addExamples(command, [
    ['Wait until a machine runs', 'virtctl wait vm/web --for=condition=Ready --timeout=2m'],
    ['Wait until a disk is there', "virtctl wait vdisk/root --for=jsonpath='{.status.phase}'=Ready"],
    ['Wait until a machine is gone', 'virtctl wait vm/web --for=delete'],
  ]);
  command.action(async (words: readonly string[], flags: WaitFlags) => {
    const goals = flags.for.map(parseGoal);
    await withKubeClient(context, flags, async (client) => {
      const { named, failed } = await namedObjects(context, client, words, flags);
      const deadline = context.now() + flags.timeout;
      await forEachReported(
        context,
        named,
        async ({ resource, ref, uid }) => {
          const name = printedName(resource, ref.name);
          let first = uid;
          const met = (seen: KubeObject | undefined): boolean => {
            first ??= seen?.metadata.uid;
            // Another one of its name: the one that was to go is gone, as kubectl has it.
            const isOther = goals.some(({ text }) => text === 'delete') && seen?.metadata.uid !== first;
            const object = isOther ? undefined : seen;
            if (object === undefined && goals.some(({ needsObject }) => needsObject)) {
              throw new NotFoundError(`${resource.plural} "${ref.name}" not found`);
            }
            return goals.every(({ isMet }) => isMet(object));
          };
          await waitForObject(client.resource<KubeObject>(resource), ref, met, {
            signal: context.signal,
            // All share one deadline, but each is looked at once.
            timeoutMs: Math.max(1000, deadline - context.now()),
            what: `${goals.map(({ text }) => text).join(' and ')} of ${name}`,
          });
          await writeResult(
            context,
            `${name} ${goals.length === 1 && goals[0]?.text === 'delete' ? 'deleted' : 'condition met'}\n`,
          );
        },
        failed,
      );
      if (named.length === 0 && failed.length === 0) throw new NotFoundError('no matching resources found');
    });
  });
}

interface NamedObject {
  readonly resource: KnownResource;
  readonly ref: ObjectRef;
  /** Of one that was listed. */
  readonly uid?: string | undefined;
}

async function namedObjects(
  context: Context,
  client: KubeClient,
  words: readonly string[],
  flags: WaitFlags,
): Promise<{
  readonly named: readonly NamedObject[];
  readonly failed: readonly unknown[];
}> {
  if (flags.filename !== undefined) {
    const { readManifests } = await import('../cli/resources/manifests.ts');
    const { manifests, failed } = await readManifests(context, flags.filename, {
      givenNamespace: flags.namespace,
      namespace: client.namespace,
      complete: false,
    });
    return {
      named: manifests.map(({ resource, name, namespace }) => ({ resource, ref: { name, namespace } })),
      failed,
    };
  }
  const targets = parseTargets(words);
  if (targets.length === 0)
    throw new UsageError('expected KIND/NAME, as in `virtctl wait vm/web --for=condition=Ready`');
  const isBulk = flags.selector !== undefined || flags.fieldSelector !== undefined || flags.all === true;
  const named: NamedObject[] = [];
  for (const { resource, name } of targets) {
    const namespace = resource.namespaced ? client.namespace : undefined;
    if (name !== undefined) named.push({ resource, ref: { name, namespace } });
    else if (!isBulk) throw new UsageError('give at least one name, or -l, --field-selector or --all');
    else {
      const { items } = await client.resource<KubeObject>(resource).listAll({
        namespace: flags.allNamespaces === true ? undefined : namespace,
        labelSelector: flags.selector,
        fieldSelector: flags.fieldSelector,
        signal: context.signal,
      });
      for (const item of items) named.push({ resource, ref: refOf(item), uid: item.metadata.uid });
    }
  }
  return { named, failed: [] };
}

function parseGoal(text: string): Goal {
  if (text === 'delete') return { text, isMet: (object) => object === undefined, needsObject: false };
  if (text === 'create') return { text, isMet: (object) => object !== undefined, needsObject: false };
  const condition = /^condition=([^=]+)(?:=(.+))?$/.exec(text);
  if (condition?.[1] !== undefined) {
    const type = condition[1].toLowerCase();
    const status = (condition[2] ?? 'True').toLowerCase();
    return {
      text,
      needsObject: true,
      isMet: (object) =>
        conditionsOf(object).some(
          (one) => isCurrent(one, object) && one.type.toLowerCase() === type && one.status.toLowerCase() === status,
        ),
    };
  }
  const path = /^jsonpath=(\{.*\}|[^=]+)(?:=(.*))?$/s.exec(text);
  if (path?.[1] !== undefined) {
    const find = compileExpression(path[1]);
    const wanted = path[2];
    return {
      text,
      needsObject: true,
      isMet: (object) => {
        const found = find(object).filter((value) => value !== undefined && value !== null);
        return wanted === undefined
          ? found.some((value) => foundText(value) !== '')
          : found.map(foundText).join(' ') === wanted;
      },
    };
  }
  throw new UsageError(`--for=${text}: expected condition=TYPE, jsonpath=EXPRESSION=VALUE, create or delete`);
}

function conditionsOf(object: KubeObject | undefined): readonly Condition[] {
  const status = (object as { readonly status?: { readonly conditions?: readonly Condition[] } } | undefined)?.status;
  return status?.conditions ?? [];
}

/** A condition that was found out for an older spec says nothing about this one (as kubectl wait has it). */
function isCurrent(condition: Condition, object: KubeObject | undefined): boolean {
  const { status } = (object ?? {}) as { readonly status?: { readonly observedGeneration?: number } };
  const observedGeneration = condition.observedGeneration ?? status?.observedGeneration;
  return observedGeneration === undefined || observedGeneration >= (object?.metadata.generation ?? 0);
}
