/**
 * What each part may do: no more than it does. An executor reads everything of ours, writes status, and changes no spec; what
 * it cannot do without, RBAC cannot narrow further: it may write the status of machines of other nodes, and read the
 * Secrets and ConfigMaps of every namespace, since machines name them (docs/operations.md has the list).
 */
import { group, systemNamespace, type Manifest } from './manifest.ts';
import { leaseNamespace } from '../../api/hypervisor.ts';
import { kinds } from '../../api/kinds.ts';

/** A rule of RBAC. */
interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
  readonly resourceNames?: readonly string[];
}

/** The parts that have an identity of their own. */
export const parts = ['controller', 'scheduler', 'executor'] as const;

/** A part. */
export type Part = (typeof parts)[number];

const read = ['get', 'list', 'watch'];
const plurals = kinds.map(({ plural }) => plural);
/** Kinds that an executor keeps a finalizer on; the controller writes it for him. */
const held = plurals.filter((one) => one !== 'hypervisors');

const ours = (resources: readonly string[], verbs: readonly string[]): Rule => ({
  apiGroups: [group],
  resources,
  verbs,
});
const events: Rule = { apiGroups: ['events.k8s.io'], resources: ['events'], verbs: ['create', 'patch'] };
const leases = (verbs: readonly string[]): Rule => ({
  apiGroups: ['coordination.k8s.io'],
  resources: ['leases'],
  verbs,
});
const status = (resources: readonly string[]): readonly string[] => resources.map((one) => `${one}/status`);

/** Everywhere. */
const clusterRules: Readonly<Record<Part, readonly Rule[]>> = {
  executor: [
    ours(plurals, read),
    ours(status(plurals), ['patch']),
    // Its node, and the pool that every node has.
    ours(['hypervisors', 'virtualpools'], ['create']),
    // Empty disks in pools are VirtualDisks that come and go with their machine.
    ours(['virtualdisks'], ['create', 'delete']),
    // What is over.
    ours(['virtualmachineoperations'], ['delete']),
    // A snapshot belongs to its machine, and goes with it.
    ours(['virtualmachinesnapshots'], ['patch', 'delete']),
    { apiGroups: [''], resources: ['secrets', 'configmaps'], verbs: ['get'] },
    { apiGroups: [''], resources: ['namespaces'], verbs: ['get'], resourceNames: [leaseNamespace] },
    events,
  ],
  scheduler: [
    ours(plurals, read),
    // Writes spec.nodeName, and what it has reserved.
    ours(['virtualmachines', 'hypervisors'], ['patch']),
    // Says why a machine waits, and where one that moves is to go.
    ours(['virtualmachines/status', 'virtualmachineoperations/status'], ['patch']),
    { apiGroups: [''], resources: ['namespaces'], verbs: ['get'], resourceNames: [systemNamespace] },
    { apiGroups: [''], resources: ['pods', 'nodes'], verbs: read },
    // Affinity may select namespaces by their labels.
    { apiGroups: [''], resources: ['namespaces'], verbs: ['list', 'watch'] },
    events,
  ],
  controller: [
    ours(plurals, read),
    ours(held, ['patch']),
    ours(['virtualmachines/status', 'hypervisors/status'], ['patch']),
    ours(['virtualmachineoperations'], ['delete']),
    // Takes snapshots by the clock, and deletes those that are too old.
    ours(['virtualmachinesnapshots'], ['create', 'delete']),
    ours(['virtualmachinesnapshots/status'], ['patch']),
    { apiGroups: [''], resources: ['namespaces'], verbs: ['get'], resourceNames: [systemNamespace] },
    {
      apiGroups: ['admissionregistration.k8s.io'],
      resources: ['validatingwebhookconfigurations'],
      verbs: ['get', 'create', 'patch', 'update'],
    },
    events,
  ],
};

/** In a namespace only. */
const namespacedRules: Readonly<
  Record<Part, readonly { readonly namespace: string; readonly rules: readonly Rule[] }[]>
> = {
  executor: [{ namespace: leaseNamespace, rules: [leases(['get', 'create', 'patch', 'update'])] }],
  scheduler: [{ namespace: systemNamespace, rules: [leases(['get', 'create', 'patch', 'update'])] }],
  controller: [
    {
      namespace: systemNamespace,
      rules: [
        leases(['get', 'create', 'patch', 'update']),
        { apiGroups: [''], resources: ['secrets'], verbs: ['create'] },
        {
          apiGroups: [''],
          resources: ['secrets'],
          verbs: ['get', 'patch', 'update'],
          resourceNames: ['virtctl-webhook'],
        },
      ],
    },
    { namespace: leaseNamespace, rules: [leases(read)] },
  ],
};

const rbac = 'rbac.authorization.k8s.io';

/** Service accounts, roles and bindings. */
export function accessManifests(): Manifest[] {
  return parts.flatMap((part) => {
    const name = `virtctl-${part}`;
    const subjects = [{ kind: 'ServiceAccount', name, namespace: systemNamespace }];
    const labels = { 'app.kubernetes.io/component': part };
    return [
      { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace: systemNamespace, labels } },
      {
        apiVersion: `${rbac}/v1`,
        kind: 'ClusterRole',
        metadata: { name, labels },
        rules: clusterRules[part],
      },
      {
        apiVersion: `${rbac}/v1`,
        kind: 'ClusterRoleBinding',
        metadata: { name, labels },
        roleRef: { apiGroup: rbac, kind: 'ClusterRole', name },
        subjects,
      },
      ...namespacedRules[part].flatMap(({ namespace, rules }): Manifest[] => [
        { apiVersion: `${rbac}/v1`, kind: 'Role', metadata: { name, namespace, labels }, rules },
        {
          apiVersion: `${rbac}/v1`,
          kind: 'RoleBinding',
          metadata: { name, namespace, labels },
          roleRef: { apiGroup: rbac, kind: 'Role', name },
          subjects,
        },
      ]),
    ];
  });
}
