import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { runStrategies } from '../../../src/api/virtual-machine.ts';
import { countFailure, stableRunMs, type Failures } from '../../../src/executor/virtual-machine/crash-backoff.ts';
import { powerAction, type PowerInput } from '../../../src/executor/virtual-machine/power-policy.ts';

const base: PowerInput = {
  strategy: 'Always',
  state: 'off',
  end: undefined,
  startedFor: undefined,
  held: false,
  failures: undefined,
  deleting: false,
  now: 1_000_000,
};
const action = (input: Partial<PowerInput>): string => powerAction({ ...base, ...input }).type;

describe('the power policy', () => {
  it('starts under Always whatever the end was', () => {
    for (const end of ['Shutdown', 'Destroyed', 'Crashed', 'Unknown'] as const) {
      expect(action({ strategy: 'Always', end, startedFor: 'Always' })).toBe('start');
    }
  });

  it('starts under RerunOnFailure once, and again only after a failure', () => {
    expect(action({ strategy: 'RerunOnFailure' })).toBe('start');
    expect(action({ strategy: 'RerunOnFailure', startedFor: 'RerunOnFailure', end: 'Shutdown' })).toBe('none');
    expect(action({ strategy: 'RerunOnFailure', startedFor: 'RerunOnFailure', end: 'Destroyed' })).toBe('none');
    expect(action({ strategy: 'RerunOnFailure', startedFor: 'RerunOnFailure', end: 'Crashed' })).toBe('start');
  });

  it('starts under Once once', () => {
    expect(action({ strategy: 'Once' })).toBe('start');
    expect(action({ strategy: 'Once', startedFor: 'Always' })).toBe('start');
    expect(action({ strategy: 'Once', startedFor: 'Once', end: 'Crashed' })).toBe('none');
  });

  it('leaves Manual alone and stops Halted', () => {
    for (const state of ['off', 'running', 'paused'] as const)
      expect(action({ strategy: 'Manual', state })).toBe('none');
    expect(action({ strategy: 'Halted' })).toBe('none');
    for (const state of ['running', 'paused', 'stopping', 'suspended'] as const) {
      expect(action({ strategy: 'Halted', state })).toBe('stop');
    }
  });

  it('does not wake what an operation saved', () => {
    expect(action({ held: true })).toBe('none');
  });

  it('does not resume what is paused', () => {
    for (const strategy of ['Always', 'RerunOnFailure', 'Once', 'Manual'] as const) {
      expect(action({ strategy, state: 'paused' })).toBe('none');
    }
  });

  it('stops what is being deleted, and never starts it', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...runStrategies),
        fc.constantFrom('off', 'running', 'paused', 'crashed', 'stopping', 'suspended' as const),
        (strategy, state) => {
          expect(action({ strategy, state, deleting: true })).toBe(
            state === 'off' ? 'none' : state === 'crashed' ? 'clear' : 'stop',
          );
        },
      ),
    );
  });

  it('waits out the back-off', () => {
    const failures: Failures = { count: 2, lastAt: 0, nextAttemptAt: base.now + 1, message: '' };
    expect(powerAction({ ...base, failures })).toEqual({ type: 'wait', until: base.now + 1 });
    expect(action({ failures, now: base.now + 1 })).toBe('start');
  });
});

describe('the crash back-off', () => {
  it('starts again at once after the first end, then waits longer each time, 5 minutes at most', () => {
    let failures: Failures | undefined;
    const waits = Array.from({ length: 9 }, () => {
      failures = countFailure(failures, 1000, 0, 'crashed');
      return failures.nextAttemptAt / 1000;
    });
    expect(waits).toEqual([0, 10, 20, 40, 80, 160, 300, 300, 300]);
  });

  it('begins anew after a long run', () => {
    const before = countFailure(countFailure(undefined, 0, 0, ''), 0, 0, '');
    expect(countFailure(before, stableRunMs, 5, '')).toMatchObject({ count: 1, nextAttemptAt: 5 });
  });
});
