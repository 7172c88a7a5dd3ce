import { describe, expect, it } from 'vitest';
import { findCondition } from '../../../src/api/meta.ts';
import { MachineWorld } from '../../support/machine-world.ts';

/** A machine that runs, of which somebody changed the definition in one place and the running domain in another. */
async function meddledWith(driftPolicy: 'Enforce' | 'Report'): Promise<MachineWorld> {
  const domain = { type: 'test', title: 'The shop', description: 'sells' } as const;
  const world = new MachineWorld('Always', { driftPolicy, domain });
  await world.quiesce();
  world.events.length = 0;
  world.domain.meddle('definition', (xml) => xml.replace('>sells<', '>is closed<'));
  world.domain.meddle('running', (xml) => xml.replace('>The shop<', '>Mine<'));
  await world.reconcile();
  return world;
}

describe('what was changed behind our back in the definition and in the running domain', () => {
  it.each([
    ['put right', 'Enforce', 'DriftCorrected'],
    ['told', 'Report', 'Drifted'],
  ] as const)('is %s, and status names both', async (_what, policy, reason) => {
    const { status } = await meddledWith(policy);
    expect(status.drift).toMatchObject([
      { path: 'description', from: '"is closed"' },
      { path: 'title', from: '"Mine"' },
    ]);
    const condition = findCondition(status, 'Synchronized');
    expect(condition).toMatchObject({ reason });
    expect(condition?.message).toContain('description, title');
  });

  it('is told once more by nobody when it was put right', async () => {
    const world = await meddledWith('Enforce');
    world.events.length = 0;
    await world.reconcile();
    expect(world.events).toEqual([]);
  });
});
