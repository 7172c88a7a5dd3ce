import { describe, expect, it } from 'vitest';
import { machineState, type StateInput } from '../../../src/executor/virtual-machine/printable-status.ts';
import { mergePatchOf } from '../../../src/executor/status-patch.ts';

const base: StateInput = {
  view: { state: 'off', hasManagedSave: false },
  power: {},
  strategy: 'Always',
  end: undefined,
  failures: undefined,
  deleting: false,
  now: 1000,
};
const words = (input: Partial<StateInput>): string => machineState({ ...base, ...input }).printableStatus;

describe("a machine's state in one word", () => {
  it('is told of each state', () => {
    const at = (state: 'running' | 'paused' | 'crashed' | 'suspended' | 'stopping') => ({
      view: { state, hasManagedSave: false },
    });
    expect(words(at('running'))).toBe('Running');
    expect(words({ ...at('paused') })).toBe('Paused');
    expect(words({ ...at('paused'), power: { bootStep: 'Starting' } })).toBe('Starting');
    expect(words({ ...at('running'), power: { stoppingSince: 'x' } })).toBe('Stopping');
    expect(words(at('crashed'))).toBe('Crashed');
    expect(words(at('suspended'))).toBe('Suspended');
    expect(words({ deleting: true })).toBe('Terminating');
  });

  it('says why it is off', () => {
    expect(words({ strategy: 'Halted' })).toBe('Stopped');
    expect(words({ strategy: 'Manual', view: undefined })).toBe('Stopped');
    expect(words({})).toBe('Starting');
    expect(words({ failures: { count: 2, lastAt: 0, nextAttemptAt: 2000, message: '' } })).toBe('CrashLoopBackOff');
    expect(words({ power: { held: true } })).toBe('Saved');
    expect(words({ strategy: 'Once', power: { startedFor: 'Once' }, end: 'Shutdown' })).toBe('Completed');
    expect(words({ strategy: 'Once', power: { startedFor: 'Once' }, end: 'Crashed' })).toBe('Crashed');
  });
});

describe('the patch of a status', () => {
  it('holds what differs, and null for what goes', () => {
    expect(mergePatchOf({ a: 1, b: { c: 1, d: 2 }, e: [1] }, { b: { c: 1, d: 3 }, e: [1, 2], f: 'x' })).toEqual({
      a: null,
      b: { d: 3 },
      e: [1, 2],
      f: 'x',
    });
  });

  it('is none when nothing differs', () => {
    expect(mergePatchOf({ a: { b: [{ c: 1 }] } }, { a: { b: [{ c: 1 }] }, d: undefined })).toBeUndefined();
    expect(mergePatchOf(undefined, {})).toBeUndefined();
  });
});
