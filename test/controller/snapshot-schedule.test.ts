import { describe, expect, it } from 'vitest';
import type { VirtualMachineSnapshot } from '../../src/api/virtual-machine-snapshot.ts';
import { dueTime, SnapshotSchedule } from '../../src/controller/snapshot-schedule.ts';
import { statusError } from '../../src/kube/status-error.ts';
import { ManualClock } from '../support/manual-clock.ts';

const { signal } = new AbortController();

function scheduleOf(
  schedule: NonNullable<VirtualMachineSnapshot['spec']['schedule']>,
  created: number,
): VirtualMachineSnapshot {
  return {
    apiVersion: 'virtctl.dev/v1alpha1',
    kind: 'VirtualMachineSnapshot',
    metadata: { name: 'nightly', namespace: 'shop', uid: 's', creationTimestamp: new Date(created).toISOString() },
    spec: { virtualMachine: 'web', memory: true, schedule },
  };
}

/** A schedule with what it made so far, in a server of two calls. */
class World {
  readonly clock = new ManualClock();
  readonly objects = new Map<string, VirtualMachineSnapshot>();
  readonly reasons: string[] = [];
  hasMachine = true;
  /** The resourceVersion of all objects, as stored. */
  version: string | undefined;
  /** What becomes of a snapshot that is asked for. */
  phase: 'Ready' | 'Pending' = 'Ready';
  readonly #schedule: SnapshotSchedule;

  constructor(schedule: NonNullable<VirtualMachineSnapshot['spec']['schedule']>) {
    this.objects.set('shop/nightly', scheduleOf(schedule, this.clock.now()));
    this.#schedule = new SnapshotSchedule({
      cache: {
        get: (key) => this.objects.get(key),
        list: () => [...this.objects.values()],
        onChange: () => () => undefined,
      },
      snapshots: {
        create: (object) => {
          const { name = '' } = object.metadata;
          if (this.objects.has(`shop/${name}`)) {
            const status = { kind: 'Status', reason: 'AlreadyExists' } as const;
            return Promise.reject(statusError(409, status, { what: 'POST' }));
          }
          const time = new Date(this.clock.now()).toISOString();
          this.objects.set(`shop/${name}`, {
            ...object,
            metadata: { ...object.metadata, uid: name, creationTimestamp: time },
            status: { phase: this.phase, ...(this.phase === 'Ready' ? { creationTime: time } : {}) },
          });
          return Promise.resolve(object);
        },
        delete: (ref) => {
          this.objects.delete(`shop/${ref.name}`);
          return Promise.resolve(undefined);
        },
        mergePatch: (ref, patch) => {
          const old = this.objects.get(`shop/${ref.name}`);
          if (old === undefined) throw new Error('gone');
          const { status, metadata } = patch as Pick<VirtualMachineSnapshot, 'status' | 'metadata'>;
          const { resourceVersion = this.version } = metadata;
          if (resourceVersion !== this.version) throw statusError(409, undefined, { what: 'PATCH' });
          const now = { ...old, status: { ...old.status, ...status } };
          this.objects.set(`shop/${ref.name}`, now);
          return Promise.resolve(now);
        },
      },
      hasMachine: () => this.hasMachine,
      record: ({ reason }) => this.reasons.push(reason),
      clock: this.clock,
    });
  }

  async look(key = 'shop/nightly'): Promise<number> {
    return (await this.#schedule.reconcile(key, { signal }))?.requeueAfterMs ?? Infinity;
  }

  get made(): string[] {
    return [...this.objects.keys()].filter((key) => key !== 'shop/nightly').sort();
  }
}

describe('SnapshotSchedule', () => {
  it('takes one at each time, and keeps as many as it is told to', async () => {
    const world = new World({ cron: '*/10 * * * *', keep: 2 });
    for (let minute = 0; minute < 60; minute += 1) {
      await world.look();
      await world.clock.advance(60_000);
    }
    await world.look();
    // What it made comes back to it as a change, and it looks once more.
    await world.look();
    expect(world.made).toHaveLength(2);
    expect(world.reasons.filter((reason) => reason === 'SnapshotScheduled')).toHaveLength(6);
    expect(world.objects.get(world.made[0] ?? '')).toMatchObject({
      metadata: { labels: { 'virtctl.dev/snapshot-schedule': 'nightly' } },
      spec: { virtualMachine: 'web', memory: true },
    });
    expect(world.objects.get(world.made[0] ?? '')?.spec.schedule).toBeUndefined();
    expect(world.objects.get('shop/nightly')?.status).toMatchObject({ phase: 'Scheduled' });
  });

  it('takes the last that is due, and leaves out what it is too late for', () => {
    const at = (time: string): number => Date.parse(`2026-01-01T${time}Z`);
    const hourly = scheduleOf({ cron: '0 * * * *', startingDeadlineSeconds: 60 }, at('00:00:00'));
    expect(dueTime(hourly, at('00:59:59'))).toEqual({});
    expect(dueTime(hourly, at('02:00:30'))).toEqual({ last: at('02:00:00') });
    expect(dueTime(hourly, at('02:05:00'))).toEqual({ missed: at('02:00:00') });
    const seen = { ...hourly, status: { lastScheduleTime: '2026-01-01T02:00:00Z' } };
    expect(dueTime(seen, at('02:00:30'))).toEqual({});
  });

  it('adds none to one that waits', async () => {
    const world = new World({ cron: '* * * * *' });
    world.phase = 'Pending';
    for (let minute = 0; minute < 3; minute += 1) {
      await world.clock.advance(60_000);
      await world.look();
    }
    expect(world.made).toHaveLength(1);
    expect(world.reasons).toEqual(['SnapshotScheduled', 'StillPending', 'StillPending']);
  });

  it('says of a snapshot of a machine that does not exist that it waits for it', async () => {
    const world = new World({ cron: '@daily' });
    const { metadata, spec: _spec, ...rest } = scheduleOf({ cron: '@daily' }, 0);
    world.objects.set('shop/one', { ...rest, metadata: { ...metadata, name: 'one' }, spec: { virtualMachine: 'web' } });
    await world.look('shop/one');
    expect(world.objects.get('shop/one')?.status).toBeUndefined();
    world.hasMachine = false;
    await world.look('shop/one');
    expect(world.objects.get('shop/one')?.status).toMatchObject({
      phase: 'Pending',
      conditions: [{ reason: 'MachineNotFound' }],
    });
  });

  it('says nothing of one that was changed meanwhile, as when its machine is recovered', async () => {
    const world = new World({ cron: '@daily' });
    const { metadata, spec: _spec, ...rest } = scheduleOf({ cron: '@daily' }, 0);
    const seen = { ...metadata, name: 'one', resourceVersion: '1' };
    world.objects.set('shop/one', { ...rest, metadata: seen, spec: { virtualMachine: 'web' } });
    world.hasMachine = false;
    world.version = '2';
    await world.look('shop/one');
    expect(world.objects.get('shop/one')?.status).toBeUndefined();
  });

  it('does not put back what was written since it looked, as by the leader after it', async () => {
    const world = new World({ cron: '* * * * *' });
    await world.clock.advance(60_000);
    const seen = world.objects.get('shop/nightly') ?? scheduleOf({ cron: '@daily' }, 0);
    world.objects.set('shop/nightly', { ...seen, metadata: { ...seen.metadata, resourceVersion: '1' } });
    world.version = '2';
    await world.look();
    expect(world.made).toHaveLength(1);
    expect(world.objects.get('shop/nightly')?.status).toBeUndefined();
    // The newer one comes by the watch: what was made is not made again.
    world.objects.set('shop/nightly', { ...seen, metadata: { ...seen.metadata, resourceVersion: '2' } });
    await world.look();
    expect(world.reasons).toEqual(['SnapshotScheduled']);
    expect(world.objects.get('shop/nightly')?.status?.lastScheduleTime).toBe('2030-01-01T00:01:00Z');
  });

  it('takes none while it is suspended, and deletes those that are too old', async () => {
    const world = new World({ cron: '* * * * *', keepSeconds: 90 });
    await world.clock.advance(60_000);
    await world.look();
    expect(world.made).toHaveLength(1);
    const schedule = world.objects.get('shop/nightly') ?? scheduleOf({ cron: '@daily' }, 0);
    world.objects.set('shop/nightly', {
      ...schedule,
      spec: { ...schedule.spec, schedule: { cron: '* * * * *', keepSeconds: 90, suspend: true } },
    });
    await world.clock.advance(60_000);
    await world.look();
    expect(world.made).toHaveLength(1);
    await world.clock.advance(60_000);
    await world.look();
    expect(world.made).toHaveLength(0);
  });

  it('reads crontab with its steps, words and time zones', () => {
    const at = Date.parse('2026-03-28T12:00:00Z');
    const next = (cron: string, timeZone = 'UTC'): string | undefined => {
      for (let hours = 0; hours < 24 * 40; hours += 1) {
        const now = at + hours * 3_600_000 + 1;
        const { last } = dueTime(scheduleOf({ cron, timeZone, startingDeadlineSeconds: 3600 }, at), now);
        if (last !== undefined) return new Date(last).toISOString();
      }
      return undefined;
    };
    expect(next('0 3 * * *')).toBe('2026-03-29T03:00:00.000Z');
    expect(next('30 8 * * mon')).toBe('2026-03-30T08:30:00.000Z');
    expect(next('0 4 * * *', 'Europe/Berlin')).toBe('2026-03-29T02:00:00.000Z');
    expect(next('@weekly')).toBe('2026-03-29T00:00:00.000Z');
    expect(next('0 20/2 * * *')).toBe('2026-03-28T20:00:00.000Z');
  });
});
