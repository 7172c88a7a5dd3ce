import { installedTypes, namespaces, ownLabels, resourceOfManifest } from './installation.ts';
import type { Manifest } from './manifest.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import type { KubeObject } from '../../kube/object.ts';
import { isNotFound } from '../../kube/status-error.ts';

/**
 * What an installation of another version, or with other options, has put into a cluster, and is not wanted any more: objects
 * with our labels, in our namespaces or in none. Never a kind or a namespace, since what others made would go with it.
 *
 * @param wanted What is to stay.
 */
export async function strayObjects(
  client: KubeClient,
  wanted: readonly Manifest[],
  signal: AbortSignal,
): Promise<readonly Manifest[]> {
  const labelSelector = Object.entries(ownLabels)
    .map(([key, value]) => `${key}=${value}`)
    .join(',');
  const stays = new Set(wanted.map(keyOf));
  const found: Manifest[] = [];
  for (const { apiVersion, kind } of installedTypes) {
    const type = resourceOfManifest({ apiVersion, kind });
    for (const namespace of type.namespaced ? namespaces : [undefined]) {
      try {
        const { items } = await client.resource<KubeObject>(type).listAll({ namespace, labelSelector, signal });
        found.push(...items.map(({ metadata }) => ({ apiVersion, kind, metadata })));
      } catch (error) {
        // A server that does not know the kind has none of it.
        if (!isNotFound(error)) throw error;
      }
    }
  }
  return found.filter((one) => !stays.has(keyOf(one)));
}

function keyOf({ kind, metadata }: Manifest): string {
  return `${kind} ${metadata.namespace ?? ''} ${metadata.name ?? ''}`;
}
