import { canList } from './can-list.ts';
import type { Logger } from '../base/logger.ts';
import { Informer } from '../kube/informer.ts';
import type { KubeClient } from '../kube/kube-client.ts';
import type { KubeObject } from '../kube/object.ts';
import { builtin } from '../kube/resource-type.ts';

/**
 * Follows the labels of namespaces, by which affinity between machines may select them.
 *
 * @returns undefined when they may not be listed.
 * @throws the signal's reason.
 */
export async function openNamespaces(
  client: KubeClient,
  logger: Logger,
  signal: AbortSignal,
): Promise<Informer<KubeObject> | undefined> {
  const source = client.resource<KubeObject>(builtin.namespaces);
  const otherwise = 'machines whose affinity has a namespaceSelector are not placed';
  if (!(await canList({ source, what: 'namespaces', otherwise, logger }, signal))) return undefined;
  const transform = ({ apiVersion, kind, metadata }: KubeObject): KubeObject => {
    const { name, uid, resourceVersion, labels } = metadata;
    return { apiVersion, kind, metadata: { name, uid, resourceVersion, labels } };
  };
  return new Informer<KubeObject>({ source, transform, logger });
}
