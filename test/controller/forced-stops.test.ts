import { describe, expect, it } from 'vitest';
import { forceStopAnnotation, type VirtualPool } from '../../src/api/virtual-pool.ts';
import { ForcedStops } from '../../src/controller/forced-stops.ts';
import type { ResourceClient } from '../../src/kube/resource-client.ts';

/** What is written of a pool. */
async function patchesOf(active: boolean | undefined, annotations: Record<string, string>): Promise<unknown[]> {
  const pool: VirtualPool = {
    ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualPool' },
    metadata: { name: 'fast', uid: 'u', resourceVersion: '7', annotations },
    spec: active === undefined ? {} : { active },
  };
  const patches: unknown[] = [];
  const pools = {
    find: () => Promise.resolve(pool),
    mergePatch: (_ref: unknown, patch: unknown) => {
      patches.push(patch);
      return Promise.resolve(pool);
    },
  } as unknown as ResourceClient<VirtualPool>;
  const { signal } = new AbortController();
  await new ForcedStops(pools, { held: () => new Map() }).reconcile('fast', signal);
  return patches;
}

describe('the annotation that forces the stop of a pool', () => {
  it('goes when the pool is to run, and nothing is overwritten that was written meanwhile', async () => {
    const gone = { metadata: { uid: 'u', resourceVersion: '7', annotations: { [forceStopAnnotation]: null } } };
    expect(await patchesOf(true, { [forceStopAnnotation]: 'true', other: 'x' })).toEqual([gone]);
    expect(await patchesOf(undefined, { [forceStopAnnotation]: 'true' })).toEqual([gone]);
  });

  it('stays while the pool is to be off, and is not looked for elsewhere', async () => {
    expect(await patchesOf(false, { [forceStopAnnotation]: 'true' })).toEqual([]);
    expect(await patchesOf(true, { other: 'x' })).toEqual([]);
  });
});
