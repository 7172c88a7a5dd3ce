import { refuseOther } from './refusals.ts';
import { findKind } from '../../api/kinds.ts';
import type { Context } from '../../cli/context.ts';
import { printedName, resourceOf } from '../../cli/resources/known-resources.ts';
import { dryRunNote, type DryRun } from '../../cli/resources/resource-options.ts';
import { writeResult } from '../../cli/write-result.ts';
import { writeYamlDocuments } from '../../cli/yaml/write-yaml.ts';
import { FailedError } from '../../base/errors.ts';
import type { NewObject } from '../../executor/adoption/known-objects.ts';
import type { VirtualMachineSnapshot } from '../../api/virtual-machine-snapshot.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import type { KubeObject } from '../../kube/object.ts';
import { isAlreadyExists } from '../../kube/status-error.ts';

/** How objects are made and told. */
export interface MakeOptions {
  readonly dryRun: DryRun;
  readonly output?: 'yaml' | 'json' | 'name' | undefined;
  /** What was done with a machine, as `adopted`. */
  readonly done: string;
}

/** Makes objects, in their order, and prints each: at once, or all of them at the end as YAML or JSON. */
export class ObjectMaker {
  readonly #context: Context;
  readonly #client: KubeClient;
  readonly #options: MakeOptions;
  readonly #shown: KubeObject[] = [];

  constructor(context: Context, client: KubeClient, options: MakeOptions) {
    this.#context = context;
    this.#client = client;
    this.#options = options;
  }

  /**
   * Makes one object. One that is there already stays as it is, except a machine.
   *
   * @returns It, as stored.
   */
  async make(object: NewObject | VirtualMachineSnapshot): Promise<KubeObject> {
    const { dryRun, output, done } = this.#options;
    const kind = findKind(object.kind);
    if (kind === undefined) throw new FailedError(`there is no kind ${object.kind}`);
    const resource = resourceOf(kind);
    const objects = this.#client.resource<KubeObject>(resource);
    const { name = '', namespace } = object.metadata;
    let stored: KubeObject = object;
    let word = object.kind === 'VirtualMachine' ? done : 'created';
    if (dryRun !== 'client') {
      try {
        stored = await objects.create(object, {
          dryRun: dryRun === 'server',
          fieldManager: 'virtctl',
          fieldValidation: 'Strict',
          signal: this.#context.signal,
        });
      } catch (error) {
        if (!isAlreadyExists(error) || object.kind === 'VirtualMachine') throw error;
        stored = await objects.get({ name, namespace }, { signal: this.#context.signal });
        refuseOther(object, stored);
        word = 'unchanged';
      }
    }
    if (output === 'yaml' || output === 'json') this.#shown.push(dryRun === 'client' ? object : stored);
    else {
      const printed = printedName(resource, name);
      await writeResult(
        this.#context,
        output === 'name' ? `${printed}\n` : `${printed} ${word}${dryRunNote(dryRun)}\n`,
      );
    }
    return stored;
  }

  /** Prints what was made, where that was asked for as a whole. */
  async finish(): Promise<void> {
    const { output } = this.#options;
    const shown = this.#shown.map((object) => {
      const { managedFields: _, ...metadata } = object.metadata;
      return { ...object, metadata };
    });
    if (output === 'yaml') await writeResult(this.#context, writeYamlDocuments(shown));
    if (output === 'json') {
      const list = { apiVersion: 'v1', kind: 'List', items: shown };
      await writeResult(this.#context, `${JSON.stringify(list, undefined, 4)}\n`);
    }
  }
}
