import { describe, expect, it } from 'vitest';
import { transferText } from '../../src/cli/transfer-bar.ts';

describe('the bar of a transfer', () => {
  it('says how much is done, how fast, and when it is over', () => {
    expect(transferText(25 << 20, 100 << 20, 5000)).toBe('[######------------------]  25 % of 100Mi, 5Mi/s, 15 s left');
  });

  it('begins at what was there before, which counts for no speed', () => {
    expect(transferText(50 << 20, 100 << 20, 0, 50 << 20)).toBe('[############------------]  50 % of 100Mi, 0/s');
    expect(transferText(60 << 20, 100 << 20, 2000, 50 << 20)).toBe(
      '[##############----------]  60 % of 100Mi, 5Mi/s, 8 s left',
    );
  });
});
