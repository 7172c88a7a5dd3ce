/** Decides which API server to talk to, and as whom: the rules of kubectl, then the local standalone's. */
import { access, constants, readFile } from 'node:fs/promises';
import { isAbsolute, join, resolve } from 'node:path';
import { mergeKubeconfigs, readKubeconfig } from './kubeconfig.ts';
import type { Kubeconfig, KubeconfigCluster, KubeconfigUser } from './kubeconfig.ts';
import { FailedError, UnreachableError, UsageError } from '../base/errors.ts';

/** An API server and the user to be there. Holds secrets: not for logs. */
export interface Connection {
  readonly cluster: KubeconfigCluster;
  readonly user: KubeconfigUser;
  /** The namespace for objects that name none: `--namespace`, the context's, or `default`. */
  readonly namespace: string;
  /** The context's name; `in-cluster` inside a pod. */
  readonly context: string;
  /** Where it was found, for people: the files' paths, or `in-cluster`. */
  readonly source: string;
}

/** Options of {@link selectConnection}. */
export interface ConnectionOptions {
  /** `--kubeconfig`: only this file counts. */
  readonly kubeconfig?: string | undefined;
  /** `--context`. */
  readonly context?: string | undefined;
  /** `--namespace`. */
  readonly namespace?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The user's home folder. */
  readonly home: string;
  /** Relative paths start here. */
  readonly cwd: string;
  /** Where a pod's service account is; for tests. */
  readonly serviceAccountFolder?: string | undefined;
  /** The kubeconfigs that a local `virtctl standalone` may have written; {@link standaloneKubeconfigs} by default. */
  readonly standaloneKubeconfigs?: readonly string[] | undefined;
}

const serviceAccount = '/var/run/secrets/kubernetes.io/serviceaccount';

/**
 * Where `virtctl standalone` writes its admin kubeconfig: root's data folder, then the user's own.
 *
 * @returns Absolute paths, in the order in which they are tried.
 */
export function standaloneKubeconfigs(env: Readonly<Record<string, string | undefined>>, home: string): string[] {
  const data = env['XDG_DATA_HOME'];
  const own = data !== undefined && isAbsolute(data) ? data : join(home, '.local/share');
  return ['/var/lib/virtctl/standalone/kubeconfig', join(own, 'virtctl/standalone/kubeconfig')];
}

/**
 * Finds the connection: `--kubeconfig`, else `KUBECONFIG` (files merged), else `~/.kube/config`, else the pod's service
 * account, else a local standalone's. A file without any context is passed over, as kubectl does with an empty one.
 *
 * @throws UnreachableError when there is nothing to connect to; UsageError for an unknown context;
 *   InvalidInputError for a file that is no kubeconfig; FailedError for one that cannot be read.
 */
export async function selectConnection(options: ConnectionOptions): Promise<Connection> {
  const { env } = options;
  if (options.kubeconfig !== undefined) {
    const path = resolve(options.cwd, options.kubeconfig);
    const config = await readIfPresent(path);
    if (config === undefined) throw new UsageError(`--kubeconfig ${options.kubeconfig}: there is no such file`);
    return fromKubeconfig(config, path, options);
  }
  const listed = env['KUBECONFIG'];
  if (listed !== undefined && listed !== '') {
    const paths = listed
      .split(':')
      .filter((path) => path !== '')
      .map((path) => resolve(options.cwd, path));
    const configs = (await Promise.all(paths.map(readIfPresent))).filter((config) => config !== undefined);
    if (configs.length === 0) {
      throw new UnreachableError(`KUBECONFIG=${listed}: there is no such file`, {
        hint: 'correct or unset KUBECONFIG',
      });
    }
    return fromKubeconfig(mergeKubeconfigs(configs), paths.join(':'), options);
  }
  const own = join(options.home, '.kube/config');
  const config = await readIfPresent(own);
  if (config !== undefined && config.contexts.size > 0) return fromKubeconfig(config, own, options);
  const pod = await inCluster(options);
  if (pod !== undefined) return pod;
  const denied: string[] = [];
  for (const path of options.standaloneKubeconfigs ?? standaloneKubeconfigs(env, options.home)) {
    try {
      const found = await readIfPresent(path);
      if (found !== undefined) return fromKubeconfig(found, path, options);
    } catch (error) {
      if (!(error instanceof FailedError)) throw error;
      denied.push(path);
    }
  }
  throw new UnreachableError('no Kubernetes API server is configured', {
    hint:
      denied.length > 0
        ? `${denied.join(', ')} exists but may not be read by this user: run as its owner`
        : 'start one with `virtctl standalone`, or name one with --kubeconfig or KUBECONFIG',
  });
}

function fromKubeconfig(config: Kubeconfig, source: string, options: ConnectionOptions): Connection {
  const name = options.context ?? config.currentContext;
  const known = [...config.contexts.keys()].sort().join(', ');
  if (name === undefined) {
    throw new UsageError(`${source} has no current context`, {
      hint:
        known === ''
          ? 'it holds no context at all: name another with --kubeconfig'
          : `choose one with --context: ${known}`,
    });
  }
  const context = config.contexts.get(name);
  if (context === undefined) {
    throw new UsageError(`there is no context "${name}" in ${source}`, {
      hint: known === '' ? 'it holds no context at all: name another with --kubeconfig' : `it has ${known}`,
    });
  }
  const cluster = config.clusters.get(context.cluster);
  if (cluster === undefined || cluster.server === '') {
    throw new UsageError(`context "${name}" in ${source} names the cluster "${context.cluster}", which has no server`);
  }
  const user = context.user === '' ? {} : config.users.get(context.user);
  if (user === undefined) {
    throw new UsageError(`context "${name}" in ${source} names the user "${context.user}", who is not there`);
  }
  return { cluster, user, namespace: options.namespace ?? context.namespace ?? 'default', context: name, source };
}

/** The service account of the pod that this process runs in (KUBERNETES_SERVICE_HOST and its mounted files). */
async function inCluster(options: ConnectionOptions): Promise<Connection | undefined> {
  const host = options.env['KUBERNETES_SERVICE_HOST'];
  const port = options.env['KUBERNETES_SERVICE_PORT'];
  const folder = options.serviceAccountFolder ?? serviceAccount;
  const tokenFile = join(folder, 'token');
  if (host === undefined || host === '' || port === undefined || !(await isReadable(tokenFile))) return undefined;
  const namespaceFile = join(folder, 'namespace');
  const namespace = (await isReadable(namespaceFile)) ? (await readFile(namespaceFile, 'utf8')).trim() : 'default';
  return {
    cluster: {
      server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
      caFile: join(folder, 'ca.crt'),
      caData: undefined,
      insecureSkipTlsVerify: false,
      tlsServerName: undefined,
      proxyUrl: undefined,
    },
    user: { tokenFile },
    namespace: options.namespace ?? namespace,
    context: 'in-cluster',
    source: 'in-cluster',
  };
}

async function readIfPresent(path: string): Promise<Kubeconfig | undefined> {
  try {
    return await readKubeconfig(path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    if (code === 'EACCES' || code === 'EISDIR' || code === 'EPERM') {
      throw new FailedError(`cannot read the kubeconfig ${path}`, { cause: error });
    }
    throw error;
  }
}

async function isReadable(path: string): Promise<boolean> {
  try {
    await access(path, constants.R_OK);
    return true;
  } catch (error) {
    if (typeof (error as NodeJS.ErrnoException).code === 'string') return false;
    throw error;
  }
}
