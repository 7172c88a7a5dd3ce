import { setTimeout as delay } from 'node:timers/promises';
import { customResourceDefinition } from '../../src/api/crd.ts';
import { kinds, virtualMachineKind } from '../../src/api/kinds.ts';
import type { KubeObject } from '../../src/api/meta.ts';
import { resourceOf } from '../../src/cli/resources/known-resources.ts';
import { selectConnection } from '../../src/kube/connection.ts';
import { KubeClient } from '../../src/kube/kube-client.ts';
import { builtin } from '../../src/kube/resource-type.ts';
import { isNotFound } from '../../src/kube/status-error.ts';
import { startKubeApiserver } from '../support/kube-apiserver.ts';
import { resourceCommandCases } from './resource-command-cases.ts';

resourceCommandCases(async () => {
  const server = await startKubeApiserver();
  const connection = await selectConnection({ kubeconfig: server.kubeconfigPath, env: {}, home: '/', cwd: '/' });
  const client = new KubeClient(connection);
  for (const kind of kinds) {
    const crd = customResourceDefinition(kind) as KubeObject;
    await client.resource<KubeObject>(builtin.customResourceDefinitions).apply(crd, { force: true });
  }
  const end = performance.now() + 60_000;
  for (const kind of [...kinds, virtualMachineKind]) await untilServed(client, resourceOf(kind), end);
  client.close();
  return server;
}, true);

async function untilServed(client: KubeClient, type: ReturnType<typeof resourceOf>, end: number): Promise<void> {
  for (;;) {
    try {
      await client.resource<KubeObject>(type).list({ limit: 1 });
      return;
    } catch (error) {
      if (!isNotFound(error) || performance.now() > end) throw error;
      await delay(100);
    }
  }
}
