import { describe, expect, it } from 'vitest';
import { findCondition, isConditionTrue, setCondition } from '../../src/reconcile/conditions.ts';
import type { Condition } from '../../src/reconcile/conditions.ts';

const first = Date.UTC(2030, 0, 1);
const later = first + 60_000;
const ready = { type: 'Ready', status: true, reason: 'Running', message: 'all well', observedGeneration: 1 } as const;

describe('setting a condition', () => {
  it('adds it with the time of now', () => {
    expect(setCondition(undefined, ready, first)).toEqual([
      {
        type: 'Ready',
        status: 'True',
        reason: 'Running',
        message: 'all well',
        observedGeneration: 1,
        lastTransitionTime: '2030-01-01T00:00:00Z',
      },
    ]);
  });

  it('returns the same list when nothing changed', () => {
    const conditions = setCondition<Condition>(undefined, ready, first);
    expect(setCondition(conditions, ready, later)).toBe(conditions);
  });

  it('keeps the time of the transition when the status stays', () => {
    const conditions = setCondition<Condition>(undefined, ready, first);
    const [changed] = setCondition(conditions, { ...ready, reason: 'Other', observedGeneration: 2 }, later);
    expect(changed).toMatchObject({
      reason: 'Other',
      observedGeneration: 2,
      lastTransitionTime: '2030-01-01T00:00:00Z',
    });
  });

  it('moves the time when the status changes, and leaves the others alone, in their order', () => {
    let conditions: readonly Condition[] = setCondition<Condition>(undefined, ready, first);
    conditions = setCondition(conditions, { type: 'Paused', status: false, reason: 'NotAsked' }, first);
    const changed = setCondition(conditions, { ...ready, status: 'Unknown' }, later);
    expect(changed.map(({ type, status, lastTransitionTime }) => [type, status, lastTransitionTime])).toEqual([
      ['Ready', 'Unknown', '2030-01-01T00:01:00Z'],
      ['Paused', 'False', '2030-01-01T00:00:00Z'],
    ]);
    expect(changed[1]).toBe(conditions[1]);
  });

  it('keeps a message within what the API takes', () => {
    const [only] = setCondition(undefined, { ...ready, message: 'x'.repeat(40_000) }, first);
    expect(only?.message).toHaveLength(32_768);
  });
});

describe('finding a condition', () => {
  const conditions = setCondition<Condition>(undefined, ready, first);
  it('goes by its type', () => {
    expect(findCondition(conditions, 'Ready')?.reason).toBe('Running');
    expect(findCondition(conditions, 'Paused')).toBeUndefined();
    expect([isConditionTrue(conditions, 'Ready'), isConditionTrue(undefined, 'Ready')]).toEqual([true, false]);
  });
});
