import { describe, expect, it } from 'vitest';
import type { Arrival } from '../../../src/executor/migration/migration-notes.ts';
import { stepMigration } from '../../../src/executor/migration/migrate-machine.ts';
import { RunningMigrations } from '../../../src/executor/migration/running-migrations.ts';
import { OperationFailedError, OperationRun } from '../../../src/executor/virtual-machine-operation/operation-run.ts';
import { FailedError } from '../../../src/base/errors.ts';
import { ErrorNumber } from '../../../src/libvirt/constants.gen.ts';
import { LibvirtError } from '../../../src/libvirt/errors.ts';
import type { DomainView } from '../../../src/executor/virtual-machine/domain-view.ts';
import type { VirtualMachineOperation } from '../../../src/api/virtual-machine-operation.ts';
import type { VirtualMachine } from '../../../src/api/virtual-machine.ts';

/** What libvirt has of the guest at the source. */
type Here = 'runs' | 'held' | 'post-copied' | 'off' | 'gone';

interface Outcome {
  /** What was done to the domain here, and written to the machine, in order. */
  readonly acts: readonly string[];
  readonly progress: 'over' | 'waits' | 'failed';
  readonly reason: string | undefined;
}

/** How the disk is that was copied; left out where none was. */
type Disk = 'copied' | 'given away' | 'lost';

const here = { nodeName: 'node-1', pool: 'p', volume: 'v', path: '/p/v' };
const there = { operation: 'op', operationUid: 'o', pool: 'q', volume: 'w', path: '/q/w' };
const diskStatus = {
  copied: { ...here, move: { ...there, nodeName: 'node-2', state: 'Copying' } },
  'given away': { ...here, nodeName: 'node-2', move: { ...there, nodeName: 'node-1', state: 'Left' } },
  lost: here,
} as const;

/** What has become of the domain here since it was read. */
interface Since {
  readonly later?: Here;
  /** Whether libvirt moves it still. */
  readonly isMoving?: boolean;
  /** Whether libvirt said that it had moved. */
  readonly hasMoved?: boolean;
  /** For how long the target has been asked, in milliseconds. */
  readonly askedMs?: number;
  /** Whether libvirt refuses to tell how the domain here is. */
  readonly isRefused?: boolean;
}

const stateOf = (here: Here) => ({
  state: here === 'runs' ? 'running' : here === 'held' || here === 'post-copied' ? 'paused' : 'shutoff',
  reason: here === 'held' ? 'migration' : here === 'post-copied' ? 'postcopy-failed' : 'migrated',
});
const errorOf = (code: number, message: string): LibvirtError =>
  new LibvirtError('domainGetState', {
    ...{ code, domain: 0, message, level: 2 },
    ...{ str1: null, str2: null, str3: null, int1: 0, int2: 0 },
  });
const noDomain = errorOf(ErrorNumber.NO_DOMAIN, 'no domain');
const busy = errorOf(ErrorNumber.OPERATION_TIMEOUT, 'cannot acquire state change lock');

/** Does the last step of a migration from node-1 to node-2 once. */
async function settle(
  here: Here,
  answer: Arrival | undefined,
  deleting = false,
  wasOff = false,
  disk?: Disk,
  { later = here, isMoving = false, hasMoved = false, askedMs = 0, isRefused = false }: Since = {},
): Promise<Outcome> {
  const acts: string[] = [];
  const act = (name: string) => (): Promise<void> => {
    acts.push(name);
    return Promise.resolve();
  };
  const libvirtState = stateOf(here);
  const id = later === 'off' ? '' : " id='7'";
  const domain = {
    ...{ resume: act('resume'), destroy: act('destroy'), undefine: act('undefine') },
    state: () =>
      isRefused ? Promise.reject(busy) : later === 'gone' ? Promise.reject(noDomain) : Promise.resolve(stateOf(later)),
    xml: () => Promise.resolve(`<domain type='qemu'${id}><name>shop.web</name></domain>`),
    isPersistent: () => Promise.resolve(true),
    hasManagedSave: () => Promise.resolve(false),
    job: {
      stats: () =>
        Promise.resolve(
          isMoving
            ? { type: 'unbounded', operation: 'migration-out', raw: {} }
            : { type: 'none', operation: 'unknown' },
        ),
      abort: act('abort'),
    },
  };
  const state = libvirtState.state === 'shutoff' ? 'off' : libvirtState.state;
  const view = { domain, libvirtState, state } as unknown as DomainView;
  let operation: VirtualMachineOperation = {
    ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualMachineOperation' },
    metadata: {
      name: 'op',
      namespace: 'shop',
      uid: 'o',
      ...(deleting ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}),
    },
    spec: { virtualMachine: 'web', verb: 'Migrate' },
    status: {
      phase: 'Running',
      step: 'Switching',
      stepTime: '1970-01-01T00:00:00Z',
      context: {
        ...{ source: 'node-1', target: 'node-2', asked: 'q' },
        ...(answer === undefined ? {} : { answer: `q ${answer}` }),
        ...(wasOff ? { off: 'yes' } : {}),
        ...(hasMoved ? { moved: 'yes' } : {}),
        ...(disk === undefined ? {} : { disks: JSON.stringify([{ target: 'vda', copy: true, disk: 'root' }]) }),
      },
    },
  };
  const machine: VirtualMachine = {
    ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualMachine' },
    metadata: { name: 'web', namespace: 'shop', uid: 'u' },
    spec: { nodeName: 'node-1' },
  };
  const context = {
    nodeName: 'node-1',
    status: { machine },
    migrations: new RunningMigrations(),
    now: () => askedMs,
    options: {},
    operations: {
      mergePatch: (_ref: unknown, patch: { status: object }) => {
        operation = { ...operation, status: { ...operation.status, ...patch.status } };
        return Promise.resolve(operation);
      },
    },
    disks: {
      find: () =>
        Promise.resolve(
          disk === undefined ? undefined : { metadata: { name: 'root' }, spec: {}, status: diskStatus[disk] },
        ),
      mergePatch: (_ref: unknown, { status }: { status: object }) => {
        acts.push(`disk ${JSON.stringify(status)}`);
        return Promise.resolve({});
      },
    },
    machines: {
      mergePatch: (_ref: unknown, { spec, status }: Pick<VirtualMachine, 'status'> & { spec?: object }) => {
        acts.push(spec === undefined ? `status ${status?.nodeName ?? ''}` : `spec ${JSON.stringify(spec)}`);
        return Promise.resolve(machine);
      },
    },
  } as unknown as OperationRun['context'];
  const run = new OperationRun(operation, here === 'gone' ? undefined : view, context);
  try {
    let progress = await stepMigration(run);
    if (progress === 'next') {
      acts.push(`goes to ${run.step ?? ''}`);
      progress = await stepMigration(run);
    }
    return {
      acts,
      progress: progress === 'over' ? 'over' : 'waits',
      reason: run.operation.status?.reason ?? run.operation.status?.message,
    };
  } catch (error) {
    if (!(error instanceof OperationFailedError)) throw error;
    return { acts, progress: 'failed', reason: error.code };
  }
}

const handOver = ['status node-2', 'spec {"nodeName":"node-2"}'];

describe('the end of a migration, by what is here and what the target says', () => {
  it.each([
    ['runs', undefined],
    ['runs', 'none'],
    ['runs', 'off'],
    ['runs', 'running'],
  ] as const)('a guest that executes here stays here: %s, %s', async (here, answer) => {
    expect(await settle(here, answer)).toEqual({ acts: [], progress: 'failed', reason: 'MigrationFailed' });
  });

  it.each(['held', 'off', 'gone'] as const)('nothing is done before the target has answered: %s', async (here) => {
    expect(await settle(here, undefined)).toEqual({ acts: [], progress: 'waits', reason: undefined });
    expect(await settle(here, undefined, true)).toEqual({ acts: [], progress: 'waits', reason: undefined });
  });

  it('a target that does not answer is told', async () => {
    const { progress, reason } = await settle('held', undefined, false, false, undefined, { askedMs: 6_000 });
    expect([progress, reason]).toEqual([
      'waits',
      'waits for the executor and libvirtd of node-2, which alone know whether the guest is there',
    ]);
  });

  it.each(['none', 'off'] as const)('a paused guest goes on here when the target has not: %s', async (answer) => {
    expect(await settle('held', answer)).toEqual({ acts: ['resume'], progress: 'failed', reason: 'MigrationFailed' });
  });

  it('a paused copy of a guest that has executed at the target never goes on here', async () => {
    expect(await settle('post-copied', undefined)).toMatchObject({ acts: [], progress: 'waits' });
    expect(await settle('post-copied', 'none')).toMatchObject({ acts: ['destroy'], progress: 'failed' });
    for (const answer of ['off', 'running'] as const) {
      expect((await settle('post-copied', answer)).acts).toEqual(['destroy', 'undefine', ...handOver]);
    }
  });

  it('a paused copy goes before the machine is given away, when the guest executes at the target', async () => {
    expect(await settle('held', 'running')).toMatchObject({
      acts: ['destroy', 'undefine', ...handOver],
      progress: 'over',
    });
  });

  it.each(['running', 'off'] as const)('what has gone is the target’s: %s', async (answer) => {
    expect(await settle('gone', answer)).toMatchObject({ acts: handOver, progress: 'over' });
    expect(await settle('off', answer)).toMatchObject({ acts: ['undefine', ...handOver], progress: 'over' });
  });

  it('a guest that is nowhere was lost on the way, and stays this node’s', async () => {
    expect(await settle('gone', 'none')).toEqual({ acts: [], progress: 'failed', reason: 'MigrationFailed' });
  });

  it('a machine that was off is the target’s when that has its definition, and stays when it has not', async () => {
    expect(await settle('gone', 'off', false, true)).toMatchObject({ acts: handOver, progress: 'over' });
    expect(await settle('off', 'off', false, true)).toMatchObject({
      acts: ['undefine', ...handOver],
      progress: 'over',
    });
    expect(await settle('off', 'none', false, true)).toMatchObject({ acts: [], progress: 'failed' });
    expect(await settle('off', undefined, false, true)).toMatchObject({ acts: [], progress: 'waits' });
    // Somebody started it there meanwhile.
    expect(await settle('off', 'running', false, true)).toMatchObject({ acts: ['undefine', ...handOver] });
  });

  it('is told as called off when somebody deleted the operation', async () => {
    expect(await settle('runs', undefined, true)).toMatchObject({ progress: 'failed', reason: 'Aborted' });
  });

  it('is the same too late: what has moved has moved', async () => {
    expect(await settle('gone', 'running', true)).toMatchObject({ acts: handOver, progress: 'over' });
  });
});

describe('the end of a migration during which the domain here was read too early', () => {
  it.each(['gone', 'off'] as const)('is not that the guest stays, when it has left since: %s', async (later) => {
    const { acts } = await settle('runs', undefined, false, false, undefined, { later });
    expect(acts).toEqual([]);
    expect(await settle('runs', 'running', false, false, undefined, { later })).toMatchObject({ progress: 'over' });
  });

  it('is not that its copy here is nobody’s, when libvirt has let that go on since', async () => {
    const outcome = await settle('held', 'running', false, false, undefined, { later: 'runs' });
    expect(outcome).toEqual({ acts: [], progress: 'failed', reason: 'MigrationFailed' });
  });

  it.each(['runs', 'held'] as const)('has not come while libvirt moves it still: %s', async (where) => {
    for (const answer of [undefined, 'none', 'off', 'running'] as const) {
      const { acts, progress } = await settle(where, answer, false, false, undefined, { isMoving: true });
      expect([acts, progress]).toEqual([['goes to Migrating'], 'waits']);
    }
  });
});

describe('a migration during which libvirt refuses to tell how the domain here is', () => {
  it.each(['runs', 'held'] as const)('goes on, and is looked at again: %s', async (where) => {
    for (const answer of [undefined, 'none', 'off', 'running'] as const) {
      const looking = settle(where, answer, false, false, undefined, { isRefused: true });
      // Of any other error the operation would end, and with it what keeps the machine from being started here.
      await expect(looking).rejects.toThrow(new FailedError('cannot look at the migration'));
    }
  });
});

describe('the end of a migration that copied a disk', () => {
  const given = `disk ${JSON.stringify({
    ...{ nodeName: 'node-2', pool: 'q', volume: 'w', path: '/q/w' },
    move: { ...there, nodeName: 'node-1', state: 'Left', pool: 'p', volume: 'v', path: '/p/v' },
  })}`;

  it('gives the disk away between the domain’s end here and the machine', async () => {
    expect((await settle('held', 'running', false, false, 'copied')).acts).toEqual([
      ...['destroy', 'undefine'],
      given,
      ...handOver,
    ]);
    expect((await settle('gone', 'off', false, false, 'copied')).acts).toEqual([given, ...handOver]);
  });

  it('does so once, however often it is repeated', async () => {
    expect((await settle('gone', 'running', false, false, 'given away')).acts).toEqual(handOver);
  });

  it.each(['runs', 'held', 'off'] as const)('leaves it alone while the guest may be here: %s', async (where) => {
    for (const answer of [undefined, 'none'] as const) {
      const { acts } = await settle(where, answer, false, false, 'copied');
      expect(acts.filter((act) => !['resume'].includes(act))).toEqual([]);
    }
  });

  it('gives it away when libvirt had moved the guest, which is nowhere any more: the target has what it wrote last', async () => {
    const { acts, progress } = await settle('gone', 'none', false, false, 'copied', { hasMoved: true });
    expect([acts, progress]).toEqual([[given, ...handOver], 'over']);
    expect((await settle('gone', 'none', false, false, 'copied')).acts).toEqual([]);
  });

  it.each(['none', 'off'] as const)(
    'gives it away when the guest had executed at the target: %s there',
    async (answer) => {
      const { acts } = await settle('post-copied', answer, false, false, 'copied');
      expect(acts).toEqual(['destroy', 'undefine', given, ...handOver]);
    },
  );

  it('gives nothing away that is not as it was left', async () => {
    await expect(settle('gone', 'running', false, false, 'lost')).rejects.toThrow(
      'VirtualDisk "root" is no longer as it was when it was copied',
    );
  });
});
