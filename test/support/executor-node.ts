/**
 * A whole node for a test: a real libvirtd (libvirtd.ts), the embedded API server, and `virtctl executor` as a process of
 * its own that can be killed. Everything is gone after `close`.
 *
 *     const node = await startExecutorNode();
 *     await node.create('web', { runStrategy: 'Always', domain: {…} });
 *     await node.until('web', (vm) => vm.status?.printableStatus === 'Running');
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { findFreePort } from './child-process.ts';
import type { LibvirtdNode, LibvirtdOptions } from './libvirtd.ts';
import { startLibvirtd } from './libvirtd.ts';
import type { Hypervisor } from '../../src/api/hypervisor.ts';
import { kinds } from '../../src/api/kinds.ts';
import { group, version } from '../../src/api/meta.ts';
import type { VirtualMachineOperation, VirtualMachineOperationSpec } from '../../src/api/virtual-machine-operation.ts';
import type { VirtualMachine, VirtualMachineSpec } from '../../src/api/virtual-machine.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { selectConnection } from '../../src/kube/connection.ts';
import { KubeClient } from '../../src/kube/kube-client.ts';
import type { KubeObject } from '../../src/kube/object.ts';
import type { ResourceClient } from '../../src/kube/resource-client.ts';
import { builtin, type ResourceType } from '../../src/kube/resource-type.ts';
import type { KubeEvent } from '../../src/reconcile/event-recorder.ts';
import type { ResourceDefinition } from '../../src/standalone/kinds/resource-definition.ts';
import { virtctlKinds } from '../../src/standalone/kinds/virtctl-kinds.ts';
import { startApiServer, type ApiServer } from '../../src/standalone/server.ts';

const root = join(import.meta.dirname, '../..');

/** Options of {@link startExecutorNode}. */
export interface ExecutorNodeOptions {
  /** Use libvirt's test driver instead of QEMU. */
  readonly testDriver?: boolean;
  readonly libvirtd?: LibvirtdOptions;
  /** The executor sees the mounts of libvirtd's own mount namespace. */
  readonly sameMounts?: boolean;
  /** Do not start the executor yet. */
  readonly idle?: boolean;
  /** An API server that takes what our own admission would refuse, as a cluster without our webhook does. */
  readonly withoutAdmission?: boolean;
  /** The kubeconfig of another API server, which has our kinds already. */
  readonly kubeconfig?: string;
}

/** The resource of one of our kinds. */
export function resourceOf(kind: string): ResourceType {
  const info = kinds.find((one) => one.kind === kind);
  if (info === undefined) throw new Error(`no kind ${kind}`);
  return { group, version, kind, plural: info.plural, namespaced: info.namespaced };
}

/** See the head of this file. */
export class ExecutorNode {
  readonly name = 'node-1';
  readonly namespace = 'default';
  readonly libvirtd: LibvirtdNode;
  readonly client: KubeClient;
  readonly kubeconfig: string;
  readonly machines: ResourceClient<VirtualMachine>;
  readonly operations: ResourceClient<VirtualMachineOperation>;
  readonly hypervisors: ResourceClient<Hypervisor>;
  readonly events: ResourceClient<KubeEvent>;
  readonly metricsUrl: string;
  readonly #api: ApiServer | undefined;
  readonly #uri: string;
  readonly #sameMounts: boolean;
  #executor: ChildProcess | undefined;
  #operationNumber = 0;

  constructor(
    libvirtd: LibvirtdNode,
    api: ApiServer | undefined,
    client: KubeClient,
    kubeconfig: string,
    uri: string,
    port: number,
    sameMounts = false,
  ) {
    this.#sameMounts = sameMounts;
    this.libvirtd = libvirtd;
    this.#api = api;
    this.client = client;
    this.kubeconfig = kubeconfig;
    this.#uri = uri;
    this.metricsUrl = `http://127.0.0.1:${port}`;
    this.machines = client.resource(resourceOf('VirtualMachine'));
    this.operations = client.resource(resourceOf('VirtualMachineOperation'));
    this.hypervisors = client.resource(resourceOf('Hypervisor'));
    this.events = client.resource(builtin.events);
  }

  /** Starts the executor's process, and waits until it is ready. */
  async startExecutor(): Promise<void> {
    const address = this.metricsUrl.slice('http://'.length);
    const namespace = `--mount=/proc/${this.libvirtd.pid}/ns/mnt`;
    const [program = '', ...before] = this.#sameMounts
      ? ['nsenter', namespace, `--wd=${root}`, '--', process.execPath]
      : [process.execPath];
    const child = spawn(
      program,
      [
        ...before,
        ...['--import', 'tsx', join(root, 'bin/virtctl.ts'), 'executor'],
        ...['--node-name', this.name, '--connect', this.#uri, '--kubeconfig', this.kubeconfig],
        ...['--data-dir', join(this.libvirtd.dir, 'executor'), '--metrics-address', address, '--log-level', 'debug'],
      ],
      { cwd: root, stdio: ['ignore', 'inherit', 'pipe'] },
    );
    child.stderr.pipe(createWriteStream(this.logPath, { flags: 'a' }));
    this.#executor = child;
    const end = Date.now() + 120_000;
    for (;;) {
      if (child.exitCode !== null || child.signalCode !== null) {
        throw new Error(`the executor ended: ${(await this.log()).slice(-3000)}`);
      }
      if (await isReady(`${this.metricsUrl}/readyz`)) return;
      if (Date.now() > end) throw new Error(`the executor is not ready: ${(await this.log()).slice(-3000)}`);
      await delay(50);
    }
  }

  get logPath(): string {
    return join(this.libvirtd.dir, 'executor.log');
  }

  log(): Promise<string> {
    return readFile(this.logPath, 'utf8');
  }

  /** The executor's process id. */
  get pid(): number {
    return this.#executor?.pid ?? 0;
  }

  /** Ends the executor, and waits until it is gone. */
  async stopExecutor(signal: 'SIGKILL' | 'SIGTERM' = 'SIGTERM'): Promise<void> {
    const child = this.#executor;
    if (child === undefined) return;
    this.#executor = undefined;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  }

  /** Creates a machine on this node. */
  async create(name: string, spec: VirtualMachineSpec): Promise<VirtualMachine> {
    return this.machines.create({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualMachine',
      metadata: { name, namespace: this.namespace },
      spec: { nodeName: this.name, ...spec },
    });
  }

  get(name: string): Promise<VirtualMachine> {
    return this.machines.get({ namespace: this.namespace, name });
  }

  /** A merge patch of spec. */
  patch(name: string, spec: object): Promise<VirtualMachine> {
    return this.machines.mergePatch({ namespace: this.namespace, name }, { spec });
  }

  /** Waits until something holds of a machine; then the machine. */
  async until(
    name: string,
    holds: (vm: VirtualMachine) => boolean,
    what = 'it holds',
    timeoutMs = 120_000,
  ): Promise<VirtualMachine> {
    let last: VirtualMachine | undefined;
    const end = Date.now() + timeoutMs;
    for (;;) {
      last = await this.get(name);
      if (holds(last)) return last;
      if (Date.now() > end) {
        throw new Error(
          `waited for ${what}: ${JSON.stringify(last.status, null, 1)}\n${(await this.log()).slice(-2500)}`,
        );
      }
      await delay(50);
    }
  }

  /** Waits until status.printableStatus is a word. */
  untilStatus(name: string, status: string, timeoutMs?: number): Promise<VirtualMachine> {
    return this.until(name, (vm) => vm.status?.printableStatus === status, `status ${status} of ${name}`, timeoutMs);
  }

  /** Waits until the executor has looked at the newest spec. */
  untilObserved(name: string): Promise<VirtualMachine> {
    return this.until(
      name,
      (vm) => vm.status?.observedGeneration === vm.metadata.generation,
      'the spec to be observed',
    );
  }

  /** Creates an operation, and does not wait. */
  ask(
    machine: string,
    verb: VirtualMachineOperationSpec['verb'],
    spec: Partial<VirtualMachineOperationSpec> = {},
  ): Promise<VirtualMachineOperation> {
    this.#operationNumber += 1;
    return this.operations.create({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualMachineOperation',
      metadata: { name: `${machine}-${verb.toLowerCase()}-${this.#operationNumber}`, namespace: this.namespace },
      spec: { virtualMachine: machine, verb, ...spec },
    });
  }

  /** Waits until an operation is over. */
  async untilOver(
    { metadata: { name = '' } }: VirtualMachineOperation,
    timeoutMs = 180_000,
  ): Promise<VirtualMachineOperation> {
    const end = Date.now() + timeoutMs;
    for (;;) {
      const operation = await this.operations.get({ namespace: this.namespace, name });
      if (['Succeeded', 'Failed'].includes(operation.status?.phase ?? '')) return operation;
      if (Date.now() > end) {
        throw new Error(
          `waited for ${name}: ${JSON.stringify(operation.status, null, 1)}\n${(await this.log()).slice(-2500)}`,
        );
      }
      await delay(50);
    }
  }

  /** Creates an operation and waits until it is over. */
  async operate(
    machine: string,
    verb: VirtualMachineOperationSpec['verb'],
    spec: Partial<VirtualMachineOperationSpec> = {},
  ): Promise<VirtualMachineOperation> {
    return this.untilOver(await this.ask(machine, verb, spec));
  }

  /** Deletes a machine and waits until it is gone. */
  async delete(name: string, timeoutMs = 120_000): Promise<void> {
    const ref = { namespace: this.namespace, name };
    await this.machines.delete(ref);
    const end = Date.now() + timeoutMs;
    for (let left = await this.machines.find(ref); left !== undefined; left = await this.machines.find(ref)) {
      if (Date.now() > end)
        throw new Error(
          `waited for ${name} to go: ${JSON.stringify(left.status, null, 1)}\n${(await this.log()).slice(-2500)}`,
        );
      await delay(50);
    }
  }

  /** The reasons of a machine's Events, oldest first. */
  async eventsOf(name: string): Promise<string[]> {
    const { items } = await this.events.listAll({ namespace: this.namespace });
    return items
      .filter(({ regarding }) => regarding?.name === name)
      .sort((a, b) => String(a.eventTime).localeCompare(String(b.eventTime)))
      .map(({ reason }) => reason ?? '');
  }

  /** Waits for Events of an object, of any namespace. They are written beside its status, sooner or later than it. */
  async untilEvents(name: string, reasons: readonly string[], timeoutMs = 120_000): Promise<void> {
    const end = Date.now() + timeoutMs;
    for (;;) {
      const { items } = await this.events.listAll();
      const seen = items.filter(({ regarding }) => regarding?.name === name).map(({ reason }) => reason ?? '');
      if (reasons.every((reason) => seen.includes(reason))) return;
      if (Date.now() > end) throw new Error(`Events of ${name}: ${seen.join(', ')}, not all of ${reasons.join(', ')}`);
      await delay(50);
    }
  }

  condition(
    vm: VirtualMachine,
    type: string,
  ): { status?: string; reason?: string | undefined; message?: string | undefined } {
    return vm.status?.conditions?.find((one) => one.type === type) ?? {};
  }

  async close(): Promise<void> {
    await this.stopExecutor('SIGKILL');
    this.client.close();
    await this.#api?.close();
    await this.libvirtd.close();
  }
}

async function isReady(url: string): Promise<boolean> {
  try {
    return (await fetch(url)).ok;
  } catch {
    // Not listening yet.
    return false;
  }
}

/** Starts everything. */
export async function startExecutorNode(options: ExecutorNodeOptions = {}): Promise<ExecutorNode> {
  const libvirtd = await startLibvirtd(options.libvirtd);
  let api: ApiServer | undefined;
  try {
    if (options.kubeconfig === undefined) {
      api = await startApiServer({
        folder: join(libvirtd.dir, 'api'),
        definitions: options.withoutAdmission === true ? virtctlKinds().map(withoutAdmission) : virtctlKinds(),
        logger: silentLogger,
        version: '0.0.0-test',
      });
    }
    const kubeconfig = options.kubeconfig ?? api?.kubeconfig ?? '';
    const connection = await selectConnection({ kubeconfig, env: {}, home: libvirtd.dir, cwd: libvirtd.dir });
    const client = new KubeClient(connection);
    const uri = options.testDriver === true ? libvirtd.testUri : libvirtd.uri;
    const port = await findFreePort();
    const node = new ExecutorNode(libvirtd, api, client, kubeconfig, uri, port, options.sameMounts);
    await ensureNamespace(client);
    if (options.idle !== true) await node.startExecutor();
    return node;
  } catch (error) {
    await api?.close();
    await libvirtd.close();
    throw error;
  }
}

function withoutAdmission({ admit: _admit, ...definition }: ResourceDefinition): ResourceDefinition {
  return definition;
}

async function ensureNamespace(client: KubeClient): Promise<void> {
  const namespaces = client.resource<KubeObject>(builtin.namespaces);
  if ((await namespaces.find({ name: 'default' })) !== undefined) return;
  await namespaces.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'default' } });
}
