import { describe, expect, it } from 'vitest';
import type { VirtualMachineOperation } from '../../../src/api/virtual-machine-operation.ts';
import type { VirtualMachine } from '../../../src/api/virtual-machine.ts';
import { silentLogger } from '../../../src/base/logger.ts';
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

function operationOf(name: string, phase?: 'Succeeded'): VirtualMachineOperation {
  return {
    ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualMachineOperation' },
    metadata: { name, namespace: 'shop', uid: name },
    spec: { virtualMachine: 'web', verb: 'Stop' },
    ...(phase === undefined ? {} : { status: { phase, message: 'done' } }),
  };
}

/** A machine with these operations on a node where somebody else's domain may have its name. */
function sceneOf(...operations: VirtualMachineOperation[]) {
  const objects = new Map(operations.map((one) => [one.metadata.name, one]));
  const writes: string[] = [];
  const scene = { isForeignThere: true, writes, statusOf: (name: string) => objects.get(name)?.status };
  const domain = {
    ...{ name: 'shop.web', uuid: foreign },
    state: () => Promise.resolve({ state: 'shutoff', reason: 'unknown' }),
    xml: () => Promise.resolve(`<domain type='qemu'><name>shop.web</name><uuid>${foreign}</uuid></domain>`),
    isPersistent: () => Promise.resolve(true),
    hasManagedSave: () => Promise.resolve(false),
  };
  let machine = {
    ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualMachine' },
    metadata: { name: 'web', namespace: 'shop', uid: own, finalizers: [machineFinalizer] },
    spec: { nodeName: 'node-1', runStrategy: 'Manual', volumes: [{ name: 'root', virtualDisk: 'missing' }] },
  } as unknown as VirtualMachine;
  const reconciler = new MachineReconciler({
    nodeName: 'node-1',
    machines: {
      find: () => Promise.resolve(machine),
      mergePatch: (_ref: unknown, { status }: Pick<VirtualMachine, 'status'>) => {
        machine = { ...machine, ...(status === undefined ? {} : { status }) };
        return Promise.resolve(machine);
      },
    },
    operations: {
      find: ({ name }: { name: string }) => Promise.resolve(objects.get(name)),
      mergePatch: ({ name }: { name: string }, { status }: Pick<VirtualMachineOperation, 'status'>) => {
        const merged = { ...objects.get(name)?.status, ...status };
        const kept = Object.fromEntries(Object.entries(merged).filter(([, value]) => (value as unknown) !== null));
        const now = { ...operationOf(name), status: kept } as unknown as VirtualMachineOperation;
        objects.set(name, now);
        writes.push(`${name} ${now.status?.phase ?? ''} ${now.status?.message?.slice(0, 6) ?? 'silent'}`);
        return Promise.resolve(now);
      },
    },
    openOperations: () => [...objects.keys()],
    disks: { find: () => Promise.resolve(undefined) },
    snapshots: { keep: () => Promise.resolve(false), context: {} },
    libvirt: () => ({
      domains: {
        byUuid: () => Promise.reject(noDomain),
        byName: () => (scene.isForeignThere ? Promise.resolve(domain) : Promise.reject(noDomain)),
      },
    }),
    record: () => undefined,
    clock: new ManualClock(),
    newId: () => 'id',
  } as unknown as MachineReconcilerOptions);
  const context = { signal: new AbortController().signal, logger: silentLogger };
  return Object.assign(scene, { reconcile: () => reconciler.reconcile('shop/web', context) });
}

describe("an operation on a machine whose domain's name somebody else has", () => {
  it('waits, and says once what for', async () => {
    const scene = sceneOf(operationOf('stop'), operationOf('over', 'Succeeded'));
    await scene.reconcile();
    await scene.reconcile();
    expect(scene.statusOf('stop')?.phase).toBe('Pending');
    expect(scene.statusOf('stop')?.message).toMatch(/^waits: the domain "shop.web" .* belongs to somebody else/);
    expect(scene.writes).toEqual(['stop Pending waits:']);
    expect(scene.statusOf('over')?.message).toBe('done');
  });

  it('is done when that is out of the way, and says nothing of the wait any more', async () => {
    const scene = sceneOf(operationOf('stop'));
    await scene.reconcile();
    scene.isForeignThere = false;
    await scene.reconcile();
    expect(scene.statusOf('stop')).toMatchObject({ phase: 'Succeeded', reason: 'Done' });
    expect(scene.writes[1]).toBe('stop Running silent');
  });
});
