import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { resourceOf, startExecutorNode, type ExecutorNode } from '../support/executor-node.ts';
import { bootsOf, guestMachine, untilBoots } from '../support/guest-machine.ts';
import { testGuest, type Guest } from '../support/guest.ts';
import { startKubeApiserver, type KubeApiserver } from '../support/kube-apiserver.ts';
import { customResourceDefinition } from '../../src/api/crd.ts';
import { kinds } from '../../src/api/kinds.ts';
import { selectConnection } from '../../src/kube/connection.ts';
import { KubeClient } from '../../src/kube/kube-client.ts';
import type { KubeObject } from '../../src/kube/object.ts';
import { builtin } from '../../src/kube/resource-type.ts';
import { isNotFound } from '../../src/kube/status-error.ts';

describe('an executor on a real kube-apiserver', () => {
  let api: KubeApiserver;
  let node: ExecutorNode;
  let guest: Guest;

  beforeAll(async () => {
    guest = await testGuest();
    api = await startKubeApiserver();
    await installKinds(api);
    node = await startExecutorNode({ kubeconfig: api.kubeconfigPath });
  });
  afterAll(async () => {
    await node.close();
    await api.stop();
  });

  it('runs the whole life of a machine', async () => {
    await node.create('web', guestMachine(node, guest, 'web'));
    const vm = await node.untilStatus('web', 'Running');
    expect(node.condition(vm, 'Ready')).toMatchObject({ status: 'True' });
    await untilBoots(node, 'web', 1);
    await node.patch('web', { domain: { title: 'changed' } });
    await node.untilObserved('web');
    expect(await node.libvirtd.virsh('desc', 'default.web', '--title')).toBe('changed');
    expect((await node.operate('web', 'Restart', { restart: { force: true } })).status).toMatchObject({
      phase: 'Succeeded',
    });
    await untilBoots(node, 'web', 2);
    await node.patch('web', { runStrategy: 'Halted' });
    await node.untilStatus('web', 'Stopped');
    await node.delete('web');
    expect(await node.libvirtd.virsh('list', '--all', '--name')).toBe('');
    await vi.waitFor(
      async () =>
        expect(await node.eventsOf('web')).toEqual(
          expect.arrayContaining(['Started', 'OperationSucceeded', 'Deleted']),
        ),
      { timeout: 30_000 },
    );
  });

  it('does without the API server for a while, and catches up after', async () => {
    await node.create('alone', guestMachine(node, guest, 'alone', { agent: false }));
    await untilBoots(node, 'alone', 1);
    await node.untilStatus('alone', 'Running');
    await api.kill();
    await delay(10_000);
    expect(await node.libvirtd.virsh('domstate', 'default.alone')).toBe('running');
    await api.restart();
    await node.patch('alone', { domain: { title: 'caught up' } });
    await expect
      .poll(() => node.libvirtd.virsh('desc', 'default.alone', '--title'), { timeout: 60_000 })
      .toBe('caught up');
    expect(await bootsOf(node, 'alone')).toBe(1);
    await node.delete('alone');
  });

  it('survives the loss of executor, libvirtd and API server at once', async () => {
    await node.create('all', guestMachine(node, guest, 'all', { agent: false }));
    await untilBoots(node, 'all', 1);
    await node.untilStatus('all', 'Running');
    await node.patch('all', { domain: { title: 'before the fall' } });
    await Promise.all([node.stopExecutor('SIGKILL'), node.libvirtd.signal('KILL'), api.kill()]);
    await Promise.all([node.libvirtd.start(), api.restart()]);
    await node.startExecutor();
    await expect
      .poll(() => node.libvirtd.virsh('desc', 'default.all', '--title'), { timeout: 60_000 })
      .toBe('before the fall');
    await node.untilStatus('all', 'Running');
    expect(await bootsOf(node, 'all')).toBe(1);
    await node.delete('all');
  });
});

async function installKinds(api: KubeApiserver): Promise<void> {
  const connection = await selectConnection({ kubeconfig: api.kubeconfigPath, env: {}, home: '/', cwd: '/' });
  const client = new KubeClient(connection);
  const end = Date.now() + 60_000;
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
