import { networksOf, type Lookup } from '../api/lookup.ts';
import type { VirtualMachine } from '../api/virtual-machine.ts';
import type { VirtualNetwork } from '../api/virtual-network.ts';

/** More are not compared with each other. */
const maxSeen = 10_000;

/** The objects of several files that are validated in one call: two of them may want the same. */
export class SeenObjects {
  readonly #networks: VirtualNetwork[] = [];
  readonly #machines: VirtualMachine[] = [];

  /** What a file does not have may be on the server: nothing is missed. */
  readonly lookup: Lookup = {
    find: (kind, namespace, name) => ({ apiVersion: 'v1', kind, metadata: { namespace, name } }),
    networks: () => this.#networks,
    usersOfNetwork: (namespace, network) =>
      this.#machines.filter((one) => (one.metadata.namespace ?? '') === namespace && networksOf(one).includes(network)),
  };

  /** @param object One that is valid. */
  add(object: unknown): void {
    const { kind } = object as { readonly kind?: unknown };
    if (this.#networks.length + this.#machines.length >= maxSeen) return;
    if (kind === 'VirtualNetwork') this.#networks.push(object as VirtualNetwork);
    if (kind === 'VirtualMachine') this.#machines.push(object as VirtualMachine);
  }
}
