import { describe, expect, it } from 'vitest';
import { parseDuration, parseSeconds } from '../../src/cli/duration.ts';

describe('a duration', () => {
  it.each([
    ['30', 30_000],
    ['30s', 30_000],
    ['1m30s', 90_000],
    ['1.5h', 5_400_000],
    ['500ms', 500],
    ['0', 0],
  ])('%s is %d ms', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  it.each(['', 'soon', '-1s', '5 m', '5m!', '1d', '10sm'])('"%s" is refused', (text) => {
    expect(() => parseDuration(text)).toThrow('not a duration');
  });

  it('refuses a part of a second where seconds are asked for', () => {
    expect(() => parseSeconds('500ms')).toThrow('whole number');
  });
});
