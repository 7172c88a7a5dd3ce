import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { NetworkLab } from '../support/network-lab.ts';

/**
 * The executor killed with SIGKILL at moments all over a network's life: it goes on where it was, and what libvirt has at
 * the end is what the object says.
 */
let lab: NetworkLab;
const subnet = '10.70.0';
const host = (last: number) => ({ mac: `52:54:00:00:70:${last}`, ip: `${subnet}.${last}` });
const network = (bridge: string, ...hosts: number[]) => ({
  ...{ forward: { mode: 'nat' as const }, bridge: { name: bridge } },
  ip: [
    {
      ...{ address: `${subnet}.1`, prefix: 24 },
      dhcp: { range: [{ start: `${subnet}.100`, end: `${subnet}.120` }], host: hosts.map(host) },
    },
  ],
});

beforeAll(async () => {
  lab = await NetworkLab.start();
});
afterAll(async () => {
  await lab.close();
});

async function killAfter(milliseconds: number): Promise<void> {
  await delay(milliseconds);
  await lab.node.stopExecutor('SIGKILL');
}

it('survives its executor, whenever that is killed', async () => {
  // Later and later, over the few hundred milliseconds that each change takes.
  for (const milliseconds of [30, 120, 250]) {
    const name = `n${milliseconds}`;
    await lab.make(name, { network: network('vx0', 10) });
    await killAfter(milliseconds);
    // Changed while nobody is there: a host entry live, the bridge by a restart.
    await lab.patch(name, { spec: { network: network('vx1', 11, 12) } });
    await lab.node.startExecutor();
    const ready = await lab.untilReady(name);
    expect(ready.status?.nodes).toMatchObject([{ state: 'Active', bridge: 'vx1', autostart: true }]);
    expect(lab.condition(ready, 'RestartRequired')?.status).toBe('False');
    for (const dump of [await lab.dump(`default.${name}`), await lab.dump(`default.${name}`, '--inactive')]) {
      expect(dump.match(/<host /g)).toHaveLength(2);
      expect(dump).toContain(`ip='${subnet}.12'`);
      expect(dump).toContain("bridge name='vx1'");
    }
    await lab.networks.delete({ namespace: 'default', name });
    await killAfter(milliseconds);
    await lab.node.startExecutor();
    await lab.untilGone(name);
    expect(await lab.virsh('net-list', '--all', '--name')).toBe('');
    expect(await lab.node.libvirtd.exec('ip', '-br', 'link')).not.toContain('vx');
  }
});
