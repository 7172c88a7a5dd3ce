/**
 * The webhook's decisions: reviewAdmission (src/api) with what the informers know. A cache is a little behind the API
 * server, in both directions, and both are taken care of:
 *
 *  - What was allowed a moment ago and is not in the cache yet counts as if it were (two machines that are created one
 *    right after the other with the same disk), for ten seconds at most: the write may fail after all.
 *  - A refusal because of another object is not given on the cache's word: it is checked against the API server.
 *  - Nor is a machine let go from a node on the cache's word that there is no such node: it may run there already.
 */
import type { Caches } from '../caches.ts';
import type { Hypervisor } from '../../api/hypervisor.ts';
import { disksOf, networksOf, type Lookup } from '../../api/lookup.ts';
import type { KubeObject } from '../../api/meta.ts';
import { reviewAdmission, type AdmissionReview } from '../../api/review-admission.ts';
import type { VirtualMachine } from '../../api/virtual-machine.ts';
import type { Clock } from '../../base/clock.ts';
import type { ResourceClient } from '../../kube/resource-client.ts';

/** Options of {@link Admission}. */
export interface AdmissionOptions {
  readonly caches: Caches;
  readonly machines: Pick<ResourceClient<VirtualMachine>, 'listAll'>;
  readonly hypervisors: Pick<ResourceClient<Hypervisor>, 'find'>;
  readonly clock: Clock;
}

const assumedMs = 10_000;
/** More than this at once are forgotten, the oldest first. */
const maxAssumed = 10_000;

interface Request {
  readonly operation?: string;
  readonly dryRun?: boolean;
  readonly object?: VirtualMachine | null;
  readonly oldObject?: VirtualMachine | null;
}

/** See the head of this file. */
export class Admission {
  readonly #options: AdmissionOptions;
  readonly #assumed = new Map<string, { readonly machine: VirtualMachine; readonly untilMs: number }>();

  constructor(options: AdmissionOptions) {
    this.#options = options;
    options.caches.machines.onChange(({ object }) => {
      const assumed = this.#assumed.get(keyOf(object));
      if (assumed !== undefined && sameDisks(assumed.machine, object)) this.#assumed.delete(keyOf(object));
    });
  }

  /**
   * Answers a review.
   *
   * @returns undefined when the body is no review.
   * @throws what reading from the API server throws, when a refusal had to be checked.
   */
  async review(body: unknown, signal: AbortSignal): Promise<AdmissionReview | undefined> {
    let answer = reviewAdmission(body, this.#lookup());
    if (answer === undefined) return undefined;
    const { request } = body as { readonly request: Request };
    const isOfOther = !answer.response.allowed && reviewAdmission(body)?.response.allowed === true;
    if (isOfOther || changesNode(request)) {
      const live = await this.#live(request, signal);
      answer = reviewAdmission(body, live) ?? answer;
    }
    if (answer.response.allowed) this.#assume(request);
    return answer;
  }

  #lookup(): Lookup {
    const { caches } = this.#options;
    return {
      find: (kind, namespace, name) => caches.find(kind, namespace, name),
      usersOfDisk: (namespace, disk) => [
        ...caches.machines.byIndex('disk', `${namespace}/${disk}`),
        ...this.#assumedUsers(namespace, disk),
      ],
      usersOfNetwork: (namespace, network) => caches.machines.byIndex('network', `${namespace}/${network}`),
      networks: () => caches.networks(),
    };
  }

  /** A lookup by what the API server has now, in what a machine may be refused for. */
  async #live({ object, oldObject }: Request, signal: AbortSignal): Promise<Lookup> {
    const { caches, machines, hypervisors } = this.#options;
    const namespace = object?.metadata.namespace;
    const node = oldObject?.kind === 'VirtualMachine' ? (oldObject.spec.nodeName ?? '') : '';
    const [{ items }, hypervisor] = await Promise.all([
      machines.listAll({ namespace, signal }),
      node === '' ? undefined : hypervisors.find({ name: node }, { signal }),
    ]);
    return {
      find(kind, ofNamespace, name) {
        if (kind === 'Hypervisor' && name === node) return hypervisor;
        if (kind !== 'VirtualMachine' || ofNamespace !== namespace) return caches.find(kind, ofNamespace, name);
        return items.find(({ metadata }) => metadata.name === name);
      },
      usersOfDisk: (_namespace, disk) => [
        ...items.filter((one) => usesDisk(one, disk)),
        ...this.#assumedUsers(namespace, disk),
      ],
      usersOfNetwork: (_namespace, network) => items.filter((one) => networksOf(one).includes(network)),
      networks: () => caches.networks(),
    };
  }

  #assume({ operation, dryRun, object }: Request): void {
    if (dryRun === true || (operation !== 'CREATE' && operation !== 'UPDATE')) return;
    if (object?.kind !== 'VirtualMachine' || disksOf(object).length === 0) return;
    const key = keyOf(object);
    const cached = this.#options.caches.machines.get(key);
    this.#assumed.delete(key);
    if (cached !== undefined && sameDisks(cached, object)) return;
    this.#assumed.set(key, { machine: object, untilMs: this.#options.clock.monotonicMs() + assumedMs });
    if (this.#assumed.size <= maxAssumed) return;
    for (const oldest of this.#assumed.keys()) {
      this.#assumed.delete(oldest);
      break;
    }
  }

  #assumedUsers(namespace: string | undefined, disk: string): VirtualMachine[] {
    const now = this.#options.clock.monotonicMs();
    const users: VirtualMachine[] = [];
    for (const [key, { machine, untilMs }] of this.#assumed) {
      if (untilMs <= now) this.#assumed.delete(key);
      else if (machine.metadata.namespace === namespace && usesDisk(machine, disk)) users.push(machine);
    }
    return users;
  }
}

function changesNode({ operation, object, oldObject }: Request): boolean {
  if (operation !== 'UPDATE' || oldObject?.kind !== 'VirtualMachine') return false;
  const before = oldObject.spec.nodeName ?? '';
  return before !== '' && object?.spec.nodeName !== before;
}

function usesDisk(machine: VirtualMachine, disk: string): boolean {
  return disksOf(machine).some((use) => use.disk === disk);
}

function sameDisks(one: VirtualMachine, other: VirtualMachine): boolean {
  return JSON.stringify(disksOf(one)) === JSON.stringify(disksOf(other));
}

function keyOf({ metadata }: KubeObject): string {
  return `${metadata.namespace ?? ''}/${metadata.name ?? ''}`;
}
