import { printedName, type KnownResource } from '../../cli/resources/known-resources.ts';
import { toError } from '../../base/errors.ts';
import type { Context } from '../../cli/context.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import { refOf, type KubeObject } from '../../kube/object.ts';
import { isConflict, isNotFound, isRefusal } from '../../kube/status-error.ts';

/** How long each request may take: also when the command was interrupted. */
const ownTimeoutMs = 10_000;

/** What a command has made on its way to something, and removes again where it does not get there. */
export class MadeObjects {
  readonly #context: Context;
  readonly #client: KubeClient;
  readonly #made: { readonly resource: KnownResource; readonly object: KubeObject }[] = [];

  constructor(context: Context, client: KubeClient) {
    this.#context = context;
    this.#client = client;
  }

  /**
   * Makes an object, and remembers it. The answer is waited for also when the command is interrupted meanwhile, so that
   * it is known what there is.
   */
  async make<T extends KubeObject>(resource: KnownResource, object: T): Promise<T> {
    const { signal } = this.#context;
    signal.throwIfAborted();
    try {
      const made = await this.#client
        .resource<T>(resource)
        .create(object, { fieldValidation: 'Strict', timeoutMs: ownTimeoutMs });
      this.#made.push({ resource, object: made });
      return made;
    } catch (error) {
      // What the server has not refused may be there.
      if (!isRefusal(error)) this.#tell(resource, object.metadata.name ?? '', error);
      throw error;
    }
  }

  /** Deletes one of them, as part of the way. */
  async remove({ kind }: KnownResource, name: string): Promise<void> {
    const at = this.#made.findIndex(({ resource, object }) => resource.kind === kind && object.metadata.name === name);
    const one = this.#made[at];
    if (one === undefined) return;
    await this.#delete(one.resource, one.object);
    // Only now: what could not be deleted is still to be removed with the others.
    this.#made.splice(at, 1);
  }

  /** Deletes all of them, the last one first, and tells of those that it cannot delete. */
  async removeAll(): Promise<void> {
    for (const { resource, object } of this.#made.splice(0).reverse()) {
      try {
        await this.#delete(resource, object);
      } catch (error) {
        this.#tell(resource, object.metadata.name ?? '', error);
      }
    }
  }

  /** Tells of those that there are, where what they were made for may be there too. */
  tellKept(): void {
    const names = this.#made.map(({ resource, object }) => printedName(resource, object.metadata.name ?? ''));
    if (names.length > 0) this.#context.stderr.write(`note: kept for it: ${names.join(', ')}\n`);
  }

  async #delete(resource: KnownResource, object: KubeObject): Promise<void> {
    const preconditions = { uid: object.metadata.uid };
    try {
      await this.#client
        .resource<KubeObject>(resource)
        .delete(refOf(object), { preconditions, timeoutMs: ownTimeoutMs });
    } catch (error) {
      // It is gone, or another one has its name.
      if (!isNotFound(error) && !isConflict(error)) throw error;
    }
  }

  #tell(resource: KnownResource, name: string, error: unknown): void {
    this.#context.stderr.write(`note: ${printedName(resource, name)} may be left: ${toError(error).message}\n`);
  }
}
