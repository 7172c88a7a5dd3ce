import { describe, expect, it } from 'vitest';
import { letGoOn } from '../../../src/executor/virtual-machine-snapshot/domain-job.ts';
import type { DomainView } from '../../../src/executor/virtual-machine/domain-view.ts';
import type { DomainState } from '../../../src/libvirt/objects/domain-state.ts';

/** What becomes of a guest in this state, of a snapshot that was begun while it was in that one. */
async function after(
  domainState: 'running' | 'paused' | 'shutoff',
  state: DomainState,
  reason: string,
): Promise<{ isResumed: boolean; calls: number }> {
  let calls = 0;
  const domain = { resume: () => Promise.resolve(void (calls += 1)) };
  const view = { domain, libvirtState: { state, reason } } as unknown as DomainView;
  const isResumed = await letGoOn({ status: { domainState } }, view, new AbortController().signal);
  return { isResumed, calls };
}

describe('a guest whose snapshot was interrupted', () => {
  it('runs again when libvirt had stopped it for the snapshot', async () => {
    expect(await after('running', 'paused', 'save')).toEqual({ isResumed: true, calls: 1 });
    expect(await after('running', 'paused', 'snapshot')).toEqual({ isResumed: true, calls: 1 });
  });

  it('is left as it is when somebody else paused it, when it was paused before, and when it runs', async () => {
    const left = { isResumed: false, calls: 0 };
    expect(await after('running', 'paused', 'user')).toEqual(left);
    expect(await after('running', 'paused', 'io-error')).toEqual(left);
    expect(await after('paused', 'paused', 'save')).toEqual(left);
    expect(await after('running', 'running', 'booted')).toEqual(left);
  });
});
