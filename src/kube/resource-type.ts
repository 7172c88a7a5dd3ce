import type { ObjectRef } from './object.ts';
import { FailedError, UsageError } from '../base/errors.ts';

/** One resource of the API: where its objects live and what they are called. */
export interface ResourceType {
  /** The API group; empty for the core group. */
  readonly group: string;
  /** Such as `v1`. */
  readonly version: string;
  /** Such as `VirtualMachine`. */
  readonly kind: string;
  /** The lower-case plural that stands in paths, such as `virtualmachines`. */
  readonly plural: string;
  readonly namespaced: boolean;
}

/** The built-in resources that virtctl uses. */
export const builtin = {
  namespaces: { group: '', version: 'v1', kind: 'Namespace', plural: 'namespaces', namespaced: false },
  secrets: { group: '', version: 'v1', kind: 'Secret', plural: 'secrets', namespaced: true },
  configMaps: { group: '', version: 'v1', kind: 'ConfigMap', plural: 'configmaps', namespaced: true },
  pods: { group: '', version: 'v1', kind: 'Pod', plural: 'pods', namespaced: true },
  nodes: { group: '', version: 'v1', kind: 'Node', plural: 'nodes', namespaced: false },
  events: { group: 'events.k8s.io', version: 'v1', kind: 'Event', plural: 'events', namespaced: true },
  leases: { group: 'coordination.k8s.io', version: 'v1', kind: 'Lease', plural: 'leases', namespaced: true },
  customResourceDefinitions: {
    group: 'apiextensions.k8s.io',
    version: 'v1',
    kind: 'CustomResourceDefinition',
    plural: 'customresourcedefinitions',
    namespaced: false,
  },
} as const satisfies Readonly<Record<string, ResourceType>>;

/** What stands in `apiVersion`: `v1`, or `group/version`. */
export function apiVersionOf(type: ResourceType): string {
  return type.group === '' ? type.version : `${type.group}/${type.version}`;
}

/**
 * The path of a collection: of one namespace, of all namespaces (`undefined`), or of a cluster-wide resource.
 *
 * @throws FailedError when a namespace is given for a cluster-wide resource; UsageError when it is not a possible name.
 */
export function collectionPath(type: ResourceType, namespace: string | undefined): string {
  const root = type.group === '' ? `/api/${type.version}` : `/apis/${type.group}/${type.version}`;
  if (namespace === undefined || namespace === '') return `${root}/${type.plural}`;
  if (!type.namespaced) throw new FailedError(`${type.kind} "${namespace}/…" has a namespace, but the kind has none`);
  return `${root}/namespaces/${segment('namespace', namespace)}/${type.plural}`;
}

/**
 * The path of one object, or of a subresource of it.
 *
 * @throws FailedError when the namespace is missing or too much; UsageError when a name cannot be one.
 */
export function objectPath(type: ResourceType, ref: ObjectRef, subresource?: string): string {
  if (type.namespaced && (ref.namespace ?? '') === '') {
    throw new FailedError(`${type.kind} "${ref.name}" needs a namespace`);
  }
  const path = `${collectionPath(type, ref.namespace)}/${segment('name', ref.name)}`;
  return subresource === undefined ? path : `${path}/${subresource}`;
}

/** A name as a path segment. Kubernetes refuses `.`, `..`, `/` and `%` too (path.IsValidPathSegmentName). */
function segment(what: string, name: string): string {
  if (name === '' || name === '.' || name === '..' || /[/%]/.test(name)) {
    throw new UsageError(`"${name}" cannot be a ${what}`);
  }
  return encodeURIComponent(name);
}
