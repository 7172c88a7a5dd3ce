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

// Each of a network's phases is cut off early and late in the few hundred milliseconds that it takes.
it.each([
  ['made', 30],
  ['made', 150],
  ['changed', 40],
  ['changed', 180],
  ['deleted', 30],
  ['deleted', 150],
] as const)('survives its executor that is killed while it is %s, %i ms after', async (phase, milliseconds) => {
  const name = `${phase}-${milliseconds}`;
  await lab.make(name, { network: network('vx0', 10) });
  if (phase === 'made') await killAfter(milliseconds);
  else await lab.untilReady(name);
  // Host entries change live, the bridge by a restart.
  await lab.patch(name, { spec: { network: network('vx1', 11, 12) } });
  if (phase === 'changed') await killAfter(milliseconds);
  if (phase !== 'deleted') await lab.node.startExecutor();
  const ready = await lab.untilReady(name);
  expect(ready.status?.nodes).toMatchObject([{ state: 'Active', bridge: 'vx1', autostart: true }]);
  expect(lab.condition(ready, 'RestartRequired')?.status).toBe('False');
  for (const dump of [await lab.dump(`default.${name}`), await lab.dump(`default.${name}`, '--inactive')]) {
    expect(dump.match(/<host /g)).toHaveLength(2);
    expect(dump).toContain(`ip='${subnet}.12'`);
    expect(dump).toContain("bridge name='vx1'");
  }
  await lab.networks.delete({ namespace: 'default', name });
  if (phase === 'deleted') {
    await killAfter(milliseconds);
    await lab.node.startExecutor();
  }
  await lab.untilGone(name);
  expect(await lab.virsh('net-list', '--all', '--name')).toBe('');
  expect(await lab.node.libvirtd.exec('ip', '-br', 'link')).not.toContain('vx');
});
