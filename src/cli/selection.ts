import type { Command } from 'commander';
import { parseLabelSelector } from './label-selector.ts';
import { UsageError } from '../base/errors.ts';
import type { KubeObject } from '../kube/object.ts';
import type { ResourceClient } from '../kube/resource-client.ts';

/** The flags that choose objects beside names. */
export interface SelectionFlags {
  readonly selector?: string;
  readonly all?: boolean;
  readonly allNamespaces?: boolean;
}

/** Adds `-l`, `--all` and `-A`. */
export function addSelectionOptions(command: Command): void {
  command
    .option('-l, --selector <labels>', 'all objects with these labels, as app=web,tier!=test', parseLabelSelector)
    .option('--all', 'all objects of the namespace')
    .option('-A, --all-namespaces', 'with -l or --all: in every namespace');
}

/**
 * The objects that a command is for: those named, or those that match. A named one that does not exist is an error of
 * its own in `missing`, so that the others are still done.
 *
 * @param names As the user gave them; `KIND/` in front is passed over by the caller.
 * @throws UsageError when neither or both are given.
 */
export async function selectObjects<T extends KubeObject>(
  client: ResourceClient<T>,
  names: readonly string[],
  flags: SelectionFlags,
  namespace: string,
  signal: AbortSignal,
): Promise<{ readonly found: readonly T[]; readonly failed: readonly unknown[] }> {
  const bulk = flags.selector !== undefined || flags.all === true;
  if (names.length > 0 && bulk) throw new UsageError('give names, or -l or --all, not both');
  if (names.length > 0 && flags.allNamespaces === true)
    throw new UsageError('-A goes with -l or --all, not with names');
  if (names.length === 0 && !bulk) throw new UsageError('give at least one name, or -l or --all');
  if (bulk) {
    const page = await client.listAll({
      namespace: flags.allNamespaces === true ? undefined : namespace,
      labelSelector: flags.selector,
      signal,
    });
    return { found: page.items, failed: [] };
  }
  const found: T[] = [];
  const failed: unknown[] = [];
  for (const name of new Set(names)) {
    try {
      found.push(await client.get({ namespace, name }, { signal }));
    } catch (error) {
      signal.throwIfAborted();
      failed.push(error);
    }
  }
  return { found, failed };
}
