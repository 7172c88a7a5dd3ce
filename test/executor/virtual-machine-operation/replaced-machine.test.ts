import { describe, expect, it } from 'vitest';
import type { VirtualMachineOperation } from '../../../src/api/virtual-machine-operation.ts';
import { stepOperation } from '../../../src/executor/virtual-machine-operation/step-operation.ts';
import type { OperationContext } from '../../../src/executor/virtual-machine-operation/operation-run.ts';
import type { DomainView } from '../../../src/executor/virtual-machine/domain-view.ts';

/** Begins an operation that was asked for a machine of a UID, on one that has the UID `new`. */
async function begin(owner: { readonly kind: string; readonly name: string; readonly uid: string } | undefined) {
  const acts: string[] = [];
  let operation: VirtualMachineOperation = {
    ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualMachineOperation' },
    metadata: {
      ...{ name: 'web-pause', namespace: 'shop', uid: 'o' },
      ...(owner === undefined ? {} : { ownerReferences: [{ apiVersion: 'virtctl.dev/v1alpha1', ...owner }] }),
    },
    spec: { virtualMachine: 'web', verb: 'Pause' },
  };
  const context = {
    nodeName: 'node-1',
    status: { machine: { metadata: { name: 'web', namespace: 'shop', uid: 'new' }, spec: {} } },
    now: () => 0,
    newId: () => 'id',
    options: {},
    signal: new AbortController().signal,
    operations: {
      mergePatch: (_ref: unknown, { status }: Pick<VirtualMachineOperation, 'status'>) => {
        operation = { ...operation, status: { ...operation.status, ...status } };
        return Promise.resolve(operation);
      },
    },
  } as unknown as OperationContext;
  const domain = {
    suspend: () => {
      acts.push('suspend');
      return Promise.resolve();
    },
    state: () => Promise.resolve({ state: 'running', reason: 'booted' }),
    xml: () => Promise.resolve("<domain type='qemu' id='7'><name>shop.web</name></domain>"),
    isPersistent: () => Promise.resolve(true),
    hasManagedSave: () => Promise.resolve(false),
  };
  const view = { domain, state: 'running' } as unknown as DomainView;
  const { isOver } = await stepOperation(operation, view, context);
  return { acts, isOver, reason: operation.status?.reason };
}

describe('an operation that waited while its machine was deleted and made anew', () => {
  it('is not done to the new one', async () => {
    const outcome = await begin({ kind: 'VirtualMachine', name: 'web', uid: 'old' });
    expect(outcome).toEqual({ acts: [], isOver: true, reason: 'MachineReplaced' });
  });

  it.each([
    ['the machine', { kind: 'VirtualMachine', name: 'web', uid: 'new' }],
    ['something else', { kind: 'ConfigMap', name: 'web', uid: 'old' }],
    ['nothing', undefined],
  ])('is done when it belongs to %s', async (_what, owner) => {
    expect(await begin(owner)).toEqual({ acts: ['suspend'], isOver: true, reason: 'Done' });
  });
});
