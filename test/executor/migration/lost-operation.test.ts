import { describe, expect, it } from 'vitest';
import { findCondition } from '../../../src/api/meta.ts';
import type { VirtualDisk } from '../../../src/api/virtual-disk.ts';
import type { VirtualMachine, VirtualMachineStatus } from '../../../src/api/virtual-machine.ts';
import type { VirtualMachineOperation } from '../../../src/api/virtual-machine-operation.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { slimMachine } from '../../../src/executor/machine-index.ts';
import { machineFinalizer } from '../../../src/executor/virtual-machine/delete-machine.ts';
import { MachineReconciler } from '../../../src/executor/virtual-machine/reconciler.ts';
import type { MachineReconcilerOptions } from '../../../src/executor/virtual-machine/round.ts';
import { ErrorNumber } from '../../../src/libvirt/constants.gen.ts';
import { LibvirtError } from '../../../src/libvirt/errors.ts';
import { applyMergePatch } from '../../../src/standalone/patch/merge-patch.ts';
import { ForbiddenError } from '../../../src/base/errors.ts';
import { ManualClock } from '../../support/manual-clock.ts';

/** What libvirt of a node has of the guest. */
type Domain = 'gone' | 'off' | 'failed' | 'running' | 'moving' | 'held' | 'post-copied' | 'arriving';
type Migration = NonNullable<VirtualMachineStatus['migration']>;

const uid = '6a3bd1c2-2f3e-4a58-9a70-9c1f0d0f7a11';
const noDomain = new LibvirtError('domainLookupByUuid', {
  ...{ code: ErrorNumber.NO_DOMAIN, domain: 0, message: 'no domain', level: 2 },
  ...{ str1: null, str2: null, str3: null, int1: 0, int2: 0 },
});
const states: Record<Domain, { state: string; reason: string; job?: string }> = {
  gone: { state: 'shutoff', reason: 'unknown' },
  off: { state: 'shutoff', reason: 'shutdown' },
  failed: { state: 'shutoff', reason: 'failed' },
  running: { state: 'running', reason: 'booted' },
  moving: { state: 'running', reason: 'booted', job: 'migration-out' },
  held: { state: 'paused', reason: 'migration' },
  'post-copied': { state: 'paused', reason: 'postcopy-failed' },
  arriving: { state: 'paused', reason: 'migration', job: 'migration-in' },
};
const running: Migration = {
  phase: 'Running',
  ...{ operation: 'away', operationUid: 'o', sourceNode: 'node-1', targetNode: 'node-2' },
};
const move = { operation: 'away', operationUid: 'o', pool: 'q', volume: 'w', path: '/q/w' };

/** A machine of node-1, whose operation was removed while libvirt moved it to node-2. */
class World {
  readonly nodes: Record<string, Domain>;
  /** What was done at libvirt, as `node-1 destroy`. */
  readonly acts: string[] = [];
  readonly writes: string[] = [];
  operation: VirtualMachineOperation | undefined;
  disk: VirtualDisk | undefined;
  mayWriteSpec = true;
  /** What the source has when libvirt was told to stop. */
  afterAbort: Domain = 'running';
  machine: VirtualMachine = {
    ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualMachine' },
    metadata: { name: 'web', namespace: 'shop', uid, finalizers: [machineFinalizer] },
    spec: { nodeName: 'node-1', runStrategy: 'Always' },
    status: { nodeName: 'node-1', migration: running },
  };
  readonly #reconcilers = new Map<string, MachineReconciler>();

  constructor(source: Domain, target: Domain) {
    this.nodes = { 'node-1': source, 'node-2': target };
  }

  get migration(): Migration | undefined {
    return this.machine.status?.migration;
  }

  /** Has the executors of both nodes look, each when it has reason to, a few times. */
  async settle(...names: readonly string[]): Promise<void> {
    for (let round = 0; round < 6; round += 1) {
      for (const name of names) if (this.#hasReason(name)) await this.look(name);
    }
  }

  #hasReason(name: string): boolean {
    const { spec } = slimMachine(this.machine);
    if (spec.asks === name) return true;
    // From then on the machine is run as any other.
    return spec.nodeName === name && this.migration?.phase === 'Running';
  }

  /** Has the executor of a node look once. */
  async look(name: string): Promise<void> {
    const reconciler = this.#reconcilers.get(name) ?? new MachineReconciler(this.#parts(name));
    this.#reconcilers.set(name, reconciler);
    await reconciler.reconcile('shop/web', { signal: new AbortController().signal, logger: silentLogger });
  }

  #parts(name: string): MachineReconcilerOptions {
    const act = (what: string, then?: Domain) => (): Promise<void> => {
      this.acts.push(`${name} ${what}`);
      if (then !== undefined) this.nodes[name] = then;
      return Promise.resolve();
    };
    const now = () => states[this.nodes[name] ?? 'gone'];
    const domain = {
      ...{ name: 'shop.web', uuid: uid },
      state: () => (this.nodes[name] === 'gone' ? Promise.reject(noDomain) : Promise.resolve(now())),
      xml: () => {
        const id = now().state === 'shutoff' ? '' : " id='7'";
        return Promise.resolve(`<domain type='qemu'${id}><name>shop.web</name><uuid>${uid}</uuid></domain>`);
      },
      isPersistent: () => Promise.resolve(true),
      hasManagedSave: () => Promise.resolve(false),
      resume: act('resume', 'running'),
      destroy: act('destroy', 'off'),
      undefine: act('undefine', 'gone'),
      job: {
        stats: () => {
          const { job } = now();
          return Promise.resolve(
            job === undefined ? { type: 'none', operation: 'unknown' } : { type: 'unbounded', operation: job, raw: {} },
          );
        },
        migrateToUri: () => {
          this.writes.push('migrate');
          return Promise.resolve();
        },
        abort: () => act('abort', this.afterAbort)(),
      },
    };
    const find = () => (this.nodes[name] === 'gone' ? Promise.reject(noDomain) : Promise.resolve(domain));
    const patch = <T>(object: T | undefined, patched: { metadata: object }): T => {
      const { metadata: _metadata, ...rest } = patched;
      return applyMergePatch(object, rest) as T;
    };
    return {
      nodeName: name,
      machines: {
        find: () => Promise.resolve(this.machine),
        mergePatch: (_ref: unknown, patched: { metadata: object; spec?: { nodeName: string } }) => {
          if (patched.spec !== undefined && !this.mayWriteSpec) return Promise.reject(new ForbiddenError('no'));
          if (patched.spec !== undefined) this.writes.push(`machine on ${patched.spec.nodeName}`);
          const before = this.migration?.phase;
          this.machine = patch(this.machine, patched);
          if (before === undefined) this.writes.push(`machine ${this.migration?.phase ?? ''}`);
          return Promise.resolve(this.machine);
        },
      },
      operations: {
        find: () => Promise.resolve(this.operation),
        mergePatch: (_ref: unknown, patched: { metadata: object; status: { context?: object } }) => {
          const before = this.operation?.status?.context?.['begun'];
          this.operation = patch(this.operation, patched);
          if (before === undefined && this.operation.status?.context?.['begun'] !== undefined) {
            this.writes.push('operation begun');
          }
          return Promise.resolve(this.operation);
        },
      },
      disks: {
        find: () => Promise.resolve(this.disk),
        mergePatch: (_ref: unknown, patched: { metadata: object }) => {
          this.disk = patch(this.disk, patched);
          this.writes.push(`disk on ${this.disk.status?.nodeName ?? ''}`);
          return Promise.resolve(this.disk);
        },
      },
      openOperations: () => (this.operation?.status?.phase === 'Running' ? ['away'] : []),
      // The first of what is done to a machine that nothing holds.
      snapshots: { context: {}, keep: () => Promise.reject(new Error('it is run as any other')) },
      libvirt: () => ({ domains: { byUuid: find, byName: find } }),
      record: () => undefined,
      clock: new ManualClock(),
      newId: () => 'question',
    } as unknown as MachineReconcilerOptions;
  }
}

const handedOver = ['machine on node-2'];

describe('a migration whose operation was removed by force', () => {
  it.each(['gone', 'off', 'held', 'post-copied'] as const)(
    'holds the machine until the target has answered: %s',
    async (source) => {
      const world = new World(source, 'running');
      await world.settle('node-1');
      expect([world.acts, world.writes, world.migration?.phase]).toEqual([[], [], 'Running']);
      expect(findCondition(world.machine.status, 'Ready')).toMatchObject({
        ...{ status: 'Unknown', reason: 'MigrationUnclear' },
        message:
          'the operation away was removed by force while it moved the machine to node-2; nothing is started before ' +
          'the executor of node-2 has said whether the guest is there',
      });
    },
  );

  it.each<[Domain, Domain, readonly string[]]>([
    ['gone', 'running', []],
    ['gone', 'off', []],
    ['off', 'running', ['node-1 undefine']],
    ['held', 'running', ['node-1 destroy', 'node-1 undefine']],
    ['post-copied', 'off', ['node-1 destroy', 'node-1 undefine']],
  ])('gives the machine to the target that has it: %s here, %s there', async (source, target, acts) => {
    const world = new World(source, target);
    await world.settle('node-1', 'node-2');
    expect([world.acts, world.writes]).toEqual([acts, handedOver]);
    expect(world.machine.status).toMatchObject({ nodeName: 'node-2', migration: { phase: 'Succeeded' } });
    expect(world.migration).not.toHaveProperty('asked');
  });

  it.each<[Domain, readonly string[]]>([
    ['gone', []],
    ['off', []],
    ['held', ['node-1 resume']],
    ['post-copied', ['node-1 destroy']],
  ])('leaves the machine where it was when the target has nothing: %s here', async (source, acts) => {
    const world = new World(source, 'gone');
    await world.settle('node-1', 'node-2');
    expect([world.acts, world.writes]).toEqual([acts, []]);
    expect(world.migration).toMatchObject({
      phase: 'Failed',
      message: 'the operation away was removed by force; the machine stays on node-1',
    });
  });

  it('lets no older guest go on here when it has gone on there and shut itself down', async () => {
    const world = new World('held', 'off');
    await world.settle('node-1', 'node-2');
    expect([world.acts, world.writes]).toEqual([['node-1 destroy', 'node-1 undefine'], handedOver]);
  });

  it('goes on here when it ended there before it could go on', async () => {
    const world = new World('held', 'failed');
    await world.settle('node-1', 'node-2');
    expect([world.acts, world.writes, world.migration?.phase]).toEqual([['node-1 resume'], [], 'Failed']);
  });

  it('waits for a guest that is still coming', async () => {
    const world = new World('held', 'arriving');
    await world.settle('node-1', 'node-2');
    expect([world.acts, world.migration?.phase]).toEqual([[], 'Running']);
    world.nodes['node-2'] = 'running';
    await world.settle('node-1', 'node-2');
    expect(world.writes).toEqual(handedOver);
  });

  it('is called off while libvirt moves the guest still, which stays', async () => {
    const world = new World('moving', 'arriving');
    await world.settle('node-1', 'node-2');
    expect([world.acts, world.writes, world.migration?.phase]).toEqual([['node-1 abort'], [], 'Failed']);
  });

  it('takes no notice of an answer of the time before libvirt was at it', async () => {
    const world = new World('moving', 'running');
    world.afterAbort = 'gone';
    const migration = { ...running, asked: 'old', answer: 'old none' };
    world.machine = { ...world.machine, status: { ...world.machine.status, migration } };
    await world.settle('node-1');
    expect([world.acts, world.migration?.phase]).toEqual([['node-1 abort'], 'Running']);
    await world.settle('node-1', 'node-2');
    expect(world.writes).toEqual(handedOver);
  });

  it('gives the disk away that was copied, before the machine', async () => {
    const world = new World('gone', 'running');
    world.machine = {
      ...world.machine,
      spec: { ...world.machine.spec, volumes: [{ name: 'r', virtualDisk: 'root' }] },
    };
    world.disk = {
      ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualDisk', spec: {} },
      metadata: { name: 'root', namespace: 'shop', uid: 'd' },
      status: {
        nodeName: 'node-1',
        pool: 'p',
        volume: 'v',
        path: '/p/v',
        move: { ...move, nodeName: 'node-2', state: 'Copying' },
      },
    };
    await world.settle('node-1', 'node-2');
    expect(world.writes).toEqual(['disk on node-2', ...handedOver]);
    expect(world.disk.status).toMatchObject({ move: { nodeName: 'node-1', state: 'Left', path: '/p/v' } });
  });

  it('lets the machine go on when somebody says that it has failed', async () => {
    const world = new World('gone', 'running');
    await world.look('node-1');
    const migration = { ...running, phase: 'Failed' } as const;
    world.machine = { ...world.machine, status: { ...world.machine.status, migration } };
    await expect(world.look('node-1')).rejects.toThrow('it is run as any other');
  });

  it('holds the machine also when another operation has its name by now', async () => {
    const world = new World('gone', 'running');
    world.operation = {
      ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualMachineOperation' },
      metadata: { name: 'away', namespace: 'shop', uid: 'other' },
      spec: { virtualMachine: 'web', verb: 'Migrate' },
      status: { phase: 'Failed' },
    };
    await world.settle('node-1');
    expect([world.acts, world.migration?.phase]).toEqual([[], 'Running']);
  });
});

describe('a machine that was given away in its status only', () => {
  const moved: VirtualMachineStatus = { nodeName: 'node-2', migration: { ...running, phase: 'Succeeded' } };

  it('is not started by the node that it has left', async () => {
    const world = new World('gone', 'running');
    world.mayWriteSpec = false;
    await world.settle('node-1', 'node-2');
    expect([world.acts, world.machine.status?.nodeName, world.machine.spec.nodeName]).toEqual([[], 'node-2', 'node-1']);
    await world.look('node-1');
    expect([world.acts, world.writes]).toEqual([[], []]);
  });

  it('becomes the target’s, though its operation was removed in between', async () => {
    const world = new World('gone', 'running');
    world.machine = { ...world.machine, status: moved };
    await world.look('node-1');
    expect([world.acts, world.writes]).toEqual([[], handedOver]);
  });
});

describe('a machine that its executor may not give away in spec', () => {
  it('stays given away in its status, for the controller to do the rest', async () => {
    const world = new World('gone', 'running');
    world.mayWriteSpec = false;
    const context = { machineUid: uid, source: 'node-1', target: 'node-2', asked: 'q', answer: 'q running' };
    world.operation = {
      ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualMachineOperation' },
      metadata: { name: 'away', namespace: 'shop', uid: 'o' },
      spec: { virtualMachine: 'web', verb: 'Migrate' },
      status: { phase: 'Running', step: 'Switching', context },
    };
    for (let round = 0; round < 3; round += 1) {
      await world.look('node-1');
      expect([world.migration?.phase, world.machine.status?.nodeName]).toEqual(['Succeeded', 'node-2']);
    }
  });
});

describe('a migration that is about to begin', () => {
  it('is told in the machine before libvirt is asked to move the guest', async () => {
    const world = new World('running', 'gone');
    const context = { machineUid: uid, source: 'node-1', target: 'node-2', destination: 'qemu+tls://node-2/system' };
    world.machine = { ...world.machine, status: { nodeName: 'node-1' } };
    world.operation = {
      ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualMachineOperation' },
      metadata: { name: 'away', namespace: 'shop', uid: 'o' },
      spec: { virtualMachine: 'web', verb: 'Migrate' },
      status: { phase: 'Running', step: 'Migrating', context },
    };
    await world.look('node-1');
    expect(world.writes).toEqual(['machine Running', 'operation begun', 'migrate']);
    expect(world.migration).toMatchObject(running);
  });
});
