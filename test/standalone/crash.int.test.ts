import { expect, it } from 'vitest';
import { crashRun } from './crash-run.ts';

it('loses no acknowledged write and no watched change over 20 kills', async () => {
  const report = await crashRun(20, Math.random, () => undefined);
  expect(report.kills).toBe(20);
  expect(report.acknowledged).toBeGreaterThan(200);
  expect(report.watchedChanges).toBeGreaterThanOrEqual(report.acknowledged);
});
