import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { withDeadline } from '../../src/base/abort.ts';

describe('a deadline', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  const day = 24 * 3_600_000;
  const never = (): Promise<never> => new Promise(() => undefined);

  it('that is longer than a timer of Node can be ends when it says, and not at once', async () => {
    let ended: string | undefined;
    const waiting = withDeadline('the end', 60 * day, undefined, never).catch((error: unknown) => {
      ended = (error as Error).message;
    });
    await vi.advanceTimersByTimeAsync(60 * day - 1);
    expect(ended).toBeUndefined();
    await vi.advanceTimersByTimeAsync(1);
    await waiting;
    expect(ended).toBe(`timed out after ${60 * 24 * 3600} s: the end`);
  });

  it('leaves no timer behind', async () => {
    expect(await withDeadline('the end', 60 * day, undefined, () => Promise.resolve(1))).toBe(1);
    expect(vi.getTimerCount()).toBe(0);
  });
});
