import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  defaultLimiter,
  exponentialLimiter,
  maxOfLimiters,
  tokenBucketLimiter,
} from '../../src/reconcile/rate-limiter.ts';
import { WorkQueue } from '../../src/reconcile/work-queue.ts';
import { ManualClock } from '../support/manual-clock.ts';

function make(options: { readonly maxKeys?: number } = {}): { queue: WorkQueue; clock: ManualClock } {
  const clock = new ManualClock();
  return { queue: new WorkQueue({ clock, limiter: exponentialLimiter(), ...options }), clock };
}

/** Takes a key that must be there already. */
async function take(queue: WorkQueue): Promise<string | undefined> {
  return (await Promise.race([queue.get(), Promise.resolve({ key: 'nothing' })]))?.key;
}

describe('a work queue', () => {
  it('hands out keys in order, each once however often it was added', async () => {
    const { queue } = make();
    for (const key of ['a', 'b', 'a', 'c', 'b']) queue.add(key);
    expect(queue.length).toBe(3);
    expect([await take(queue), await take(queue), await take(queue)]).toEqual(['a', 'b', 'c']);
  });

  it('hands a key out again after done when it was added while being worked on, not before', async () => {
    const { queue } = make();
    queue.add('a');
    await queue.get();
    queue.add('a');
    queue.add('a');
    expect(queue.length).toBe(0);
    queue.done('a');
    expect(queue.length).toBe(1);
    await queue.get();
    queue.done('a');
    expect(queue.length).toBe(0);
  });

  it('wakes one waiting taker for each key', async () => {
    const { queue } = make();
    const taken = [queue.get(), queue.get()];
    queue.add('a');
    queue.add('b');
    expect((await Promise.all(taken)).map((one) => one?.key)).toEqual(['a', 'b']);
  });

  it('says how long a key was ready', async () => {
    const { queue, clock } = make();
    queue.add('a');
    await clock.advance(250);
    expect(await queue.get()).toEqual({ key: 'a', waitedMs: 250 });
  });

  it('adds a key after a time, at the earlier of two', async () => {
    const { queue, clock } = make();
    queue.addAfter('a', 100);
    queue.addAfter('a', 500);
    queue.addAfter('b', 500);
    queue.addAfter('b', 50);
    queue.addAfter('now', 0);
    expect([queue.length, queue.delayed]).toEqual([1, 2]);
    await clock.advance(49);
    expect(queue.length).toBe(1);
    await clock.advance(1);
    expect(queue.length).toBe(2);
    await clock.advance(50);
    expect([queue.length, queue.delayed]).toEqual([3, 0]);
    await clock.advance(1000);
    expect(queue.length).toBe(3);
    expect([await take(queue), await take(queue), await take(queue)]).toEqual(['now', 'b', 'a']);
  });

  it('waits longer after each failure of a key, until it is forgotten', async () => {
    const { queue, clock } = make();
    const waits = [0, 0, 0, 0].map(() => queue.addRateLimited('a'));
    expect(waits).toEqual([5, 10, 20, 40]);
    expect(queue.requeues('a')).toBe(4);
    expect(queue.addRateLimited('b')).toBe(5);
    queue.forget('a');
    expect(queue.addRateLimited('a')).toBe(5);
    await clock.advance(5);
    expect(queue.length).toBe(2);
  });

  it('refuses more keys than it may hold', () => {
    const { queue } = make({ maxKeys: 2 });
    queue.add('a');
    queue.add('b');
    queue.add('a');
    expect(() => queue.add('c')).toThrow('the queue holds 2 keys already');
  });

  it('hands out what is ready after a shutdown, then nothing, and drops what waits', async () => {
    const { queue, clock } = make();
    queue.add('a');
    queue.addAfter('later', 10);
    queue.shutDown();
    queue.add('late');
    queue.addAfter('later still', 10);
    await clock.advance(100);
    expect((await queue.get())?.key).toBe('a');
    expect(await queue.get()).toBeUndefined();
    expect(clock.sleeping).toBe(0);
  });

  it('ends those who wait for a key at a shutdown', async () => {
    const { queue } = make();
    const waiting = Promise.all([queue.get(), queue.get()]);
    queue.shutDown();
    expect(await waiting).toEqual([undefined, undefined]);
  });

  it('drains: the shutdown ends when the last key is done, that was added meanwhile too', async () => {
    const { queue } = make();
    queue.add('a');
    await queue.get();
    queue.add('a');
    let isDrained = false;
    const drained = queue.shutDownWithDrain(new AbortController().signal).then(() => (isDrained = true));
    queue.done('a');
    expect((await queue.get())?.key).toBe('a');
    expect(isDrained).toBe(false);
    queue.done('a');
    await drained;
    await queue.shutDownWithDrain(new AbortController().signal);
  });

  it('ends the draining when told to', async () => {
    const { queue } = make();
    queue.add('a');
    await queue.get();
    const stop = new AbortController();
    const drained = queue.shutDownWithDrain(stop.signal);
    stop.abort(new Error('enough'));
    await expect(drained).rejects.toThrow('enough');
  });

  it('behaves as its specification for every sequence of operations', async () => {
    const key = fc.constantFrom('a', 'b', 'c', 'd', 'e');
    const operation = fc.oneof(
      fc.record({ op: fc.constant('add' as const), key }),
      fc.record({ op: fc.constant('addAfter' as const), key, ms: fc.integer({ min: -5, max: 50 }) }),
      fc.record({ op: fc.constant('take' as const) }),
      fc.record({ op: fc.constant('done' as const), key }),
      fc.record({ op: fc.constant('advance' as const), ms: fc.integer({ min: 0, max: 40 }) }),
      fc.record({ op: fc.constant('shutDown' as const) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { maxLength: 60 }), async (operations) => {
        const { queue, clock } = make();
        const model = new Model();
        for (const step of operations) {
          if (step.op === 'add') {
            queue.add(step.key);
            model.add(step.key);
          } else if (step.op === 'addAfter') {
            queue.addAfter(step.key, step.ms);
            model.addAfter(step.key, step.ms);
          } else if (step.op === 'take' && model.queue.length > 0) {
            expect(await take(queue)).toBe(model.take());
          } else if (step.op === 'done') {
            queue.done(step.key);
            model.done(step.key);
          } else if (step.op === 'advance') {
            await clock.advance(step.ms);
            model.advance(step.ms);
          } else if (step.op === 'shutDown') {
            queue.shutDown();
            model.shutDown();
          }
          expect([queue.length, queue.processing, queue.delayed]).toEqual([
            model.queue.length,
            model.processing.size,
            model.delayed.size,
          ]);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('works on every key that was added, never on one twice at a time, with any number of workers', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c', 'd'), fc.integer({ min: 0, max: 3 })), { maxLength: 80 }),
        fc.integer({ min: 1, max: 5 }),
        async (additions, workers) => {
          const { queue } = make();
          const lastAdded = new Map<string, number>();
          const lastSeen = new Map<string, number>();
          const running = new Set<string>();
          let tick = 0;
          const work = async (): Promise<void> => {
            for (let next = await queue.get(); next !== undefined; next = await queue.get()) {
              expect(running.has(next.key)).toBe(false);
              running.add(next.key);
              lastSeen.set(next.key, tick);
              for (let i = 0; i < next.key.charCodeAt(0) % 4; i++) await Promise.resolve();
              running.delete(next.key);
              queue.done(next.key);
            }
          };
          const all = Promise.all(Array.from({ length: workers }, work));
          for (const [key, pause] of additions) {
            tick += 1;
            lastAdded.set(key, tick);
            queue.add(key);
            for (let i = 0; i < pause; i++) await Promise.resolve();
          }
          await queue.shutDownWithDrain(AbortSignal.timeout(5000));
          await all;
          // Level-triggered: each key was looked at after its last change.
          for (const [key, added] of lastAdded) expect(lastSeen.get(key)).toBeGreaterThanOrEqual(added);
        },
      ),
      { numRuns: 200 },
    );
  });
});

/** What the queue has to do, written as plainly as possible. */
class Model {
  queue: string[] = [];
  readonly dirty = new Set<string>();
  readonly processing = new Set<string>();
  readonly delayed = new Map<string, number>();
  #order = 0;
  readonly #added = new Map<string, number>();
  #nowMs = 0;
  #isDown = false;

  add(key: string): void {
    if (this.#isDown || this.dirty.has(key)) return;
    this.dirty.add(key);
    if (!this.processing.has(key)) this.queue.push(key);
  }

  addAfter(key: string, ms: number): void {
    if (this.#isDown) return;
    if (ms <= 0) {
      this.add(key);
      return;
    }
    const at = this.#nowMs + ms;
    if ((this.delayed.get(key) ?? Infinity) <= at) return;
    this.delayed.set(key, at);
    this.#added.set(key, this.#order++);
  }

  take(): string | undefined {
    const key = this.queue.shift();
    if (key !== undefined) {
      this.dirty.delete(key);
      this.processing.add(key);
    }
    return key;
  }

  done(key: string): void {
    if (this.processing.delete(key) && this.dirty.has(key)) this.queue.push(key);
  }

  advance(ms: number): void {
    this.#nowMs += ms;
    const order = (key: string): number => this.#added.get(key) ?? 0;
    const due = [...this.delayed]
      .filter(([, at]) => at <= this.#nowMs)
      .sort(([one, a], [other, b]) => a - b || order(one) - order(other));
    for (const [key] of due) {
      this.delayed.delete(key);
      this.add(key);
    }
  }

  shutDown(): void {
    this.#isDown = true;
    this.delayed.clear();
  }
}

describe('a rate limiter', () => {
  it('doubles up to its maximum', () => {
    const limiter = exponentialLimiter(5, 1000);
    const waits = Array.from({ length: 100 }, () => limiter.when('a'));
    expect(waits.slice(0, 9)).toEqual([5, 10, 20, 40, 80, 160, 320, 640, 1000]);
    expect(waits.at(-1)).toBe(1000);
  });

  it('lets a burst pass, then so many a second over all keys', async () => {
    const clock = new ManualClock();
    const limiter = tokenBucketLimiter(clock, 10, 3);
    expect(['a', 'b', 'c', 'd', 'e'].map((key) => limiter.when(key))).toEqual([0, 0, 0, 100, 200]);
    await clock.advance(200);
    expect(limiter.when('a')).toBe(100);
    await clock.advance(10_000);
    expect([1, 2, 3, 4].map(() => limiter.when('a'))).toEqual([0, 0, 0, 100]);
  });

  it('takes the longest of several waits, and forgets in all', () => {
    const clock = new ManualClock();
    const limiter = maxOfLimiters(exponentialLimiter(), tokenBucketLimiter(clock, 10, 1));
    expect([limiter.when('a'), limiter.when('a'), limiter.requeues('a')]).toEqual([5, 100, 2]);
    limiter.forget('a');
    expect(limiter.requeues('a')).toBe(0);
    expect(defaultLimiter(clock).when('a')).toBe(5);
  });
});
