import { describe, expect, it } from 'vitest';
import { snapshotRun } from '../support/snapshot-soak.ts';

describe('snapshots, with executor and libvirtd killed at random', () => {
  it('have what they had, byte for byte, and so have the machines', async () => {
    const { failures, kills } = await snapshotRun(6, Math.random, () => undefined);
    expect(failures).toEqual([]);
    expect(kills).toBeGreaterThanOrEqual(6);
  });
});
