/** Creating one object and telling about it: the common end of every form of `virtctl create`. */
import type { VirtualMachine } from '../../api/virtual-machine.ts';
import { InvalidInputError, UsageError } from '../../base/errors.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import type { KubeObject } from '../../kube/object.ts';
import type { Context } from '../context.ts';
import { machineDefined, machineStarted } from '../verb-progress.ts';
import { waitForObject } from '../wait-for-object.ts';
import { writeResult } from '../write-result.ts';
import { printedName, type KnownResource } from './known-resources.ts';
import { writeObjects, type OutputFormat } from './print-objects.ts';
import { dryRunNote, type DryRun } from './resource-options.ts';

/** What is done about a new object. */
export interface CreateOptions {
  readonly dryRun: DryRun;
  readonly format: OutputFormat;
  readonly wait: boolean;
  /** Milliseconds. */
  readonly timeout: number;
  /** More than one is printed: YAML documents are separated. */
  readonly several: boolean;
}

/**
 * Creates an object unless it is a dry run on the client, prints it, and waits until it is ready if asked.
 *
 * @returns The object as the server has it.
 */
export async function createObject(
  context: Context,
  client: KubeClient | undefined,
  resource: KnownResource,
  object: KubeObject,
  options: CreateOptions,
): Promise<KubeObject> {
  const { dryRun, format } = options;
  const { signal } = context;
  if (format.type === 'table' && format.wide) throw new UsageError('-o wide is for get');
  const resources = client?.resource<KubeObject>(resource);
  const created =
    dryRun === 'client' || resources === undefined
      ? object
      : await resources.create(object, { dryRun: dryRun === 'server', fieldValidation: 'Strict', signal });
  const name = created.metadata.name ?? created.metadata.generateName ?? '';
  const text =
    format.type === 'table'
      ? `${printedName(resource, name)} created${dryRunNote(dryRun)}\n`
      : await writeObjects(format, [created], { single: true, showManagedFields: false, headers: true });
  await writeResult(context, format.type === 'yaml' && options.several ? `---\n${text}` : text);
  if (!options.wait || dryRun !== 'none' || resources === undefined) return created;
  const { namespace, uid, generation = 0 } = created.metadata;
  await waitForObject(resources, { namespace, name }, (now) => isReady(now, generation), {
    signal,
    timeoutMs: options.timeout,
    uid,
    what: `${printedName(resource, name)} to be ready (see 'virtctl describe ${resource.singular} ${name}')`,
  });
  return created;
}

function isReady(object: KubeObject | undefined, generation: number): boolean {
  if (object?.kind === 'VirtualMachine') {
    const machine = object as VirtualMachine;
    const { runStrategy } = machine.spec;
    const isToRun = runStrategy !== 'Halted' && runStrategy !== 'Manual';
    if (isToRun) return machineStarted(machine, generation);
    return machineDefined(machine, generation);
  }
  if (object === undefined) throw new InvalidInputError([{ path: '', message: 'it was deleted meanwhile' }]);
  const { status } = object as KubeObject & {
    readonly status?: {
      readonly phase?: string;
      readonly message?: string;
      readonly conditions?: readonly { type: string; status: string }[];
    };
  };
  if (status?.phase === 'Failed') throw new InvalidInputError([{ path: '', message: status.message ?? 'it failed' }]);
  const hasReady = status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True') === true;
  return (
    hasReady || status?.phase === 'Ready' || status?.phase === 'Succeeded' || status?.phase === 'WaitForFirstConsumer'
  );
}
