import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commandLine } from '../support/command-line.ts';
import { testGuest, type Guest } from '../support/guest.ts';
import { guestMachine } from '../support/guest-machine.ts';
import { NetworkLab } from '../support/network-lab.ts';
import type { NetworkInterface, VirtualMachine } from '../../src/api/virtual-machine.ts';
import type { VirtualNetwork } from '../../src/api/virtual-network.ts';

/** Real guests in a network of one node: leases, each other, static addresses, and what waits for them. */
describe('guests in a network', () => {
  let lab: NetworkLab;
  let guest: Guest;
  const line = (network: VirtualNetwork | undefined) => network?.status?.nodes?.[0];

  const virtctl = (...args: string[]) =>
    commandLine([...args, '--kubeconfig', lab.node.kubeconfig], {
      home: lab.node.libvirtd.dir,
      cwd: lab.node.libvirtd.dir,
    });

  const create = (name: string, interfaces: NetworkInterface[]): Promise<VirtualMachine> =>
    lab.node.create(
      name,
      guestMachine(lab.node, guest, name, { spec: { interfaces, terminationGracePeriodSeconds: 0 } }),
    );

  /** Runs a program in the guest through its agent; what it printed. */
  async function run(name: string, ...command: string[]): Promise<string> {
    const ask = async (execute: string, args: object): Promise<Record<string, unknown>> => {
      const message = JSON.stringify({ execute, arguments: args });
      const answer = await lab.virsh('qemu-agent-command', `default.${name}`, message);
      return (JSON.parse(answer) as { return: Record<string, unknown> }).return;
    };
    const [path = '', ...arg] = command;
    const { pid } = await ask('guest-exec', { path, arg, 'capture-output': true });
    for (;;) {
      const status = await ask('guest-exec-status', { pid });
      if (status['exited'] === true) {
        const output = Buffer.from((status['out-data'] ?? '') as string, 'base64').toString();
        if (status['exitcode'] !== 0) throw new Error(`${command.join(' ')} failed: ${output}`);
        return output;
      }
      await delay(100);
    }
  }
  const ipOf = (machine: VirtualMachine): string | undefined => machine.status?.interfaces?.[0]?.ips?.[0];
  const untilAddress = (name: string, ip?: string): Promise<VirtualMachine> =>
    lab.node.until(
      name,
      (vm) =>
        (ip === undefined ? ipOf(vm) !== undefined : ipOf(vm) === ip) &&
        lab.node.condition(vm, 'AgentConnected').status === 'True',
      `the address ${ip ?? ''} of ${name}`,
      120_000,
    );

  beforeAll(async () => {
    guest = await testGuest();
    lab = await NetworkLab.start();
  });
  afterAll(async () => {
    await lab.close();
  });

  it('wait for their network, get their leases, and reach each other', async () => {
    await create('one', [{ name: 'eth0', virtualNetwork: 'front' }]);
    await create('two', [{ name: 'eth0', virtualNetwork: 'front', ip: '10.60.0.22' }]);
    const waiting = await lab.node.untilStatus('one', 'ErrorNetwork');
    expect(lab.node.condition(waiting, 'Ready')).toMatchObject({ reason: 'NetworkNotReady' });
    await lab.make('front', {
      network: {
        ...{ forward: { mode: 'nat' }, bridge: { name: 'vg0', stp: false } },
        ip: [{ address: '10.60.0.1', prefix: 24, dhcp: { range: [{ start: '10.60.0.100', end: '10.60.0.150' }] } }],
      },
    });
    const [one, two] = await Promise.all([untilAddress('one'), untilAddress('two', '10.60.0.22')]);
    expect(ipOf(one)).toMatch(/^10\.60\.0\.1[0-5]\d$/);
    expect(await run('one', '/bin/busybox', 'ping', '-c', '1', '-W', '20', '10.60.0.22')).toContain(
      '1 packets received',
    );
    expect(await run('two', '/bin/busybox', 'ping', '-c', '1', '-W', '20', ipOf(one) ?? '')).toContain(
      '1 packets received',
    );
    const network = await lab.until('front', (found) => line(found)?.leases?.length === 2);
    const macs = [one, two].map((vm) => vm.status?.interfaces?.[0]?.mac);
    expect(
      line(network)
        ?.leases?.map(({ mac }) => mac)
        .sort(),
    ).toEqual(macs.sort());
    expect(line(network)?.leases?.every(({ expiresAt }) => Date.parse(expiresAt ?? '') > Date.now())).toBe(true);
    expect(line(network)?.attached).toEqual(['default/one', 'default/two']);
    const leases = await virtctl('network', 'leases', 'front', '--no-headers');
    expect(leases.stdout).toMatch(/^front +node-1 +10\.60\.0\.22\/24 +52:54:00:\S+ +\S+ +two +20/m);
    expect((await virtctl('get', 'vm', '-o', 'wide')).stdout).toContain(ipOf(one));
    const refused = await virtctl('network', 'restart', 'front');
    expect([refused.exitCode, refused.stderr]).toEqual([4, expect.stringContaining('default/one, default/two')]);
  });

  it('are told who else has the address that they ask for', async () => {
    const asking = (ip: string): NetworkInterface[] => [{ name: 'eth0', virtualNetwork: 'front', ip }];
    await expect(create('three', asking('10.60.0.22'))).rejects.toThrow('is that of VirtualMachine "two"');
    await create('three', asking('10.60.0.1'));
    const refused = await lab.node.untilStatus('three', 'ErrorNetwork');
    expect(lab.node.condition(refused, 'Ready').message).toContain('10.60.0.1 is that of the network itself');
    await lab.node.patch('three', { interfaces: asking('10.99.0.1') });
    await lab.node.until('three', (vm) => lab.node.condition(vm, 'Ready').message?.includes('10.60.0.0/24') === true);
    await lab.node.delete('three');
    expect(await lab.dump('default.front')).not.toContain('10.99.0.1');
  });

  it('keep their network as it is until it can be restarted', async () => {
    await lab.patch('front', { spec: { network: { domain: { name: 'lab' }, mtu: { size: 1400 } } } });
    const pending = await lab.untilReason('front', 'RestartRequired', 'FieldsPending');
    expect(line(pending)?.restartRequired).toEqual(['domain', 'mtu']);
    expect(lab.condition(pending, 'RestartRequired')?.message).toBe(
      'node-1: domain, mtu; attached: default/one, default/two',
    );
    expect(await lab.dump('default.front')).not.toContain('1400');
    expect(await lab.dump('default.front', '--inactive')).toContain('1400');
    await lab.patch('front', { spec: { network: { domain: null, mtu: null } } });
    await lab.untilReason('front', 'RestartRequired', 'NothingPending');
    expect(await run('one', '/bin/busybox', 'ping', '-c', '1', '-W', '20', '10.60.0.22')).toContain(
      '1 packets received',
    );
  });

  it('are plugged in again when their network is restarted, by us or behind our back, and keep what they have', async () => {
    const taps = async () => (await lab.virsh('domiflist', 'default.one')) + (await lab.virsh('domid', 'default.one'));
    const before = await taps();
    const address = ipOf(await lab.node.get('one'));
    const reached = async (): Promise<void> => {
      await lab.until('front', (found) => line(found)?.attached?.length === 2);
      await expect
        .poll(() => run('one', '/bin/busybox', 'ping', '-c', '1', '-W', '2', '10.60.0.22').catch(String), {
          timeout: 120_000,
        })
        .toContain('1 packets received');
      expect(await taps()).toBe(before);
      await expect.poll(() => lab.virsh('net-list', '--all', '--name')).toBe('default.front');
    };
    expect((await virtctl('network', 'restart', 'front', '--force')).exitCode).toBe(0);
    await reached();
    await lab.virsh('net-destroy', 'default.front');
    await reached();
    await lab.node.untilEvents('one', ['Replugged']);
    // Nobody was there to see it.
    await lab.node.stopExecutor('SIGKILL');
    await lab.virsh('net-destroy', 'default.front');
    await lab.virsh('net-start', 'default.front');
    await lab.node.startExecutor();
    await reached();
    expect(ipOf(await lab.node.get('one'))).toBe(address);
  });

  it('are taken on by an executor that follows one killed while it plugged them in', async () => {
    await lab.node.stopExecutor('SIGKILL');
    const folder = lab.node.libvirtd.dir;
    const detourOf = async (machine: string): Promise<string> =>
      `virtctl-replug-${(await lab.virsh('domuuid', `default.${machine}`)).trim()}`;
    for (const machine of ['one', 'two']) {
      await writeFile(
        join(folder, 'detour.xml'),
        `<network><name>${await detourOf(machine)}</name><bridge/></network>`,
      );
      await lab.virsh('net-create', join(folder, 'detour.xml'));
    }
    // The first is half way, the second was through.
    const card = /<interface[^]*<\/interface>/.exec(await lab.virsh('dumpxml', 'default.one'))?.[0] ?? '';
    const moved = card.replace(/<source[^>]*>/, `<source network="${await detourOf('one')}"/>`);
    await writeFile(join(folder, 'card.xml'), moved);
    await lab.virsh('update-device', 'default.one', join(folder, 'card.xml'), '--live');
    await lab.node.startExecutor();
    await expect
      .poll(() => run('one', '/bin/busybox', 'ping', '-c', '1', '-W', '2', '10.60.0.22').catch(String), {
        timeout: 120_000,
      })
      .toContain('1 packets received');
    await expect.poll(() => lab.virsh('net-list', '--all', '--name')).toBe('default.front');
  });

  it('follow their network from a bridge of its own to one of the host, and back', async () => {
    await lab.node.libvirtd.exec('ip', 'link', 'add', 'vg9', 'type', 'bridge');
    await lab.node.libvirtd.exec('ip', 'link', 'set', 'vg9', 'up');
    const change = (network: object) => lab.patch('front', { spec: { network } });
    const restart = async (): Promise<void> => {
      await lab.untilReason('front', 'RestartRequired', 'FieldsPending');
      expect((await virtctl('network', 'restart', 'front', '--force')).exitCode).toBe(0);
    };
    const untilIn = async (bridge: string): Promise<void> => {
      await lab.until('front', (found) => line(found)?.attached?.length === 2 && line(found)?.bridge === bridge);
      await expect
        .poll(() => lab.node.libvirtd.exec('ip', '-br', 'link', 'show', 'master', bridge))
        .toMatch(/vnet[^]*vnet/);
      for (const type of ['Degraded', 'RestartRequired']) {
        await lab.node.until('one', (vm) => lab.node.condition(vm, type).status === 'False');
      }
    };
    const own = (await lab.networks.get({ namespace: 'default', name: 'front' })).spec.network ?? {};
    // Addresses are no longer given then, so nobody may ask for one.
    await lab.node.patch('two', { interfaces: [{ name: 'eth0', virtualNetwork: 'front' }] });
    await lab.until('front', (found) => line(found)?.restartRequired === undefined);
    await change({ forward: { mode: 'bridge' }, bridge: { name: 'vg9', stp: null }, ip: null });
    await restart();
    await untilIn('vg9');
    // A macvtap is no bridge: the guests stay where they are, and it is told that they cannot follow.
    await lab.node.libvirtd.exec('ip', 'link', 'add', 'wire0', 'type', 'veth', 'peer', 'name', 'wire1');
    await change({ forward: { interface: [{ dev: 'wire0' }] }, bridge: null });
    await restart();
    const left = await lab.node.until('one', (vm) => lab.node.condition(vm, 'RestartRequired').status === 'True');
    expect(lab.node.condition(left, 'RestartRequired').message).toContain(
      'lost the bridge of the network "default.front": it is of another kind now, and a running guest cannot follow',
    );
    expect(await lab.node.libvirtd.exec('ip', '-br', 'link', 'show', 'master', 'vg9')).toMatch(/vnet[^]*vnet/);
    // Nobody has a port in it, so that it needs no asking.
    await change({ forward: { ...own.forward, interface: null }, bridge: own.bridge, ip: own.ip });
    await untilIn('vg0');
    await lab.node.libvirtd.exec('ip', 'link', 'del', 'wire0');
    await lab.node.patch('two', { interfaces: [{ name: 'eth0', virtualNetwork: 'front', ip: '10.60.0.22' }] });
    await lab.node.libvirtd.exec('ip', 'link', 'del', 'vg9');
  });

  it('are told that their network does not run', async () => {
    expect((await virtctl('network', 'stop', 'front', '--force')).exitCode).toBe(0);
    const cutOff = await lab.node.until(
      'one',
      (vm) => lab.node.condition(vm, 'Degraded').reason === 'NetworkNotReady',
      'to be told',
    );
    expect(lab.node.condition(cutOff, 'Degraded').message).toMatch(
      /^interface eth0 \(vnet\d+\): the network "default.front" does not run$/,
    );
    expect(cutOff.status?.printableStatus).toBe('Running');
    expect((await virtctl('network', 'start', 'front')).exitCode).toBe(0);
    await lab.node.until('one', (vm) => lab.node.condition(vm, 'Degraded').status === 'False');
    await lab.until('front', (found) => line(found)?.attached?.length === 2);
  });

  it('are plugged into another network, and have another address reserved, while they run', async () => {
    await lab.make('back', {
      network: {
        ...{ bridge: { name: 'vg1' } },
        ip: [{ address: '10.61.0.1', prefix: 24, dhcp: { range: [{ start: '10.61.0.100', end: '10.61.0.150' }] } }],
      },
    });
    await lab.node.patch('one', {
      interfaces: [
        { name: 'eth0', virtualNetwork: 'front', ip: '10.60.0.33' },
        { name: 'eth1', virtualNetwork: 'back', ip: '10.61.0.7' },
      ],
    });
    const plugged = await lab.node.until(
      'one',
      (vm) =>
        vm.status?.interfaces?.some(({ ips, name }) => name === 'eth1' && ips?.includes('10.61.0.7') === true) === true,
      'the second address',
      120_000,
    );
    expect(plugged.status?.domain?.boots).toBe(1);
    expect(await lab.dump('default.front')).toContain('10.60.0.33');
    // The guest gives its card back, and its reservation goes.
    await lab.until('back', (found) => line(found)?.attached?.length === 1);
    await lab.node.patch('one', { interfaces: [{ name: 'eth0', virtualNetwork: 'front' }] });
    await lab.until('back', (found) => line(found)?.attached === undefined);
    expect(await lab.dump('default.back')).not.toContain('10.61.0.7');
    await lab.remove('back');
  });

  it('are not left without their network when it is deleted', async () => {
    await lab.networks.delete({ namespace: 'default', name: 'front' });
    const waiting = await lab.untilReason('front', 'InUse', 'InUse');
    expect(lab.condition(waiting, 'InUse')?.message).toBe('deletion waits for default/one, default/two');
    expect(await lab.virsh('net-list', '--name')).toContain('default.front');
    await lab.node.stopExecutor('SIGKILL');
    await lab.node.startExecutor();
    await lab.node.delete('one');
    await lab.node.delete('two');
    await lab.untilGone('front');
    expect(await lab.virsh('net-list', '--all', '--name')).toBe('');
    expect(await lab.node.libvirtd.exec('ip', '-br', 'link')).not.toContain('vg0');
  });
});
