import { describe, expect, it } from 'vitest';
import type { VirtualMachineOperation } from '../../../src/api/virtual-machine-operation.ts';
import type { VirtualMachine } from '../../../src/api/virtual-machine.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { machineFinalizer } from '../../../src/executor/virtual-machine/delete-machine.ts';
import { MachineReconciler } from '../../../src/executor/virtual-machine/reconciler.ts';
import type { MachineReconcilerOptions } from '../../../src/executor/virtual-machine/round.ts';
import { LibvirtError } from '../../../src/libvirt/errors.ts';
import { ErrorNumber } from '../../../src/libvirt/constants.gen.ts';
import { ManualClock } from '../../support/manual-clock.ts';

type Strategy = VirtualMachine['spec']['runStrategy'];

const noDomain = new LibvirtError('domainLookupByName', {
  ...{ code: ErrorNumber.NO_DOMAIN, domain: 0, message: 'no domain', level: 2 },
  ...{ str1: null, str2: null, str3: null, int1: 0, int2: 0 },
});

/** A server with a machine that is off and waits for a disk, and an executor's reconciler of it. */
class World {
  strategy: Strategy;
  operation: VirtualMachineOperation | undefined;
  /** What happens at the server right after the machine was read. */
  afterRead: () => void = () => undefined;
  /** What was written of the operation. */
  readonly told: unknown[] = [];
  readonly #reconciler: MachineReconciler;

  constructor(strategy: Strategy) {
    this.strategy = strategy;
    this.#reconciler = new MachineReconciler({
      nodeName: 'node-1',
      machines: {
        find: () => {
          const found = this.#machine();
          this.afterRead();
          this.afterRead = () => undefined;
          return Promise.resolve(found);
        },
        mergePatch: (_ref: unknown, { status }: Pick<VirtualMachine, 'status'>) =>
          Promise.resolve({ ...this.#machine(), status }),
      },
      operations: {
        find: () => Promise.resolve(this.operation),
        mergePatch: (_ref: unknown, { status }: Pick<VirtualMachineOperation, 'status'>) => {
          if (this.operation === undefined) throw new Error('there is none');
          const { phase, reason } = status ?? {};
          this.told.push({ phase, reason });
          this.operation = { ...this.operation, status: { ...this.operation.status, ...status } };
          return Promise.resolve(this.operation);
        },
      },
      openOperations: () => (this.operation === undefined ? [] : ['op']),
      disks: { find: () => Promise.resolve(undefined) },
      snapshots: { keep: () => Promise.resolve(false), context: {} },
      libvirt: () => ({
        domains: { byName: () => Promise.reject(noDomain), byUuid: () => Promise.reject(noDomain) },
      }),
      record: () => undefined,
      clock: new ManualClock(),
      newId: () => 'id',
    } as unknown as MachineReconcilerOptions);
  }

  create(verb: VirtualMachineOperation['spec']['verb']): void {
    this.operation = {
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualMachineOperation',
      metadata: { name: 'op', namespace: 'shop', uid: 'op' },
      spec: { virtualMachine: 'web', verb },
    };
  }

  async reconcile(): Promise<void> {
    const { signal } = new AbortController();
    await this.#reconciler.reconcile('shop/web', { signal, logger: silentLogger });
  }

  #machine(): VirtualMachine {
    return {
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualMachine',
      metadata: { name: 'web', namespace: 'shop', uid: 'c0ffee', finalizers: [machineFinalizer] },
      spec: {
        nodeName: 'node-1',
        ...(this.strategy === undefined ? {} : { runStrategy: this.strategy }),
        volumes: [{ name: 'root', virtualDisk: 'missing' }],
      },
    } as unknown as VirtualMachine;
  }
}

describe('an operation that came with a change of the run strategy', () => {
  it('is not judged by the strategy of before, when both come after the machine was read', async () => {
    const world = new World('Always');
    world.afterRead = () => {
      world.strategy = 'Halted';
      world.create('Stop');
    };
    await world.reconcile();
    expect(world.told).toEqual([]);
    // Its own arrival brings the next round.
    await world.reconcile();
    expect(world.told).toMatchObject([{ phase: 'Running' }, { phase: 'Succeeded', reason: 'Done' }]);
  });

  it('is judged by the strategy that was there when it came', async () => {
    const world = new World('Always');
    world.create('Stop');
    await world.reconcile();
    expect(world.told).toEqual([{ phase: 'Failed', reason: 'RunStrategyForbids' }]);
  });
});
