import { describe, expect, it } from 'vitest';
import type { VirtualMachineOperation } from '../../../src/api/virtual-machine-operation.ts';
import type { VirtualMachine } from '../../../src/api/virtual-machine.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { MigrationReceiver } from '../../../src/executor/migration/receive-machine.ts';
import { machineFinalizer } from '../../../src/executor/virtual-machine/delete-machine.ts';
import { MachineReconciler } from '../../../src/executor/virtual-machine/reconciler.ts';
import type { MachineReconcilerOptions } from '../../../src/executor/virtual-machine/round.ts';
import { ErrorNumber } from '../../../src/libvirt/constants.gen.ts';
import { LibvirtError } from '../../../src/libvirt/errors.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const own = '6a3bd1c2-2f3e-4a58-9a70-9c1f0d0f7a11';
const foreign = 'b5d3e4aa-90c7-4f1c-8f0e-3a1f4ce6a0de';
const noDomain = new LibvirtError('domainLookupByUuid', {
  ...{ code: ErrorNumber.NO_DOMAIN, domain: 0, message: 'no domain', level: 2 },
  ...{ str1: null, str2: null, str3: null, int1: 0, int2: 0 },
});

/** A migration at its last step, with a domain of the machine's name and another UUID on the node that looks. */
function sceneOn(nodeName: string, domainState: 'shutoff' | 'running', answer?: string) {
  /** What was done to that domain. */
  const acts: string[] = [];
  const act = (name: string) => (): Promise<void> => {
    acts.push(name);
    return Promise.resolve();
  };
  const id = domainState === 'running' ? " id='7'" : '';
  const domain = {
    ...{ name: 'shop.web', uuid: foreign },
    state: () => Promise.resolve({ state: domainState, reason: 'unknown' }),
    xml: () => Promise.resolve(`<domain type='qemu'${id}><name>shop.web</name><uuid>${foreign}</uuid></domain>`),
    isPersistent: () => Promise.resolve(true),
    hasManagedSave: () => Promise.resolve(false),
    job: { stats: () => Promise.resolve({ type: 'none', operation: 'unknown' }) },
    ...{ undefine: act('undefine'), destroy: act('destroy'), resume: act('resume') },
  };
  const machine: VirtualMachine = {
    ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualMachine' },
    metadata: { name: 'web', namespace: 'shop', uid: own, finalizers: [machineFinalizer] },
    spec: { nodeName: 'node-1' },
  };
  let operation: VirtualMachineOperation = {
    ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualMachineOperation' },
    metadata: { name: 'op', namespace: 'shop', uid: 'o' },
    spec: { virtualMachine: 'web', verb: 'Migrate' },
    status: {
      ...{ phase: 'Running', step: 'Switching' },
      context: {
        ...{ machineUid: own, source: 'node-1', target: 'node-2', destination: 'qemu+tls://node-2/system', asked: 'q' },
        ...(answer === undefined ? {} : { answer: `q ${answer}` }),
      },
    },
  };
  const parts = {
    nodeName,
    machines: {
      find: () => Promise.resolve(machine),
      mergePatch: (_ref: unknown, { status }: Pick<VirtualMachine, 'status'>) =>
        Promise.resolve({ ...machine, status }),
    },
    operations: {
      find: () => Promise.resolve(operation),
      mergePatch: (_ref: unknown, { status }: Pick<VirtualMachineOperation, 'status'>) => {
        const context = { ...operation.status?.context, ...status?.context };
        operation = { ...operation, status: { ...operation.status, ...status, context } };
        return Promise.resolve(operation);
      },
    },
    openOperations: () => ['op'],
    snapshots: { context: {} },
    libvirt: () => ({
      domains: { byUuid: () => Promise.reject(noDomain), byName: () => Promise.resolve(domain) },
    }),
    record: () => undefined,
    clock: new ManualClock(),
    newId: () => 'id',
  } as unknown as MachineReconcilerOptions;
  return { parts, acts, operation: () => operation };
}

const context = { signal: new AbortController().signal, logger: silentLogger };

describe("a domain with the machine's name that is not the machine's, in a migration", () => {
  it('stays at the source when the machine has left that', async () => {
    const { parts, acts, operation } = sceneOn('node-1', 'shutoff', 'running');
    await new MachineReconciler(parts).reconcile('shop/web', context);
    expect(operation().status?.phase).toBe('Succeeded');
    expect(acts).toEqual([]);
  });

  it('is not taken for the guest at the target', async () => {
    const { parts, operation } = sceneOn('node-2', 'running');
    await new MigrationReceiver({ parts, migrationUri: 'qemu+tls://node-2/system' }).reconcile('shop/op', context);
    expect(operation().status?.context?.['answer']).toBe('q none');
  });
});
