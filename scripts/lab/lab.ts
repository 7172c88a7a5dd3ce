/**
 * Several real nodes on one machine, as root: each with its libvirtd, guests and executor in namespaces of its own, on
 * one network that can be cut; beside them an API server, the scheduler and the controller as processes of the machine.
 *
 *     const lab = await startLab({ folder, nodes: 3, api: 'kube' });
 *     lab.kubeconfig                                   // for kubectl and virtctl
 *     await lab.node('node-2').partition();            // kill, pause, resume, heal, start: see lab-node.ts
 *     await lab.close();                               // everything is gone
 *
 *   kube-apiserver and etcd │ virtctl standalone --no-executor      loopback of the machine
 *        ▲        ▲      ▲
 *   scheduler controller lab-switch ◀── eth0 of node-1 … node-N     lab-node.ts
 *
 * `npm run lab` (scripts/lab.ts) keeps one in the background (keeper.ts); tests start one in their own process. All of it
 * ends when the process that started it does, however that ends; remains.ts removes the folder and whatever is left.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { parse, stringify } from 'yaml';
import { LabNode, type LabNodeStatus } from './lab-node.ts';
import { LabProcess } from './lab-process.ts';
import { apiAddress, apiPort, LabSwitch } from './lab-switch.ts';
import { labVariable, removeRemains } from './remains.ts';
import { startKubeApiserver, type KubeApiserver } from '../../test/support/kube-apiserver.ts';
import { findFreePort } from '../../test/support/child-process.ts';
import { customResourceDefinition } from '../../src/api/crd.ts';
import { hypervisorConditions, type Hypervisor } from '../../src/api/hypervisor.ts';
import { kinds } from '../../src/api/kinds.ts';
import { findCondition, group, version } from '../../src/api/meta.ts';
import { selectConnection } from '../../src/kube/connection.ts';
import { KubeClient } from '../../src/kube/kube-client.ts';
import type { KubeObject } from '../../src/kube/object.ts';
import { builtin } from '../../src/kube/resource-type.ts';
import { isNotFound } from '../../src/kube/status-error.ts';

/** The API servers that a lab can have. */
export const labApis = ['embedded', 'kube'] as const;
/** See {@link labApis}. */
export type LabApi = (typeof labApis)[number];

/** Parts of the control plane that run as processes of the machine. */
export const controlPlaneParts = ['scheduler', 'controller'] as const;
/** See {@link controlPlaneParts}. */
export type ControlPlanePart = (typeof controlPlaneParts)[number];

/** Options of {@link startLab}. */
export interface LabOptions {
  /** Where everything is kept; made when missing, removed at the end. */
  readonly folder: string;
  /** How many nodes; they are called node-1 and so on. */
  readonly nodes: number;
  readonly api: LabApi;
  /** Seconds without a sign of life after which a node counts as lost; 40 unless given. */
  readonly leaseSeconds?: number | undefined;
  /** Arguments of kube-apiserver, beside the lab's own. */
  readonly apiArguments?: readonly string[];
  /** Is told each step. */
  readonly log?: (line: string) => void;
}

/** How a lab is. */
export interface LabStatus {
  readonly folder: string;
  readonly api: LabApi;
  readonly server: string;
  readonly kubeconfig: string;
  /** The bundle of virtctl that everything runs. */
  readonly program: string;
  /** A folder that all nodes see at the same path: shared storage. */
  readonly shared: string;
  readonly parts: Readonly<Record<string, 'running' | 'off'>>;
  readonly nodes: readonly LabNodeStatus[];
}

interface ApiProcess {
  readonly kubeconfig: string;
  readonly port: () => number;
  readonly isRunning: () => boolean;
  readonly stop: () => Promise<void>;
  /** kube-apiserver with its etcd. */
  readonly kube: KubeApiserver | undefined;
}

const root = resolve(import.meta.dirname, '../..');

/** See the head of this file. */
export class Lab {
  readonly folder: string;
  readonly api: LabApi;
  readonly kubeconfig: string;
  readonly program: string;
  /** A folder that all nodes see at the same path: shared storage. */
  readonly shared: string;
  readonly client: KubeClient;
  readonly nodes: readonly LabNode[];
  /** kube-apiserver with its etcd; undefined with the embedded one. */
  readonly kubeApiserver: KubeApiserver | undefined;
  readonly #api: ApiProcess;
  readonly #parts: ReadonlyMap<ControlPlanePart, LabProcess>;
  readonly #cables: LabSwitch;

  constructor(parts: {
    readonly options: LabOptions;
    readonly program: string;
    readonly api: ApiProcess;
    readonly client: KubeClient;
    readonly parts: ReadonlyMap<ControlPlanePart, LabProcess>;
    readonly cables: LabSwitch;
    readonly nodes: readonly LabNode[];
  }) {
    this.folder = parts.options.folder;
    this.api = parts.options.api;
    this.kubeconfig = join(this.folder, 'kubeconfig');
    this.program = parts.program;
    this.shared = join(this.folder, 'shared');
    this.client = parts.client;
    this.nodes = parts.nodes;
    this.kubeApiserver = parts.api.kube;
    this.#api = parts.api;
    this.#parts = parts.parts;
    this.#cables = parts.cables;
  }

  /** A node by its name. @throws Error when there is none. */
  node(name: string): LabNode {
    const node = this.nodes.find((one) => one.name === name);
    if (node === undefined) {
      throw new Error(`there is no node ${name}; there are ${this.nodes.map((one) => one.name).join(', ')}`);
    }
    return node;
  }

  /** A part of the control plane. @throws Error when the lab has none of its own. */
  part(name: ControlPlanePart): LabProcess {
    const part = this.#parts.get(name);
    if (part === undefined) throw new Error(`${name} is in the process of the API server here`);
    return part;
  }

  status(): LabStatus {
    const word = (runs: boolean): 'running' | 'off' => (runs ? 'running' : 'off');
    const parts = [...this.#parts].map(([name, part]) => [name, word(part.isRunning)] as const);
    return {
      folder: this.folder,
      api: this.api,
      server: `https://127.0.0.1:${this.#api.port()}`,
      kubeconfig: this.kubeconfig,
      program: this.program,
      shared: this.shared,
      parts: {
        'API server': word(this.#api.isRunning()),
        ...Object.fromEntries(parts),
        switch: word(this.#cables.isRunning),
      },
      nodes: this.nodes.map((node) => node.status()),
    };
  }

  /** Waits until the API server says of nodes that they are ready, or of any status. @throws Error after a minute. */
  async untilReady(names: readonly string[], status: 'True' | 'False' | 'Unknown' = 'True'): Promise<void> {
    const hypervisors = this.client.resource<Hypervisor>(ourKind('Hypervisor'));
    const end = performance.now() + 120_000;
    for (;;) {
      const { items } = await hypervisors.listAll();
      const word = (name: string): string | undefined =>
        findCondition(items.find(({ metadata }) => metadata.name === name)?.status, hypervisorConditions.Ready)?.status;
      if (names.every((name) => word(name) === status)) return;
      const seen = names.map((name) => `${name}: ${word(name) ?? 'not known'}`).join(', ');
      if (performance.now() > end) throw new Error(`waited for nodes to be Ready=${status}: ${seen}`);
      await delay(100);
    }
  }

  /** Ends everything and removes the folder. */
  async close(): Promise<void> {
    this.client.close();
    await Promise.all(this.nodes.map((node) => node.kill()));
    await Promise.all([...this.#parts.values()].map((part) => part.signal('SIGKILL')));
    await this.#api.stop();
    await this.#cables.close();
    await removeRemains(this.folder);
  }
}

/**
 * Starts a lab, and waits until all nodes are ready.
 *
 * @throws Error when anything does not start; what was started is gone then.
 */
export async function startLab(options: LabOptions): Promise<Lab> {
  if (process.getuid?.() !== 0) throw new Error('a lab needs root: namespaces, bridges and mounts');
  const folder = resolve(options.folder);
  const log = options.log ?? ((): void => undefined);
  const env = { [labVariable]: folder };
  const names = Array.from({ length: options.nodes }, (_, index) => `node-${index + 1}`);
  await mkdir(join(folder, 'shared'), { recursive: true });
  const undo: (() => Promise<void>)[] = [];
  try {
    log('bundling virtctl');
    const program = await bundle(folder);
    log(options.api === 'kube' ? 'starting etcd and kube-apiserver' : 'starting the embedded API server');
    const api = options.api === 'kube' ? await startKube(options, folder) : await startEmbedded(folder, program, env);
    undo.push(() => api.stop());
    const link = join(folder, 'kubeconfig');
    await symlink(api.kubeconfig, link);
    const connection = await selectConnection({ kubeconfig: api.kubeconfig, env: {}, home: folder, cwd: folder });
    const client = new KubeClient(connection);
    undo.push(() => {
      client.close();
      return Promise.resolve();
    });
    if (options.api === 'kube') await installKinds(client);
    log('starting scheduler and controller');
    // The same after each start, so that the API server finds it before one leads again.
    const webhookPort = await findFreePort();
    const parts = controlPlane(options.api, folder, program, api.kubeconfig, webhookPort, env);
    for (const part of parts.values()) undo.push(() => part.signal('SIGKILL'));
    await Promise.all([...parts.values()].map((part) => part.start()));
    const cables = new LabSwitch(folder, env);
    undo.push(() => cables.close());
    await cables.start(api.port);
    const kubeconfig = await kubeconfigForNodes(folder, api.kubeconfig);
    log(`starting ${names.join(', ')}`);
    const common = { folder, names, cables, env, program, kubeconfig, leaseSeconds: options.leaseSeconds };
    const nodes = names.map((_name, index) => new LabNode({ ...common, index: index + 1 }));
    for (const node of nodes) undo.push(() => node.kill());
    const lab = new Lab({ options: { ...options, folder }, program, api, client, parts, cables, nodes });
    const started = await Promise.allSettled(nodes.map((node) => node.start()));
    for (const one of started) if (one.status === 'rejected') throw one.reason;
    await lab.untilReady(names);
    log('ready');
    return lab;
  } catch (error) {
    for (const one of undo.reverse()) await one();
    await removeRemains(folder);
    throw error;
  }
}

/** A kind of ours as a resource. */
export function ourKind(kind: string): Parameters<KubeClient['resource']>[0] {
  const info = kinds.find((one) => one.kind === kind);
  if (info === undefined) throw new Error(`no kind ${kind}`);
  return { group, version, kind, plural: info.plural, namespaced: info.namespaced };
}

/** Bundled for this lab, so that it runs what is in the tree now and goes on running it. */
async function bundle(folder: string): Promise<string> {
  const outdir = join(folder, 'virtctl');
  const args = ['--import', 'tsx', join(root, 'scripts/build.ts'), outdir];
  const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] });
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`the bundle of virtctl was not built: ${String(code)}`);
  // What is not in the bundle (lmdb) is looked for above it.
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
  return join(outdir, 'virtctl.js');
}

async function startKube(options: LabOptions, folder: string): Promise<ApiProcess> {
  const kube = await startKubeApiserver({ parentFolder: folder, extraArguments: options.apiArguments ?? [] });
  return {
    kubeconfig: kube.kubeconfigPath,
    port: () => Number(new URL(kube.server).port),
    isRunning: () => kube.isRunning(),
    stop: () => kube.stop(),
    kube,
  };
}

async function startEmbedded(
  folder: string,
  program: string,
  env: Readonly<Record<string, string>>,
): Promise<ApiProcess> {
  const port = await findFreePort();
  const data = join(folder, 'api');
  const server = new LabProcess(() => ({
    program: process.execPath,
    args: [program, 'standalone', '--no-executor', '--data-dir', data, '--port', String(port)],
    env,
    log: join(folder, 'api.log'),
    readyText: '"serving"',
  }));
  await server.start();
  return {
    kubeconfig: join(data, 'kubeconfig'),
    port: () => port,
    isRunning: () => server.isRunning,
    stop: () => server.signal('SIGKILL'),
    kube: undefined,
  };
}

/** The embedded server has the controller in its process, and needs no webhook. */
function controlPlane(
  api: LabApi,
  folder: string,
  program: string,
  kubeconfig: string,
  webhookPort: number,
  env: Readonly<Record<string, string>>,
): Map<ControlPlanePart, LabProcess> {
  const part = (name: ControlPlanePart, ...args: string[]): [ControlPlanePart, LabProcess] => [
    name,
    new LabProcess(() => ({
      program: process.execPath,
      args: [program, name, '--kubeconfig', kubeconfig, ...args],
      env,
      log: join(folder, `${name}.log`),
    })),
  ];
  return new Map(
    api === 'kube'
      ? [part('scheduler'), part('controller', '--webhook-port', String(webhookPort))]
      : [part('scheduler')],
  );
}

/** The administrator's kubeconfig with the address that nodes know; the certificate is that of localhost. */
async function kubeconfigForNodes(folder: string, kubeconfig: string): Promise<string> {
  const document = parse(await readFile(kubeconfig, 'utf8')) as { clusters: { cluster: Record<string, unknown> }[] };
  for (const { cluster } of document.clusters) {
    cluster['server'] = `https://${apiAddress}:${apiPort}`;
    cluster['tls-server-name'] = 'localhost';
  }
  const path = join(folder, 'node-kubeconfig');
  await writeFile(path, stringify(document), { mode: 0o600 });
  return path;
}

/** Installs our kinds into a real API server, and waits until it serves them. */
export async function installKinds(client: KubeClient): Promise<void> {
  const definitions = client.resource<KubeObject>(builtin.customResourceDefinitions);
  await Promise.all(
    kinds.map((kind) => definitions.apply(customResourceDefinition(kind) as KubeObject, { force: true })),
  );
  const end = performance.now() + 60_000;
  for (const kind of kinds) {
    for (;;) {
      try {
        await client.resource(ourKind(kind.kind)).list({ limit: 1 });
        break;
      } catch (error) {
        if (!isNotFound(error) || performance.now() > end) throw error;
      }
      await delay(50);
    }
  }
}
