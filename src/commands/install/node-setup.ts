/** A host without a kubelet: the binary, a kubeconfig of the executor's own identity, and a systemd unit, over ssh. */
import { readFile } from 'node:fs/promises';
import { stringify } from 'yaml';
import { executorUnit } from './executor-unit.ts';
import { systemNamespace } from './manifest.ts';
import { runSsh, type SshOptions } from './run-ssh.ts';
import { FailedError, UsageError } from '../../base/errors.ts';
import type { Connection } from '../../kube/connection.ts';
import type { KubeClient } from '../../kube/kube-client.ts';
import type { KubeObject } from '../../kube/object.ts';
import type { ResourceType } from '../../kube/resource-type.ts';
import { isNotFound } from '../../kube/status-error.ts';

/** Where things are on a host. */
export const hostPaths = {
  binary: '/usr/bin/virtctl',
  kubeconfig: '/etc/virtctl/kubeconfig',
  defaults: '/etc/default/virtctl-executor',
  unit: '/etc/systemd/system/virtctl-executor.service',
} as const;

/** The unit's name. */
export const unitName = 'virtctl-executor.service';

/** authentication.k8s.io/v1 TokenRequest, which is created below its service account. */
const tokenRequests: ResourceType = {
  group: '',
  version: 'v1',
  kind: 'TokenRequest',
  plural: 'serviceaccounts/virtctl-executor/token',
  namespaced: true,
};

interface TokenRequest extends KubeObject {
  readonly spec: { readonly expirationSeconds: number };
  readonly status?: { readonly token?: string; readonly expirationTimestamp?: string };
}

/** A kubeconfig of the service account of executors. */
export interface ExecutorKubeconfig {
  readonly text: string;
  /** When its token ends; the server may give it less time than was asked for. */
  readonly expiresAt: string;
}

/**
 * Makes a kubeconfig for an executor outside the cluster.
 *
 * @throws FailedError where the server gives no such tokens, as an embedded one.
 */
export async function executorKubeconfig(
  client: KubeClient,
  { cluster }: Connection,
  lifetimeSeconds: number,
  signal: AbortSignal,
): Promise<ExecutorKubeconfig> {
  let token: string | undefined;
  let expiresAt = '';
  try {
    const made = await client.resource<TokenRequest>(tokenRequests).create(
      {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenRequest',
        metadata: { namespace: systemNamespace },
        spec: { expirationSeconds: lifetimeSeconds },
      },
      { signal },
    );
    token = made.status?.token;
    expiresAt = made.status?.expirationTimestamp ?? '';
  } catch (error) {
    if (!isNotFound(error)) throw error;
    throw new FailedError('the server has no service account virtctl-executor', {
      cause: error,
      hint: 'run `virtctl install` first, or give a kubeconfig with --node-kubeconfig',
    });
  }
  if (token === undefined) throw new FailedError('the server gave no token');
  const ca = cluster.caData ?? (cluster.caFile === undefined ? undefined : await readFile(cluster.caFile, 'utf8'));
  const authority =
    ca === undefined ? {} : { 'certificate-authority-data': Buffer.from(ca, 'utf8').toString('base64') };
  const text = stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name: 'cluster',
        cluster: {
          server: cluster.server,
          ...authority,
          ...(cluster.insecureSkipTlsVerify ? { 'insecure-skip-tls-verify': true } : {}),
          ...(cluster.tlsServerName === undefined ? {} : { 'tls-server-name': cluster.tlsServerName }),
        },
      },
    ],
    users: [{ name: 'virtctl-executor', user: { token } }],
    contexts: [{ name: 'virtctl', context: { cluster: 'cluster', user: 'virtctl-executor' } }],
    'current-context': 'virtctl',
  });
  return { text, expiresAt };
}

/** What a host gets. */
export interface HostSetup {
  /** The single executable; left out where virtctl is there already. */
  readonly binary: Uint8Array | undefined;
  readonly kubeconfig: string;
  readonly nodeName: string;
  /** Where the host's libvirt is. */
  readonly uri: string;
}

/**
 * Sets a host up, and starts its executor. May be repeated: it is the way to upgrade.
 *
 * @throws UsageError for a name or URI that cannot be; FailedError with what the host complained about.
 */
export async function setUpHost(ssh: SshOptions, setup: HostSetup): Promise<void> {
  const { nodeName, uri } = setup;
  if (!/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(nodeName)) {
    throw new UsageError(`"${nodeName}" cannot be the name of a node`, { hint: 'give one with --node-name' });
  }
  if (!/^[A-Za-z0-9_./:?=&+-]+$/.test(uri)) throw new UsageError(`"${uri}" cannot be a libvirt URI`);
  const put = (path: string, mode: string, content: Uint8Array | string): Promise<string> =>
    runSsh(ssh, ['install', '-D', '-m', mode, '/dev/stdin', path], content);
  if (setup.binary !== undefined) {
    // Beside the running one, which cannot be written to, and then in its place.
    await put(`${hostPaths.binary}.new`, '0755', setup.binary);
    await runSsh(ssh, ['mv', '-f', `${hostPaths.binary}.new`, hostPaths.binary]);
  }
  await runSsh(ssh, [hostPaths.binary, 'version']);
  await put(hostPaths.kubeconfig, '0600', setup.kubeconfig);
  await put(hostPaths.defaults, '0644', `NODE_NAME=${nodeName}\nLIBVIRT_URI=${uri}\n`);
  await put(hostPaths.unit, '0644', executorUnit);
  await runSsh(ssh, ['systemctl', 'daemon-reload']);
  await runSsh(ssh, ['systemctl', 'enable', unitName]);
  await runSsh(ssh, ['systemctl', 'restart', unitName]);
}

/** Takes the executor away from a host; its guests run on. */
export async function clearHost(ssh: SshOptions): Promise<void> {
  await runSsh(ssh, ['systemctl', 'disable', '--now', unitName]);
  await runSsh(ssh, ['rm', '-f', hostPaths.unit, hostPaths.defaults, hostPaths.kubeconfig]);
  await runSsh(ssh, ['systemctl', 'daemon-reload']);
}
