import { access } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { testGuest } from '../support/guest.ts';
import { guestMachine } from '../support/guest-machine.ts';
import { inGuest } from '../support/guest-shell.ts';
import { NetworkLab } from '../support/network-lab.ts';
import type { NetworkInterface, VirtualMachine } from '../../src/api/virtual-machine.ts';

/**
 * Every kind of `spec.interfaces`, in one real guest: a bridge of the host, a macvtap on one of its devices (a veth pair
 * stands for the wire), QEMU's own network, and a VirtualNetwork behind a network filter.
 */
describe('interfaces of every kind', () => {
  let lab: NetworkLab;
  const machine = 'cards';
  const domain = `default.${machine}`;
  const bridge: NetworkInterface = { name: 'bridge', bridge: 'br0' };
  const direct: NetworkInterface = { name: 'direct', direct: { dev: 'wire0' } };
  const user: NetworkInterface = { name: 'user', user: {} };
  const filtered: NetworkInterface = {
    ...{ name: 'filtered', virtualNetwork: 'front', ip: '10.62.0.9' },
    nwfilter: { name: 'no-mac-spoofing' },
  };
  const all = [bridge, direct, user, filtered];

  const guest = (command: string): Promise<string> => inGuest(lab.node.libvirtd, domain, command);
  /** The guest's name of the card with a MAC address. */
  const cardOf = async (mac: string): Promise<string> =>
    (await guest(`grep -l ${mac} /sys/class/net/*/address`)).split('/')[4] ?? '';
  const macOf = (vm: VirtualMachine, name: string): string =>
    vm.status?.interfaces?.find((one) => one.name === name)?.mac ?? '';
  const namesOf = (vm: VirtualMachine) => vm.status?.interfaces?.map(({ name }) => name);
  const set = (interfaces: readonly NetworkInterface[]) => lab.node.patch(machine, { interfaces });
  const untilPlugged = async (interfaces: readonly NetworkInterface[]): Promise<VirtualMachine> =>
    lab.node.until(
      machine,
      (vm) => JSON.stringify(namesOf(vm)?.toSorted()) === JSON.stringify(interfaces.map(({ name }) => name).toSorted()),
      `the interfaces ${interfaces.map(({ name }) => name).join(', ')}`,
    );
  const poll = <T>(read: () => Promise<T>) => expect.poll(read, { timeout: 120_000 });
  /** Gives a card an address and waits until it reaches the other end. */
  async function reaches(card: string, own: string | undefined, other: string): Promise<void> {
    // Of a card that was there before under this name, the guest's DHCP client may still run.
    const give = own === undefined ? '' : `ip link set ${card} up; ip addr replace ${own} dev ${card}; `;
    await poll(() => guest(`${give}ping -c 1 -W 2 -I ${card} ${other}`).catch(String)).toContain('1 packets received');
  }

  beforeAll(async () => {
    const kernel = await testGuest();
    lab = await NetworkLab.start();
    const ip = (...args: string[]) => lab.node.libvirtd.exec('ip', ...args);
    await ip('link', 'add', 'br0', 'type', 'bridge');
    await ip('addr', 'add', '10.63.0.1/24', 'dev', 'br0');
    await ip('link', 'set', 'br0', 'up');
    await ip('link', 'add', 'wire0', 'type', 'veth', 'peer', 'name', 'wire1');
    await ip('addr', 'add', '10.64.0.1/24', 'dev', 'wire1');
    for (const end of ['wire0', 'wire1']) await ip('link', 'set', end, 'up');
    await lab.make('front', {
      network: {
        bridge: { name: 'vi0', stp: false },
        ip: [{ address: '10.62.0.1', prefix: 24, dhcp: { range: [{ start: '10.62.0.100', end: '10.62.0.150' }] } }],
      },
    });
    const spec = { interfaces: all, terminationGracePeriodSeconds: 0 };
    await lab.node.create(machine, guestMachine(lab.node, kernel, machine, { spec }));
    await lab.node.untilStatus(machine, 'Running');
  });
  afterAll(async () => {
    await lab.close();
  });

  it('are there when the guest boots, and lead where they should', async () => {
    const vm = await lab.node.until(
      machine,
      ({ status }) =>
        status?.interfaces?.some((one) => one.name === 'filtered' && one.ips?.includes('10.62.0.9') === true) ===
          true && status.interfaces.some((one) => one.name === 'user' && one.ips?.includes('10.0.2.15') === true),
      'addresses of DHCP servers',
    );
    expect(vm.status?.interfaces?.map(({ name, model, linkState }) => [name, model, linkState])).toEqual([
      ['bridge', 'virtio', 'up'],
      ['direct', 'virtio', 'up'],
      ['user', 'virtio', 'up'],
      ['filtered', 'virtio', 'up'],
    ]);
    await reaches(await cardOf(macOf(vm, 'bridge')), '10.63.0.2/24', '10.63.0.1');
    await reaches(await cardOf(macOf(vm, 'direct')), '10.64.0.2/24', '10.64.0.1');
    await reaches(await cardOf(macOf(vm, 'filtered')), undefined, '10.62.0.1');
  });

  it('have their cable taken out and put in while the guest runs', async () => {
    const card = await cardOf(macOf(await lab.node.get(machine), 'bridge'));
    const carrier = () => guest(`cat /sys/class/net/${card}/carrier`);
    expect(await carrier()).toBe('1');
    await set([{ ...bridge, linkState: 'down' }, direct, user, filtered]);
    const down = await lab.node.until(machine, (vm) => vm.status?.interfaces?.[0]?.linkState === 'down');
    await poll(carrier).toBe('0');
    expect(lab.node.condition(down, 'RestartRequired').status).toBe('False');
    await set(all);
    await lab.node.until(machine, (vm) => vm.status?.interfaces?.[0]?.linkState === 'up');
    await poll(carrier).toBe('1');
  });

  it('are filtered, and no longer when the filter is taken away', async () => {
    const card = await cardOf(macOf(await lab.node.get(machine), 'filtered'));
    const forge = `ip link set ${card} address 52:54:00:62:62:62`;
    expect(await guest(`${forge}; ping -c 1 -W 2 -I ${card} 10.62.0.1 || true`)).toContain('0 packets received');
    const { nwfilter: _filter, ...open } = filtered;
    // A list is replaced as a whole by a merge patch.
    await set([bridge, direct, user, open]);
    await poll(() => lab.virsh('dumpxml', domain)).not.toContain('<filterref');
    await reaches(card, '10.62.0.10/24', '10.62.0.1');
    await set(all);
    await poll(() => lab.virsh('dumpxml', domain)).toContain('<filterref');
    expect(await guest(`ping -c 1 -W 2 -I ${card} 10.62.0.1 || true`)).toContain('0 packets received');
    expect(lab.node.condition(await lab.node.get(machine), 'RestartRequired').status).toBe('False');
  });

  it('have the bandwidth that they are given, or say why the node cannot limit it', async () => {
    const shapes = await lab.node.libvirtd.exec('tc', 'qdisc', 'add', 'dev', 'wire1', 'root', 'sfq').then(
      () => true,
      () => false,
    );
    await set([{ ...bridge, bandwidth: { inbound: { average: 1000 } } }, direct, user, filtered]);
    if (shapes) {
      const target = (await lab.node.get(machine)).status?.interfaces?.[0]?.device ?? '';
      await poll(() => lab.node.libvirtd.exec('tc', 'class', 'show', 'dev', target)).toContain('8Mbit');
    } else {
      const refused = await lab.node.until(machine, (vm) => lab.node.condition(vm, 'Degraded').status === 'True');
      expect(lab.node.condition(refused, 'Degraded')).toMatchObject({
        reason: 'LiveChangeFailed',
        message: expect.stringMatching(
          /^devices\.interface\[0\]\.bandwidth: .*tc qdisc add .*qdisc kind is unknown/,
        ) as string,
      });
      expect(refused.status?.restartRequired).toMatchObject([{ path: 'devices.interface[0].bandwidth' }]);
    }
    await set(all);
    await lab.node.until(machine, (vm) => lab.node.condition(vm, 'Degraded').status === 'False');
  });

  it('are plugged out and in while the guest runs', async () => {
    const before = await lab.node.get(machine);
    await set([user]);
    await untilPlugged([user]);
    expect(await lab.dump('default.front')).not.toContain('10.62.0.9');
    await poll(() => guest('ls /sys/class/net')).not.toMatch(/eth.*eth/s);
    const more = [...all, { name: 'old', user: {}, model: 'e1000e' } satisfies NetworkInterface];
    await set(more);
    const after = await untilPlugged(more);
    expect(after.status?.domain?.boots).toBe(before.status?.domain?.boots);
    for (const { name } of all) expect(macOf(after, name)).toBe(macOf(before, name));
    await poll(() => guest('ls /sys/class/net')).toMatch(/(eth\d.*){4}/s);
    // The guest has no driver for it, and sees Intel's 82574L.
    await poll(() => guest('cat /sys/bus/pci/devices/*/device')).toContain('0x10d3');
    await reaches(await cardOf(macOf(after, 'bridge')), '10.63.0.2/24', '10.63.0.1');
    await reaches(await cardOf(macOf(after, 'direct')), '10.64.0.2/24', '10.64.0.1');
    await reaches(await cardOf(macOf(after, 'filtered')), '10.62.0.9/24', '10.62.0.1');
  });

  it('have another address reserved in the running network, and none when they are gone', async () => {
    const hosts = () => lab.dump('default.front');
    await set([bridge, direct, user, { ...filtered, ip: '10.62.0.77' }]);
    await poll(hosts).toContain("ip='10.62.0.77'");
    expect(await hosts()).not.toContain('10.62.0.9');
    const hostsFile = '/var/lib/libvirt/dnsmasq/default.front.hostsfile';
    await poll(() => lab.node.libvirtd.exec('cat', hostsFile)).toContain('10.62.0.77');
    await set([bridge, direct, user, { ...filtered, ip: undefined }]);
    await poll(hosts).not.toContain('10.62.0.77');
    await set(all);
    await poll(hosts).toContain('10.62.0.9');
  });

  it('tell why the node has no such interface, and leave the others as they are', async () => {
    const missing: NetworkInterface = { name: 'missing', bridge: 'no-bridge' };
    await set([...all, missing]);
    const refused = await lab.node.until(machine, (vm) => lab.node.condition(vm, 'Degraded').status === 'True');
    expect(lab.node.condition(refused, 'Degraded').message).toMatch(/devices\.interface\[4\]: .*no-bridge/);
    const passt: NetworkInterface = { name: 'passt', user: { backend: 'passt' } };
    const hasPasst = await access('/usr/bin/passt').then(
      () => true,
      () => false,
    );
    if (!hasPasst) {
      await set([...all, passt]);
      // libvirt without passt does not know the word, or does not find the program.
      const told = await lab.node.until(machine, (vm) =>
        ['Synchronized', 'Degraded'].some((type) => lab.node.condition(vm, type).message?.includes('passt') === true),
      );
      expect(told.status?.printableStatus).toBe('Running');
    }
    await set(all);
    await lab.node.until(
      machine,
      (vm) =>
        lab.node.condition(vm, 'Degraded').status === 'False' &&
        lab.node.condition(vm, 'Synchronized').status === 'True' &&
        vm.status?.observedGeneration === vm.metadata.generation,
    );
    await untilPlugged(all);
  });

  it('keep their MAC addresses over a restart, and when their domain is made anew', async () => {
    const before = await lab.node.get(machine);
    await lab.virsh('destroy', domain);
    await lab.virsh('undefine', domain);
    const after = await lab.node.until(
      machine,
      (vm) =>
        vm.status?.printableStatus === 'Running' &&
        (vm.status.domain?.boots ?? 0) > (before.status?.domain?.boots ?? 0),
      'another boot',
    );
    expect(after.status?.domain?.uuid).toBe(before.status?.domain?.uuid);
    const all = await lab.node.until(machine, (vm) => vm.status?.interfaces?.length === 4);
    for (const name of namesOf(before) ?? []) expect(macOf(all, name ?? '')).toBe(macOf(before, name ?? ''));
    await lab.node.delete(machine);
    await poll(() => lab.dump('default.front')).not.toContain('10.62.0.9');
  });
});
