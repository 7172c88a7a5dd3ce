import { describe, expect, it } from 'vitest';
import { scaleRun } from '../support/scale-executor.ts';

describe('an executor with many machines', () => {
  // A tenth of `npm run soak -- executor-scale`.
  it('makes them, looks at all again when it starts anew, and then leaves them alone', async () => {
    const run = await scaleRun(50, 5_000, () => undefined);
    expect(run.machines).toBe(50);
    expect(run.idleReconciles).toBe(0);
  });
});
