import { apiVersion } from '../api/meta.ts';
import type { VirtualMachineOperation } from '../api/virtual-machine-operation.ts';
import type { KubeClient } from '../kube/kube-client.ts';
import type { ObjectRef } from '../kube/object.ts';
import { builtin } from '../kube/resource-type.ts';
import { isNotFound } from '../kube/status-error.ts';

/** How long each step may take: also when the command was interrupted. */
const ownTimeoutMs = 10_000;

/**
 * A Secret that was made for one operation. It belongs to the operation, which the executor deletes when its time is over,
 * and the API server's garbage collector this with it; who waits for the operation's end removes it then.
 */
export class OwnSecret {
  readonly #client: KubeClient;
  readonly #ref: ObjectRef;

  constructor(client: KubeClient, namespace: string | undefined, name: string) {
    this.#client = client;
    this.#ref = { namespace, name };
  }

  /** Makes it the operation's, also when the command was interrupted: else it would stay as long as the machine does. */
  async giveTo({ metadata: { name = '', uid = '' } }: VirtualMachineOperation): Promise<void> {
    const ownerReferences = [{ apiVersion, kind: 'VirtualMachineOperation', name, uid }];
    try {
      const patch = { metadata: { ownerReferences } };
      await this.#client.resource(builtin.secrets).mergePatch(this.#ref, patch, { timeoutMs: ownTimeoutMs });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  /** Deletes it, if it is there. */
  async remove(): Promise<void> {
    try {
      await this.#client.resource(builtin.secrets).delete(this.#ref, { timeoutMs: ownTimeoutMs });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }
}
