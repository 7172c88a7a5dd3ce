import type { DryRun } from '../../cli/resources/resource-options.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import type { KubeObject } from '../../kube/object.ts';
import { builtin } from '../../kube/resource-type.ts';
import { isAlreadyExists } from '../../kube/status-error.ts';

/** Makes namespaces that went with the control plane. */
export class Namespaces {
  readonly #client: KubeClient;
  readonly #dryRun: DryRun;
  readonly #signal: AbortSignal;
  readonly #there = new Set<string>();

  constructor(client: KubeClient, dryRun: DryRun, signal: AbortSignal) {
    this.#client = client;
    this.#dryRun = dryRun;
    this.#signal = signal;
  }

  async ensure(name: string | undefined): Promise<void> {
    if (name === undefined || this.#there.has(name) || this.#dryRun === 'client') return;
    const namespaces = this.#client.resource<KubeObject>(builtin.namespaces);
    if ((await namespaces.find({ name }, { signal: this.#signal })) === undefined) {
      try {
        const object = { apiVersion: 'v1', kind: 'Namespace', metadata: { name } };
        await namespaces.create(object, { signal: this.#signal, dryRun: this.#dryRun === 'server' });
      } catch (error) {
        if (!isAlreadyExists(error)) throw error;
      }
    }
    this.#there.add(name);
  }
}
