/**
 * A real Kubernetes API server for tests: a private etcd and kube-apiserver on free ports of 127.0.0.1, with
 * certificates and tokens of their own. Both die with the test's process. There are no controllers beside it: nothing
 * collects owned objects, and a deleted namespace stays Terminating.
 */
import { randomBytes } from 'node:crypto';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { stringify } from 'yaml';
import { findFreePort, startTestProcess } from './child-process.ts';
import type { TestProcess } from './child-process.ts';
import { makeAuthority, makeCertificate } from './test-certificates.ts';
import type { CertificateFiles } from './test-certificates.ts';
import { makeTestFolder } from './test-folder.ts';
import { findKubeApiserver } from '../../scripts/kube-apiserver.ts';

/** A running API server and how to reach it. */
export interface KubeApiserver {
  /** `https://127.0.0.1:PORT`. */
  readonly server: string;
  /** The authority's certificate, PEM. */
  readonly ca: string;
  /** Path of the authority's certificate. */
  readonly caFile: string;
  /** The authority's own files, to sign more certificates with. */
  readonly authority: CertificateFiles;
  /** A bearer token that may do everything (group system:masters). */
  readonly adminToken: string;
  /** A bearer token of a user `nobody` that may do nothing but discovery. */
  readonly nobodyToken: string;
  /** A client certificate that may do everything. */
  readonly adminCertificate: CertificateFiles;
  /** A kubeconfig with the admin token; its current context is `test`. */
  readonly kubeconfigPath: string;
  /** Everything it keeps on disk. */
  readonly folder: string;
  /** The API server's process id; another after `restart`. */
  pid(): number;
  /** Whether both the API server and etcd run. */
  isRunning(): boolean;
  /** The process id of etcd. */
  etcdPid(): number;
  /** Kills the API server with SIGKILL and waits for its end; etcd stays. */
  kill(): Promise<void>;
  /** Ends the API server if it runs, starts it again on the same port and waits until it is ready. */
  restart(): Promise<void>;
  /** Kills both, removes etcd's data and starts both again on the same ports: a server that has never known anything. */
  loseData(): Promise<void>;
  /** SIGSTOP: connections stay open and nothing answers, until `thaw`. */
  freeze(): void;
  thaw(): void;
  /** Ends everything and removes the folder. */
  stop(): Promise<void>;
}

/** Options of {@link startKubeApiserver}. */
export interface KubeApiserverOptions {
  /** Added to kube-apiserver's own arguments, such as `--watch-cache=false`. */
  readonly extraArguments?: readonly string[];
  /** Where its folder is made; the system's temporary folder by default. */
  readonly parentFolder?: string;
}

const readyDeadlineMs = 120_000;

/**
 * Starts etcd and kube-apiserver and waits until `/readyz` says ok and the namespace `default` exists.
 *
 * @throws Error with the end of the failing program's output.
 */
export async function startKubeApiserver(options: KubeApiserverOptions = {}): Promise<KubeApiserver> {
  const program = await findKubeApiserver(process.env);
  const folder = makeTestFolder('kube-apiserver', options.parentFolder);
  let etcd: TestProcess | undefined;
  let api: TestProcess | undefined;
  try {
    const etcdPort = await findFreePort();
    etcd = await startEtcd(folder, etcdPort);
    let database = etcd;
    const port = await findFreePort();
    const server = `https://127.0.0.1:${port}`;
    const authority = await makeAuthority(folder, 'ca');
    const serving = await makeCertificate(folder, 'server', authority, '/CN=kube-apiserver', [
      'IP:127.0.0.1',
      'DNS:localhost',
      'DNS:kubernetes.default.svc',
    ]);
    const admin = await makeCertificate(folder, 'admin', authority, '/O=system:masters/CN=admin');
    const adminToken = randomBytes(16).toString('hex');
    const nobodyToken = randomBytes(16).toString('hex');
    await writeFile(
      join(folder, 'tokens.csv'),
      `${adminToken},admin,admin,"system:masters"\n${nobodyToken},nobody,nobody\n`,
      { mode: 0o600 },
    );
    const kubeconfigPath = join(folder, 'kubeconfig');
    await writeFile(kubeconfigPath, kubeconfig(server, authority.cert, adminToken), { mode: 0o600 });
    const args = [
      ...['--etcd-servers', `http://127.0.0.1:${etcdPort}`],
      ...['--bind-address', '127.0.0.1', '--advertise-address', '127.0.0.1', '--secure-port', String(port)],
      ...['--tls-cert-file', serving.cert, '--tls-private-key-file', serving.key],
      ...['--client-ca-file', authority.cert, '--token-auth-file', join(folder, 'tokens.csv')],
      ...['--service-account-key-file', serving.cert, '--service-account-signing-key-file', serving.key],
      ...['--service-account-issuer', server, '--service-cluster-ip-range', '10.0.0.0/24'],
      ...['--authorization-mode', 'RBAC', '--endpoint-reconciler-type', 'none'],
      // Nobody makes service accounts here, and without this plug-in nobody needs them.
      ...['--disable-admission-plugins', 'ServiceAccount', '--cert-dir', folder],
      ...(options.extraArguments ?? []),
    ];
    const ca = await readFile(authority.cert, 'utf8');
    const start = async (): Promise<TestProcess> => {
      const started = await startTestProcess(program, args);
      api = started;
      await untilReady('kube-apiserver', started, async () => {
        const paths = ['/readyz', '/api/v1/namespaces/default'];
        const answers = await Promise.all(paths.map((path) => statusOf(`${server}${path}`, ca, adminToken)));
        return answers.every((status) => status === 200);
      });
      return started;
    };
    let current = await start();
    return {
      server,
      ca,
      caFile: authority.cert,
      authority,
      adminToken,
      nobodyToken,
      adminCertificate: admin,
      kubeconfigPath,
      folder,
      pid: () => current.pid,
      isRunning: () => current.isRunning() && database.isRunning(),
      etcdPid: () => database.pid,
      kill: () => current.end('SIGKILL'),
      async restart() {
        await current.end('SIGKILL');
        current = await start();
      },
      async loseData() {
        await current.end('SIGKILL');
        await database.end('SIGKILL');
        await rm(join(folder, 'etcd'), { recursive: true, force: true });
        database = await startEtcd(folder, etcdPort);
        current = await start();
      },
      freeze: () => current.signal('SIGSTOP'),
      thaw: () => current.signal('SIGCONT'),
      async stop() {
        await current.end('SIGKILL');
        await database.end('SIGKILL');
        await rm(folder, { recursive: true, force: true });
      },
    };
  } catch (error) {
    await api?.end('SIGKILL');
    await etcd?.end('SIGKILL');
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

async function startEtcd(folder: string, port: number): Promise<TestProcess> {
  const url = `http://127.0.0.1:${port}`;
  const peer = `http://127.0.0.1:${await findFreePort()}`;
  const etcd = await startTestProcess('etcd', [
    ...['--data-dir', join(folder, 'etcd'), '--log-level', 'warn', '--logger', 'zap'],
    ...['--listen-client-urls', url, '--advertise-client-urls', url],
    ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', `default=${peer}`],
  ]);
  await untilReady('etcd', etcd, async () => {
    const response = await fetch(`${url}/health`, { signal: AbortSignal.timeout(2000) });
    return response.ok && (await response.text()).includes('true');
  });
  return etcd;
}

/** Asks again and again until the answer is yes. An error counts as no; the program's end is an error. */
async function untilReady(what: string, started: TestProcess, isReady: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + readyDeadlineMs;
  let last: unknown;
  while (performance.now() < end) {
    if (!started.isRunning()) throw new Error(`${what} ended while starting:\n${started.output()}`);
    try {
      if (await isReady()) return;
    } catch (error) {
      last = error;
    }
    await delay(50);
  }
  throw new Error(`${what} was not ready in ${readyDeadlineMs / 1000} s:\n${started.output()}`, { cause: last });
}

function statusOf(url: string, ca: string, token: string): Promise<number> {
  return new Promise((done, failed) => {
    const headers = { authorization: `Bearer ${token}` };
    const asked = request(url, { ca, headers, agent: false, timeout: 5000 }, (response) => {
      response.resume();
      done(response.statusCode ?? 0);
    });
    asked.on('timeout', () => asked.destroy(new Error(`no answer from ${url} in 5 s`)));
    asked.on('error', failed).end();
  });
}

function kubeconfig(server: string, caFile: string, token: string): string {
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'test',
    clusters: [{ name: 'test', cluster: { server, 'certificate-authority': caFile } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'admin', namespace: 'default' } }],
    users: [{ name: 'admin', user: { token } }],
  });
}
