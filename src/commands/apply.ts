import type { Command } from 'commander';
import { UsageError } from '../base/errors.ts';
import type { Context } from '../cli/context.ts';
import { addExamples } from '../cli/examples.ts';
import { addKubeOptions, withKubeClient, type KubeFlags } from '../cli/kube-options.ts';
import { applyObject } from '../cli/resources/apply-object.ts';
import { printedName } from '../cli/resources/known-resources.ts';
import { readManifests, type Manifest } from '../cli/resources/manifests.ts';
import { parseOutput, writeObjects } from '../cli/resources/print-objects.ts';
import {
  addDryRunOption,
  addFilenameOption,
  dryRunNote,
  forEachReported,
  type DryRun,
} from '../cli/resources/resource-options.ts';
import { writeResult } from '../cli/write-result.ts';
import type { KubeClient } from '../kube/kube-client.ts';
import type { KubeObject } from '../kube/object.ts';

interface ApplyFlags extends KubeFlags {
  readonly filename?: readonly string[];
  readonly output?: string;
  readonly dryRun: DryRun;
  readonly forceConflicts?: boolean;
  readonly fieldManager: string;
  readonly serverSide?: boolean;
}

/** `virtctl apply -f`: makes objects as files say, by server-side apply: fields that others set stay theirs. */
export function configure(command: Command, context: Context): void {
  addFilenameOption(command, 'apply the objects of');
  command
    .option('-o, --output <format>', 'json|yaml|name|jsonpath=TEMPLATE instead of what was done')
    .option('--force-conflicts', 'take over fields that somebody else has set')
    .option('--field-manager <name>', 'who we are, for whose fields are whose', 'virtctl')
    .option('--server-side', 'as always; for the habits of kubectl');
  addDryRunOption(command);
  addKubeOptions(command);
  addExamples(command, [
    ['Create or change what a file says', 'virtctl apply -f vm.yaml'],
    ["Create a machine from libvirt's XML", 'virsh dumpxml web | virtctl apply -f -'],
    ['See what the server would make of it', 'virtctl apply -f vm.yaml --dry-run=server -o yaml'],
  ]);
  command.action(async (flags: ApplyFlags) => {
    const files = flags.filename;
    if (files === undefined) throw new UsageError('expected -f FILE');
    const format = parseOutput(flags.output);
    await withKubeClient(context, flags, async (client) => {
      const { manifests, failed } = await readManifests(context, files, {
        givenNamespace: flags.namespace,
        namespace: client.namespace,
        complete: true,
      });
      const work = async (manifest: Manifest): Promise<void> => {
        const { object, done } = await applyOne(client, manifest, flags, context.signal);
        const name = printedName(manifest.resource, manifest.name);
        const text =
          format.type === 'table'
            ? `${name} ${done}${dryRunNote(flags.dryRun)}\n`
            : await writeObjects(format, [object], { single: true, showManagedFields: false, headers: true });
        await writeResult(context, format.type === 'yaml' && manifests.length > 1 ? `---\n${text}` : text);
      };
      await forEachReported(context, manifests, work, failed);
    });
  });
}

async function applyOne(
  client: KubeClient,
  { resource, object, name, namespace }: Manifest,
  flags: ApplyFlags,
  signal: AbortSignal,
): Promise<{ readonly object: KubeObject; readonly done: string }> {
  const resources = client.resource<KubeObject>(resource);
  if (name === '')
    throw new UsageError(`a ${resource.kind} without metadata.name cannot be applied; create it instead`);
  if (flags.dryRun === 'client') {
    const before = await resources.find({ namespace, name }, { signal });
    return { object, done: before === undefined ? 'created' : 'configured' };
  }
  const { before, after } = await applyObject(resources, { namespace, name }, object, {
    dryRun: flags.dryRun === 'server',
    force: flags.forceConflicts === true,
    fieldManager: flags.fieldManager,
    signal,
  });
  const isSame = before?.metadata.resourceVersion === after.metadata.resourceVersion;
  return { object: after, done: before === undefined ? 'created' : isSame ? 'unchanged' : 'configured' };
}
