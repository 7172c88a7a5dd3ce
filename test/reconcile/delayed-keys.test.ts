import { describe, expect, it } from 'vitest';
import { DelayedKeys } from '../../src/reconcile/delayed-keys.ts';
import { ManualClock } from '../support/manual-clock.ts';

const day = 24 * 3_600_000;

describe('a key that is ready in some weeks', () => {
  it('is waited for in sleeps that a timer of Node can do, and is ready then', async () => {
    const clock = new ManualClock();
    const ready: string[] = [];
    new DelayedKeys(clock, (key) => ready.push(key)).add('shop/web', 60 * day);
    await clock.advance(60 * day - 1);
    expect(ready).toEqual([]);
    await clock.advance(1);
    expect(ready).toEqual(['shop/web']);
    // More than this is taken for one millisecond (Node's documentation of setTimeout).
    expect(Math.max(...clock.slept)).toBeLessThanOrEqual(2 ** 31 - 1);
    expect(clock.slept.length).toBeLessThan(5);
  });
});
