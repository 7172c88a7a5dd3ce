import { setTimeout as delay } from 'node:timers/promises';
import { resourceOf } from './executor-node.ts';
import type { KubeApiserver } from './kube-apiserver.ts';
import { customResourceDefinition } from '../../src/api/crd.ts';
import { kinds } from '../../src/api/kinds.ts';
import { selectConnection } from '../../src/kube/connection.ts';
import { KubeClient } from '../../src/kube/kube-client.ts';
import type { KubeObject } from '../../src/kube/object.ts';
import { builtin } from '../../src/kube/resource-type.ts';
import { isNotFound } from '../../src/kube/status-error.ts';

/** Gives a real kube-apiserver our kinds, and waits until it serves them. */
export async function installKinds(api: KubeApiserver): Promise<void> {
  const connection = await selectConnection({ kubeconfig: api.kubeconfigPath, env: {}, home: '/', cwd: '/' });
  const client = new KubeClient(connection);
  const end = Date.now() + 120_000;
  for (const kind of kinds) {
    const crd = customResourceDefinition(kind) as KubeObject;
    await client.resource<KubeObject>(builtin.customResourceDefinitions).apply(crd, { force: true });
  }
  for (const { kind } of kinds) {
    for (;;) {
      try {
        await client.resource<KubeObject>(resourceOf(kind)).list({ limit: 1 });
        break;
      } catch (error) {
        if (!isNotFound(error) || Date.now() > end) throw error;
        await delay(100);
      }
    }
  }
  client.close();
}
