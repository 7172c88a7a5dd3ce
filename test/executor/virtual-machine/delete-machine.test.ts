import { describe, expect, it } from 'vitest';
import type { VirtualMachine } from '../../../src/api/virtual-machine.ts';
import { deleteMachine, machineFinalizer } from '../../../src/executor/virtual-machine/delete-machine.ts';
import type { DomainView } from '../../../src/executor/virtual-machine/domain-view.ts';
import { MachineStatus } from '../../../src/executor/virtual-machine/machine-status.ts';
import type { Round } from '../../../src/executor/virtual-machine/round.ts';
import { ErrorNumber } from '../../../src/libvirt/constants.gen.ts';
import { LibvirtError } from '../../../src/libvirt/errors.ts';
import type { EventRecord } from '../../../src/reconcile/event-recorder.ts';

const uuid = '6a3bd1c2-2f3e-4a58-9a70-9c1f0d0f7a11';
const other = 'b5d3e4aa-90c7-4f1c-8f0e-3a1f4ce6a0de';
const noDomain = new LibvirtError('domainIsActive', {
  ...{ code: ErrorNumber.NO_DOMAIN, domain: 0, message: 'Domain not found', level: 2 },
  ...{ str1: null, str2: null, str3: null, int1: 0, int2: 0 },
});

interface Deletion {
  /** What was done, in order. */
  readonly done: string[];
  readonly notes: (string | undefined)[];
  readonly finalizers: readonly string[] | undefined;
  readonly message: string | undefined;
}

/** Deletes a machine whose domain was off when it was looked at. */
async function deleteOff(domainUuid: string, isStartedMeanwhile = false): Promise<Deletion> {
  let stored = {
    apiVersion: 'virtctl.dev/v1alpha1',
    kind: 'VirtualMachine',
    metadata: { name: 'web', namespace: 'shop', uid: uuid, resourceVersion: '1', finalizers: [machineFinalizer] },
    spec: { nodeName: 'node-1' },
  } as VirtualMachine;
  const done: string[] = [];
  const notes: (string | undefined)[] = [];
  const domain = {
    ...{ name: 'shop.web', uuid: domainUuid },
    undefine: () => Promise.resolve(void done.push('undefine')),
    isActive: () => (isStartedMeanwhile ? Promise.resolve(true) : Promise.reject(noDomain)),
  };
  const merge = (_ref: unknown, patch: Partial<VirtualMachine>): Promise<VirtualMachine> => {
    const metadata = { ...stored.metadata, ...patch.metadata };
    stored = { ...stored, metadata, ...(patch.status === undefined ? {} : { status: patch.status }) };
    return Promise.resolve(stored);
  };
  const machines = { find: () => Promise.resolve(stored), mergePatch: merge } as never;
  const round = {
    status: new MachineStatus(machines, stored, () => 0, new AbortController().signal),
    view: { domain, state: 'off', mark: undefined } as unknown as DomainView,
    options: {},
    parts: {
      machines,
      media: { remove: () => Promise.resolve(void done.push('files')) },
      snapshots: { release: () => Promise.resolve(true) },
      record: ({ note }: EventRecord) => void notes.push(note),
    },
  } as unknown as Round;
  await deleteMachine(round);
  const message = stored.status?.conditions?.find(({ type }) => type === 'Ready')?.message;
  return { done, notes, finalizers: stored.metadata.finalizers, message };
}

describe('the deletion of a machine that is off', () => {
  it('undefines the domain and lets the object go', async () => {
    const { done, notes, finalizers } = await deleteOff(uuid);
    expect(done).toEqual(['undefine', 'files']);
    expect(notes).toEqual(['the domain shop.web is gone']);
    expect(finalizers ?? []).toEqual([]);
  });

  it('keeps the object while the guest runs that somebody started meanwhile', async () => {
    const { done, finalizers, message } = await deleteOff(uuid, true);
    expect(done).toEqual(['undefine']);
    expect(finalizers).toEqual([machineFinalizer]);
    expect(message).toContain('started meanwhile');
  });

  it('leaves the domain of its name alone that is not its own, and does not say that it is gone', async () => {
    const { done, notes, finalizers } = await deleteOff(other);
    expect(done).toEqual(['files']);
    expect(notes).toEqual(["the domain shop.web is not the machine's, and stays"]);
    expect(finalizers ?? []).toEqual([]);
  });
});
