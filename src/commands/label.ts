import type { Command } from 'commander';
import { ConflictError, UsageError } from '../base/errors.ts';
import type { Context } from '../cli/context.ts';
import { addExamples } from '../cli/examples.ts';
import { addKubeOptions, withKubeClient } from '../cli/kube-options.ts';
import { assertLabel } from '../cli/object-name.ts';
import { retryOnConflict } from '../cli/retry-on-conflict.ts';
import { chooseObjects } from '../cli/resources/choose-objects.ts';
import { printedName } from '../cli/resources/known-resources.ts';
import { addChoiceOptions, forEachReported, type ChoiceFlags } from '../cli/resources/resource-options.ts';
import { writeResult } from '../cli/write-result.ts';
import type { KubeObject, ObjectRef } from '../kube/object.ts';
import type { ResourceClient } from '../kube/resource-client.ts';

const example = 'virtctl label vm web tier=front';

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
    const start = words.findIndex((word, index) => (index > 0 || flags.filename !== undefined) && isChange(word));
    if (start < 0) throw new UsageError('expected KEY=VALUE or KEY- after the names');
    const changes = words.slice(start).map(parseChange);
    await withKubeClient(context, flags, async (client) => {
      const { targets, failed } = await chooseObjects(context, client, words.slice(0, start), flags, example);
      await forEachReported(
        context,
        targets,
        async ({ resource, ref }) => {
          const objects = client.resource<KubeObject>(resource);
          const name = printedName(resource, ref.name);
          const isSame = await retryOnConflict(() => setLabels(objects, ref, name, changes, flags, context.signal));
          await writeResult(context, `${name} ${isSame ? 'not labeled' : 'labeled'}\n`);
        },
        failed,
      );
    });
  });
}

type Change = readonly [key: string, value: string | null];

/** @returns Whether all was so already. */
async function setLabels(
  objects: ResourceClient<KubeObject>,
  ref: ObjectRef,
  name: string,
  changes: readonly Change[],
  { overwrite }: LabelFlags,
  signal: AbortSignal,
): Promise<boolean> {
  const { metadata } = await objects.get(ref, { signal });
  const { labels = {}, resourceVersion } = metadata;
  for (const [key, value] of changes) {
    if (value === null || overwrite === true || labels[key] === undefined || labels[key] === value) continue;
    throw new ConflictError(`${name} has the label ${key}=${labels[key]} already`, {
      hint: 'change it with --overwrite',
    });
  }
  const isSame = changes.every(([key, value]) => (labels[key] ?? null) === value);
  const patch = { metadata: { resourceVersion, labels: Object.fromEntries(changes) } };
  if (!isSame) await objects.mergePatch(ref, patch, { signal });
  return isSame;
}

function parseChange(word: string): Change {
  const isRemoval = word.endsWith('-') && !word.includes('=');
  const equals = isRemoval ? word.length - 1 : word.indexOf('=');
  if (equals <= 0) throw new UsageError(`"${word}": expected KEY=VALUE or KEY-`);
  const [key, value] = [word.slice(0, equals), isRemoval ? null : word.slice(equals + 1)];
  assertLabel('label', key, value ?? undefined);
  return [key, value];
}
