import { isIPv4, isIPv6 } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  canonicalIp,
  formatIp,
  parseIp,
  prefixOfNetmask,
  rangeContains,
  rangesOverlap,
  subnetOf,
} from '../../src/base/ip-address.ts';

const address = fc.oneof(
  fc.record({ family: fc.constant(4 as const), value: fc.bigInt({ min: 0n, max: (1n << 32n) - 1n }) }),
  fc.record({ family: fc.constant(6 as const), value: fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }) }),
);

describe('an IP address', () => {
  it('is read from every text that inet_pton takes, and from no other', () => {
    expect(parseIp('192.168.5.1')).toEqual({ family: 4, value: 0xc0a80501n });
    expect(parseIp('::')).toEqual({ family: 6, value: 0n });
    expect(parseIp('2001:db8::1')).toEqual({ family: 6, value: 0x20010db8000000000000000000000001n });
    expect(parseIp('::ffff:10.0.0.1')).toEqual({ family: 6, value: 0xffff0a000001n });
    for (const wrong of ['', '1.2.3', '1.2.3.256', '1.2.3.4/24', 'fe80::1%eth0', '1::2::3', 'front']) {
      expect(parseIp(wrong), wrong).toBeUndefined();
    }
  });

  it('comes back from its text, whatever it is', () => {
    fc.assert(
      fc.property(address, (one) => {
        const text = formatIp(one);
        expect(one.family === 4 ? isIPv4(text) : isIPv6(text)).toBe(true);
        expect(parseIp(text)).toEqual(one);
        expect(canonicalIp(text)).toBe(text);
      }),
    );
  });

  it('is written as RFC 5952 asks', () => {
    expect(canonicalIp('2001:DB8:0:0:1:0:0:1')).toBe('2001:db8::1:0:0:1');
    expect(canonicalIp('2001:db8:0:1:1:1:1:1')).toBe('2001:db8:0:1:1:1:1:1');
    expect(canonicalIp('0:0:0:0:0:0:0:0')).toBe('::');
    expect(canonicalIp('no address')).toBe('no address');
  });

  it('has a subnet', () => {
    const subnet = (text: string, prefix: number) => subnetOf(parseIp(text) ?? { family: 4, value: 0n }, prefix);
    expect(rangeContains(subnet('10.0.1.5', 24), { family: 4, value: 0x0a0001ffn })).toBe(true);
    expect(rangeContains(subnet('10.0.1.5', 24), { family: 4, value: 0x0a000200n })).toBe(false);
    expect(rangesOverlap(subnet('10.0.0.0', 8), subnet('10.9.0.0', 16))).toBe(true);
    expect(rangesOverlap(subnet('10.0.0.0', 9), subnet('10.128.0.0', 9))).toBe(false);
    expect(rangesOverlap(subnet('::', 0), subnet('0.0.0.0', 0))).toBe(false);
    expect(prefixOfNetmask('255.255.252.0')).toBe(22);
    expect(prefixOfNetmask('255.0.255.0')).toBeUndefined();
    expect(prefixOfNetmask('0.0.0.0')).toBe(0);
  });
});
