import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { VirtualNetwork } from '../../src/api/virtual-network.ts';
import type { ResourceClient } from '../../src/kube/resource-client.ts';
import { ourKind } from '../../scripts/lab/lab.ts';
import { idleMachine, startLabCluster, type LabCluster } from '../support/lab-cluster.ts';

/** One VirtualNetwork on three nodes, each with its own libvirtd. */
describe('a network of several nodes', () => {
  let cluster: LabCluster;
  let networks: ResourceClient<VirtualNetwork>;
  const ref = { namespace: 'default', name: 'front' };
  const states = (network: VirtualNetwork | undefined) =>
    Object.fromEntries((network?.status?.nodes ?? []).map(({ nodeName, state }) => [nodeName, state]));
  const lineOf = (network: VirtualNetwork | undefined, node: string) =>
    network?.status?.nodes?.find(({ nodeName }) => nodeName === node);

  async function until(holds: (network: VirtualNetwork | undefined) => boolean): Promise<VirtualNetwork | undefined> {
    const end = performance.now() + 120_000;
    for (;;) {
      const network = await networks.find(ref);
      if (holds(network)) return network;
      if (performance.now() > end) throw new Error(`vnet/front: ${JSON.stringify(network?.status, null, 1)}`);
      await delay(50);
    }
  }
  const untilStates = (wanted: Readonly<Record<string, string>>) =>
    until((network) => JSON.stringify(states(network)) === JSON.stringify(wanted));
  const hasNetwork = async (node: string): Promise<boolean> =>
    (await cluster.lab.node(node).libvirtd.virsh('net-list', '--all', '--name')).includes('default.front');
  const label = (name: string, rack: string | null) =>
    cluster.hypervisors.mergePatch({ name }, { metadata: { labels: { rack } } });

  beforeAll(async () => {
    cluster = await startLabCluster({ api: 'embedded' });
    networks = cluster.lab.client.resource<VirtualNetwork>(ourKind('VirtualNetwork'));
    // The third is not there yet.
    await cluster.lab.node('node-3').kill('executor');
    await cluster.hypervisors.delete({ name: 'node-3' });
  });
  afterAll(() => cluster.close());

  it('is on each of them, and on one that joins later', async () => {
    await networks.create({
      ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualNetwork', metadata: ref },
      spec: { network: { bridge: { name: 'vlab0' }, ip: [{ address: '10.65.0.1', prefix: 24 }] } },
    });
    const two = await untilStates({ 'node-1': 'Active', 'node-2': 'Active' });
    expect(two?.status?.summary).toBe('2/2');
    expect(await hasNetwork('node-3')).toBe(false);
    await cluster.lab.node('node-3').start('executor');
    const three = await untilStates({ 'node-1': 'Active', 'node-2': 'Active', 'node-3': 'Active' });
    expect(three?.status?.summary).toBe('3/3');
    for (const { name } of cluster.lab.nodes) expect(await hasNetwork(name), name).toBe(true);
  });

  it('is left by nodes that are no longer selected, where guests are plugged in when they have gone', async () => {
    await cluster.create('web', {
      ...{ ...idleMachine, nodeName: 'node-3' },
      interfaces: [{ name: 'eth0', virtualNetwork: 'front' }],
    });
    await cluster.untilStatus('web', 'Running');
    await until((network) => lineOf(network, 'node-3')?.attached?.includes('default/web') === true);
    await label('node-1', 'a');
    await networks.mergePatch(ref, { spec: { nodeSelector: { matchLabels: { rack: 'a' } } } });
    const left = await until(
      (network) => lineOf(network, 'node-3')?.reason === 'InUse' && states(network)['node-2'] === undefined,
    );
    expect(lineOf(left, 'node-3')).toMatchObject({
      state: 'Active',
      message: 'the node is no longer selected, but the network is in use by default/web',
    });
    expect([await hasNetwork('node-1'), await hasNetwork('node-2'), await hasNetwork('node-3')]).toEqual([
      true,
      false,
      true,
    ]);
    expect(await cluster.domainId('node-3', 'web')).toBeDefined();
    await cluster.delete('web');
    await untilStates({ 'node-1': 'Active' });
    expect(await hasNetwork('node-3')).toBe(false);
    await label('node-2', 'a');
    await untilStates({ 'node-1': 'Active', 'node-2': 'Active' });
    await label('node-1', null);
    const moved = await untilStates({ 'node-2': 'Active' });
    expect(moved?.status?.summary).toBe('1/1');
  });

  it('is not forgotten on a node that is away when it is deleted', async () => {
    await cluster.lab.node('node-2').kill('executor');
    await networks.delete(ref);
    // The others have nothing to remove, and wait for it.
    await cluster.lab.node('node-2').start('executor');
    await until((network) => network === undefined);
    for (const { name } of cluster.lab.nodes) expect(await hasNetwork(name), name).toBe(false);
  });
});
