import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startExecutorNode, type ExecutorNode } from '../support/executor-node.ts';
import { guestMachine } from '../support/guest-machine.ts';
import { testGuest, type Guest } from '../support/guest.ts';

describe('what a machine tells of itself', () => {
  let node: ExecutorNode;
  let guest: Guest;

  beforeAll(async () => {
    guest = await testGuest();
    node = await startExecutorNode();
    const path = join(node.libvirtd.dir, 'network.xml');
    await writeFile(
      path,
      "<network><name>lan</name><forward mode='nat'/><bridge name='virtlan0'/><ip address='192.168.77.1' netmask='255.255.255.0'><dhcp><range start='192.168.77.10' end='192.168.77.99'/></dhcp></ip></network>",
    );
    await node.libvirtd.virsh('net-create', path);
  });
  afterAll(async () => {
    await node.close();
  });

  const card = {
    type: 'network' as const,
    source: { network: 'lan' },
    mac: { address: '52:54:00:77:00:01' },
    model: { type: 'virtio' },
  };

  it('finds its address by the lease, and by the agent where there is one', async () => {
    const lease = guestMachine(node, guest, 'leased', { agent: false, domain: { devices: { interface: [card] } } });
    await node.create('leased', lease);
    const leased = await node.until('leased', (vm) => vm.status?.interfaces?.[0]?.ips !== undefined, 'an address');
    expect(leased.status?.interfaces).toMatchObject([{ mac: card.mac.address, source: 'lease' }]);
    expect(leased.status?.interfaces?.[0]?.ips?.[0]).toMatch(/^192\.168\.77\./);
    const other = { ...card, mac: { address: '52:54:00:77:00:02' } };
    await node.create('agent', guestMachine(node, guest, 'agent', { domain: { devices: { interface: [other] } } }));
    const told = await node.until('agent', (vm) => vm.status?.interfaces?.[0]?.source === 'agent', 'the agent');
    expect(told.status?.interfaces?.[0]?.ips?.[0]).toMatch(/^192\.168\.77\./);
    expect(node.condition(told, 'AgentConnected')).toMatchObject({ status: 'True' });
    await Promise.all([node.delete('leased'), node.delete('agent')]);
  });

  it('tells its graphical console', async () => {
    const devices = { graphics: [{ type: 'vnc' as const, autoport: true, passwd: 'hush' }] };
    await node.create('seen', guestMachine(node, guest, 'seen', { agent: false, domain: { devices } }));
    const vm = await node.untilStatus('seen', 'Running');
    expect(vm.status?.graphics).toMatchObject([{ type: 'vnc', listen: '127.0.0.1' }]);
    expect(vm.status?.graphics?.[0]?.port).toBeGreaterThanOrEqual(5900);
    expect(JSON.stringify(vm.status)).not.toContain('hush');
    expect(await node.log()).not.toContain('hush');
    expect(vm.status?.restartRequired).toBeUndefined();
    await node.delete('seen');
  });

  it('takes hostile words as words', async () => {
    const title = `'"><script>$(touch ${node.libvirtd.dir}/owned) ../../etc; \`id\` &amp; ]]>`;
    await node.create('hostile', guestMachine(node, guest, 'hostile', { agent: false, domain: { title } }));
    await node.untilStatus('hostile', 'Running');
    expect(await node.libvirtd.virsh('desc', 'default.hostile', '--title')).toBe(title);
    await node.delete('hostile');
  });

  it('forgets operations that are over after their time', async () => {
    await node.create('brief', guestMachine(node, guest, 'brief', { agent: false }));
    await node.untilStatus('brief', 'Running');
    const { metadata } = await node.ask('brief', 'Pause', { ttlSecondsAfterFinished: 1 });
    const ref = { namespace: 'default', name: metadata.name ?? '' };
    await expect.poll(() => node.operations.find(ref), { timeout: 120_000 }).toBeUndefined();
    await node.untilStatus('brief', 'Paused');
    await node.delete('brief');
  });
});
