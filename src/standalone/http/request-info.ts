import type { ResourceDefinition } from '../kinds/resource-definition.ts';
import type { DefinitionRegistry } from '../kinds/registry.ts';
import { badRequest } from './api-error.ts';

/** Which resource a path is about. */
export interface RequestInfo {
  readonly definition: ResourceDefinition;
  /** Empty for a cluster-wide resource or all namespaces. */
  readonly namespace: string;
  /** Empty for the collection. */
  readonly name: string;
  /** `status`, `finalize` (of a namespace), or empty. */
  readonly subresource: string;
}

/** What a path that leads to no resource is answered with. */
export type NoResource = 'unknown-group' | 'unknown-resource';

/**
 * Reads `/api/v1/…` and `/apis/GROUP/VERSION/…`, as kube-apiserver lays them out.
 *
 * @throws ApiError 400 for an escape that stands for no character.
 */
export function parseResourcePath(path: string, registry: DefinitionRegistry): RequestInfo | NoResource {
  const parts = path.split('/').slice(1).map(decodePart);
  if (parts.at(-1) === '') parts.pop();
  const core = parts[0] === 'api';
  const group = core ? '' : (parts[1] ?? '');
  const version = (core ? parts[1] : parts[2]) ?? '';
  const rest = parts.slice(core ? 2 : 3);
  if (!registry.hasGroupVersion(group, version)) return 'unknown-group';
  if (rest.length === 0 || rest.some((part) => part === '')) return 'unknown-resource';
  const namespaced = rest[0] === 'namespaces' && rest.length >= 3 && !(core && isNamespaceSubresource(rest));
  const namespace = namespaced ? (rest[1] ?? '') : '';
  const [plural = '', name = '', subresource = '', ...more] = namespaced ? rest.slice(2) : rest;
  const definition = registry.find(group, version, plural);
  if (definition === undefined || more.length > 0) return 'unknown-resource';
  if (namespaced !== (definition.scope === 'Namespaced') && (namespaced || name !== '')) return 'unknown-resource';
  if (subresource !== '' && !subresourcesOf(definition).includes(subresource)) return 'unknown-resource';
  return { definition, namespace, name, subresource };
}

function decodePart(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
    throw badRequest(`invalid URL escape in ${JSON.stringify(part)}`);
  }
}

function isNamespaceSubresource(rest: readonly string[]): boolean {
  return rest.length === 3 && (rest[2] === 'status' || rest[2] === 'finalize');
}

/** The subresources that a definition has. */
export function subresourcesOf(definition: ResourceDefinition): string[] {
  const finalize = definition.group === '' && definition.kind === 'Namespace' ? ['finalize'] : [];
  return [...(definition.statusSubresource ? ['status'] : []), ...finalize];
}
