import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { validateObject } from '../api/validate.ts';
import { ConflictError, formatProblem, FailedError, InvalidInputError, toError, UsageError } from '../base/errors.ts';
import { addExamples } from '../cli/examples.ts';
import type { Context } from '../cli/context.ts';
import { readDocuments } from '../cli/input/read-documents.ts';
import { addKubeOptions, withKubeClient, type KubeFlags } from '../cli/kube-options.ts';
import { mergePatchOf } from '../cli/resources/merge-patch-of.ts';
import { printedName } from '../cli/resources/known-resources.ts';
import { withoutManagedFields } from '../cli/resources/print-objects.ts';
import { retryOnConflict } from '../cli/retry-on-conflict.ts';
import { parseOneTarget } from '../cli/resources/targets.ts';
import { writeYaml } from '../cli/yaml/write-yaml.ts';
import type { KubeObject, ObjectRef } from '../kube/object.ts';
import type { ResourceClient } from '../kube/resource-client.ts';

const intro =
  '# Edit the object below. Lines that begin with "#" are ignored; an empty file cancels. If what you save is not\n' +
  '# valid, the file is opened again with the reason.\n#\n';

/** `virtctl edit KIND NAME`: opens an object in the editor and writes back what was changed. */
export function configure(command: Command, context: Context): void {
  command.argument('<kind or kind/name...>', 'KIND NAME or KIND/NAME');
  addKubeOptions(command);
  addExamples(command, [['Edit a machine in another editor', 'KUBE_EDITOR="nano -w" virtctl edit vm web']]);
  command.action(async (words: readonly string[], flags: KubeFlags) => {
    const { resource, name } = parseOneTarget(words);
    await withKubeClient(context, flags, async (client) => {
      const objects = client.resource<KubeObject>(resource);
      const ref = { name, namespace: resource.namespaced ? client.namespace : undefined };
      const before = withoutManagedFields(await objects.get(ref, { signal: context.signal }));
      const folder = await mkdtemp(join(tmpdir(), 'virtctl-edit-'));
      const file = join(folder, `${resource.singular}-${name}.yaml`);
      let isKept = false;
      try {
        const original = writeYaml(before);
        let text = `${intro}${original}`;
        for (;;) {
          await writeFile(file, text, { mode: 0o600 });
          await runEditor(context, file);
          const edited = await readFile(file, 'utf8');
          // Saved unchanged, also after a complaint: the user gives up.
          if (
            edited === text ||
            withoutComments(edited) === '' ||
            withoutComments(edited) === withoutComments(original)
          ) {
            // After a complaint, what it was about is still there.
            isKept &&= edited === text;
            context.stderr.write('Edit cancelled, no changes made.\n');
            return;
          }
          try {
            const after = parseEdited(file, edited, before);
            const patch = mergePatchOf(before, after);
            if (patch === undefined) {
              isKept = false;
              context.stderr.write('Edit cancelled, no changes made.\n');
              return;
            }
            await retryOnConflict(() => writeBack(objects, ref, before, patch, context.signal));
            isKept = false;
            context.stdout.write(`${printedName(resource, name)} edited\n`);
            return;
          } catch (error) {
            // It may have taken long to write. A terminal's user goes on with it in the editor, which may fail.
            isKept = true;
            if (!(error instanceof InvalidInputError)) throw error;
            context.stderr.write(`error: ${error.message}\n`);
            if (context.stdin.isTTY !== true) throw error;
            text = `${intro}${complaint(error)}${withoutComments(edited)}`;
          }
        }
      } finally {
        if (isKept) context.stderr.write(`note: what you wrote is kept in ${file}\n`);
        else await rm(folder, { recursive: true, force: true });
      }
    });
  });
}

/**
 * Writes what was changed, unless somebody else has changed the object since it was read. Status is the executor's, who
 * writes it at any time.
 */
async function writeBack(
  objects: ResourceClient<KubeObject>,
  ref: ObjectRef,
  before: KubeObject,
  patch: unknown,
  signal: AbortSignal,
): Promise<void> {
  const now = withoutManagedFields(await objects.get(ref, { signal }));
  if (mergePatchOf(withoutStatus(before), withoutStatus(now)) !== undefined) {
    throw new ConflictError(`somebody else has changed ${before.kind} "${ref.name}" meanwhile`, {
      hint: 'edit it again',
    });
  }
  const { resourceVersion } = now.metadata;
  const { metadata, ...rest } = patch as { readonly metadata?: object };
  await objects.mergePatch(ref, { ...rest, metadata: { ...metadata, resourceVersion } }, { signal });
}

/** What people write of an object. */
function withoutStatus(object: KubeObject): object {
  const { status: _status, ...rest } = object as KubeObject & { readonly status?: unknown };
  const { resourceVersion: _version, ...metadata } = rest.metadata;
  return { ...rest, metadata };
}

function withoutComments(text: string): string {
  return text
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .join('\n')
    .trimStart();
}

function complaint(error: InvalidInputError): string {
  const lines = error.problems.map((problem) => formatProblem({ ...problem, file: undefined }));
  return `${[...lines, ''].map((line) => `# ${line}`.trimEnd()).join('\n')}\n`;
}

function parseEdited(file: string, text: string, before: KubeObject): KubeObject {
  const [document, ...more] = [...readDocuments(file, text)];
  if (document instanceof InvalidInputError) throw document;
  if (document === undefined || document.format === 'xml' || more.length > 0) {
    throw new InvalidInputError([{ file, path: '', message: 'expected exactly one YAML document' }]);
  }
  const edited = document.value as KubeObject;
  const { name, namespace } = before.metadata;
  const isSame =
    edited.kind === before.kind &&
    edited.apiVersion === before.apiVersion &&
    (edited.metadata as KubeObject['metadata'] | undefined)?.name === name &&
    edited.metadata.namespace === namespace;
  if (!isSame) {
    throw new InvalidInputError([{ file, path: 'metadata', message: 'kind, name and namespace cannot be edited' }]);
  }
  const errors = validateObject(edited, { old: before }).filter(({ severity }) => severity === 'error');
  if (errors.length > 0) throw new InvalidInputError(document.problems(errors));
  return edited;
}

/** The words of the editor's command; a path with blanks belongs into a script. */
async function runEditor(context: Context, file: string): Promise<void> {
  const set = [context.env['KUBE_EDITOR'], context.env['VISUAL'], context.env['EDITOR']];
  const [program, ...args] = (set.find((one) => one !== undefined && one.trim() !== '') ?? 'vi').trim().split(/\s+/);
  if (program === undefined) throw new UsageError('no editor: set EDITOR');
  await new Promise<void>((resolve, reject) => {
    const child = spawn(program, [...args, file], { stdio: 'inherit' });
    child.once('error', (error) => {
      reject(new FailedError(`cannot start the editor "${program}"`, { cause: toError(error), hint: 'set EDITOR' }));
    });
    child.once('close', (status, signal) => {
      if (status === 0) resolve();
      else
        reject(new FailedError(`the editor "${program}" ended with ${String(status ?? signal)}; nothing was changed`));
    });
  });
}
