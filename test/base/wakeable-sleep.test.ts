import { describe, expect, it } from 'vitest';
import { WakeableSleep } from '../../src/base/wakeable-sleep.ts';
import { ManualClock } from '../support/manual-clock.ts';

/** A loop whose rounds take until they are let go on; says how many have begun. */
function loopOf() {
  const clock = new ManualClock();
  const pause = new WakeableSleep(clock);
  const stop = new AbortController();
  const world = { rounds: 0, clock, pause, stop, finishRound: (): void => undefined };
  const run = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      pause.begin();
      world.rounds += 1;
      await new Promise<void>((resolve) => (world.finishRound = resolve));
      await pause.sleep(300_000, stop.signal);
    }
  };
  return Object.assign(world, { ended: run() });
}

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

describe('a loop that can be woken', () => {
  it('sleeps for its time', async () => {
    const loop = loopOf();
    loop.finishRound();
    await turn();
    await loop.clock.advance(299_999);
    expect(loop.rounds).toBe(1);
    await loop.clock.advance(1);
    await turn();
    expect(loop.rounds).toBe(2);
    loop.stop.abort();
    loop.finishRound();
    await loop.ended;
  });

  it('goes on at once when it is woken while it sleeps', async () => {
    const loop = loopOf();
    loop.finishRound();
    await turn();
    expect([loop.rounds, loop.clock.sleeping]).toEqual([1, 1]);
    loop.pause.wake();
    await turn();
    expect([loop.rounds, loop.clock.sleeping]).toEqual([2, 0]);
    loop.stop.abort();
    loop.finishRound();
    await loop.ended;
  });

  it('goes on after its round when it is woken in the middle of that, and only once', async () => {
    const loop = loopOf();
    loop.pause.wake();
    loop.pause.wake();
    loop.finishRound();
    await turn();
    expect(loop.rounds).toBe(2);
    loop.finishRound();
    await turn();
    expect([loop.rounds, loop.clock.sleeping]).toEqual([2, 1]);
    loop.stop.abort();
    await loop.ended;
  });

  it('ends with its signal', async () => {
    const loop = loopOf();
    loop.finishRound();
    await turn();
    loop.stop.abort();
    await loop.ended;
    expect([loop.rounds, loop.clock.sleeping]).toEqual([1, 0]);
  });
});
