import { describe, expect, it } from 'vitest';
import { NotFoundError } from '../../../src/base/errors.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { takeOverMs, whileOurs } from '../../../src/commands/image/while-ours.ts';

const signal = new AbortController().signal;
/** Work that goes on until it is aborted, and notes when. */
const endless = (clock: ManualClock, ends: number[]) => (ours: AbortSignal) =>
  new Promise<never>((_resolve, reject) => {
    ours.addEventListener('abort', () => {
      ends.push(clock.monotonicMs());
      reject(new Error('the connection was destroyed'));
    });
  });

describe('work while it is ours', () => {
  it('gives what it comes to, and asks no more then', async () => {
    const clock = new ManualClock({ automatic: true });
    let asked = 0;
    const isOurs = (): Promise<boolean> => Promise.resolve((asked += 1) > 0);
    expect(await whileOurs(() => Promise.resolve('done'), { isOurs, clock, signal })).toBe('done');
    const before = asked;
    await new Promise((resolve) => setImmediate(resolve));
    expect(asked).toBe(before);
  });

  it('does not begin when it is not', async () => {
    const clock = new ManualClock({ automatic: true });
    const isOurs = (): Promise<boolean> => Promise.resolve(false);
    const work = (): Promise<never> => Promise.reject(new Error('begun'));
    await expect(whileOurs(work, { isOurs, clock, signal })).rejects.toThrow('another upload of it has begun');
  });

  it('is aborted when it is somebody else’s', async () => {
    const clock = new ManualClock({ automatic: true, startMs: 0 });
    const isOurs = (): Promise<boolean> => Promise.resolve(clock.monotonicMs() < 30_000);
    const ends: number[] = [];
    await expect(whileOurs(endless(clock, ends), { isOurs, clock, signal })).rejects.toMatchObject({
      code: 'Conflict',
      message: 'another upload of it has begun meanwhile',
    });
    expect(ends).toEqual([30_000]);
  });

  it('is aborted when it is gone, and is not begun again as after a lost connection', async () => {
    const clock = new ManualClock({ automatic: true, startMs: 0 });
    const isOurs = (): Promise<boolean> =>
      clock.monotonicMs() < 6000 ? Promise.resolve(true) : Promise.reject(new NotFoundError('was deleted meanwhile'));
    const ends: number[] = [];
    await expect(whileOurs(endless(clock, ends), { isOurs, clock, signal })).rejects.toMatchObject({
      exitCode: 3,
      message: 'was deleted meanwhile',
    });
    expect(ends).toEqual([6000]);
  });

  it('is aborted when nobody answers, before another who took over begins', async () => {
    const clock = new ManualClock({ automatic: true, startMs: 0 });
    const isOurs = (): Promise<boolean> =>
      clock.monotonicMs() === 0 ? Promise.resolve(true) : Promise.reject(new Error('away'));
    const ends: number[] = [];
    const work = whileOurs(endless(clock, ends), { isOurs, clock, signal });
    await expect(work).rejects.toMatchObject({ code: 'Unreachable', exitCode: 6, cause: { message: 'away' } });
    expect(ends).toEqual([8000]);
    expect(takeOverMs).toBeGreaterThan(8000);
  });
});
