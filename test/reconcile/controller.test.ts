import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { silentLogger } from '../../src/base/logger.ts';
import { Controller } from '../../src/reconcile/controller.ts';
import type { ControllerOptions, ReconcileRecord } from '../../src/reconcile/controller.ts';
import { exponentialLimiter } from '../../src/reconcile/rate-limiter.ts';
import { TerminalError } from '../../src/reconcile/terminal-error.ts';
import { ManualClock } from '../support/manual-clock.ts';

let clock: ManualClock;
let stop: AbortController;
let records: ReconcileRecord[];
let controller: Controller;
let running: Promise<void>;

beforeEach(() => {
  clock = new ManualClock();
  stop = new AbortController();
  records = [];
});

afterEach(async () => {
  stop.abort();
  await running;
});

function start(options: Partial<ControllerOptions> & Pick<ControllerOptions, 'reconcile'>): void {
  controller = new Controller({
    name: 'test',
    logger: silentLogger,
    clock,
    limiter: exponentialLimiter(),
    onReconciled: (record) => void records.push(record),
    ...options,
  });
  running = controller.run(stop.signal);
}

const until = (isSo: () => boolean): Promise<unknown> => vi.waitUntil(isSo, { timeout: 5000, interval: 1 });
const settled = (): Promise<unknown> => new Promise((resolve) => void setTimeout(resolve, 5));

describe('a controller', () => {
  it('reconciles each key that is enqueued', async () => {
    start({ reconcile: () => Promise.resolve(undefined) });
    controller.enqueue('n/a');
    controller.enqueue('n/b');
    await until(() => records.length === 2);
    expect(records.map(({ controller, key, outcome }) => [controller, key, outcome])).toEqual([
      ['test', 'n/a', 'done'],
      ['test', 'n/b', 'done'],
    ]);
    expect(controller.stats()).toEqual({ queueDepth: 0, running: 0, delayed: 0 });
  });

  it('looks again after the time that was asked for', async () => {
    let times = 0;
    start({ reconcile: () => Promise.resolve(++times === 1 ? { requeueAfterMs: 5000 } : undefined) });
    controller.enqueue('a');
    await until(() => records.length === 1);
    await clock.advance(4999);
    expect(records).toHaveLength(1);
    await clock.advance(1);
    await until(() => records.length === 2);
    expect(records.map(({ outcome }) => outcome)).toEqual(['requeued', 'done']);
  });

  it('tries again with growing waits after failures, and forgets them after a success', async () => {
    const outcomes = [false, false, false, true, false];
    start({
      reconcile: () => {
        if (outcomes.shift() === false) return Promise.reject(new Error('not yet'));
        return Promise.resolve(undefined);
      },
    });
    controller.enqueue('a');
    for (const [index, wait] of [5, 10, 20].entries()) {
      await until(() => records.length === index + 1);
      await settled();
      await clock.advance(wait - 1);
      expect(records).toHaveLength(index + 1);
      await clock.advance(1);
    }
    await until(() => records.length === 4);
    controller.enqueue('a');
    await until(() => records.length === 5);
    expect(records.map(({ outcome }) => outcome)).toEqual(['failed', 'failed', 'failed', 'done', 'failed']);
    await settled();
    await clock.advance(5);
    await until(() => records.length === 6);
  });

  it('reports a terminal error and does not try again', async () => {
    start({ reconcile: () => Promise.reject(new TerminalError('the spec is wrong')) });
    controller.enqueue('a');
    await until(() => records.length === 1);
    await clock.advance(1_000_000);
    expect(records).toHaveLength(1);
    expect(records[0]).toMatchObject({ outcome: 'terminal', error: { message: 'the spec is wrong' } });
    expect(controller.stats().delayed).toBe(0);
    controller.enqueue('a');
    await until(() => records.length === 2);
  });

  it('takes something thrown synchronously as a failure too', async () => {
    start({
      reconcile: () => {
        throw new Error('at once');
      },
    });
    controller.enqueue('a');
    await until(() => records.length === 1);
    expect(records[0]?.outcome).toBe('failed');
  });

  it('works on as many keys at a time as it may, and on one key once', async () => {
    const now = new Set<string>();
    let most = 0;
    const release: (() => void)[] = [];
    start({
      concurrency: 2,
      reconcile: async (key) => {
        expect(now.has(key)).toBe(false);
        now.add(key);
        most = Math.max(most, now.size);
        await new Promise<void>((resolve) => release.push(resolve));
        now.delete(key);
        return undefined;
      },
    });
    for (const key of ['a', 'b', 'c']) controller.enqueue(key);
    await until(() => now.size === 2);
    controller.enqueue('a');
    expect(controller.stats()).toEqual({ queueDepth: 1, running: 2, delayed: 0 });
    while (records.length < 4) {
      await until(() => release.length > 0 || records.length === 4);
      release.shift()?.();
      await settled();
    }
    expect(most).toBe(2);
    expect(records.map(({ key }) => key).sort()).toEqual(['a', 'a', 'b', 'c']);
  });

  it('aborts the signal at the deadline, and waits for the reconcile even if it ignores that', async () => {
    let isAborted = false;
    let release: () => void = () => undefined;
    start({
      timeoutMs: 20,
      reconcile: async (_key, { signal }) => {
        signal.addEventListener('abort', () => (isAborted = true));
        if (records.length === 0) await new Promise<void>((resolve) => (release = resolve));
        signal.throwIfAborted();
        return undefined;
      },
    });
    controller.enqueue('a');
    await until(() => isAborted);
    controller.enqueue('a');
    await settled();
    expect([records.length, controller.stats().running]).toEqual([0, 1]);
    release();
    await until(() => records.length === 2);
    expect(records[0]?.error?.message).toBe('timed out after 0.02 s: reconcile of test a');
    expect(records[1]?.outcome).toBe('done');
  });

  it('lets a running reconcile finish when it is stopped, and begins no other', async () => {
    let finish: () => void = () => undefined;
    const began: string[] = [];
    let wasAborted: boolean | undefined;
    start({
      reconcile: async (key, { signal }) => {
        began.push(key);
        await new Promise<void>((resolve) => (finish = resolve));
        wasAborted = signal.aborted;
        return undefined;
      },
    });
    controller.enqueue('a');
    controller.enqueue('b');
    await until(() => began.length === 1);
    stop.abort();
    await settled();
    finish();
    await running;
    expect(began).toEqual(['a']);
    expect(wasAborted).toBe(false);
  });

  it('aborts a running reconcile when the time after the stop is over', async () => {
    let began = false;
    start({
      drainMs: 10,
      reconcile: (_key, { signal }) => {
        began = true;
        return new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => reject(new Error('aborted')), { once: true });
        });
      },
    });
    controller.enqueue('a');
    await until(() => began);
    stop.abort();
    await running;
    expect(records[0]?.error?.message).toBe('aborted');
  });
});
