/**
 * IP addresses as numbers: what a subnet contains, and whether two overlap. Text is read as inet_pton(3) reads it, and
 * written as libvirt and RFC 5952 write it.
 */
import { isIPv4, isIPv6 } from 'node:net';

/** An address. */
export interface IpAddress {
  readonly family: 4 | 6;
  readonly value: bigint;
}

/** A range of addresses, both ends included. */
export interface IpRange {
  readonly family: 4 | 6;
  readonly first: bigint;
  readonly last: bigint;
}

/** Reads an address; undefined when it is none. A zone (`%eth0`) is no part of an address. */
export function parseIp(text: string): IpAddress | undefined {
  if (isIPv4(text)) {
    return { family: 4, value: text.split('.').reduce((sum, part) => sum * 256n + BigInt(part), 0n) };
  }
  if (!isIPv6(text) || text.includes('%')) return undefined;
  const embedded = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  const tail = embedded?.[2] === undefined ? undefined : parseIp(embedded[2])?.value;
  const plain =
    tail === undefined ? text : `${embedded?.[1] ?? ''}${(tail >> 16n).toString(16)}:${(tail & 0xffffn).toString(16)}`;
  const [left = '', right] = plain.split('::');
  const words = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const [head, end] = [words(left), words(right ?? '')];
  const zeros = right === undefined ? 0 : 8 - head.length - end.length;
  const all = [...head, ...Array.from({ length: zeros }, () => '0'), ...end];
  return { family: 6, value: all.reduce((sum, word) => sum * 65536n + BigInt(`0x${word}`), 0n) };
}

/** Writes an address; IPv6 as RFC 5952 asks, with the longest run of zeros left out. */
export function formatIp({ family, value }: IpAddress): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => String((value >> shift) & 255n)).join('.');
  const words = Array.from({ length: 8 }, (_none, index) =>
    ((value >> BigInt(112 - 16 * index)) & 0xffffn).toString(16),
  );
  let [best, length] = [0, 1];
  for (let start = 0; start < 8; start += 1) {
    let end = start;
    while (words[end] === '0') end += 1;
    if (end - start > length) [best, length] = [start, end - start];
  }
  if (length < 2) return words.join(':');
  return `${words.slice(0, best).join(':')}::${words.slice(best + length).join(':')}`;
}

/** The same address in the one way it is written; what is no address stays as it is. */
export function canonicalIp(text: string): string {
  const address = parseIp(text);
  return address === undefined ? text : formatIp(address);
}

/** The length of the prefix that a netmask means; undefined when it is none. */
export function prefixOfNetmask(text: string): number | undefined {
  const mask = parseIp(text);
  if (mask === undefined) return undefined;
  const bits = mask.family === 4 ? 32 : 128;
  const digits = mask.value.toString(2).padStart(bits, '0');
  return /^1*0*$/.test(digits) ? digits.replace(/0/g, '').length : undefined;
}

/** The subnet of an address and the length of its prefix. */
export function subnetOf({ family, value }: IpAddress, prefix: number): IpRange {
  const bits = family === 4 ? 32 : 128;
  const size = 1n << BigInt(bits - Math.max(0, Math.min(bits, prefix)));
  const first = value - (value % size);
  return { family, first, last: first + size - 1n };
}

/** Whether two ranges have an address in common. */
export function rangesOverlap(a: IpRange, b: IpRange): boolean {
  return a.family === b.family && a.first <= b.last && b.first <= a.last;
}

/** Whether an address is in a range. */
export function rangeContains(range: IpRange, { family, value }: IpAddress): boolean {
  return range.family === family && range.first <= value && value <= range.last;
}
