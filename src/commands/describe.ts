import type { Command } from 'commander';
import { NotFoundError, UsageError } from '../base/errors.ts';
import type { Context } from '../cli/context.ts';
import { addExamples } from '../cli/examples.ts';
import { addKubeOptions, withKubeClient } from '../cli/kube-options.ts';
import { describeObject } from '../cli/resources/describe-object.ts';
import { eventsOf } from '../cli/resources/object-events.ts';
import { addChoiceOptions, forEachReported, type ChoiceFlags } from '../cli/resources/resource-options.ts';
import { parseTargets } from '../cli/resources/targets.ts';
import { writeResult } from '../cli/write-result.ts';
import type { KubeClient } from '../kube/kube-client.ts';
import type { KubeObject } from '../kube/object.ts';

/** Older events are not shown: `virtctl events` has them all. */
const maxEvents = 20;

/** `virtctl describe`: one page about each object, with its conditions and recent events. */
export function configure(command: Command, context: Context): void {
  command.argument('[kind or kind/name...]', 'a kind, then names; or KIND/NAME; all objects of a kind without names');
  addChoiceOptions(command);
  addKubeOptions(command);
  addExamples(command, [['Everything about a machine', 'virtctl describe vm web']]);
  command.action(async (words: readonly string[], flags: ChoiceFlags) => {
    await withKubeClient(context, flags, async (client) => {
      const pages = { count: 0 };
      const print = async (object: KubeObject): Promise<void> => {
        const text = await page(context, client, object);
        await writeResult(context, pages.count === 0 ? text : `\n\n${text}`);
        pages.count += 1;
      };
      const { targets, failed } = await chosen(context, client, words, flags);
      await forEachReported(
        context,
        targets,
        async ({ resource, name, namespace: own }) => {
          const objects = client.resource<KubeObject>(resource);
          const namespace = resource.namespaced ? (own ?? client.namespace) : undefined;
          if (name !== undefined) {
            await print(await objects.get({ namespace, name }, { signal: context.signal }));
            return;
          }
          const { items } = await objects.listAll({
            namespace: flags.allNamespaces === true ? undefined : namespace,
            labelSelector: flags.selector,
            fieldSelector: flags.fieldSelector,
            signal: context.signal,
          });
          for (const item of items) await print(item);
        },
        failed,
      );
      if (pages.count === 0) throw new NotFoundError('no matching resources found');
    });
  });
}

async function chosen(
  context: Context,
  client: KubeClient,
  words: readonly string[],
  flags: ChoiceFlags,
): Promise<{ readonly targets: ReturnType<typeof parseTargets>; readonly failed: readonly unknown[] }> {
  if (flags.filename === undefined) {
    const targets = parseTargets(words);
    if (targets.length === 0) throw new UsageError('expected a kind, as in `virtctl describe vm web`');
    const selects = flags.selector !== undefined || flags.fieldSelector !== undefined || flags.allNamespaces === true;
    if (selects && targets.some(({ name }) => name !== undefined)) {
      throw new UsageError('give names, or -l, --field-selector or -A, not both');
    }
    return { targets, failed: [] };
  }
  if (words.length > 0) throw new UsageError('give kinds and names, or -f, not both');
  const { readManifests } = await import('../cli/resources/manifests.ts');
  const { manifests, failed } = await readManifests(context, flags.filename, {
    givenNamespace: flags.namespace,
    namespace: client.namespace,
    complete: false,
  });
  return { targets: [...manifests], failed };
}

async function page(context: Context, client: KubeClient, object: KubeObject): Promise<string> {
  const { name = '', namespace, uid } = object.metadata;
  const about = { kind: object.kind, name, namespace, uid };
  const events = await eventsOf(client, about, { limit: maxEvents, signal: context.signal });
  return describeObject(object, events, context.now());
}
