/** The loss of a control plane under a node whose libvirt and guests stay. */
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ExecutorNode } from './executor-node.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { selectConnection } from '../../src/kube/connection.ts';
import { KubeClient } from '../../src/kube/kube-client.ts';
import { virtctlKinds } from '../../src/standalone/kinds/virtctl-kinds.ts';
import { startApiServer } from '../../src/standalone/server.ts';

/** A node that has lost its control plane, and what it has instead. */
export interface NodeAfterLoss {
  /** The same node with an API server that knows nothing. */
  readonly node: ExecutorNode;
  /** Ends its executor and its API server; libvirt belongs to the node before. */
  readonly close: () => Promise<void>;
}

/**
 * Kills a node's executor, and starts it anew with an API server that knows nothing, as after the loss of etcd.
 *
 * @param before The node; its own `close` ends libvirt and its first API server.
 */
export async function loseControlPlane(before: ExecutorNode): Promise<NodeAfterLoss> {
  await before.stopExecutor('SIGKILL');
  const folder = await mkdtemp(join(before.libvirtd.dir, 'api-'));
  const api = await startApiServer({
    folder,
    definitions: virtctlKinds(),
    logger: silentLogger,
    version: '0.0.0-test',
  });
  const { kubeconfig } = api;
  const client = new KubeClient(await selectConnection({ kubeconfig, env: {}, home: folder, cwd: folder }));
  const port = 20_000 + Math.floor(Math.random() * 20_000);
  const node = new ExecutorNode(before.libvirtd, undefined, client, kubeconfig, before.libvirtd.uri, port);
  const close = async (): Promise<void> => {
    await node.stopExecutor('SIGKILL');
    client.close();
    await api.close();
  };
  try {
    await node.startExecutor();
    // From then on it is known whose libvirt that is.
    for (const end = Date.now() + 120_000; ;) {
      const hypervisor = await node.hypervisors.find({ name: node.name });
      if (hypervisor?.status?.nodeInfo?.systemUUID !== undefined) break;
      if (Date.now() > end) throw new Error((await node.log()).slice(-2500));
      await delay(50);
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { node, close };
}
