/** A node (executor-node.ts) for tests of networks: its VirtualNetworks, and what virsh says. Gone after `close`. */
import { setTimeout as delay } from 'node:timers/promises';
import { resourceOf, startExecutorNode, type ExecutorNode } from './executor-node.ts';
import type { VirtualNetwork, VirtualNetworkSpec } from '../../src/api/virtual-network.ts';
import type { ResourceClient } from '../../src/kube/resource-client.ts';

/** See the head of this file. */
export class NetworkLab {
  readonly node: ExecutorNode;
  readonly networks: ResourceClient<VirtualNetwork>;

  constructor(node: ExecutorNode) {
    this.node = node;
    this.networks = node.client.resource<VirtualNetwork>(resourceOf('VirtualNetwork'));
  }

  static async start(): Promise<NetworkLab> {
    return new NetworkLab(await startExecutorNode());
  }

  make(name: string, spec: VirtualNetworkSpec, namespace = 'default'): Promise<VirtualNetwork> {
    const metadata = { name, namespace };
    return this.networks.create({ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualNetwork', metadata, spec });
  }

  patch(name: string, patch: object): Promise<VirtualNetwork> {
    return this.networks.mergePatch({ namespace: 'default', name }, patch);
  }

  /** Waits until something holds of a network; undefined when it is gone. */
  async until(
    name: string,
    holds: (network: VirtualNetwork | undefined) => boolean,
    timeoutMs = 120_000,
  ): Promise<VirtualNetwork | undefined> {
    const end = Date.now() + timeoutMs;
    for (;;) {
      const network = await this.networks.find({ namespace: 'default', name });
      if (holds(network)) return network;
      if (Date.now() > end) {
        throw new Error(
          `${JSON.stringify({ ...network, metadata: undefined }, null, 1)}\n${(await this.node.log()).slice(-2500)}`,
        );
      }
      await delay(50);
    }
  }

  /** Waits until the newest spec is in effect on the node. */
  async untilReady(name: string): Promise<VirtualNetwork> {
    const ready = await this.until(
      name,
      (one) =>
        this.condition(one, 'Ready')?.status === 'True' &&
        one?.status?.nodes?.[0]?.observedGeneration === one?.metadata.generation,
    );
    return ready as VirtualNetwork;
  }

  /** Deletes a network, and waits until it is gone. */
  async remove(name: string): Promise<void> {
    await this.networks.delete({ namespace: 'default', name });
    await this.untilGone(name);
  }

  async untilGone(name: string): Promise<void> {
    await this.until(name, (one) => one === undefined);
  }

  /** Waits until a condition has a reason. */
  async untilReason(name: string, type: string, reason: string): Promise<VirtualNetwork> {
    return (await this.until(name, (one) => this.condition(one, type)?.reason === reason)) as VirtualNetwork;
  }

  condition(network: VirtualNetwork | undefined, type: string) {
    return network?.status?.conditions?.find((one) => one.type === type);
  }

  /** The reasons of a network's Events. */
  eventsOf(name: string): Promise<string[]> {
    return this.node.eventsOf(name);
  }

  virsh(...args: string[]): Promise<string> {
    return this.node.libvirtd.virsh(...args);
  }

  /** The running network, or with `--inactive` its definition, without our mark. */
  async dump(name: string, ...more: string[]): Promise<string> {
    return (await this.virsh('net-dumpxml', ...more, name)).replace(/<metadata>[^]*<\/metadata>/, '');
  }

  close(): Promise<void> {
    return this.node.close();
  }
}
