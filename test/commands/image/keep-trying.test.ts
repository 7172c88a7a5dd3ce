import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../support/manual-clock.ts';
import { ConflictError, FailedError, UnreachableError } from '../../../src/base/errors.ts';
import { keepTrying, type Attempt } from '../../../src/commands/image/keep-trying.ts';

/** Runs it with a clock of its own; each function is an attempt, the last one is every further one. */
async function run(attempts: readonly ((attempt: Attempt) => void)[], signal = new AbortController().signal) {
  const clock = new ManualClock({ automatic: true });
  const said: string[] = [];
  const losses: number[] = [];
  let error: unknown;
  await keepTrying(
    (attempt) => {
      const step = attempts[Math.min(losses.length, attempts.length - 1)];
      losses.push(attempt.losses);
      step?.(attempt);
      return Promise.resolve();
    },
    {
      ...{ clock, random: () => 0, timeoutMs: 10_000, signal },
      say: (text) => said.push(text),
      isPassing: (thrown) => thrown instanceof ConflictError,
    },
  ).catch((thrown: unknown) => {
    error = thrown;
  });
  return { error, said, losses, slept: clock.slept };
}
const lost = (): never => {
  throw new UnreachableError('broken pipe');
};
const losing = (attempt: Attempt): never => {
  attempt.begun('0 of 9');
  return lost();
};

describe('something that is tried again', () => {
  it('is over at once where nothing had begun, or the reason is no connection', async () => {
    expect(await run([lost])).toMatchObject({ error: { message: 'broken pipe' }, losses: [0] });
    const refuse = (attempt: Attempt): never => {
      attempt.begun();
      throw new FailedError('refused');
    };
    expect(await run([refuse])).toMatchObject({ error: { message: 'refused' }, losses: [0] });
    expect(await run([losing, refuse])).toMatchObject({ error: { message: 'refused' }, losses: [0, 1] });
  });

  it('waits longer each time, says once why, and ends well', async () => {
    const end = (): void => undefined;
    expect(await run([losing, lost, lost, end])).toEqual({
      error: undefined,
      said: ['the connection was lost (broken pipe); tries again'],
      losses: [0, 1, 2, 3],
      slept: [200, 400, 800],
    });
  });

  it('stops when the time is over, and says how much is there and what to do', async () => {
    const { error, slept } = await run([losing]);
    expect(error).toMatchObject({
      message: 'the upload was cut off (0 of 9 are there)',
      hint: 'give the same command again: it goes on where it was',
      exitCode: 6,
      cause: { message: 'broken pipe' },
    });
    expect(slept).toEqual([200, 400, 800, 1600, 3200]);
  });

  it('has all of its time again after any progress', async () => {
    const slow = (attempt: Attempt): never => {
      attempt.begun();
      attempt.progressed('3 of 9');
      return lost();
    };
    const steps = [losing, lost, lost, lost, lost, slow, lost, lost, lost, lost, lost];
    const { error, said, slept } = await run(steps);
    expect(error).toMatchObject({ message: 'the upload was cut off (3 of 9 are there)' });
    expect(said).toHaveLength(2);
    expect(slept).toEqual([200, 400, 800, 1600, 3200, 200, 400, 800, 1600, 3200]);
  });

  it('bears what passes only after a connection was lost', async () => {
    const away = (attempt: Attempt): never => {
      attempt.begun();
      throw new ConflictError('the pool does not run');
    };
    const end = (): void => undefined;
    expect(await run([away, end])).toMatchObject({ error: { message: 'the pool does not run' }, losses: [0] });
    expect(await run([losing, away, end])).toMatchObject({ error: undefined, losses: [0, 1, 2] });
  });

  it('is not tried again by one who gave it up, who hears how much is there', async () => {
    expect(await run([losing], AbortSignal.abort())).toMatchObject({
      error: { message: 'broken pipe' },
      losses: [0],
      said: ['0 of 9 are there; the same command goes on'],
    });
  });
});
