import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ourKind } from '../../scripts/lab/lab.ts';
import { leaseNamespace, type Hypervisor } from '../../src/api/hypervisor.ts';
import type { VirtualDisk } from '../../src/api/virtual-disk.ts';
import type { VirtualMachine, VirtualMachineSpec } from '../../src/api/virtual-machine.ts';
import type { VirtualNetwork } from '../../src/api/virtual-network.ts';
import { toKubernetesMicroTime, toKubernetesTime } from '../../src/base/clock.ts';
import { builtin } from '../../src/kube/resource-type.ts';
import { makeLease, type Lease } from '../../src/reconcile/lease.ts';
import { idleMachine, startLabCluster, type LabCluster } from '../support/lab-cluster.ts';

let cluster: LabCluster;
const nodes = ['node-1', 'node-2', 'node-3'];
const hostname = 'kubernetes.io/hostname';
const off: VirtualMachineSpec = { ...idleMachine, runStrategy: 'Halted' };

beforeAll(async () => {
  cluster = await startLabCluster();
  // Every machine counts with a processor, and all of them are off or idle.
  const spec = { overcommit: { cpuPercent: 5000 } };
  for (const name of nodes) await cluster.hypervisors.mergePatch({ name }, { spec });
  await cluster.hypervisors.mergePatch({ name: 'node-3' }, { metadata: { labels: { disk: 'ssd' } } });
  for (const name of nodes) await cluster.untilCpus(name, 50);
});
afterAll(() => cluster.close());

/** Creates machines of a group at the same time, and says how many each node got. */
async function place(group: string, count: number, spec: Partial<VirtualMachineSpec>): Promise<number[]> {
  const names = Array.from({ length: count }, (_, index) => `${group}-${index}`);
  await Promise.all(names.map((name) => cluster.create(name, { ...off, ...spec }, { labels: { group } })));
  const placed = await Promise.all(names.map((name) => cluster.untilPlaced(name)));
  return nodes.map((node) => placed.filter((one) => one === node).length);
}

/** Hosts of other sorts than this machine is: the scheduler knows them by what they tell, and nobody starts anything there. */
const oddNodes = ['odd-1', 'odd-2'];

async function addOddNodes(): Promise<void> {
  const leases = cluster.lab.client.resource<Lease>(builtin.leases);
  const taints = [{ key: 'odd', effect: 'NoSchedule' as const }];
  for (const name of oddNodes) {
    const metadata = { namespace: leaseNamespace, name };
    const renewTime = toKubernetesMicroTime(Date.now());
    await leases.create(makeLease(metadata, { holderIdentity: name, leaseDurationSeconds: 3600, renewTime }));
    await cluster.hypervisors.create({
      ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'Hypervisor' },
      metadata: { name, labels: { [hostname]: name } },
      spec: { taints },
    });
  }
  const emulated = { domainType: 'qemu', maxVcpus: 64 };
  const ready = {
    type: 'Ready',
    status: 'True',
    reason: 'Told',
    lastTransitionTime: toKubernetesTime(Date.now()),
  } as const;
  await tellOf('odd-1', {
    conditions: [ready],
    nodeInfo: { architecture: 'aarch64' },
    allocatable: { cpu: '100', memory: '64Gi', 'hugepages-2Mi': '1Gi' },
    domainCapabilities: [
      { ...emulated, arch: 'aarch64', machineTypes: ['virt'] },
      { ...emulated, arch: 'x86_64', machineTypes: ['q35'], cpuModels: ['qemu64'], cpuFeatures: [] },
    ],
    hostDevices: [],
  });
  await tellOf('odd-2', {
    conditions: [ready],
    nodeInfo: { architecture: 'x86_64' },
    // Room for four small machines.
    allocatable: { cpu: '4', memory: '64Gi' },
    domainCapabilities: [
      {
        ...{ ...emulated, arch: 'x86_64', machineTypes: ['q35', 'q36'] },
        ...{ cpuModels: ['Fancy-v9', 'qemu64'], cpuFeatures: ['flying'] },
      },
    ],
    hostDevices: [{ name: 'pci_0000_65_00_0', type: 'pci', address: '0000:65:00.0' }],
  });
}

const tellOf = (name: string, status: object): Promise<Hypervisor> =>
  cluster.hypervisors.mergePatch({ name }, { status }, { subresource: 'status' });

describe('30 machines on three nodes and two odd ones, with a real API server', () => {
  const isOf = (group: string) => ({ matchLabels: { group } });
  const tolerations = [{ key: 'odd', operator: 'Exists' }] as const;
  const domainWith = (domain: VirtualMachineSpec['domain']): Partial<VirtualMachineSpec> => ({
    tolerations: [...tolerations],
    domain: { ...off.domain, ...domain },
  });

  /** One machine, and where it is. */
  async function placeOne(name: string, spec: Partial<VirtualMachineSpec>): Promise<string> {
    await cluster.create(name, { ...off, ...spec });
    return cluster.untilPlaced(name);
  }

  /** Why a machine waits. */
  async function whyNot(name: string): Promise<string | undefined> {
    const waits = (vm: VirtualMachine): boolean => cluster.condition(vm, 'Scheduled').status === 'False';
    return cluster.condition(await cluster.until(name, 'the reason', waits), 'Scheduled').message;
  }

  beforeAll(addOddNodes);

  it('are spread evenly when they are to be', async () => {
    const rule = { maxSkew: 1, topologyKey: hostname, whenUnsatisfiable: 'DoNotSchedule' } as const;
    const nodeSelector = { 'kubernetes.io/os': 'linux' };
    // Nodes that it may not be on do not count: the odd ones have no such label.
    for (const name of nodes) await cluster.hypervisors.mergePatch({ name }, { metadata: { labels: nodeSelector } });
    const spread = { nodeSelector, topologySpreadConstraints: [{ ...rule, labelSelector: isOf('even') }] };
    expect(await place('even', 6, spread)).toEqual([2, 2, 2]);
  });

  it('are on nodes of their own when they must be far from each other, and the fourth is told why it waits', async () => {
    const term = { topologyKey: hostname, labelSelector: isOf('apart') };
    const affinity = { vmAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] } };
    expect(await place('apart', 3, { affinity })).toEqual([1, 1, 1]);
    await cluster.create('apart-3', { ...off, affinity }, { labels: { group: 'apart' } });
    expect(await whyNot('apart-3')).toBe(
      '5 nodes: 2 tainted odd:NoSchedule, 3 with a machine that it must be far from',
    );
    const { spec } = await cluster.get('apart-1');
    await cluster.delete('apart-1');
    expect(await cluster.untilPlaced('apart-3')).toBe(spec.nodeName);
  });

  it('are together when they must be near each other', async () => {
    const term = { topologyKey: hostname, labelSelector: isOf('near') };
    const affinity = { vmAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] } };
    expect((await place('near', 2, { affinity })).sort()).toEqual([0, 0, 2]);
  });

  it('are where their nodeSelector and node affinity say', async () => {
    expect(await place('ssd', 1, { nodeSelector: { disk: 'ssd' } })).toEqual([0, 0, 1]);
    const matchExpressions = [
      { key: 'disk', operator: 'DoesNotExist' as const },
      { key: hostname, operator: 'NotIn' as const, values: ['node-1'] },
    ];
    const required = { nodeSelectorTerms: [{ matchExpressions }] };
    const affinity = { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: required } };
    expect(await place('affine', 2, { affinity })).toEqual([0, 2, 0]);
  });

  it('stay away from a tainted node unless they tolerate it, and from a cordoned one', async () => {
    const taints = [{ key: 'gpu', effect: 'NoSchedule' }];
    await cluster.hypervisors.mergePatch({ name: 'node-1' }, { spec: { taints } });
    expect(await cluster.virtctl('node', 'cordon', 'node-2')).toMatchObject({ exitCode: 0 });
    expect(await place('plain', 2, {})).toEqual([0, 0, 2]);
    // Neither is it on the one that has no taint: preferred is the other.
    const preference = { matchExpressions: [{ key: 'disk', operator: 'DoesNotExist' as const }] };
    const preferred = [{ weight: 100, preference }];
    const affinity = { nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: preferred } };
    expect(await place('gpu', 1, { affinity, tolerations: [{ key: 'gpu', operator: 'Exists' }] })).toEqual([1, 0, 0]);
    expect(await cluster.virtctl('node', 'uncordon', 'node-2')).toMatchObject({ exitCode: 0 });
    await cluster.hypervisors.mergePatch({ name: 'node-1' }, { spec: { taints: null } });
  });

  it('are where there is room', async () => {
    const node = await cluster.hypervisors.get({ name: 'node-1' });
    const memory = Number(node.status?.allocatable?.['memory']);
    const large = { unit: 'MiB', value: Math.floor(memory / 2 ** 20 / 2) };
    const placed = await place('large', 3, { domain: { ...off.domain, memory: large } });
    expect(placed).toEqual([1, 1, 1]);
  });

  it('are where there are huge pages, and where the architecture is theirs', async () => {
    const pages = { hugepages: { page: [{ size: 2, unit: 'MiB' }] } };
    expect(await placeOne('pages', domainWith({ memoryBacking: pages }))).toBe('odd-1');
    const os = { type: { arch: 'aarch64' as const, machine: 'virt', value: 'hvm' as const } };
    expect(await placeOne('arm', domainWith({ os }))).toBe('odd-1');
  });

  it('are where the machine type, the CPU model and its features are known, and the host device is', async () => {
    const os = { type: { arch: 'x86_64' as const, machine: 'q36', value: 'hvm' as const } };
    expect(await placeOne('type', domainWith({ os }))).toBe('odd-2');
    const model = { mode: 'custom' as const, model: { value: 'Fancy-v9', fallback: 'forbid' as const } };
    expect(await placeOne('model', domainWith({ cpu: model }))).toBe('odd-2');
    const feature = { mode: 'host-model' as const, feature: [{ name: 'flying', policy: 'require' as const }] };
    expect(await placeOne('feature', domainWith({ cpu: feature }))).toBe('odd-2');
    const address = { domain: '0x0000', bus: '0x65', slot: '0x00', function: '0x0' };
    const hostdev = [{ mode: 'subsystem' as const, type: 'pci' as const, source: { address } }];
    expect(await placeOne('device', domainWith({ devices: { hostdev } }))).toBe('odd-2');
  });

  it('are where their disk and their network are', async () => {
    await cluster.lab.client.resource<VirtualDisk>(ourKind('VirtualDisk')).create({
      ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualDisk' },
      metadata: { namespace: 'default', name: 'local' },
      spec: { nodeName: 'node-2', capacity: '1Mi', format: 'raw', bindingMode: 'Immediate' },
    });
    await cluster.lab.client.resource<VirtualNetwork>(ourKind('VirtualNetwork')).create({
      ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualNetwork' },
      metadata: { namespace: 'default', name: 'local' },
      spec: { nodeSelector: { matchLabels: { [hostname]: 'node-1' } }, network: {} },
    });
    expect(await placeOne('disk', { volumes: [{ name: 'root', virtualDisk: 'local' }] })).toBe('node-2');
    expect(await placeOne('plugged', { interfaces: [{ name: 'eth0', virtualNetwork: 'local' }] })).toBe('node-1');
  });

  it('are placed by their priority where there is room for one, and the other is told what would make room', async () => {
    const only = { ...domainWith({}), nodeSelector: { [hostname]: 'odd-2' } };
    await tellOf('odd-2', { allocatable: { cpu: '5' } });
    await cluster.hypervisors.mergePatch({ name: 'odd-2' }, { spec: { unschedulable: true } });
    await cluster.create('low', { ...off, ...only });
    await cluster.create('high', { ...off, ...only, priority: 100 });
    expect(await whyNot('low')).toBe('5 nodes: 1 cordoned, 4 without the label kubernetes.io/hostname=odd-2');
    expect(await whyNot('high')).toBe('5 nodes: 1 cordoned, 4 without the label kubernetes.io/hostname=odd-2');
    await cluster.hypervisors.mergePatch({ name: 'odd-2' }, { spec: { unschedulable: false } });
    expect(await cluster.untilPlaced('high')).toBe('odd-2');
    const full = '5 nodes: 1 too few CPUs (needs 1, free 0), 4 without the label kubernetes.io/hostname=odd-2';
    const told = (vm: VirtualMachine): boolean => cluster.condition(vm, 'Scheduled').message === full;
    await cluster.until('low', full, told);
    // The other way round the more important one is told who is in its way.
    await cluster.create('higher', { ...off, ...only, priority: 1000 });
    expect(await whyNot('higher')).toMatch(/^5 nodes: .*; moving default\/[a-z]+ away from odd-2 would make room$/);
    await cluster.delete('higher');
  });

  it('are 30 in all, and defined by the executors of their nodes', async () => {
    const { items } = await cluster.machines.listAll();
    expect(items.length).toBe(30);
    for (const { metadata, spec } of items) {
      const name = metadata.name ?? '';
      if (!nodes.includes(spec.nodeName ?? '')) continue;
      await cluster.untilStatus(name, 'Stopped');
      expect(await cluster.domains(name), name).toEqual({ [spec.nodeName ?? '']: 'shut off' });
    }
    await cluster.delete(...items.map(({ metadata }) => metadata.name ?? ''));
    for (const name of oddNodes) await cluster.hypervisors.delete({ name });
  });
});

describe('a node that is cut off', () => {
  it('is Unknown with its machines, which run on, and nothing is started elsewhere; then it heals', async () => {
    await cluster.create('web', { ...idleMachine, nodeSelector: { disk: 'ssd' } });
    await cluster.untilStatus('web', 'Running');
    const before = await cluster.domainId('node-3', 'web');
    // Nobody needs the scheduler for this: another one begins to lead meanwhile.
    await cluster.lab.part('scheduler').signal('SIGKILL');
    await cluster.lab.part('scheduler').start();
    await cluster.lab.node('node-3').partition();
    const lost = await cluster.untilStatus('web', 'Unknown');
    expect(cluster.condition(lost, 'Ready')).toMatchObject({ status: 'Unknown', reason: 'NodeLost' });
    await cluster.lab.untilReady(['node-3'], 'Unknown');
    expect((await cluster.virtctl('node', 'list', '--no-headers')).stdout).toMatch(/^node-3 +Unknown /m);
    // What is wanted meanwhile is done when the node is back, and not by anybody else.
    await cluster.patch('web', { domain: { title: 'wanted meanwhile' } });
    expect(await cluster.domains('web')).toEqual({ 'node-3': 'running' });
    await cluster.lab.node('node-3').heal();
    await cluster.untilStatus('web', 'Running');
    await cluster.lab.untilReady(nodes);
    const observed = await cluster.until(
      'web',
      'the new spec',
      ({ metadata, status }) => status?.observedGeneration === metadata.generation,
    );
    expect(observed.spec.nodeName).toBe('node-3');
    expect(await cluster.lab.node('node-3').libvirtd.virsh('desc', 'default.web', '--title')).toBe('wanted meanwhile');
    expect(await cluster.domainId('node-3', 'web')).toBe(before);
  });
});

describe('a scheduler that follows one that was killed', () => {
  it('places what waits, also while a controller starts again', async () => {
    await cluster.lab.part('controller').signal('SIGKILL');
    await cluster.lab.part('controller').start();
    // Nothing is checked while no webhook answers, and so nothing is taken.
    await expect
      .poll(() => cluster.create('late', off).then(() => 'created', String), { timeout: 120_000 })
      .toBe('created');
    expect(nodes).toContain(await cluster.untilPlaced('late'));
    await cluster.delete('late');
  });
});

describe('a node whose parts are killed', () => {
  it('keeps its guests when executor and libvirtd are killed', async () => {
    const node = cluster.lab.node('node-3');
    const before = await cluster.domainId('node-3', 'web');
    await Promise.all([node.kill('executor'), node.kill('libvirtd')]);
    await node.start();
    await cluster.patch('web', { domain: { title: 'after the kill' } });
    await cluster.until(
      'web',
      'the new spec',
      ({ metadata, status }) => status?.observedGeneration === metadata.generation,
    );
    expect(await cluster.domainId('node-3', 'web')).toBe(before);
  });

  it('has its machines Unknown while it is off, and runs them again when it boots', async () => {
    const node = cluster.lab.node('node-3');
    await node.kill();
    await cluster.untilStatus('web', 'Unknown');
    expect(await cluster.virtctl('node', 'list', 'node-3', '--no-headers')).toMatchObject({
      stdout: expect.stringMatching(/^node-3 +Unknown /) as string,
    });
    await node.start();
    await cluster.lab.untilReady(nodes);
    const web = await cluster.untilStatus('web', 'Running');
    expect(web.spec.nodeName).toBe('node-3');
    expect(await cluster.domains('web')).toEqual({ 'node-3': 'running' });
  });

  it('gets no machines while it is paused, and the scheduler goes on without it', async () => {
    const node = cluster.lab.node('node-2');
    await node.pause();
    await cluster.lab.untilReady(['node-2'], 'Unknown');
    await Promise.all(['a', 'b', 'c'].map((name) => cluster.create(`fresh-${name}`, off)));
    for (const name of ['a', 'b', 'c']) expect(await cluster.untilPlaced(`fresh-${name}`)).not.toBe('node-2');
    await node.resume();
    await cluster.lab.untilReady(nodes);
    await cluster.delete('fresh-a', 'fresh-b', 'fresh-c');
  });
});

describe('draining a node', () => {
  it('stops its machines, and uncordon --start has them run again', async () => {
    const drained = await cluster.virtctl('node', 'drain', 'node-3', '--force');
    expect(drained.stdout).toContain('virtualmachine.virtctl.dev/web in default stopped\n');
    expect(await cluster.domains('web')).toEqual({ 'node-3': 'shut off' });
    await cluster.virtctl('node', 'uncordon', 'node-3', '--start');
    await cluster.untilStatus('web', 'Running');
  });
});

describe('a lab', () => {
  it('tells what runs', () => {
    const status = cluster.lab.status();
    expect(status.nodes.map(({ name, state, executor }) => [name, state, executor])).toEqual(
      nodes.map((name) => [name, 'running', 'running']),
    );
    expect(Object.values(status.parts)).toEqual(['running', 'running', 'running', 'running']);
  });
});
