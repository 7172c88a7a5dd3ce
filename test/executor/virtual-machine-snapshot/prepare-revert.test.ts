import { describe, expect, it } from 'vitest';
import { prepareRevert } from '../../../src/executor/virtual-machine-snapshot/prepare-revert.ts';
import type { RevertContext } from '../../../src/executor/virtual-machine-snapshot/revert-context.ts';
import type { OperationRun } from '../../../src/executor/virtual-machine-operation/operation-run.ts';

const meta = (name: string, uid = name) => ({ name, namespace: 'shop', uid });
const wanted = {
  metadata: meta('before'),
  spec: { virtualMachine: 'web' },
  status: { virtualMachineUID: 'now', phase: 'Ready', creationTime: '2026-11-21T16:00:00Z', name: 'before', disks: [] },
};

/** What the first step of a revert says while another snapshot is at a step. */
async function prepareBeside(status: object): Promise<unknown> {
  const other = { metadata: meta('other'), spec: { virtualMachine: 'web' }, status };
  const snapshot = { xml: () => Promise.resolve("<domainsnapshot><domain type='qemu'/></domainsnapshot>") };
  const run = {
    step: 'Preparing',
    notes: {},
    operation: { metadata: meta('op'), spec: { revert: { snapshot: 'before' } } },
    context: { status: { machine: { metadata: meta('web', 'now'), spec: {} } }, signal: new AbortController().signal },
    view: { domain: { snapshots: { byName: () => Promise.resolve(snapshot) } } },
    goTo: (step: string) => Promise.resolve(step),
  } as unknown as OperationRun;
  const find = ({ name }: { readonly name: string }) => Promise.resolve(name === 'other' ? other : wanted);
  const context = { snapshots: { namesOf: () => ['before', 'other'], snapshots: { find } } };
  return prepareRevert(run, context as unknown as RevertContext);
}

describe('the first step of a revert', () => {
  it.each(['Taking', 'Merging'])('waits for another snapshot of the machine that is at step %s', async (step) => {
    expect(await prepareBeside({ step, virtualMachineUID: 'now' })).toBe(1_000);
  });

  it('does not wait for one that nobody takes any more, of a machine of the same name that is gone', async () => {
    expect(await prepareBeside({ step: 'Taking', virtualMachineUID: 'gone' })).toBe('Stopping');
  });

  it('waits while one of a machine that is gone is merged: the disk may be the same', async () => {
    expect(await prepareBeside({ step: 'Merging', virtualMachineUID: 'gone' })).toBe(1_000);
  });
});
