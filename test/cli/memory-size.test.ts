import { describe, expect, it } from 'vitest';
import { bytesOfMemory, memoryOfBytes, parseMemorySize } from '../../src/cli/memory-size.ts';

describe('a size of memory', () => {
  it.each([
    ['2Gi', 2 ** 31],
    ['2GiB', 2 ** 31],
    ['2G', 2e9],
    ['2GB', 2e9],
    ['2048', 2 ** 31],
    ['1.5Gi', 1.5 * 2 ** 30],
    ['512MiB', 2 ** 29],
  ])('%s is %d bytes', (text, bytes) => {
    expect(parseMemorySize(text)).toBe(bytes);
  });

  it.each(['', 'much', '0', '-1Gi', '1Xi', '5 5', '1Gi1'])('"%s" is refused', (text) => {
    expect(() => parseMemorySize(text)).toThrow('not a size');
  });

  it.each([2 ** 30, 1536 * 2 ** 20, 1000 * 1024])('%d bytes survive libvirt’s element', (bytes) => {
    expect(bytesOfMemory(memoryOfBytes(bytes))).toBe(bytes);
  });

  it('takes KiB where libvirt names no unit', () => {
    expect(bytesOfMemory({ value: 1024 })).toBe(2 ** 20);
  });
});
