import { expect, it } from 'vitest';
import { mergePatchOf } from '../../src/executor/status-patch.ts';

it('makes a patch of what differs, and none of what is the same', () => {
  expect(mergePatchOf({ a: 1, b: { c: [1] }, gone: 'x' }, { a: 1, b: { c: [2], d: 0 } })).toEqual({
    b: { c: [2], d: 0 },
    gone: null,
  });
  expect(mergePatchOf(undefined, { a: 1 })).toEqual({ a: 1 });
  expect(mergePatchOf({ a: 1, b: undefined }, { a: 1 })).toBeUndefined();
  expect(mergePatchOf({ a: 1, b: undefined }, { a: 1, b: undefined })).toBeUndefined();
});
