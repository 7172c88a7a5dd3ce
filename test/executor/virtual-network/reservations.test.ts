import { describe, expect, it } from 'vitest';
import { reserveAddresses, type NetworkUser } from '../../../src/executor/virtual-network/reservations.ts';
import { PlugBoard } from '../../../src/executor/virtual-network/plug-board.ts';

const user = (name: string, createdAt: string, ip: string | undefined, nodeName = 'here'): NetworkUser => ({
  ...{ namespace: 'shop', name, nodeName, domain: `shop.${name}`, createdAt },
  plugs: [{ interface: 'eth0', mac: `52:54:00:00:00:${name.padStart(2, '0')}`, ip }],
});
const network = {
  ip: [
    { address: '10.0.0.1', prefix: 24, dhcp: { host: [{ mac: '52:54:00:00:00:99', ip: '10.0.0.99' }] } },
    { address: '2001:db8::1', prefix: 64 },
  ],
};
const of = (...users: NetworkUser[]) => reserveAddresses(network, users, 'here');

describe('static addresses of machines', () => {
  it('become host entries of the node that the machine is on', () => {
    const { hosts, refused } = of(
      user('01', '1', '10.0.0.5'),
      user('02', '2', '10.0.0.6', 'elsewhere'),
      user('03', '3', undefined),
    );
    expect(hosts).toEqual([{ subnet: '10.0.0.1', mac: '52:54:00:00:00:01', ip: '10.0.0.5' }]);
    expect(refused.size).toBe(0);
  });

  it('are known to DHCPv6 by the host name', () => {
    expect(of(user('04', '1', '2001:DB8::0:9')).hosts).toEqual([
      { subnet: '2001:db8::1', name: '04', ip: '2001:db8::9' },
    ]);
  });

  it('belong to the older machine, on whatever node', () => {
    const { hosts, refused } = of(user('01', '2', '10.0.0.5'), user('02', '1', '10.0.0.5', 'elsewhere'));
    expect(hosts).toEqual([]);
    expect([...refused]).toEqual([['shop/01 52:54:00:00:00:01', '10.0.0.5 is that of virtual machine "shop/02"']]);
  });

  it('are refused where the network does not have them to give', () => {
    const message = (ip: string) => of(user('01', '1', ip)).refused.get('shop/01 52:54:00:00:00:01');
    expect(message('10.0.0.1')).toBe('10.0.0.1 is that of the network itself');
    expect(message('10.0.0.99')).toBe('10.0.0.99 is that of the DHCP host entry of 52:54:00:00:00:99');
    expect(message('10.0.1.5')).toBe('10.0.1.5 is in no subnet of the network (10.0.0.0/24, 2001:db8::/64)');
    const bridged = reserveAddresses({ forward: { mode: 'bridge' } }, [user('01', '1', '10.0.0.5')], 'here');
    expect(bridged.refused.get('shop/01 52:54:00:00:00:01')).toBe(
      '10.0.0.5 is in no subnet of the network, which has none',
    );
  });

  it('are those of the older of two machines with one MAC address', () => {
    const [first, second] = [user('01', '1', '10.0.0.5'), user('02', '2', '10.0.0.6')];
    const twin = { ...second, plugs: first.plugs.map((plug) => ({ ...plug, ip: '10.0.0.6' })) };
    const { hosts, refused } = of(twin, first);
    expect(hosts).toEqual([{ subnet: '10.0.0.1', mac: '52:54:00:00:00:01', ip: '10.0.0.5' }]);
    expect([...refused]).toEqual([
      ['shop/02 52:54:00:00:00:01', 'its MAC address 52:54:00:00:00:01 is that of virtual machine "shop/01"'],
    ]);
  });

  it('may be those that spec.network gives the same machine', () => {
    const { hosts, refused } = of(user('99', '1', '10.0.0.99'));
    expect(hosts).toEqual([{ subnet: '10.0.0.1', mac: '52:54:00:00:00:99', ip: '10.0.0.99' }]);
    expect(refused.size).toBe(0);
  });
});

describe('the board of plugs', () => {
  const mac = '52:54:00:00:00:01';
  const ask = (board: PlugBoard, ip?: string, isPlugged = false) =>
    board.obstacle('shop/front', { machine: 'shop/01', mac, ip, isPlugged });
  const state = { network: 'shop.front', isLive: true, message: '', hosts: [], refused: new Map<string, string>() };

  it('lets a machine wait until the network was seen to run and to know its address', () => {
    const board = new PlugBoard(() => undefined);
    expect(ask(board)).toContain('was not looked at yet');
    board.set('shop/front', { ...state, isLive: false, message: 'it is not started' });
    expect(ask(board)).toBe('it is not started');
    board.set('shop/front', state);
    expect(ask(board)).toBeUndefined();
    expect(ask(board, '10.0.0.5')).toContain('does not know of 10.0.0.5 yet');
    board.set('shop/front', { ...state, hosts: [{ mac, ip: '10.0.0.5' }] });
    expect(ask(board, '10.0.0.5')).toBeUndefined();
    board.set('shop/front', { ...state, refused: new Map([[`shop/01 ${mac}`, 'it is taken']]) });
    expect(ask(board, '10.0.0.5')).toBe('it is taken');
  });

  it('does not stand in the way of what is plugged in already', () => {
    const board = new PlugBoard(() => undefined);
    expect(ask(board, '10.0.0.5', true)).toBeUndefined();
    board.set('shop/front', { ...state, isLive: false, message: 'it is not started' });
    expect(ask(board, undefined, true)).toBeUndefined();
  });

  it('tells of a change once', () => {
    const told: string[] = [];
    const board = new PlugBoard((key) => told.push(key));
    board.set('shop/front', state);
    board.set('shop/front', { ...state, refused: new Map() });
    board.set('shop/front', { ...state, isLive: false });
    board.forget('shop/front');
    board.forget('shop/front');
    expect(told).toEqual(['shop/front', 'shop/front', 'shop/front']);
  });
});
