import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { lifeFromKubectl, lifeFromTheCommandLine } from '../end-to-end/life-stories.ts';
import { buildVirtctl } from '../end-to-end/virtctl-process.ts';
import { apiAway } from '../support/api-away.ts';
import { startExecutorNode, type ExecutorNode } from '../support/executor-node.ts';
import { bootsOf, guestMachine, untilBoots } from '../support/guest-machine.ts';
import { testGuest, type Guest } from '../support/guest.ts';
import { installKinds } from '../support/install-kinds.ts';
import { startKubeApiserver, type KubeApiserver } from '../support/kube-apiserver.ts';

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
      { timeout: 120_000 },
    );
  });

  it('is led by the command line, and by kubectl alone', async () => {
    const virtctl = buildVirtctl();
    try {
      await lifeFromTheCommandLine(node, guest, virtctl);
    } finally {
      virtctl.remove();
    }
    await lifeFromKubectl(node, guest);
  });

  it('does without the API server for a while, and catches up after', async () => {
    // A fraction of `npm run soak -- api-away`.
    await expect(apiAway(api, node, guest, 4_000, 'away-')).resolves.toMatchObject({ awayMs: 4_000 });
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
      .poll(() => node.libvirtd.virsh('desc', 'default.all', '--title'), { timeout: 120_000 })
      .toBe('before the fall');
    await node.untilStatus('all', 'Running');
    expect(await bootsOf(node, 'all')).toBe(1);
    await node.delete('all');
  });
});
