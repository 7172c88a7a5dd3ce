import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { VirtualMachineSpec } from '../../src/api/virtual-machine.ts';
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

describe('30 machines on three nodes with a real API server', () => {
  const isOf = (group: string) => ({ matchLabels: { group } });

  it('are spread evenly when they are to be', async () => {
    const rule = { maxSkew: 1, topologyKey: hostname, whenUnsatisfiable: 'DoNotSchedule' } as const;
    const spread = { topologySpreadConstraints: [{ ...rule, labelSelector: isOf('even') }] };
    expect(await place('even', 9, spread)).toEqual([3, 3, 3]);
  });

  it('are on nodes of their own when they must be far from each other, and the fourth is told why it waits', async () => {
    const term = { topologyKey: hostname, labelSelector: isOf('apart') };
    const affinity = { vmAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] } };
    expect(await place('apart', 3, { affinity })).toEqual([1, 1, 1]);
    await cluster.create('apart-3', { ...off, affinity }, { labels: { group: 'apart' } });
    const waiting = await cluster.until(
      'apart-3',
      'the reason',
      (vm) => cluster.condition(vm, 'Scheduled').status === 'False',
    );
    expect(cluster.condition(waiting, 'Scheduled').message).toBe('3 nodes: 3 with a machine that it must be far from');
    await cluster.delete('apart-1');
    expect(nodes).toContain(await cluster.untilPlaced('apart-3'));
  });

  it('are together when they must be near each other', async () => {
    const term = { topologyKey: hostname, labelSelector: isOf('near') };
    const affinity = { vmAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] } };
    expect((await place('near', 4, { affinity })).sort()).toEqual([0, 0, 4]);
  });

  it('are where their nodeSelector says', async () => {
    expect(await place('ssd', 4, { nodeSelector: { disk: 'ssd' } })).toEqual([0, 0, 4]);
  });

  it('stay away from a tainted node unless they tolerate it, and from a cordoned one', async () => {
    const taints = [{ key: 'gpu', effect: 'NoSchedule' }];
    await cluster.hypervisors.mergePatch({ name: 'node-1' }, { spec: { taints } });
    expect(await cluster.virtctl('node', 'cordon', 'node-2')).toMatchObject({ exitCode: 0 });
    expect(await place('plain', 3, {})).toEqual([0, 0, 3]);
    const tolerations = [{ key: 'gpu', operator: 'Exists' }] as const;
    const [first = 0, second = 0] = await place('gpu', 3, { tolerations });
    expect([first > 0, second]).toEqual([true, 0]);
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

  it('are all defined by the executors of their nodes', async () => {
    const { items } = await cluster.machines.listAll();
    expect(items.length).toBe(29);
    for (const { metadata, spec } of items) {
      const name = metadata.name ?? '';
      await cluster.untilStatus(name, 'Stopped');
      expect(await cluster.domains(name), name).toEqual({ [spec.nodeName ?? '']: 'shut off' });
    }
    await cluster.delete(...items.map(({ metadata }) => metadata.name ?? ''));
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
      .poll(() => cluster.create('late', off).then(() => 'created', String), { timeout: 60_000 })
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
