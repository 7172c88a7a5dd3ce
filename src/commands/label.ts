import type { Command } from 'commander';
import { ConflictError, UsageError } from '../base/errors.ts';
import type { Context } from '../cli/context.ts';
import { addExamples } from '../cli/examples.ts';
import { addKubeOptions, withKubeClient } from '../cli/kube-options.ts';
import { assertLabel } from '../cli/object-name.ts';
import { printedName } from '../cli/resources/known-resources.ts';
import { addChoiceOptions, forEachReported, type ChoiceFlags } from '../cli/resources/resource-options.ts';
import { parseTargets } from '../cli/resources/targets.ts';
import { writeResult } from '../cli/write-result.ts';
import { refOf, type KubeObject, type ObjectRef } from '../kube/object.ts';

interface LabelFlags extends ChoiceFlags {
  readonly overwrite?: boolean;
}

/** `virtctl label`: sets and removes labels. */
export function configure(command: Command, context: Context): void {
  command.argument('<words...>', 'KIND NAME… or KIND/NAME…, then KEY=VALUE to set and KEY- to remove');
  addChoiceOptions(command);
  command
    .option('--all', 'all objects of the kind in the namespace')
    .option('--overwrite', 'change labels that are there');
  addKubeOptions(command);
  addExamples(command, [
    ['Set a label and remove another', 'virtctl label vm web tier=front old-'],
    ['Mark a node', 'virtctl label hv node-1 disk=nvme --overwrite'],
  ]);
  command.action(async (words: readonly string[], flags: LabelFlags) => {
    const isChange = (word: string): boolean => /^[^/=]+(\/[^/=]+)?=/.test(word) || /[^-]-$/.test(word);
    const start = words.findIndex((word, index) => index > 0 && isChange(word));
    if (start < 0) throw new UsageError('expected KEY=VALUE or KEY- after the names');
    const changes = words.slice(start).map(parseChange);
    await withKubeClient(context, flags, async (client) => {
      const chosen: { resource: ReturnType<typeof parseTargets>[number]['resource']; ref: ObjectRef }[] = [];
      for (const { resource, name } of parseTargets(words.slice(0, start))) {
        const namespace = resource.namespaced ? client.namespace : undefined;
        if (name !== undefined) chosen.push({ resource, ref: { name, namespace } });
        else if (flags.selector === undefined && flags.all !== true)
          throw new UsageError('give at least one name, or -l or --all');
        else {
          const page = await client.resource<KubeObject>(resource).listAll({
            namespace: flags.allNamespaces === true ? undefined : namespace,
            labelSelector: flags.selector,
            signal: context.signal,
          });
          for (const item of page.items) chosen.push({ resource, ref: refOf(item) });
        }
      }
      await forEachReported(context, chosen, async ({ resource, ref }) => {
        const objects = client.resource<KubeObject>(resource);
        const before = await objects.get(ref, { signal: context.signal });
        const labels = before.metadata.labels ?? {};
        for (const [key, value] of changes) {
          if (value === null || flags.overwrite === true || labels[key] === undefined || labels[key] === value)
            continue;
          throw new ConflictError(`${printedName(resource, ref.name)} has the label ${key}=${labels[key]} already`, {
            hint: 'change it with --overwrite',
          });
        }
        const isSame = changes.every(([key, value]) => (labels[key] ?? null) === value);
        if (!isSame) {
          const patch = {
            metadata: { resourceVersion: before.metadata.resourceVersion, labels: Object.fromEntries(changes) },
          };
          await objects.mergePatch(ref, patch, { signal: context.signal });
        }
        await writeResult(context, `${printedName(resource, ref.name)} ${isSame ? 'not labeled' : 'labeled'}\n`);
      });
    });
  });
}

function parseChange(word: string): readonly [key: string, value: string | null] {
  const isRemoval = word.endsWith('-') && !word.includes('=');
  const equals = isRemoval ? word.length - 1 : word.indexOf('=');
  if (equals <= 0) throw new UsageError(`"${word}": expected KEY=VALUE or KEY-`);
  const [key, value] = [word.slice(0, equals), isRemoval ? null : word.slice(equals + 1)];
  assertLabel('label', key, value ?? undefined);
  return [key, value];
}
