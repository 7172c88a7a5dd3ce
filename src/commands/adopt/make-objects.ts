import { refuseOther } from './refusals.ts';
import { findKind } from '../../api/kinds.ts';
import { assertValid } from '../../api/validate.ts';
import type { Context } from '../../cli/context.ts';
import { printedName, resourceOf, resourceOfObject } from '../../cli/resources/known-resources.ts';
import { dryRunNote, type DryRun } from '../../cli/resources/resource-options.ts';
import { writeResult } from '../../cli/write-result.ts';
import { writeYamlDocuments } from '../../cli/yaml/write-yaml.ts';
import { ConflictError, FailedError } from '../../base/errors.ts';
import type { NewObject } from '../../executor/adoption/known-objects.ts';
import type { VirtualMachineSnapshot } from '../../api/virtual-machine-snapshot.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import type { KubeObject } from '../../kube/object.ts';
import type { ResourceClient } from '../../kube/resource-client.ts';
import { builtin } from '../../kube/resource-type.ts';
import { isAlreadyExists, isNotFound } from '../../kube/status-error.ts';

/** How objects are made and told. */
export interface MakeOptions {
  readonly dryRun: DryRun;
  readonly output?: 'yaml' | 'json' | 'name' | undefined;
  /** What was done with a machine, as `adopted`. */
  readonly done: string;
}

interface Stored {
  /** As the server has it. */
  readonly stored: KubeObject;
  /** It was not there before. */
  readonly isNew: boolean;
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
    const { done } = this.#options;
    const kind = findKind(object.kind);
    if (kind === undefined) throw new FailedError(`there is no kind ${object.kind}`);
    const objects = this.#client.resource<KubeObject>(resourceOf(kind));
    const { stored, isNew } = await this.#store(objects, object);
    if (!isNew) refuseOther(object, stored);
    const word = !isNew ? 'unchanged' : object.kind === 'VirtualMachine' ? done : 'created';
    await this.tell(stored, word);
    return stored;
  }

  /**
   * Prints what was done with an object.
   *
   * @param word As `created`.
   */
  async tell(object: KubeObject, word: string): Promise<void> {
    const { dryRun, output } = this.#options;
    if (output === 'yaml' || output === 'json') {
      this.#shown.push(object);
      return;
    }
    const resource = resourceOfObject(object);
    if (resource === undefined) throw new FailedError(`there is no kind ${object.kind}`);
    const printed = printedName(resource, object.metadata.name ?? '');
    await writeResult(this.#context, output === 'name' ? `${printed}\n` : `${printed} ${word}${dryRunNote(dryRun)}\n`);
  }

  /** Has an object that was made, and is printed with all of them at the end, printed as it has become since. */
  amend(object: KubeObject): void {
    const at = this.#shown.findIndex(({ metadata }) => metadata.uid === object.metadata.uid);
    if (at >= 0) this.#shown[at] = object;
  }

  /** @throws the server's error for a machine that is there already; on a dry run the same. */
  async #store(objects: ResourceClient<KubeObject>, object: KubeObject): Promise<Stored> {
    const { dryRun } = this.#options;
    const { signal } = this.#context;
    const { name = '', namespace } = object.metadata;
    if (dryRun === 'client') {
      assertValid(object);
      const there = await objects.find({ name, namespace }, { signal });
      if (there === undefined) return { stored: object, isNew: true };
      if (object.kind === 'VirtualMachine') throw new ConflictError(`${object.kind} "${name}" already exists`);
      return { stored: there, isNew: false };
    }
    try {
      const call = { fieldManager: 'virtctl', fieldValidation: 'Strict', signal } as const;
      return { stored: await objects.create(object, { ...call, dryRun: dryRun === 'server' }), isNew: true };
    } catch (error) {
      if (dryRun === 'server' && isNotFound(error) && (await this.#isNewNamespace(namespace))) {
        // The server did not store the namespace either: it cannot look further, and nothing can be in it.
        assertValid(object);
        return { stored: object, isNew: true };
      }
      if (!isAlreadyExists(error) || object.kind === 'VirtualMachine') throw error;
      return { stored: await objects.get({ name, namespace }, { signal }), isNew: false };
    }
  }

  async #isNewNamespace(name: string | undefined): Promise<boolean> {
    if (name === undefined) return false;
    const namespaces = this.#client.resource<KubeObject>(builtin.namespaces);
    return (await namespaces.find({ name }, { signal: this.#context.signal })) === undefined;
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
