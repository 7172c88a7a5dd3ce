import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { VirtualMachine, VirtualMachineSpec } from '../../src/api/virtual-machine.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { accessManifests } from '../../src/commands/install/access-rules.ts';
import type { KubeObject } from '../../src/kube/object.ts';
import { builtin } from '../../src/kube/resource-type.ts';
import type { Pod } from '../../src/scheduler/pod-requests.ts';
import { placeMachines } from '../../src/scheduler/run-scheduler.ts';
import { virtctlKinds } from '../../src/standalone/kinds/virtctl-kinds.ts';
import { startApiServer, type ApiServer } from '../../src/standalone/server.ts';
import { resourceOf } from '../support/executor-node.ts';
import { installKinds } from '../support/install-kinds.ts';
import { killSchedulers, PlacementCluster } from '../support/kill-schedulers.ts';
import { startKubeApiserver, type KubeApiserver } from '../support/kube-apiserver.ts';
import { makeTestFolder } from '../support/test-folder.ts';

describe('schedulers that all believe to lead', () => {
  let api: ApiServer;
  let cluster: PlacementCluster;

  beforeAll(async () => {
    const folder = makeTestFolder('racing-schedulers');
    api = await startApiServer({ folder, definitions: virtctlKinds(), logger: silentLogger, version: 'test' });
    cluster = await PlacementCluster.open(api.kubeconfig);
    await cluster.addNodes(['n1', 'n2', 'n3', 'n4', 'n5', 'n6']);
  });
  afterAll(async () => {
    cluster.close();
    await api.close();
  });

  it('book no node twice, and leave nobody behind', async () => {
    let token = 0;
    const stop = new AbortController();
    const start = (identity: string): Promise<void> => {
      const newToken = (): string => `${identity}-${(token += 1)}`;
      return placeMachines({ client: cluster.client, identity, newToken, logger: silentLogger }, stop.signal);
    };
    const running = ['one', 'two', 'three'].map(start);
    // Pseudo-random, and the same in every run.
    let seed = 7;
    const random = (): number => (seed = (seed * 16_807) % 2_147_483_647) / 2_147_483_647;
    for (let round = 0; round < 5; round += 1) {
      await cluster.create(12, random);
      await cluster.check();
      await cluster.deleteSome(0.4, random);
      await cluster.check();
    }
    expect(await cluster.untilSettled()).toBeGreaterThan(0);
    stop.abort(new Error('the test is over'));
    await Promise.all(running);
  });
});

describe('schedulers on a real kube-apiserver', () => {
  let api: KubeApiserver;
  beforeAll(async () => {
    api = await startKubeApiserver();
    await installKinds(api);
  });
  afterAll(() => api.stop());

  it('can be killed at any moment', async () => {
    // A tenth of `npm run soak -- schedulers` would take a minute and a half.
    const report = await killSchedulers(api.kubeconfigPath, 4, Math.random, () => undefined);
    expect(report.kills).toBe(4);
    expect(report.placed).toBeGreaterThan(0);
  });

  it('leave to pods what they request on a host that runs a kubelet too', async () => {
    const cluster = await PlacementCluster.open(api.kubeconfigPath);
    const stop = new AbortController();
    let token = 0;
    const newToken = (): string => String((token += 1));
    // Those that still wait would take the room.
    await cluster.deleteSome(1, () => 0);
    await cluster.addNodes(['kubelet']);
    const pods = cluster.client.resource<Pod>(builtin.pods);
    const ref = { namespace: 'default', name: 'greedy' };
    const container = { name: 'one', image: 'none', resources: { requests: { memory: '3Gi' } } };
    await pods.create({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: ref,
      spec: { nodeName: 'kubelet', containers: [container] },
    });
    const machines = cluster.client.resource<VirtualMachine>(resourceOf('VirtualMachine'));
    const running = placeMachines(
      { client: cluster.client, identity: 'beside-pods', newToken, logger: silentLogger },
      stop.signal,
    );
    try {
      await machines.create({
        apiVersion: 'virtctl.dev/v1alpha1',
        kind: 'VirtualMachine',
        metadata: { name: 'beside', namespace: 'default' },
        spec: {
          nodeSelector: { 'kubernetes.io/hostname': 'kubelet' },
          domain: { memory: { unit: 'GiB', value: 3 } },
        },
      });
      const machine = (): Promise<VirtualMachine> => machines.get({ namespace: 'default', name: 'beside' });
      const told = async (): Promise<string> =>
        (await machine()).status?.conditions?.find(({ type }) => type === 'Scheduled')?.message ?? '';
      await expect.poll(told, { timeout: 60_000 }).toContain('1 too little memory (needs 3.1 GiB, free 1 GiB)');
      await pods.delete(ref, { gracePeriodSeconds: 0 });
      await expect.poll(async () => (await machine()).spec.nodeName, { timeout: 60_000 }).toBe('kubelet');
    } finally {
      stop.abort(new Error('the test is over'));
      await running;
      cluster.close();
    }
  });

  it('follow the labels of namespaces with the rights of an installation, and say so when they may not', async () => {
    const cluster = await PlacementCluster.open(api.kubeconfigPath);
    const limitedPath = join(api.folder, 'limited.kubeconfig');
    const text = await readFile(api.kubeconfigPath, 'utf8');
    await writeFile(limitedPath, text.replaceAll(api.adminToken, api.nobodyToken));
    const limited = await PlacementCluster.open(limitedPath);
    const authorization = { group: 'rbac.authorization.k8s.io', version: 'v1', namespaced: false };
    const roles = cluster.client.resource<KubeObject>({
      ...authorization,
      kind: 'ClusterRole',
      plural: 'clusterroles',
    });
    const bindings = { ...authorization, kind: 'ClusterRoleBinding', plural: 'clusterrolebindings' };
    const ours = accessManifests().filter(({ metadata }) => metadata.name === 'virtctl-scheduler');
    const role = ours.find(({ kind }) => kind === 'ClusterRole') as unknown as KubeObject & {
      rules: { resources: string[] }[];
    };
    const binding = ours.find(({ kind }) => kind === 'ClusterRoleBinding') as KubeObject;
    const subjects = [{ apiGroup: authorization.group, kind: 'User', name: 'nobody' }];
    await cluster.client.resource<KubeObject>(bindings).apply({ ...binding, subjects } as KubeObject);
    await roles.apply({
      ...role,
      rules: role.rules.filter(({ resources }) => !resources.includes('namespaces')),
    } as KubeObject);

    const namespaces = cluster.client.resource<KubeObject>(builtin.namespaces);
    const team = (name: string) => ({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: 'neighbours', labels: { team: name } },
    });
    await namespaces.apply(team('red'));
    await cluster.addNodes(['shared']);
    const machines = cluster.client.resource<VirtualMachine>(resourceOf('VirtualMachine'));
    const make = (namespace: string, spec: VirtualMachineSpec) =>
      machines.create({
        apiVersion: 'virtctl.dev/v1alpha1',
        kind: 'VirtualMachine',
        metadata: { name: 'apart', namespace },
        spec: { domain: { memory: { unit: 'MiB', value: 64 } }, ...spec },
      });
    await make('neighbours', { nodeName: 'shared' });
    const term = {
      topologyKey: 'kubernetes.io/hostname',
      labelSelector: {},
      namespaceSelector: { matchLabels: { team: 'red' } },
    };
    await make('default', {
      nodeSelector: { 'kubernetes.io/hostname': 'shared' },
      affinity: { vmAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] } },
    });
    const machine = (): Promise<VirtualMachine> => machines.get({ namespace: 'default', name: 'apart' });
    const told = async (): Promise<string> =>
      (await machine()).status?.conditions?.find(({ type }) => type === 'Scheduled')?.message ?? '';
    const whileRunning = async (identity: string, task: () => Promise<unknown>): Promise<void> => {
      const stop = new AbortController();
      let token = 0;
      const newToken = (): string => `${identity}-${(token += 1)}`;
      const running = placeMachines({ client: limited.client, identity, newToken, logger: silentLogger }, stop.signal);
      try {
        await task();
      } finally {
        stop.abort(new Error('the test is over'));
        await running;
      }
    };
    try {
      await whileRunning('blind', () =>
        expect.poll(told, { timeout: 60_000 }).toContain('if the scheduler might list namespaces'),
      );
      await roles.apply(role);
      // An authorizer learns of its rules a moment later.
      const list = (): Promise<boolean> =>
        limited.client
          .resource<KubeObject>(builtin.namespaces)
          .listAll({})
          .then(
            () => true,
            () => false,
          );
      await expect.poll(list, { timeout: 60_000 }).toBe(true);
      await whileRunning('seeing', async () => {
        await expect.poll(told, { timeout: 60_000 }).toContain('1 with a machine that it must be far from');
        await namespaces.apply(team('blue'));
        await expect.poll(async () => (await machine()).spec.nodeName, { timeout: 60_000 }).toBe('shared');
      });
    } finally {
      limited.close();
      cluster.close();
    }
  });
});
