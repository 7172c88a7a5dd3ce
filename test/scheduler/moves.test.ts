import { describe, expect, it } from 'vitest';
import type { VirtualMachineOperation } from '../../src/api/virtual-machine-operation.ts';
import { silentLogger } from '../../src/base/logger.ts';
import type { ObjectMeta } from '../../src/kube/object.ts';
import { statusError } from '../../src/kube/status-error.ts';
import type { CacheChange } from '../../src/kube/informer.ts';
import { allocationAnnotation } from '../../src/scheduler/allocation.ts';
import { MigrationTargets } from '../../src/scheduler/migration-targets.ts';
import { SchedulerWorld, turn, type SchedulerProcess } from '../support/scheduler-world.ts';

type Context = Record<string, string>;

/** A world in which a machine of 3,500 MiB is on `a` and asks to move; nodes have room for one such machine. */
class MovingWorld extends SchedulerWorld {
  readonly signal = new AbortController().signal;
  /** Happens before a scheduler's word about an operation arrives. */
  beforeNote: () => void = () => undefined;
  #version = 0;
  readonly #followers: ((change: CacheChange<VirtualMachineOperation>) => void)[] = [];

  constructor(...nodes: readonly string[]) {
    super();
    for (const name of nodes) this.addNode(name, '4096Mi');
    this.addMachine('m1', 3500);
    this.change('machine', 'm1', () => ({ spec: { ...this.machines.get('m1')?.spec, nodeName: 'a' } }));
  }

  /** Has a scheduler choose where machines move to. */
  choose({ scheduler, snapshot }: SchedulerProcess): void {
    const targets = new MigrationTargets({
      snapshot,
      logger: silentLogger,
      operations: {
        find: (ref) => Promise.resolve(this.operations.get(ref.name)),
        mergePatch: async (ref, patch) => {
          const { metadata, status } = patch as { metadata: ObjectMeta; status: { context: Context } };
          await Promise.resolve();
          this.beforeNote();
          const { resourceVersion } = this.operations.get(ref.name)?.metadata ?? {};
          if (resourceVersion === undefined)
            throw statusError(404, { kind: 'Status', reason: 'NotFound' }, { what: 'PATCH' });
          if ((metadata.resourceVersion ?? resourceVersion) !== resourceVersion) {
            throw statusError(409, { kind: 'Status', reason: 'Conflict' }, { what: 'PATCH' });
          }
          return this.tell(ref.name, status.context);
        },
      },
      reserve: scheduler.reserveMove.bind(scheduler),
      release: scheduler.releaseMove.bind(scheduler),
    });
    const informer = {
      onChange: (follow: (change: CacheChange<VirtualMachineOperation>) => void) => {
        this.#followers.push(follow);
        for (const object of this.operations.values()) follow({ type: 'added', object });
      },
    };
    targets.follow(informer as never, this.signal);
  }

  /** Notes something in an operation; makes it when there is none of the name. */
  tell(name: string, context: Context, phase: 'Running' | 'Failed' | 'Succeeded' = 'Running', to?: string) {
    const before = this.operations.get(name);
    const migrate = to === undefined ? {} : { migrate: { nodeName: to } };
    const object: VirtualMachineOperation = {
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualMachineOperation',
      metadata: { namespace: 'shop', name, uid: name, resourceVersion: String((this.#version += 1)) },
      spec: before?.spec ?? { verb: 'Migrate', virtualMachine: 'm1', ...migrate },
      status: { phase, step: 'Preparing', context: { ...before?.status?.context, ...context } },
    };
    this.operations.set(name, object);
    for (const follow of this.#followers) follow({ type: 'updated', object } as never);
    return object;
  }

  ask(name = 'move', to?: string): void {
    const machineUid = this.machines.get('m1')?.metadata.uid ?? '';
    this.tell(name, { machineUid, source: 'a' }, 'Running', to);
  }

  /** Somebody removes an operation. */
  drop(name: string): void {
    const object = this.operations.get(name);
    this.operations.delete(name);
    for (const follow of this.#followers) follow({ type: 'deleted', object } as never);
  }

  note(name = 'move'): Context {
    const { target, refusal } = this.operations.get(name)?.status?.context ?? {};
    return { ...(target === undefined ? {} : { target }), ...(refusal === undefined ? {} : { refusal }) };
  }

  reserved(node: string): string[] {
    const text = this.nodes.get(node)?.metadata.annotations?.[allocationAnnotation] ?? '{}';
    return Object.values(JSON.parse(text) as Record<string, { m: string }>).map(({ m }) => m);
  }

  whereIs(name: string): string {
    return this.machines.get(name)?.spec.nodeName ?? '';
  }
}

describe('the room of a machine that moves', () => {
  it('is reserved at its target before the target is told, and a new machine does not get it', async () => {
    const world = new MovingWorld('a', 'b');
    world.choose(world.start());
    world.ask();
    await world.settle();
    expect([world.note(), world.reserved('b')]).toEqual([{ target: 'b' }, ['shop/m1']]);
    world.addMachine('m2', 3500);
    await world.settle();
    expect(world.whereIs('m2')).toBe('');
  });

  it('is given back when the move fails, and goes to who waits for it', async () => {
    const world = new MovingWorld('a', 'b');
    world.choose(world.start());
    world.ask();
    await world.settle();
    world.addMachine('m2', 3500);
    await world.settle();
    world.tell('move', {}, 'Failed');
    await world.settle();
    expect([world.whereIs('m2'), world.reserved('b')]).toEqual(['b', ['shop/m2']]);
  });

  it('is its own when it has arrived, and that at its source is free', async () => {
    const world = new MovingWorld('a', 'b');
    world.choose(world.start());
    world.ask();
    await world.settle();
    world.change('machine', 'm1', (machine) => ({ spec: { ...machine.spec, nodeName: 'b' } }));
    world.tell('move', {}, 'Succeeded');
    world.addMachine('m2', 3500);
    await world.settle();
    expect([world.reserved('a'), world.reserved('b'), world.whereIs('m2')]).toEqual([['shop/m2'], ['shop/m1'], 'a']);
    expect(world.overcommitted()).toEqual([]);
  });

  it('outlives the scheduler that reserved it; the next one keeps to it', async () => {
    const world = new MovingWorld('a', 'b', 'c');
    const first = world.start();
    world.choose(first);
    world.ask();
    await world.settle();
    const { target = '' } = world.note();
    first.kill();
    world.choose(world.start());
    world.addMachine('m2', 3500);
    world.addMachine('m3', 3500);
    await world.settle();
    expect([world.note(), world.reserved(target)]).toEqual([{ target }, ['shop/m1']]);
    // One of them waits: of three nodes the room of one is the moving machine's.
    expect([world.whereIs('m2'), world.whereIs('m3')].sort()).toEqual(['', target === 'b' ? 'c' : 'b']);
  });

  it('is looked for again by the next scheduler when the first died before it told', async () => {
    const world = new MovingWorld('a', 'b', 'c');
    const first = world.start();
    world.choose(first);
    world.ask();
    await new Promise((resolve) => setImmediate(resolve));
    world.serve(0);
    first.kill();
    await new Promise((resolve) => setImmediate(resolve));
    const on = ['b', 'c'].filter((name) => world.reserved(name).length > 0);
    expect(on).toHaveLength(1);
    world.operations.set('move', {
      ...world.tell('move', {}),
      status: {
        phase: 'Running',
        step: 'Preparing',
        context: { machineUid: world.machines.get('m1')?.metadata.uid ?? '', source: 'a' },
      },
    });
    world.choose(world.start());
    await world.settle();
    expect([world.note(), ['b', 'c'].filter((name) => world.reserved(name).length > 0)]).toEqual([
      { target: on[0] },
      on,
    ]);
  });

  it('is not on a node that was cordoned at that moment', async () => {
    const world = new MovingWorld('a', 'b');
    world.choose(world.start());
    world.ask('move', 'b');
    world.change('node', 'b', () => ({ spec: { unschedulable: true } }));
    await world.settle();
    expect([world.note(), world.reserved('b')]).toEqual([{ refusal: 'b: cordoned' }, []]);
  });

  it('stays on the node that another scheduler has told its executors meanwhile', async () => {
    const world = new MovingWorld('a', 'b', 'c');
    world.choose(world.start());
    let other = '';
    world.beforeNote = () => {
      if (other !== '') return;
      other = world.reserved('b').length > 0 ? 'c' : 'b';
      // Its executor makes files there from now on, and the guest is sent there.
      world.tell('move', { target: other });
    };
    world.ask();
    await world.settle();
    expect(world.note()).toEqual({ target: other });
    expect(world.reserved(other === 'b' ? 'c' : 'b')).toEqual([]);
  });

  it('is chosen anew when something else was noted in the operation meanwhile', async () => {
    const world = new MovingWorld('a', 'b');
    world.choose(world.start());
    let isFirst = true;
    world.beforeNote = () => {
      if (isFirst) world.tell('move', { disks: '[]' });
      isFirst = false;
    };
    world.ask();
    await world.settle();
    expect([world.note(), world.reserved('b')]).toEqual([{ target: 'b' }, ['shop/m1']]);
  });

  it('is given back when the operation was removed while it was being reserved', async () => {
    const world = new MovingWorld('a', 'b');
    world.choose(world.start());
    world.beforeNote = () => {
      world.drop('move');
    };
    world.ask();
    await world.settle();
    expect(world.reserved('b')).toEqual([]);
  });

  it('is not given back when it arrives while its entry is looked at', async () => {
    const world = new MovingWorld('a', 'b');
    const process = world.start();
    world.choose(process);
    world.ask();
    await world.settle();
    // Any change of the machine has what is reserved for it looked at.
    world.change('machine', 'm1', () => ({ status: { printableStatus: 'Migrating' } }));
    process.deliver(1);
    await turn();
    expect(world.requests.map(({ name }) => name)).toEqual(['m1']);
    world.serve(0);
    // The scheduler has read the machine, and not the operation.
    world.change('machine', 'm1', (machine) => ({ spec: { ...machine.spec, nodeName: 'b' } }));
    world.tell('move', {}, 'Succeeded');
    await world.settle();
    expect(world.reserved('b')).toEqual(['shop/m1']);
  });

  it('is kept when the operation was removed by force, until it is known where the machine is', async () => {
    const world = new MovingWorld('a', 'b');
    world.choose(world.start());
    world.ask();
    await world.settle();
    const migration = { phase: 'Running', operation: 'move', sourceNode: 'a', targetNode: 'b' } as const;
    world.change('machine', 'm1', () => ({ status: { migration } }));
    world.drop('move');
    world.addMachine('m2', 3500);
    await world.settle();
    expect([world.reserved('b'), world.whereIs('m2')]).toEqual([['shop/m1'], '']);
    world.change('machine', 'm1', () => ({ status: { migration: { ...migration, phase: 'Failed' } } }));
    await world.settle();
    expect([world.reserved('b'), world.whereIs('m2')]).toEqual([['shop/m2'], 'b']);
  });
});
