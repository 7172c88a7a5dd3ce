import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startExecutorNode, type ExecutorNode } from '../support/executor-node.ts';
import { bootsOf, guestMachine, untilBoots } from '../support/guest-machine.ts';
import { testGuest, type Guest } from '../support/guest.ts';

describe('the life of a machine on real libvirt and QEMU', () => {
  let node: ExecutorNode;
  let guest: Guest;

  beforeAll(async () => {
    guest = await testGuest();
    node = await startExecutorNode();
  });
  afterAll(async () => {
    await node.close();
  });

  it('defines, starts, shuts down and deletes', async () => {
    await node.create('life', guestMachine(node, guest, 'life'));
    const running = await node.untilStatus('life', 'Running');
    expect(node.condition(running, 'Ready')).toMatchObject({ status: 'True', reason: 'Running' });
    expect(node.condition(running, 'RestartRequired')).toMatchObject({ status: 'False' });
    expect(node.condition(running, 'Degraded')).toMatchObject({ status: 'False' });
    expect(running.status?.domain).toMatchObject({ name: 'default.life', uuid: running.metadata.uid, boots: 1 });
    await untilBoots(node, 'life', 1);
    await node.patch('life', { runStrategy: 'Halted' });
    const stopped = await node.untilStatus('life', 'Stopped');
    expect(stopped.status?.lastStop).toMatchObject({ reason: 'Shutdown' });
    expect(node.condition(stopped, 'Ready')).toMatchObject({ status: 'True', reason: 'Stopped' });
    await node.patch('life', { runStrategy: 'Always' });
    await node.untilStatus('life', 'Running');
    await untilBoots(node, 'life', 2);
    await node.delete('life');
    expect(await node.libvirtd.virsh('list', '--all', '--name')).toBe('');
    await vi.waitFor(
      async () =>
        expect(await node.eventsOf('life')).toEqual(
          expect.arrayContaining(['Defined', 'Started', 'Stopping', 'Stopped', 'Deleted']),
        ),
      { timeout: 120_000 },
    );
  });

  it('leaves an unchanged machine alone', async () => {
    await node.create('calm', guestMachine(node, guest, 'calm'));
    const before = await node.untilStatus('calm', 'Running');
    const xml = await node.libvirtd.virsh('dumpxml', 'default.calm');
    await node.stopExecutor();
    await node.startExecutor();
    await node.machines.mergePatch(
      { namespace: 'default', name: 'calm' },
      { metadata: { labels: { touched: 'yes' } } },
    );
    await node.patch('calm', { terminationGracePeriodSeconds: 0 });
    const after = await node.untilObserved('calm');
    expect(after.status?.domain).toEqual(before.status?.domain);
    expect(await node.libvirtd.virsh('dumpxml', 'default.calm')).toBe(xml);
    await node.delete('calm');
  });

  it('powers a guest that ignores the shutdown off when its grace period is over, and not before', async () => {
    const spec = { terminationGracePeriodSeconds: 4 };
    await node.create(
      'deaf',
      guestMachine(node, guest, 'deaf', { agent: false, spec, cmdline: 'module_blacklist=button' }),
    );
    await node.untilStatus('deaf', 'Running');
    await untilBoots(node, 'deaf', 1);
    const asked = Date.now();
    await node.patch('deaf', { runStrategy: 'Halted' });
    await node.untilStatus('deaf', 'Stopping');
    const stopped = await node.untilStatus('deaf', 'Stopped');
    expect(Date.now() - asked).toBeGreaterThanOrEqual(3_000);
    expect(stopped.status?.lastStop).toMatchObject({ reason: 'Destroyed' });
    await vi.waitFor(async () => expect(await node.eventsOf('deaf')).toContain('Destroyed'), { timeout: 120_000 });
    await node.delete('deaf');
  });

  it('restarts, resets, pauses, saves and the like by operations, each once', async () => {
    await node.create('ops', guestMachine(node, guest, 'ops', { runStrategy: 'Manual' }));
    await node.untilStatus('ops', 'Stopped');
    expect((await node.operate('ops', 'Reset')).status).toMatchObject({ phase: 'Failed', reason: 'NotRunning' });
    expect((await node.operate('ops', 'Start')).status).toMatchObject({ phase: 'Succeeded' });
    await untilBoots(node, 'ops', 1);
    expect((await node.operate('ops', 'Start')).status).toMatchObject({
      phase: 'Succeeded',
      message: 'it runs already',
    });
    expect((await node.operate('ops', 'Pause')).status).toMatchObject({ phase: 'Succeeded' });
    await node.untilStatus('ops', 'Paused');
    expect((await node.operate('ops', 'Unpause')).status).toMatchObject({ phase: 'Succeeded' });
    await node.untilStatus('ops', 'Running');
    expect((await node.operate('ops', 'Restart')).status).toMatchObject({ phase: 'Succeeded' });
    await untilBoots(node, 'ops', 2);
    expect((await node.operate('ops', 'Reset')).status).toMatchObject({ phase: 'Succeeded' });
    await untilBoots(node, 'ops', 3);
    expect((await node.operate('ops', 'SoftReboot')).status).toMatchObject({ phase: 'Succeeded' });
    await untilBoots(node, 'ops', 4);
    expect((await node.operate('ops', 'InjectNMI')).status).toMatchObject({ phase: 'Succeeded' });
    const keys = { sendKey: { keys: ['KEY_LEFTCTRL', 'KEY_C'] } };
    expect((await node.operate('ops', 'SendKey', keys)).status).toMatchObject({ phase: 'Succeeded' });
    const unknown = { sendKey: { keys: ['KEY_NONE'] } };
    expect((await node.operate('ops', 'SendKey', unknown)).status).toMatchObject({ phase: 'Failed' });
    expect((await node.operate('ops', 'Save')).status).toMatchObject({ phase: 'Succeeded' });
    expect((await node.untilStatus('ops', 'Saved')).status?.domain).toMatchObject({ savedState: true });
    expect((await node.operate('ops', 'Start')).status).toMatchObject({ phase: 'Succeeded' });
    await node.untilStatus('ops', 'Running');
    expect((await node.operate('ops', 'Stop', { stop: { force: true } })).status).toMatchObject({ phase: 'Succeeded' });
    await node.untilStatus('ops', 'Stopped');
    expect(await bootsOf(node, 'ops')).toBe(4);
    await node.delete('ops');
  });

  it('keeps what was saved off under Always until it is asked to start', async () => {
    await node.create('kept', guestMachine(node, guest, 'kept'));
    await node.untilStatus('kept', 'Running');
    await untilBoots(node, 'kept', 1);
    await node.operate('kept', 'Save');
    await node.untilStatus('kept', 'Saved');
    await node.stopExecutor();
    await node.startExecutor();
    expect((await node.untilObserved('kept')).status?.printableStatus).toBe('Saved');
    await expect(node.ask('kept', 'Stop')).rejects.toThrow('runStrategy Always');
    await node.operate('kept', 'Start');
    await node.untilStatus('kept', 'Running');
    expect(await bootsOf(node, 'kept')).toBe(1);
    await node.delete('kept');
  });

  it('follows each run strategy when the guest powers itself off', async () => {
    await node.create('once', guestMachine(node, guest, 'once', { runStrategy: 'Once' }));
    await node.create('rerun', guestMachine(node, guest, 'rerun', { runStrategy: 'RerunOnFailure' }));
    await Promise.all([untilBoots(node, 'once', 1), untilBoots(node, 'rerun', 1)]);
    await node.libvirtd.virsh('shutdown', 'default.once');
    await node.libvirtd.virsh('shutdown', 'default.rerun');
    expect((await node.untilStatus('once', 'Completed')).status?.lastStop).toMatchObject({ reason: 'Shutdown' });
    await node.untilStatus('rerun', 'Completed');
    await Promise.all([node.delete('once'), node.delete('rerun')]);
  });
});
