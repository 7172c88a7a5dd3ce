import { describe, expect, it } from 'vitest';
import type { VirtualMachine } from '../../../src/api/virtual-machine.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { machineFinalizer } from '../../../src/executor/virtual-machine/delete-machine.ts';
import { MachineReconciler } from '../../../src/executor/virtual-machine/reconciler.ts';
import type { MachineReconcilerOptions } from '../../../src/executor/virtual-machine/round.ts';
import { ErrorNumber } from '../../../src/libvirt/constants.gen.ts';
import { ConnectionError, LibvirtError } from '../../../src/libvirt/errors.ts';
import type { EventRecord } from '../../../src/reconcile/event-recorder.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const machine: VirtualMachine = {
  apiVersion: 'virtctl.dev/v1alpha1',
  kind: 'VirtualMachine',
  metadata: { name: 'web', namespace: 'shop', uid: 'c0ffee', finalizers: [machineFinalizer] },
  spec: { nodeName: 'node-1' },
};

/** Reconciles a machine whose domain cannot be read for this reason. */
async function failWith(error: Error, signal = new AbortController().signal): Promise<EventRecord[]> {
  const events: EventRecord[] = [];
  const options = {
    nodeName: 'node-1',
    machines: { find: () => Promise.resolve(machine) },
    openOperations: () => [],
    libvirt: () => ({ domains: { byName: () => Promise.reject(error) } }),
    record: (event: EventRecord) => void events.push(event),
    clock: new ManualClock(),
  } as unknown as MachineReconcilerOptions;
  const reconciler = new MachineReconciler(options);
  await expect(reconciler.reconcile('shop/web', { signal, logger: silentLogger })).rejects.toBe(error);
  return events;
}

const uuid = '6a3bd1c2-2f3e-4a58-9a70-9c1f0d0f7a11';
const noDomain = new LibvirtError('domainSetMetadata', {
  ...{ code: ErrorNumber.NO_DOMAIN, domain: 0, message: 'Domain not found', level: 2 },
  ...{ str1: null, str2: null, str3: null, int1: 0, int2: 0 },
});

/** Reconciles a machine whose domain libvirt says is not found, after it was read; and whether that is so. */
async function loseDomain(isGone: boolean): Promise<{ outcome: unknown; reasons: (string | undefined)[] }> {
  const reasons: (string | undefined)[] = [];
  let isThere = true;
  const answer =
    <T>(value: T) =>
    (): Promise<T> =>
      isThere ? Promise.resolve(value) : Promise.reject(noDomain);
  const domain = {
    ...{ name: 'shop.web', uuid },
    state: answer({ state: 'shutoff', reason: 'shutdown' }),
    xml: answer(`<domain type='qemu'><name>shop.web</name><uuid>${uuid}</uuid></domain>`),
    isPersistent: answer(true),
    hasManagedSave: answer(false),
  };
  const options = {
    nodeName: 'node-1',
    machines: { find: () => Promise.resolve({ ...machine, metadata: { ...machine.metadata, uid: uuid } }) },
    openOperations: () => [],
    libvirt: () => ({ domains: { byUuid: answer(domain) } }),
    snapshots: {
      keep: () => {
        isThere = !isGone;
        return Promise.reject(noDomain);
      },
    },
    record: ({ reason }: EventRecord) => void reasons.push(reason),
    clock: new ManualClock(),
  } as unknown as MachineReconcilerOptions;
  const context = { signal: new AbortController().signal, logger: silentLogger };
  const outcome = await new MachineReconciler(options).reconcile('shop/web', context).catch((error: unknown) => error);
  return { outcome, reasons };
}

describe('a domain that is not found in the middle of a reconcile', () => {
  it('is looked for again when it is gone, which is no failure', async () => {
    expect(await loseDomain(true)).toEqual({ outcome: { requeueAfterMs: 20 }, reasons: [] });
  });

  it('is a failure when it is there', async () => {
    expect(await loseDomain(false)).toEqual({ outcome: noDomain, reasons: ['ReconcileFailed'] });
  });
});

describe('a reconcile that fails in a way nobody foresaw', () => {
  it('is told as an Event of the machine, which `why` and `describe` show', async () => {
    expect(await failWith(new TypeError('x is not a function'))).toMatchObject([
      {
        regarding: { metadata: { name: 'web' } },
        type: 'Warning',
        reason: 'ReconcileFailed',
        note: 'failed, and is tried again: x is not a function',
      },
    ]);
  });

  it('is not told for what the node tells of itself: no connection, or the end of the executor', async () => {
    expect(await failWith(new ConnectionError('the connection to libvirt was lost'))).toEqual([]);
    expect(await failWith(new Error('over'), AbortSignal.abort())).toEqual([]);
  });
});
