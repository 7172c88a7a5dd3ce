/**
 * Snapshots by the clock: a VirtualMachineSnapshot with spec.schedule makes others, as a CronJob makes Jobs, and deletes
 * those that are too old or too many. They are named after their time, so that one that is made twice is made once.
 *
 *   due, and not too late ─▶ create NAME-MINUTES ─▶ status.lastScheduleTime ─▶ wait for the next
 *
 * While one that it made waits (its machine is gone, there is no space), none is added to it. One of a machine that does not
 * exist is told so, since no executor will. Deleting the schedule leaves the snapshots that it made. The leader runs it; while none runs, none are taken, and what was
 * due meanwhile is left out unless it is due for less than startingDeadlineSeconds.
 */
import { Cron } from 'croner';
import { scheduleLabel } from '../api/virtual-machine-snapshot.ts';
import type { VirtualMachineSnapshot } from '../api/virtual-machine-snapshot.ts';
import { apiVersion } from '../api/meta.ts';
import { toKubernetesTime, type Clock } from '../base/clock.ts';
import type { Informer } from '../kube/informer.ts';
import { objectKey, refOf } from '../kube/object.ts';
import type { ResourceClient } from '../kube/resource-client.ts';
import { isAlreadyExists, isConflict, isNotFound } from '../kube/status-error.ts';
import { setCondition } from '../reconcile/conditions.ts';
import type { ReconcileContext, ReconcileResult } from '../reconcile/controller.ts';
import type { EventRecord } from '../reconcile/event-recorder.ts';
import { isBeingDeleted } from '../reconcile/finalizers.ts';

/** Options of {@link SnapshotSchedule}. */
export interface SnapshotScheduleOptions {
  readonly cache: Pick<Informer<VirtualMachineSnapshot>, 'get' | 'list' | 'onChange'>;
  readonly snapshots: Pick<ResourceClient<VirtualMachineSnapshot>, 'create' | 'delete' | 'mergePatch'>;
  /** Whether there is a machine, by its key. */
  readonly hasMachine: (key: string) => boolean;
  readonly record: (event: EventRecord) => void;
  readonly clock: Clock;
}

const defaultKeep = 7;
/** Of those that failed, the last ones stay for whoever wants to know why. */
const keptFailures = 3;
const defaultDeadlineSeconds = 300;
/** More due times are not looked through for the last one. */
const maxDueTimes = 10_000;
/** Timers cannot be longer. */
const maxWaitMs = 60 * 60_000;

/** See the head of this file. */
export class SnapshotSchedule {
  readonly #options: SnapshotScheduleOptions;

  constructor(options: SnapshotScheduleOptions) {
    this.#options = options;
  }

  /**
   * Has schedules looked at when they, or the snapshots that they made, change.
   *
   * @returns Stops it.
   */
  follow(enqueue: (key: string) => void): () => void {
    return this.#options.cache.onChange(({ object }) => {
      if (object.spec.schedule !== undefined || object.status?.phase === undefined) enqueue(objectKey(object));
      const made = object.metadata.labels?.[scheduleLabel];
      if (made !== undefined) enqueue(`${object.metadata.namespace ?? ''}/${made}`);
    });
  }

  /** Looks at one schedule. */
  async reconcile(key: string, { signal }: Pick<ReconcileContext, 'signal'>): Promise<ReconcileResult | undefined> {
    const { cache, clock } = this.#options;
    const schedule = cache.get(key);
    if (schedule === undefined || isBeingDeleted(schedule)) return undefined;
    if (schedule.spec.schedule === undefined) return this.#tellMissing(schedule, signal);
    const leftMs = await this.#retain(schedule, signal);
    if (schedule.spec.schedule.suspend === true) {
      await this.#report(schedule, { nextScheduleTime: undefined }, signal);
      return { requeueAfterMs: leftMs };
    }
    const now = clock.now();
    const { last, missed } = dueTime(schedule, now);
    if (missed !== undefined) {
      this.#tell(
        schedule,
        'Warning',
        'MissedSchedule',
        `none was taken for ${toKubernetesTime(missed)}: it is too late`,
      );
    }
    const waits = this.#madeBy(schedule).find(({ status }) => !['Ready', 'Failed'].includes(status?.phase ?? ''));
    if (last !== undefined && waits !== undefined && waits.metadata.name !== nameAt(schedule, last)) {
      this.#tell(schedule, 'Warning', 'StillPending', `none was taken: ${waits.metadata.name ?? ''} still waits`);
    } else if (last !== undefined) await this.#take(schedule, last, signal);
    const seen = last ?? missed;
    const next = nextTime(schedule, now);
    await this.#report(
      schedule,
      {
        ...(seen === undefined ? {} : { lastScheduleTime: toKubernetesTime(seen) }),
        nextScheduleTime: next === undefined ? undefined : toKubernetesTime(next),
      },
      signal,
    );
    const waitMs = Math.min(next === undefined ? Infinity : next - now + 10, leftMs ?? Infinity, maxWaitMs);
    return { requeueAfterMs: waitMs };
  }

  /** A machine that does not exist has no node whose executor would say so. */
  async #tellMissing(snapshot: VirtualMachineSnapshot, signal: AbortSignal): Promise<ReconcileResult | undefined> {
    const { generation, namespace, uid, resourceVersion } = snapshot.metadata;
    const machine = snapshot.spec.virtualMachine;
    if (snapshot.status?.phase !== undefined || this.#options.hasMachine(`${namespace ?? ''}/${machine}`))
      return undefined;
    const message = `there is no VirtualMachine "${machine}"`;
    const ready = { type: 'Ready', status: false, reason: 'MachineNotFound', message, observedGeneration: generation };
    const conditions = setCondition(undefined, ready, this.#options.clock.now());
    try {
      await this.#options.snapshots.mergePatch(
        refOf(snapshot),
        // Whoever made its machine has told more meanwhile.
        { metadata: { uid, resourceVersion }, status: { phase: 'Pending', message, conditions } },
        { subresource: 'status', signal },
      );
    } catch (error) {
      if (!isConflict(error)) throw error;
    }
    return undefined;
  }

  /** What it made and is not being deleted, the newest first. */
  #madeBy({ metadata: { namespace, name } }: VirtualMachineSnapshot): VirtualMachineSnapshot[] {
    return this.#options.cache
      .list()
      .filter(({ metadata }) => metadata.namespace === namespace && metadata.labels?.[scheduleLabel] === name)
      .filter((one) => !isBeingDeleted(one))
      .sort((a, b) => timeOf(b) - timeOf(a));
  }

  async #take(schedule: VirtualMachineSnapshot, at: number, signal: AbortSignal): Promise<void> {
    const { name = '', namespace, labels } = schedule.metadata;
    const { schedule: _schedule, ...spec } = schedule.spec;
    const made = nameAt(schedule, at);
    try {
      await this.#options.snapshots.create(
        {
          apiVersion,
          kind: 'VirtualMachineSnapshot',
          metadata: { name: made, namespace, labels: { ...labels, [scheduleLabel]: name } },
          spec,
        },
        { signal },
      );
    } catch (error) {
      // Made before, by an answer that was lost or by the leader before.
      if (isAlreadyExists(error)) return;
      throw error;
    }
    this.#tell(schedule, 'Normal', 'SnapshotScheduled', `asked for ${made}`);
  }

  /**
   * Deletes what is too old or too many.
   *
   * @returns In how many milliseconds the next one will be too old.
   */
  async #retain(schedule: VirtualMachineSnapshot, signal: AbortSignal): Promise<number | undefined> {
    const { snapshots, clock } = this.#options;
    const { keep = defaultKeep, keepSeconds } = schedule.spec.schedule ?? {};
    const made = this.#madeBy(schedule);
    const failed = made.filter(({ status }) => status?.phase === 'Failed');
    const good = made.filter(({ status }) => status?.phase === 'Ready');
    const expired =
      keepSeconds === undefined ? [] : good.filter((one) => timeOf(one) + keepSeconds * 1000 <= clock.now());
    const gone = new Set([...good.slice(keep), ...failed.slice(keptFailures), ...expired]);
    for (const one of gone) {
      try {
        await snapshots.delete(refOf(one), { preconditions: { uid: one.metadata.uid }, signal });
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    }
    const oldest = good.filter((one) => !gone.has(one)).at(-1);
    if (keepSeconds === undefined || oldest === undefined) return undefined;
    return Math.max(0, timeOf(oldest) + keepSeconds * 1000 - clock.now()) + 10;
  }

  async #report(
    schedule: VirtualMachineSnapshot,
    times: { readonly lastScheduleTime?: string; readonly nextScheduleTime: string | undefined },
    signal: AbortSignal,
  ): Promise<void> {
    const { generation, uid, resourceVersion } = schedule.metadata;
    const before = schedule.status ?? {};
    const ready = { type: 'Ready', status: true, reason: 'Scheduled', observedGeneration: generation };
    const conditions = setCondition(before.conditions, ready, this.#options.clock.now());
    const next = times.nextScheduleTime ?? null;
    const isSame =
      before.phase === 'Scheduled' &&
      (before.nextScheduleTime ?? null) === next &&
      (times.lastScheduleTime === undefined || before.lastScheduleTime === times.lastScheduleTime) &&
      conditions === before.conditions;
    if (isSame) return;
    const status = { ...times, nextScheduleTime: next, phase: 'Scheduled', conditions, observedGeneration: generation };
    try {
      await this.#options.snapshots.mergePatch(
        refOf(schedule),
        { metadata: { uid, resourceVersion }, status },
        { subresource: 'status', signal },
      );
    } catch (error) {
      // What is newer comes by the watch, and is looked at then; its times are not put back.
      if (!isConflict(error)) throw error;
    }
  }

  #tell(regarding: VirtualMachineSnapshot, type: 'Normal' | 'Warning', reason: string, note: string): void {
    this.#options.record({ regarding, type, reason, action: 'Schedule', note });
  }
}

/**
 * The time that is due, of those since the last one; the last of them, when there are several.
 *
 * @returns `missed` in place of it when it is too late for it.
 */
export function dueTime(
  { metadata, spec, status }: VirtualMachineSnapshot,
  now: number,
): { readonly last?: number; readonly missed?: number } {
  const cron = cronOf(spec);
  const since = Date.parse(status?.lastScheduleTime ?? metadata.creationTimestamp ?? '');
  if (cron === undefined || Number.isNaN(since)) return {};
  const deadlineMs = (spec.schedule?.startingDeadlineSeconds ?? defaultDeadlineSeconds) * 1000;
  const first = cron.nextRun(new Date(since))?.getTime();
  if (first === undefined || first > now) return {};
  let last: number | undefined;
  let at: number | undefined = cron.nextRun(new Date(Math.max(since, now - deadlineMs - 1)))?.getTime();
  for (let count = 0; at !== undefined && at <= now && count < maxDueTimes; count += 1) {
    last = at;
    at = cron.nextRun(new Date(at))?.getTime();
  }
  return last === undefined ? { missed: cron.previousRuns(1, new Date(now))[0]?.getTime() ?? first } : { last };
}

function nextTime({ spec }: VirtualMachineSnapshot, now: number): number | undefined {
  return cronOf(spec)?.nextRun(new Date(now))?.getTime();
}

function cronOf({ schedule }: VirtualMachineSnapshot['spec']): Cron | undefined {
  if (schedule === undefined) return undefined;
  return new Cron(cronPattern(schedule.cron), { timezone: schedule.timeZone ?? 'UTC', paused: true, mode: '5-part' });
}

/** crontab's `5/15`, from the fifth on, as a range. */
function cronPattern(text: string): string {
  const last = [59, 23, 31, 12, 7];
  if (text.startsWith('@')) return text;
  return text
    .trim()
    .split(/\s+/)
    .map((field, index) => field.replace(/(^|,)(\d+)\/(\d+)/g, `$1$2-${last[index] ?? 59}/$3`))
    .join(' ');
}

/** As a CronJob names its Jobs: the minutes since 1970. */
function nameAt({ metadata }: VirtualMachineSnapshot, at: number): string {
  return `${(metadata.name ?? '').slice(0, 240)}-${Math.floor(at / 60_000)}`;
}

function timeOf({ metadata, status }: VirtualMachineSnapshot): number {
  return Date.parse(status?.creationTime ?? metadata.creationTimestamp ?? '') || 0;
}
