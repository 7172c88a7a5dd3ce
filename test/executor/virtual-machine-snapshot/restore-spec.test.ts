import { describe, expect, it } from 'vitest';
import type { VirtualMachine } from '../../../src/api/virtual-machine.ts';
import { elementXml } from '../../../src/convertor/element-xml.ts';
import { machineElement } from '../../../src/executor/virtual-machine/domain-metadata.ts';
import type { RevertContext } from '../../../src/executor/virtual-machine-snapshot/revert-context.ts';
import { stepRevert } from '../../../src/executor/virtual-machine-snapshot/revert-snapshot.ts';
import type { OperationRun } from '../../../src/executor/virtual-machine-operation/operation-run.ts';
import { statusError } from '../../../src/kube/status-error.ts';

const spec = (memory: number, rest: object = {}): VirtualMachine['spec'] => ({
  nodeName: 'node-1',
  domain: { memory: { value: memory, unit: 'MiB' }, ...rest },
});

const mark = elementXml(
  machineElement({
    ...{ namespace: 'shop', name: 'web', uid: 'c0ffee', generation: 1, metadata: {}, applied: {}, ignored: [] },
    spec: JSON.parse(JSON.stringify(spec(64))) as never,
  }),
);
const snapshotXml = `<domainsnapshot><name>before</name><domain type='qemu'><name>shop.web</name><metadata>${mark}</metadata></domain></domainsnapshot>`;

/** A machine at its server, and a revert that has come to the step RestoringSpec in a round that read the machine before. */
class World {
  stored: VirtualMachine = this.#machine(2, spec(128));
  readonly patches: object[] = [];
  readonly steps: string[] = [];
  /** What somebody does between our last look at the machine and our write. */
  beforeWrite: () => void = () => undefined;

  /** One round of the step; `read` is the machine as the round found it. */
  async round(read: VirtualMachine): Promise<void> {
    const status = { machine: { ...read, metadata: { ...read.metadata, resourceVersion: 'of our status' } } };
    const run = {
      step: 'RestoringSpec',
      operation: { metadata: { namespace: 'shop', uid: 'op' }, spec: { revert: { snapshot: 'before' } } },
      context: { status, signal: new AbortController().signal },
      view: { domain: { snapshots: { byName: () => Promise.resolve({ xml: () => Promise.resolve(snapshotXml) }) } } },
      goTo: (step: string) => {
        this.steps.push(step);
        return Promise.resolve('next');
      },
    } as unknown as OperationRun;
    const machines = {
      find: () => Promise.resolve(this.stored),
      mergePatch: (_ref: object, body: { metadata: { resourceVersion: string }; spec: object }) => {
        this.beforeWrite();
        const { resourceVersion } = this.stored.metadata;
        if (body.metadata.resourceVersion !== resourceVersion) {
          return Promise.reject(statusError(409, { kind: 'Status', reason: 'Conflict' }, { what: 'PATCH' }));
        }
        this.patches.push(body.spec);
        return Promise.resolve(this.stored);
      },
    };
    const snapshot = {
      metadata: { name: 'before', namespace: 'shop' },
      spec: { virtualMachine: 'web' },
      status: {
        virtualMachineUID: 'c0ffee',
        phase: 'Ready',
        creationTime: '2026-11-21T16:00:00Z',
        name: 'before',
        mode: 'External',
        disks: [],
      },
    };
    const context = { snapshots: { machines, snapshots: { find: () => Promise.resolve(snapshot) } } };
    await stepRevert(run, context as unknown as RevertContext);
  }

  /** Somebody changes the machine's spec. */
  edit(generation: number, to: VirtualMachine['spec']): void {
    this.stored = this.#machine(generation, to);
  }

  #machine(generation: number, of: VirtualMachine['spec']): VirtualMachine {
    return {
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualMachine',
      metadata: { name: 'web', namespace: 'shop', uid: 'c0ffee', generation, resourceVersion: `of ${generation}` },
      spec: of,
    };
  }
}

describe('the spec of a snapshot', () => {
  it('is brought back where the machine is as it was read, although our status was written since', async () => {
    const world = new World();
    await world.round(world.stored);
    expect(world.patches).toMatchObject([{ domain: { memory: { value: 64 } } }]);
    expect(world.steps).toEqual(['Switching']);
  });

  it('is not written over an edit that came after the machine was read, and takes it away in the next round', async () => {
    const world = new World();
    const read = world.stored;
    world.edit(3, spec(128, { title: 'mine' }));
    await world.round(read);
    expect([world.patches, world.steps]).toEqual([[], []]);
    await world.round(world.stored);
    expect(world.patches).toMatchObject([{ domain: { memory: { value: 64 }, title: null } }]);
    expect(world.steps).toEqual(['Switching']);
  });

  it('is not written over an edit that comes at the last moment', async () => {
    const world = new World();
    world.beforeWrite = () => {
      world.edit(3, spec(256));
    };
    await world.round(world.stored);
    expect([world.patches, world.steps]).toEqual([[], []]);
  });
});
