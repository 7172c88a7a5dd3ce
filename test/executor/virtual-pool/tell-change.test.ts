import { describe, expect, it } from 'vitest';
import { changesOf } from '../../../src/executor/virtual-pool/tell-change.ts';

const ready = (status: 'True' | 'False', reason: string, message = '') => ({ type: 'Ready', status, reason, message });

describe('the events of storage', () => {
  it('tell once that something is ready, and why it is not', () => {
    const good = [ready('True', 'Available')];
    const bad = [ready('False', 'OutOfSpace', 'there is no space left in pool a')];
    expect(changesOf(undefined, good)).toEqual([{ type: 'Normal', reason: 'Available', note: 'it is ready' }]);
    expect(changesOf(good, good)).toEqual([]);
    expect(changesOf(good, bad)).toEqual([
      { type: 'Warning', reason: 'OutOfSpace', note: 'there is no space left in pool a' },
    ]);
    expect(changesOf(bad, bad)).toEqual([]);
    expect(changesOf(bad, good)).toHaveLength(1);
  });

  it('do not tell of figures that go on changing, nor of steps on the way without words', () => {
    const cut = (bytes: number) => [ready('False', 'DownloadFailed', `cut off after ${bytes} bytes`)];
    expect(changesOf(cut(10), cut(20))).toEqual([]);
    expect(changesOf(undefined, [ready('False', 'Downloading')])).toEqual([]);
    expect(changesOf(undefined, [ready('False', 'WaitingForConsumer', 'it is made where …')])).toMatchObject([
      { type: 'Normal' },
    ]);
  });

  it('tell of drift and its end, of a deletion that waits, and of a size that was refused', () => {
    const drift = [
      { type: 'Synchronized', status: 'False' as const, reason: 'Drifted', message: 'n: spec.pool.target' },
    ];
    const sync = [{ type: 'Synchronized', status: 'True' as const, reason: 'InSync' }];
    expect(changesOf(undefined, sync)).toEqual([]);
    expect(changesOf(sync, drift)).toMatchObject([{ type: 'Warning', reason: 'Drifted' }]);
    expect(changesOf(drift, sync)).toMatchObject([{ type: 'Normal', reason: 'InSync' }]);
    const used = { type: 'InUse', status: 'True' as const, reason: 'InUse' };
    expect(changesOf(undefined, [used])).toEqual([]);
    expect(changesOf([used], [{ ...used, message: 'deletion waits for VirtualMachine a' }])).toMatchObject([
      { type: 'Normal', reason: 'DeletionWaits', note: 'deletion waits for VirtualMachine a' },
    ]);
    const refused = { type: 'Resizing', status: 'False' as const, reason: 'ShrinkRefused', message: 'shrinking …' };
    expect(changesOf([used], [used, refused])).toMatchObject([{ type: 'Warning', reason: 'ShrinkRefused' }]);
  });
});
