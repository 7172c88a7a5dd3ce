import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startExecutorNode, type ExecutorNode } from '../support/executor-node.ts';
import { bootsOf, guestMachine, untilBoots } from '../support/guest-machine.ts';
import { testGuest, type Guest } from '../support/guest.ts';
import { stories, tellStory } from '../support/kill-executor.ts';

describe('faults', () => {
  let node: ExecutorNode;
  let guest: Guest;

  beforeAll(async () => {
    guest = await testGuest();
    node = await startExecutorNode();
  });
  afterAll(async () => {
    await node.close();
  });

  // A tenth of `npm run soak -- executor-kill`. The moments are spread over what a story takes.
  it.each(stories.map((story, index) => [story, 15 + ((index * 37) % 120)] as const))(
    'a killed executor neither loses nor repeats: %s, killed after %i ms',
    async (story, killAfterMs) => {
      await expect(tellStory(node, guest, story, `${story}-victim`, killAfterMs)).resolves.toMatchObject({ story });
    },
  );

  // The ones that libvirt takes longest for; `npm run soak -- libvirtd-kill` takes all.
  it.each([
    ['create', 60],
    ['restart', 90],
    ['save', 30],
    ['revert', 120],
  ] as const)('nor does one that is killed with libvirtd: %s, killed after %i ms', async (story, killAfterMs) => {
    const told = tellStory(node, guest, story, `${story}-both`, killAfterMs, 'executor and libvirtd');
    await expect(told).resolves.toMatchObject({ story });
  });

  it('a killed libvirtd is reconnected, and no guest is touched', async () => {
    await node.create('steady', guestMachine(node, guest, 'steady', { agent: false }));
    await untilBoots(node, 'steady', 1);
    const before = await node.untilStatus('steady', 'Running');
    await node.libvirtd.restart('KILL');
    await node.patch('steady', { domain: { title: 'after' } });
    await expect
      .poll(() => node.libvirtd.virsh('desc', 'default.steady', '--title'), { timeout: 120_000 })
      .toBe('after');
    const after = await node.untilStatus('steady', 'Running');
    expect(after.status?.domain?.boots).toBe(before.status?.domain?.boots);
    expect(await bootsOf(node, 'steady')).toBe(1);
    await node.delete('steady');
  });
});
