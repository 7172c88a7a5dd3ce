import { accumulate, type Amounts } from './amounts.ts';
import { canList } from './can-list.ts';
import { slimPod, type SlimPod } from './pod-requests.ts';
import type { Logger } from '../base/logger.ts';
import { Informer } from '../kube/informer.ts';
import type { KubeClient } from '../kube/kube-client.ts';
import { objectKey } from '../kube/object.ts';
import { builtin } from '../kube/resource-type.ts';

/** More pods than this are an error that is told again and again: Kubernetes itself is made for 150,000. */
const maxPods = 200_000;

/** Pods that are bound and have not ended: only those take anything. */
const fieldSelector = 'spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed';

/** Follows the pods of all nodes: what those of a kubelet request is not there for machines. */
export class PodWatch {
  readonly #informer: Informer<SlimPod>;
  readonly #byNode = new Map<string, Record<string, number>>();
  /** What was counted of each pod: the last version of one that goes tells only that it has ended. */
  readonly #counted = new Map<string, SlimPod>();
  #onChange: (node: string, requests: Amounts) => void = () => undefined;

  private constructor(client: KubeClient, logger: Logger) {
    this.#informer = new Informer<SlimPod>({
      source: client.resource<SlimPod>(builtin.pods),
      fieldSelector,
      transform: slimPod,
      maxObjects: maxPods,
      logger,
    });
    this.#informer.onChange((change) => {
      if (change.type === 'resync') return;
      const key = objectKey(change.object);
      const counted = this.#counted.get(key);
      if (counted !== undefined) this.#count(counted, -1);
      if (change.type === 'deleted') this.#counted.delete(key);
      else {
        this.#counted.set(key, change.object);
        this.#count(change.object, 1);
      }
    });
  }

  /**
   * Looks whether there are pods to follow: the API server of `virtctl standalone` has none.
   *
   * @throws the signal's reason.
   */
  static async open(client: KubeClient, logger: Logger, signal: AbortSignal): Promise<PodWatch | undefined> {
    const source = client.resource(builtin.pods);
    const otherwise = 'what they take is not subtracted';
    const isThere = await canList({ source, fieldSelector, what: 'pods', otherwise, logger }, signal);
    return isThere ? new PodWatch(client, logger) : undefined;
  }

  run(signal: AbortSignal): Promise<void> {
    return this.#informer.run(signal);
  }

  synced(signal: AbortSignal): Promise<void> {
    return this.#informer.synced(signal);
  }

  /** Tells what the pods of each node request, now and whenever it changes. */
  follow(onChange: (node: string, requests: Amounts) => void): void {
    this.#onChange = onChange;
    for (const [node, requests] of this.#byNode) onChange(node, rounded(requests));
  }

  #count({ spec: { nodeName, requests } }: SlimPod, factor: 1 | -1): void {
    if (nodeName === '' || Object.keys(requests).length === 0) return;
    let sum = this.#byNode.get(nodeName);
    if (sum === undefined) this.#byNode.set(nodeName, (sum = {}));
    accumulate(sum, requests, factor);
    this.#onChange(nodeName, rounded(sum));
  }
}

/** Without what adding and subtracting fractions of CPUs leaves. */
function rounded(amounts: Amounts): Amounts {
  return Object.fromEntries(Object.entries(amounts).map(([name, amount]) => [name, Math.round(amount * 1000) / 1000]));
}
