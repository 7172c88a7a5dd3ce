import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { commandLine, type CommandResult } from '../support/command-line.ts';
import { resourceOf } from '../support/executor-node.ts';
import { startKubeApiserver, type KubeApiserver } from '../support/kube-apiserver.ts';
import { startLibvirtd, type LibvirtdNode } from '../support/libvirtd.ts';
import type { Hypervisor } from '../../src/api/hypervisor.ts';
import type { VirtualMachine } from '../../src/api/virtual-machine.ts';
import { createLogger } from '../../src/base/logger.ts';
import { runController } from '../../src/controller/controller.ts';
import { runExecutor } from '../../src/executor/executor.ts';
import { parseConnection } from '../support/kube-connection.ts';
import { KubeClient } from '../../src/kube/kube-client.ts';
import type { KubeObject } from '../../src/kube/object.ts';
import type { ResourceType } from '../../src/kube/resource-type.ts';
import { runScheduler } from '../../src/scheduler/run-scheduler.ts';
import { executorKubeconfig } from '../../src/commands/install/node-setup.ts';

interface AccessReview extends KubeObject {
  readonly spec: object;
  readonly status?: { readonly allowed: boolean };
}

const accessReviews: ResourceType = {
  group: 'authorization.k8s.io',
  version: 'v1',
  kind: 'SubjectAccessReview',
  plural: 'subjectaccessreviews',
  namespaced: false,
};

describe('virtctl install on a real kube-apiserver with RBAC', () => {
  let api: KubeApiserver;
  let admin: KubeClient;
  let libvirtd: LibvirtdNode;
  const clients: KubeClient[] = [];
  /** What the parts were refused. */
  const refused: string[] = [];
  const logger = createLogger({
    level: 'debug',
    write: (line) => {
      if (/forbidden/i.test(line)) refused.push(line);
    },
    now: () => Date.now(),
  });
  const stops = new Map<string, { readonly stop: AbortController; readonly ended: Promise<void> }>();

  beforeAll(async () => {
    [api, libvirtd] = await Promise.all([startKubeApiserver(), startLibvirtd()]);
    admin = new KubeClient(await parseConnection(api.kubeconfigPath));
  });
  afterAll(async () => {
    for (const part of [...stops.keys()]) await end(part);
    for (const client of [...clients, admin as KubeClient | undefined]) client?.close();
    await libvirtd.close();
    await api.stop();
  });

  const virtctl = (...words: readonly string[]): Promise<CommandResult> =>
    commandLine([...words, '--kubeconfig', api.kubeconfigPath]);
  const machines = () => admin.resource<VirtualMachine>(resourceOf('VirtualMachine'));

  /** A client with the identity of a part. */
  async function clientOf(part: string): Promise<KubeClient> {
    const connection = await parseConnection(api.kubeconfigPath);
    const type = {
      ...{ group: '', version: 'v1', kind: 'TokenRequest', namespaced: true },
      plural: `serviceaccounts/virtctl-${part}/token`,
    };
    const request = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      metadata: { namespace: 'virtctl-system' },
      spec: {},
    };
    const { status } = (await admin.resource<KubeObject>(type).create(request)) as unknown as {
      readonly status: { readonly token: string };
    };
    const user = { ...connection.user, token: status.token };
    const client = new KubeClient({ ...connection, user });
    clients.push(client);
    return client;
  }

  function start(part: string, run: (signal: AbortSignal) => Promise<void>): void {
    const stop = new AbortController();
    stops.set(part, { stop, ended: run(stop.signal) });
  }

  async function end(part: string): Promise<void> {
    const running = stops.get(part);
    stops.delete(part);
    running?.stop.abort(new Error('the test is over'));
    await running?.ended;
  }

  async function until(name: string, holds: (vm: VirtualMachine | undefined) => boolean): Promise<VirtualMachine> {
    let found: VirtualMachine | undefined;
    await expect
      .poll(
        async () => {
          found = await machines().find({ namespace: 'default', name });
          return holds(found) ? 'it holds' : JSON.stringify(found?.status ?? found?.metadata);
        },
        { timeout: 60_000 },
      )
      .toBe('it holds');
    return found as VirtualMachine;
  }

  it('applies everything, and nothing the second time', async () => {
    const first = await virtctl('install', '--image', 'registry.example/virtctl:1');
    expect(first).toMatchObject({ exitCode: 0, stderr: '' });
    expect(first.stdout).toContain('daemonset.apps/virtctl-executor created\n');
    expect(first.stdout).toContain(
      'customresourcedefinition.apiextensions.k8s.io/virtualmachines.virtctl.dev created\n',
    );
    const second = await virtctl('install', '--image', 'registry.example/virtctl:1');
    expect(second.stdout.split('\n').filter((line) => line !== '' && !line.endsWith(' unchanged'))).toEqual([]);
    const upgrade = await virtctl('install', '--image', 'registry.example/virtctl:2');
    expect(upgrade.stdout.split('\n').filter((line) => line.endsWith(' configured'))).toEqual([
      'deployment.apps/virtctl-controller configured',
      'deployment.apps/virtctl-scheduler configured',
      'daemonset.apps/virtctl-executor configured',
    ]);
  });

  it('prints manifests without a server', async () => {
    const { stdout, exitCode } = await commandLine(['install', '--dry-run', '-o', 'yaml', '--nodes', 'a,b']);
    expect(exitCode).toBe(0);
    const objects = parseAllDocuments(stdout).map((one) => one.toJS() as KubeObject);
    const names = objects.map(({ kind, metadata }) => `${kind} ${metadata.namespace ?? ''} ${metadata.name ?? ''}`);
    expect(new Set(names).size).toBe(names.length);
    expect(stdout).toContain('values:\n                - a\n                - b\n');
    const without = await commandLine(['install', '--dry-run', '-o', 'name', '--nodes', 'none']);
    expect(without.stdout).not.toContain('daemonset');
  });

  it.each([
    ['executor', 'patch', 'virtualmachines/status', true],
    ['executor', 'patch', 'virtualmachines', false],
    ['executor', 'update', 'virtualmachines', false],
    ['executor', 'create', 'virtualmachines', false],
    ['executor', 'delete', 'virtualmachines', false],
    ['executor', 'patch', 'virtualdisks', false],
    ['executor', 'patch', 'hypervisors', false],
    ['executor', 'watch', 'virtualmachines', true],
    ['scheduler', 'patch', 'virtualmachines', true],
    ['scheduler', 'delete', 'virtualmachines', false],
    ['controller', 'patch', 'virtualmachines/status', true],
    ['controller', 'delete', 'virtualmachines', false],
  ])('lets the %s %s %s: %s', async (part, verb, resource, allowed) => {
    expect(await may(part, 'default', 'virtctl.dev', verb, resource)).toBe(allowed);
  });

  it.each([
    ['executor', 'default', 'get', true],
    ['executor', 'default', 'list', false],
    ['executor', 'default', 'create', false],
    ['scheduler', 'virtctl-system', 'get', false],
    ['controller', 'default', 'get', false],
    ['controller', 'virtctl-system', 'list', false],
  ])('with secrets lets the %s in %s %s: %s', async (part, namespace, verb, allowed) => {
    expect(await may(part, namespace, '', verb, 'secrets')).toBe(allowed);
  });

  async function may(part: string, namespace: string, group: string, verb: string, name: string): Promise<boolean> {
    const [resource, subresource] = name.split('/');
    const review = await admin.resource<AccessReview>(accessReviews).create({
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SubjectAccessReview',
      metadata: {},
      spec: {
        user: `system:serviceaccount:virtctl-system:virtctl-${part}`,
        groups: ['system:serviceaccounts', 'system:authenticated'],
        resourceAttributes: { namespace, group, version: '*', resource, subresource, verb },
      },
    });
    return review.status?.allowed === true;
  }

  it('runs every part with the rights of its own: a machine is placed, started, changed and deleted', async () => {
    const [controller, scheduler, executor] = await Promise.all(['controller', 'scheduler', 'executor'].map(clientOf));
    if (controller === undefined || scheduler === undefined || executor === undefined) throw new Error('no client');
    start('controller', (signal) =>
      runController(
        {
          client: controller,
          identity: 'test',
          webhook: { host: '127.0.0.1', port: 0, failurePolicy: 'Fail' },
          logger,
        },
        signal,
      ),
    );
    start('scheduler', (signal) =>
      runScheduler(
        {
          client: scheduler,
          identity: 'test',
          namespace: 'virtctl-system',
          newToken: () => randomUUID().slice(0, 8),
          logger,
        },
        signal,
      ),
    );
    start('executor', (signal) =>
      runExecutor(
        {
          client: executor,
          nodeName: 'node-1',
          uri: libvirtd.uri,
          dataFolder: join(libvirtd.dir, 'executor'),
          leaseSeconds: 4,
          logger,
        },
        signal,
      ),
    );
    const nodes = admin.resource<Hypervisor>(resourceOf('Hypervisor'));
    await expect.poll(() => nodes.find({ name: 'node-1' }), { timeout: 30_000 }).toBeDefined();
    await make('web');
    const running = await until('web', (vm) => vm?.status?.printableStatus === 'Running');
    expect(running.spec.nodeName).toBe('node-1');
    expect(running.metadata.finalizers).toContain('virtctl.dev/domain');
    await machines().mergePatch({ namespace: 'default', name: 'web' }, { spec: { domain: { title: 'set' } } });
    await until('web', (vm) => vm?.status?.observedGeneration === vm?.metadata.generation);
    expect(await libvirtd.virsh('desc', '--title', 'default.web')).toBe('set');
    await machines().delete({ namespace: 'default', name: 'web' });
    await until('web', (vm) => vm === undefined);
    expect(await libvirtd.virsh('list', '--all', '--name')).toBe('');
  });

  it('asks for nothing that it may not: pools, disks, networks, snapshots and operations come and go', async () => {
    const images = join(libvirtd.dir, 'images');
    const create = async (kind: string, name: string, spec: object): Promise<void> => {
      const { namespaced } = resourceOf(kind);
      const metadata = namespaced ? { namespace: 'default', name } : { name };
      const object = { apiVersion: 'virtctl.dev/v1alpha1', kind, metadata, spec };
      await admin.resource<KubeObject & { readonly spec: object }>(resourceOf(kind)).create(object);
    };
    const find = (kind: string, name: string): Promise<unknown> =>
      admin
        .resource<KubeObject>(resourceOf(kind))
        .find(resourceOf(kind).namespaced ? { namespace: 'default', name } : { name });
    const untilHas = (kind: string, name: string, word: RegExp): Promise<void> =>
      expect
        .poll(async () => JSON.stringify(((await find(kind, name)) as { status?: object } | undefined)?.status), {
          timeout: 60_000,
        })
        .toMatch(word);
    await create('VirtualPool', 'vms', { build: 'IfMissing', pool: { type: 'dir', target: { path: images } } });
    await create('VirtualDisk', 'root', { pool: 'vms', capacity: '16Mi', source: { blank: {} } });
    await create('VirtualNetwork', 'lan', { network: { bridge: { name: 'virbr8' } } });
    await untilHas('VirtualNetwork', 'lan', /"status":"True","type":"Ready"/);
    await make('all', {
      volumes: [
        { name: 'root', virtualDisk: 'root' },
        { name: 'scratch', emptyDisk: { capacity: '16Mi', pool: 'vms' } },
      ],
      interfaces: [{ name: 'net', virtualNetwork: 'lan' }],
    });
    await until('all', (vm) => vm?.status?.printableStatus === 'Running');
    await create('VirtualMachineSnapshot', 'before', { virtualMachine: 'all' });
    await untilHas('VirtualMachineSnapshot', 'before', /"status":"True","type":"Ready"/);
    await create('VirtualMachineOperation', 'again', { virtualMachine: 'all', verb: 'Reset' });
    await untilHas('VirtualMachineOperation', 'again', /"phase":"Succeeded"/);
    await machines().delete({ namespace: 'default', name: 'all' });
    await until('all', (vm) => vm === undefined);
    for (const [kind, name] of [
      ['VirtualMachineSnapshot', 'before'],
      ['VirtualDisk', 'all-scratch'],
    ] as const) {
      await expect.poll(() => find(kind, name), { timeout: 60_000 }).toBeUndefined();
    }
    for (const [kind, name] of [
      ['VirtualDisk', 'root'],
      ['VirtualNetwork', 'lan'],
      ['VirtualPool', 'vms'],
    ] as const) {
      const ref = resourceOf(kind).namespaced ? { namespace: 'default', name } : { name };
      await admin.resource<KubeObject>(resourceOf(kind)).delete(ref);
      await expect.poll(() => find(kind, name), { timeout: 60_000 }).toBeUndefined();
    }
    expect(refused).toEqual([]);
  });

  async function make(name: string, further: object = {}): Promise<void> {
    await machines().create({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualMachine',
      metadata: { namespace: 'default', name },
      spec: {
        ...further,
        terminationGracePeriodSeconds: 0,
        domain: {
          type: 'qemu',
          memory: { unit: 'MiB', value: 32 },
          os: { type: { arch: 'x86_64', machine: 'q35', value: 'hvm' } },
        },
      },
    });
  }

  it('makes a kubeconfig for executors outside the cluster', async () => {
    const { signal } = new AbortController();
    const connection = await parseConnection(api.kubeconfigPath);
    const { text, expiresAt } = await executorKubeconfig(admin, connection, 7200, signal);
    expect(Date.parse(expiresAt)).toBeGreaterThan(Date.now() + 3_600_000);
    expect(text).toContain(`server: ${api.server}`);
    expect(text).toMatch(/certificate-authority-data: \S+/);
    expect(text).toMatch(/token: \S+/);
  });

  it('uninstalls and leaves objects and guests; with --objects it refuses while an executor runs', async () => {
    await make('stays');
    await until('stays', (vm) => vm?.status?.printableStatus === 'Running');
    const id = await libvirtd.virsh('domid', 'default.stays');
    await end('controller');
    await end('scheduler');
    const gone = await virtctl('uninstall');
    expect(gone).toMatchObject({ exitCode: 0, stderr: '' });
    expect(gone.stdout).toContain('deployment.apps/virtctl-controller deleted\n');
    expect(gone.stdout).not.toContain('customresourcedefinition');
    expect((await machines().listAll()).items).toHaveLength(1);
    expect(await virtctl('uninstall', '--objects', '--timeout', '2s')).toMatchObject({
      exitCode: 4,
      stderr: expect.stringContaining('executors still run on node-1') as string,
    });
    expect((await machines().listAll()).items).toHaveLength(1);
    await end('executor');
    const all = await virtctl('uninstall', '--objects', '--timeout', '60s');
    expect(all).toMatchObject({ exitCode: 0, stderr: '' });
    expect(all.stdout).toContain('virtualmachines.virtctl.dev deleted\n');
    await expect.poll(() => virtctl('get', 'vm').then(({ exitCode }) => exitCode), { timeout: 30_000 }).toBe(3);
    expect(await libvirtd.virsh('domid', 'default.stays')).toBe(id);
    expect(await virtctl('uninstall', '--objects')).toMatchObject({ exitCode: 0 });
  });
});
