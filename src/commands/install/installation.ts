/** Everything that `virtctl install` puts into a cluster, in the order in which it is applied. Pure. */
import { accessManifests } from './access-rules.ts';
import { systemNamespace, type Manifest } from './manifest.ts';
import { workloadManifests, type WorkloadOptions } from './workloads.ts';
import { customResourceDefinition } from '../../api/crd.ts';
import { leaseNamespace } from '../../api/hypervisor.ts';
import { kinds } from '../../api/kinds.ts';
import { version } from '../../base/version.ts';
import type { ResourceType } from '../../kube/resource-type.ts';

/** The namespaces that an installation has. */
export const namespaces = [systemNamespace, leaseNamespace] as const;

/** What carries all of them, and nothing else. */
export const ownLabels = {
  'app.kubernetes.io/part-of': 'virtctl',
  'app.kubernetes.io/managed-by': 'virtctl',
} as const;

/** The kinds of objects that installations have had, but for namespaces and definitions, which hold what others made. */
export const installedTypes: readonly Pick<Manifest, 'apiVersion' | 'kind'>[] = [
  { apiVersion: 'apps/v1', kind: 'Deployment' },
  { apiVersion: 'apps/v1', kind: 'DaemonSet' },
  { apiVersion: 'v1', kind: 'Service' },
  { apiVersion: 'scheduling.k8s.io/v1', kind: 'PriorityClass' },
  { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'RoleBinding' },
  { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'Role' },
  { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRoleBinding' },
  { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRole' },
  { apiVersion: 'v1', kind: 'ServiceAccount' },
];

/** The objects of an installation. */
export function installationManifests(options: WorkloadOptions): Manifest[] {
  const namespace = (name: string): Manifest => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
  return [
    ...namespaces.map(namespace),
    ...kinds.map((kind) => customResourceDefinition(kind) as unknown as Manifest),
    ...accessManifests(),
    ...workloadManifests(options),
  ].map(labelled);
}

function labelled(manifest: Manifest): Manifest {
  const { metadata } = manifest;
  const own = { ...ownLabels, 'app.kubernetes.io/version': version };
  return { ...manifest, metadata: { ...metadata, labels: { ...own, ...metadata.labels } } };
}

/** How the kinds of an installation are addressed. */
const types: Readonly<Record<string, Omit<ResourceType, 'kind' | 'group' | 'version'>>> = {
  Namespace: { plural: 'namespaces', namespaced: false },
  CustomResourceDefinition: { plural: 'customresourcedefinitions', namespaced: false },
  ServiceAccount: { plural: 'serviceaccounts', namespaced: true },
  ClusterRole: { plural: 'clusterroles', namespaced: false },
  ClusterRoleBinding: { plural: 'clusterrolebindings', namespaced: false },
  Role: { plural: 'roles', namespaced: true },
  RoleBinding: { plural: 'rolebindings', namespaced: true },
  PriorityClass: { plural: 'priorityclasses', namespaced: false },
  Service: { plural: 'services', namespaced: true },
  Deployment: { plural: 'deployments', namespaced: true },
  DaemonSet: { plural: 'daemonsets', namespaced: true },
  ValidatingWebhookConfiguration: { plural: 'validatingwebhookconfigurations', namespaced: false },
};

/** The resource of a manifest. */
export function resourceOfManifest({ apiVersion, kind }: Pick<Manifest, 'apiVersion' | 'kind'>): ResourceType {
  const [group, version = ''] = apiVersion.includes('/') ? apiVersion.split('/') : ['', apiVersion];
  const type = types[kind] ?? { plural: `${kind.toLowerCase()}s`, namespaced: true };
  return { group: group ?? '', version, kind, ...type };
}

/** A manifest's name as it is printed: `deployment.apps/virtctl-controller`. */
export function printedManifest({ apiVersion, kind, metadata }: Manifest): string {
  const [group] = apiVersion.includes('/') ? apiVersion.split('/') : [''];
  return `${kind.toLowerCase()}${group === '' ? '' : `.${group ?? ''}`}/${metadata.name ?? ''}`;
}
