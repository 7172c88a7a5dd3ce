import { describe, expect, it } from 'vitest';
import { LongWork } from '../../../src/executor/virtual-machine-snapshot/long-work.ts';

/** Begins work that ends when it is told to. */
function begin(work: LongWork, name: string) {
  let end: (error?: Error) => void = () => undefined;
  let percent: (percent: number) => void = () => undefined;
  const ended = new Promise<void>((resolve) => {
    work.begin(
      name,
      (onPercent) =>
        new Promise<string>((done, failed) => {
          percent = onPercent;
          end = (error) => {
            if (error === undefined) done('a note');
            else failed(error);
          };
        }),
      resolve,
    );
  });
  return { end: (error?: Error) => end(error), percent: (value: number) => percent(value), ended };
}

describe('LongWork', () => {
  it('goes on beside, and tells how far it is and how it ended until that is forgotten', async () => {
    const work = new LongWork();
    expect(work.look('merge')).toEqual({ state: 'none' });
    const one = begin(work, 'merge');
    one.percent(40);
    expect(work.look('merge')).toEqual({ state: 'running', percent: 40 });
    expect(work.take('merge')).toEqual({ state: 'running', percent: 40 });
    one.end();
    await one.ended;
    expect(work.look('merge')).toEqual({ state: 'done', note: 'a note' });
    expect(work.look('merge')).toEqual({ state: 'done', note: 'a note' });
    expect(work.take('merge')).toEqual({ state: 'done', note: 'a note' });
    expect(work.look('merge')).toEqual({ state: 'none' });
  });

  it('is begun once while it runs or its outcome is not dealt with', async () => {
    const work = new LongWork();
    const one = begin(work, 'merge');
    work.begin(
      'merge',
      () => Promise.reject(new Error('twice')),
      () => undefined,
    );
    work.forget('merge');
    expect(work.isRunning('merge')).toBe(true);
    one.end(new Error('no space'));
    await one.ended;
    expect(work.take('merge')).toMatchObject({ state: 'failed', error: { message: 'no space' } });
  });

  it('ends what runs, and waits for it', async () => {
    const work = new LongWork();
    let ended = false;
    work.begin(
      'merge',
      (_onPercent, signal) =>
        new Promise((_done, failed) => {
          signal.addEventListener('abort', () => {
            ended = true;
            failed(new Error('ended'));
          });
        }),
      () => undefined,
    );
    await work.close();
    expect(ended).toBe(true);
  });
});
