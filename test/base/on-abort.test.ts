import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { onAbort, withDeadline } from '../../src/base/abort.ts';

describe('onAbort', () => {
  it('puts one listener on the signal for any number of waits, and takes it away with the last', () => {
    const { signal } = new AbortController();
    const forgets = Array.from({ length: 50 }, () => onAbort(signal, () => undefined));
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    for (const forget of forgets) forget();
    for (const forget of forgets) forget();
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  it('calls everybody who still waits, once, also the same listener twice', () => {
    const controller = new AbortController();
    const calls: string[] = [];
    const twice = (): void => {
      calls.push('twice');
    };
    onAbort(controller.signal, twice);
    onAbort(controller.signal, twice);
    onAbort(controller.signal, () => calls.push('gone'))();
    controller.abort();
    controller.abort();
    expect(calls).toEqual(['twice', 'twice']);
  });

  it('calls at once where the signal has aborted', () => {
    const calls: number[] = [];
    onAbort(AbortSignal.abort(), () => calls.push(1));
    expect(calls).toEqual([1]);
  });

  it('works again after everybody left', () => {
    const controller = new AbortController();
    const calls: number[] = [];
    onAbort(controller.signal, () => calls.push(1))();
    onAbort(controller.signal, () => calls.push(2));
    controller.abort();
    expect(calls).toEqual([2]);
  });

  it('is how deadlines follow their parent, leaving nothing behind', async () => {
    const controller = new AbortController();
    await withDeadline('a', 1000, controller.signal, () => Promise.resolve());
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
    const waiting = withDeadline('b', 60_000, controller.signal, () => new Promise(() => undefined));
    controller.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
  });
});
