/** A host without a kubelet: the binary, a kubeconfig of the executor's own identity, and a systemd unit, over ssh. */
import { readFile } from 'node:fs/promises';
import { stringify } from 'yaml';
import { executorUnit } from './executor-unit.ts';
import { systemNamespace } from './manifest.ts';
import { remoteRoot, type RemoteRoot } from './remote-root.ts';
import type { SshOptions } from './run-ssh.ts';
import { FailedError, UsageError } from '../../base/errors.ts';
import { isObjectName } from '../../cli/object-name.ts';
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
  /** Makes the executor's kubeconfig. Asked for once the host is known to be fit: a token is good for a year. */
  readonly kubeconfig: () => Promise<string>;
  readonly nodeName: string;
  /** Where the host's libvirt is. */
  readonly uri: string;
}

/**
 * Sets a host up, and starts its executor. May be repeated: it is the way to upgrade.
 *
 * @throws UsageError for a name or URI that cannot be; UnreachableError where ssh does not get there; FailedError with what
 *   the host complained about, or misses. What runs there stays as it is then.
 */
export async function setUpHost(ssh: SshOptions, setup: HostSetup): Promise<void> {
  const { nodeName, uri } = setup;
  if (!isObjectName(nodeName)) {
    throw new UsageError(`"${nodeName}" cannot be the name of a node`, { hint: 'give one with --node-name' });
  }
  if (!/^[A-Za-z0-9_./:?=&+-]+$/.test(uri)) throw new UsageError(`"${uri}" cannot be a libvirt URI`);
  const root = await remoteRoot(ssh);
  await root.run(['systemctl', '--version']);
  const kubeconfig = await putBinary(ssh, root, setup);
  await root.put(hostPaths.kubeconfig, '0600', kubeconfig);
  await root.put(hostPaths.defaults, '0644', `NODE_NAME=${nodeName}\nLIBVIRT_URI=${uri}\n`);
  await root.put(hostPaths.unit, '0644', executorUnit);
  await root.run(['systemctl', 'daemon-reload']);
  await root.run(['systemctl', 'enable', unitName]);
  await root.run(['systemctl', 'restart', unitName]);
}

/**
 * Tries the executable, new or there already, and only then puts it in the place of the running one.
 *
 * @returns The kubeconfig that goes with it.
 */
async function putBinary(ssh: SshOptions, root: RemoteRoot, { binary, uri, kubeconfig }: HostSetup): Promise<string> {
  if (binary === undefined) {
    await root.run([hostPaths.binary, 'version']);
    await refuseWithoutLibvirt(ssh, root, hostPaths.binary, uri);
    return kubeconfig();
  }
  const fresh = `${hostPaths.binary}.fresh`;
  await root.put(fresh, '0755', binary);
  try {
    await root.run([fresh, 'version']);
    await refuseWithoutLibvirt(ssh, root, fresh, uri);
    const made = await kubeconfig();
    await root.run(['mv', '-f', fresh, hostPaths.binary]);
    return made;
  } catch (error) {
    await root.run(['rm', '-f', fresh]);
    throw error;
  }
}

async function refuseWithoutLibvirt(ssh: SshOptions, root: RemoteRoot, program: string, uri: string): Promise<void> {
  // The words of a remote command cannot carry every URI; the doctor's own default is the common one.
  if (!/^[A-Za-z0-9_./:=+-]+$/.test(uri)) return;
  const words = [program, 'doctor', '--only', 'node', '-o', 'json', '--connect', uri];
  // It looks at more than this, and an older one may not know the words.
  const said = await root.run(words, { accept: [1, 2] });
  const message = /"name": "libvirt is reachable",\s*"status": "fail",\s*"message": ("(?:[^"\\]|\\.)*")/.exec(
    said,
  )?.[1];
  if (message === undefined) return;
  throw new FailedError(`${ssh.destination} has no libvirt at ${uri}: ${JSON.parse(message) as string}`, {
    hint: 'install and start libvirt there first, or say where it is with --node-connect',
  });
}

/**
 * Takes the executor away from a host; its guests run on. Does nothing where there is none.
 *
 * @returns Whether there was one.
 */
export async function clearHost(ssh: SshOptions): Promise<boolean> {
  const root = await remoteRoot(ssh);
  const units = ['systemctl', 'list-unit-files', '--no-legend', unitName];
  // Newer systemds end with 1 when there is none.
  const isThere = (await root.run(units, { accept: [1] })).includes(unitName);
  if (isThere) await root.run(['systemctl', 'disable', '--now', unitName]);
  await root.run(['rm', '-f', hostPaths.unit, hostPaths.defaults, hostPaths.kubeconfig]);
  if (isThere) await root.run(['systemctl', 'daemon-reload']);
  return isThere;
}
