import { parseTargets } from './targets.ts';
import type { KnownResource } from './known-resources.ts';
import type { ChoiceFlags } from './resource-options.ts';
import { UsageError } from '../../base/errors.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import { refOf, type KubeObject, type ObjectRef } from '../../kube/object.ts';
import type { Context } from '../context.ts';

/** An object that a command changes. */
export interface ChosenObject {
  readonly resource: KnownResource;
  readonly ref: ObjectRef;
}

/**
 * The objects that a command is to change: those that are named, that files hold, or that the flags select; never all of a
 * kind because a flag was left out.
 *
 * @param words Kinds and names.
 * @param example A right command line, for messages.
 * @returns Them, and what failed of the files.
 * @throws UsageError when none or several of these ways are gone.
 */
export async function chooseObjects(
  context: Context,
  client: KubeClient,
  words: readonly string[],
  flags: ChoiceFlags,
  example: string,
): Promise<{ readonly targets: readonly ChosenObject[]; readonly failed: readonly unknown[] }> {
  const { filename, selector, fieldSelector, all, allNamespaces } = flags;
  const isBulk = selector !== undefined || fieldSelector !== undefined || all === true;
  if (filename !== undefined) {
    if (words.length > 0) throw new UsageError('give kinds and names, or -f, not both');
    if (isBulk) throw new UsageError('give -f, or -l, --field-selector or --all, not both');
    const { readManifests } = await import('./manifests.ts');
    const { manifests, failed } = await readManifests(context, filename, {
      givenNamespace: flags.namespace,
      namespace: client.namespace,
      complete: false,
    });
    return {
      targets: manifests.map(({ resource, name, namespace }) => ({ resource, ref: { name, namespace } })),
      failed,
    };
  }
  const targets = parseTargets(words);
  if (targets.length === 0) throw new UsageError(`expected KIND NAME, as in \`${example}\``);
  const hasNames = targets.some(({ name }) => name !== undefined);
  if (hasNames && isBulk) throw new UsageError('give names, or -l, --field-selector or --all, not both');
  if (!hasNames && !isBulk) throw new UsageError('give at least one name, or -l, --field-selector or --all');
  if (hasNames && allNamespaces === true) throw new UsageError('-A goes with -l or --all, not with names');
  const found: ChosenObject[] = [];
  for (const { resource, name } of targets) {
    const namespace = resource.namespaced ? client.namespace : undefined;
    if (name !== undefined) {
      found.push({ resource, ref: { name, namespace } });
      continue;
    }
    const { items } = await client.resource<KubeObject>(resource).listAll({
      namespace: allNamespaces === true ? undefined : namespace,
      labelSelector: selector,
      fieldSelector,
      signal: context.signal,
    });
    for (const item of items) found.push({ resource, ref: refOf(item) });
  }
  return { targets: found, failed: [] };
}
