import type { Amounts } from './amounts.ts';
import { formatBytes, parseQuantity } from '../api/quantity.ts';
import type { KubeObject } from '../kube/object.ts';

type Quantities = Readonly<Record<string, string | number>> | undefined;

interface Container {
  readonly restartPolicy?: string;
  readonly resources?: { readonly requests?: Quantities; readonly limits?: Quantities };
}

/** What is read of a pod. */
export interface Pod extends KubeObject {
  readonly spec?: {
    readonly nodeName?: string;
    readonly containers?: readonly Container[];
    readonly initContainers?: readonly Container[];
    readonly overhead?: Quantities;
  };
  readonly status?: { readonly phase?: string };
}

/** A pod without everything that does not matter here: of a large cluster all of them are kept. */
export interface SlimPod extends KubeObject {
  readonly spec: { readonly nodeName: string; readonly requests: Amounts };
}

/** Leaves of a pod what it takes from its node: nothing once it has ended. */
export function slimPod(pod: Pod): SlimPod {
  const { name, namespace, uid, resourceVersion } = pod.metadata;
  const hasEnded = pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, uid, resourceVersion },
    spec: { nodeName: pod.spec?.nodeName ?? '', requests: hasEnded ? {} : podRequests(pod) },
  };
}

/**
 * What a pod takes from its node, as kube-scheduler counts it (k8s.io/component-helpers/resource.PodRequests): its
 * containers together with the sidecars, or what the greediest init container needs beside the sidecars started before
 * it, whichever is more; and the overhead of its runtime class.
 *
 * @returns CPUs, and bytes of memory and huge pages.
 */
export function podRequests({ spec = {} }: Pod): Amounts {
  const total: Record<string, number> = {};
  for (const container of spec.containers ?? []) add(total, requestsOf(container));
  const sidecars: Record<string, number> = {};
  const init: Record<string, number> = {};
  for (const container of spec.initContainers ?? []) {
    const own = requestsOf(container);
    if (container.restartPolicy === 'Always') {
      add(sidecars, own);
      add(total, own);
      raise(init, sidecars);
    } else raise(init, sum(sidecars, own));
  }
  raise(total, init);
  add(total, amountsOf(spec.overhead));
  return total;
}

/** A container's requests; a limit without a request is one, as the API server has it. */
function requestsOf({ resources }: Container): Amounts {
  return { ...amountsOf(resources?.limits), ...amountsOf(resources?.requests) };
}

function amountsOf(quantities: Quantities): Amounts {
  const amounts: Record<string, number> = {};
  for (const [name, quantity] of Object.entries(quantities ?? {})) {
    const amount = parseQuantity(quantity);
    if (amount === undefined) continue;
    if (name === 'cpu' || name === 'memory') amounts[name] = amount;
    else if (name.startsWith('hugepages-')) {
      amounts[`hugepages-${formatBytes(parseQuantity(name.slice('hugepages-'.length)) ?? 0)}`] = amount;
    }
  }
  return amounts;
}

function add(total: Record<string, number>, more: Amounts): void {
  for (const [name, amount] of Object.entries(more)) total[name] = (total[name] ?? 0) + amount;
}

function sum(left: Amounts, right: Amounts): Amounts {
  const total = { ...left };
  add(total, right);
  return total;
}

function raise(total: Record<string, number>, least: Amounts): void {
  for (const [name, amount] of Object.entries(least)) total[name] = Math.max(total[name] ?? 0, amount);
}
