import type { DryRun } from '../../cli/resources/resource-options.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import type { KubeObject } from '../../kube/object.ts';
import { builtin } from '../../kube/resource-type.ts';
import { isAlreadyExists } from '../../kube/status-error.ts';

/** Makes namespaces that went with the control plane; on a dry run it tells which. */
export class Namespaces {
  readonly #client: KubeClient;
  readonly #dryRun: DryRun;
  readonly #signal: AbortSignal;
  readonly #made: (namespace: KubeObject) => Promise<void>;
  readonly #there = new Set<string>();

  /** @param made Is told each that was made. */
  constructor(client: KubeClient, dryRun: DryRun, signal: AbortSignal, made: (namespace: KubeObject) => Promise<void>) {
    this.#made = made;
    this.#client = client;
    this.#dryRun = dryRun;
    this.#signal = signal;
  }

  async ensure(name: string | undefined): Promise<void> {
    if (name === undefined || this.#there.has(name)) return;
    const namespaces = this.#client.resource<KubeObject>(builtin.namespaces);
    if ((await namespaces.find({ name }, { signal: this.#signal })) === undefined) {
      try {
        const object = { apiVersion: 'v1', kind: 'Namespace', metadata: { name } };
        const call = { signal: this.#signal, dryRun: this.#dryRun === 'server' };
        await this.#made(this.#dryRun === 'client' ? object : await namespaces.create(object, call));
      } catch (error) {
        if (!isAlreadyExists(error)) throw error;
      }
    }
    this.#there.add(name);
  }
}
