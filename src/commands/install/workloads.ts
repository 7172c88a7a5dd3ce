/** What runs in the cluster: controller and scheduler as Deployments, the executor as a DaemonSet. */
import { systemNamespace, type Manifest } from './manifest.ts';
import type { Part } from './access-rules.ts';

/** Options of {@link workloadManifests}. */
export interface WorkloadOptions {
  /** The container image, which has the binary. */
  readonly image: string;
  /** How many controllers and schedulers run; one of each leads. */
  readonly replicas: number;
  /** The nodes that get an executor; undefined for none: those without a kubelet have a systemd unit. */
  readonly nodes: NodeChoice | undefined;
}

/** Nodes by their labels, or by their names. */
export type NodeChoice =
  | { readonly labels: Readonly<Record<string, string>>; readonly names?: undefined }
  | { readonly names: readonly string[]; readonly labels?: undefined };

/** The label of nodes that get an executor, when nothing else is said. */
export const hypervisorLabel = 'virtctl.dev/hypervisor';

const priorityClass = 'virtctl-critical';

/** Where the executor keeps files of machines: the same path inside and outside, since the host's QEMU opens them. */
const dataFolder = '/var/lib/virtctl';

/** A user that nothing else has. */
const userId = 64_321;

/** The objects that run the parts, with what they need around them. */
export function workloadManifests({ image, replicas, nodes }: WorkloadOptions): Manifest[] {
  return [
    {
      apiVersion: 'scheduling.k8s.io/v1',
      kind: 'PriorityClass',
      metadata: { name: priorityClass },
      value: 1_000_000_000,
      globalDefault: false,
      description: 'The parts of virtctl: machines run without them, but nothing changes.',
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'virtctl-webhook', namespace: systemNamespace },
      spec: {
        selector: selector('controller'),
        ports: [{ name: 'https', port: 443, targetPort: 9443, protocol: 'TCP' }],
      },
    },
    deployment('controller', image, replicas, {
      args: [
        ...['controller', '--webhook-listen', '0.0.0.0', '--webhook-port', '9443'],
        ...['--webhook-service', `${systemNamespace}/virtctl-webhook`],
      ],
      ports: [{ name: 'webhook', containerPort: 9443, protocol: 'TCP' }],
    }),
    deployment('scheduler', image, replicas, { args: ['scheduler', '--lease-namespace', systemNamespace] }),
    ...(nodes === undefined ? [] : [daemonSet(image, nodes)]),
  ];
}

function deployment(part: Part, image: string, replicas: number, container: object): Manifest {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: `virtctl-${part}`, namespace: systemNamespace },
    spec: {
      replicas,
      selector: { matchLabels: selector(part) },
      template: {
        metadata: { labels: selector(part) },
        spec: {
          serviceAccountName: `virtctl-${part}`,
          priorityClassName: priorityClass,
          nodeSelector: { 'kubernetes.io/os': 'linux' },
          securityContext: {
            runAsNonRoot: true,
            runAsUser: userId,
            runAsGroup: userId,
            seccompProfile: { type: 'RuntimeDefault' },
          },
          topologySpreadConstraints: [
            {
              maxSkew: 1,
              topologyKey: 'kubernetes.io/hostname',
              whenUnsatisfiable: 'ScheduleAnyway',
              labelSelector: { matchLabels: selector(part) },
            },
          ],
          containers: [
            {
              name: part,
              image,
              ...container,
              resources: { requests: { cpu: '50m', memory: '128Mi' }, limits: { memory: '1Gi' } },
              securityContext: {
                allowPrivilegeEscalation: false,
                readOnlyRootFilesystem: true,
                capabilities: { drop: ['ALL'] },
              },
            },
          ],
        },
      },
    },
  };
}

/** The binary and libvirt's socket; the guests are libvirtd's, outside, and outlive every pod. */
function daemonSet(image: string, nodes: NodeChoice): Manifest {
  const health = (path: string): object => ({
    httpGet: { host: '127.0.0.1', port: 9177, path },
    periodSeconds: 10,
    timeoutSeconds: 5,
  });
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name: 'virtctl-executor', namespace: systemNamespace },
    spec: {
      selector: { matchLabels: selector('executor') },
      updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: '10%' } },
      template: {
        metadata: { labels: selector('executor') },
        spec: {
          serviceAccountName: 'virtctl-executor',
          priorityClassName: priorityClass,
          // Machines' addresses and the metrics of 127.0.0.1 are the host's.
          hostNetwork: true,
          dnsPolicy: 'ClusterFirstWithHostNet',
          ...placement(nodes),
          tolerations: [{ operator: 'Exists' }],
          terminationGracePeriodSeconds: 30,
          containers: [
            {
              name: 'executor',
              image,
              args: [
                ...['executor', '--node-name', '$(NODE_NAME)', '--connect', 'qemu:///system'],
                ...['--data-dir', `${dataFolder}/executor`],
              ],
              env: [{ name: 'NODE_NAME', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } }],
              livenessProbe: { ...health('/healthz'), failureThreshold: 6 },
              readinessProbe: health('/readyz'),
              resources: { requests: { cpu: '50m', memory: '128Mi' }, limits: { memory: '512Mi' } },
              securityContext: {
                runAsUser: 0,
                allowPrivilegeEscalation: false,
                readOnlyRootFilesystem: true,
                seccompProfile: { type: 'RuntimeDefault' },
                // Files that it makes for machines belong to whoever QEMU runs as.
                capabilities: { drop: ['ALL'], add: ['CHOWN', 'DAC_OVERRIDE', 'FOWNER'] },
              },
              volumeMounts: [
                { name: 'libvirt', mountPath: '/run/libvirt' },
                { name: 'data', mountPath: dataFolder },
                { name: 'dev', mountPath: '/dev', readOnly: true },
                { name: 'tmp', mountPath: '/tmp' },
              ],
            },
          ],
          volumes: [
            { name: 'libvirt', hostPath: { path: '/run/libvirt', type: 'Directory' } },
            { name: 'data', hostPath: { path: dataFolder, type: 'DirectoryOrCreate' } },
            // Only to see whether there is a /dev/kvm: the pod may open no device.
            { name: 'dev', hostPath: { path: '/dev', type: 'Directory' } },
            { name: 'tmp', emptyDir: {} },
          ],
        },
      },
    },
  };
}

function placement(nodes: NodeChoice): object {
  if (nodes.labels !== undefined) return { nodeSelector: { 'kubernetes.io/os': 'linux', ...nodes.labels } };
  const values = [...nodes.names];
  const matchExpressions = [{ key: 'kubernetes.io/hostname', operator: 'In', values }];
  return {
    affinity: {
      nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchExpressions }] } },
    },
  };
}

function selector(part: Part): Record<string, string> {
  return { 'app.kubernetes.io/name': 'virtctl', 'app.kubernetes.io/component': part };
}
