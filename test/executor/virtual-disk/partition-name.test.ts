import { describe, expect, it } from 'vitest';
import { partitionName } from '../../../src/executor/virtual-disk/volume-definition.ts';

describe('the name of the next partition', () => {
  it('is the device and the first free number, with a p after a digit, as the kernel has it', () => {
    expect(partitionName('/dev/sdb', [])).toBe('sdb1');
    expect(partitionName('/dev/sdb', ['sdb1', 'sdb3'])).toBe('sdb2');
    expect(partitionName('/dev/nvme0n1', ['nvme0n1p1'])).toBe('nvme0n1p2');
    expect(partitionName('/dev/loop0', [])).toBe('loop0p1');
  });
});
