import type { KubeObject, ObjectMeta, ObjectRef } from '../kube/object.ts';
import type { ResourceClient } from '../kube/resource-client.ts';
import { isAlreadyExists, isNotFound, statusOf } from '../kube/status-error.ts';
import { onAbort } from '../base/abort.ts';
import { backoffMs } from '../base/backoff.ts';
import type { BackoffPolicy } from '../base/backoff.ts';
import { toKubernetesMicroTime } from '../base/clock.ts';
import type { Clock } from '../base/clock.ts';
import { TimedOutError, toError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';

/** events.k8s.io/v1 Event. */
export interface KubeEvent extends KubeObject {
  readonly eventTime?: string | null | undefined;
  readonly series?: { readonly count: number; readonly lastObservedTime: string } | null | undefined;
  readonly reportingController?: string | undefined;
  readonly reportingInstance?: string | undefined;
  readonly action?: string | undefined;
  readonly reason?: string | undefined;
  readonly regarding?: RegardingRef | undefined;
  readonly note?: string | undefined;
  readonly type?: string | undefined;
}

/** core/v1 ObjectReference, as far as events need it. */
export interface RegardingRef {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly namespace?: string | undefined;
  readonly uid?: string | undefined;
  readonly resourceVersion?: string | undefined;
}

/** Something that happened to an object. */
export interface EventRecord {
  readonly regarding: KubeObject;
  readonly type: 'Normal' | 'Warning';
  /** Why, as one word in CamelCase, such as `Started`. */
  readonly reason: string;
  /** What was done or tried, as one word in CamelCase, such as `Start`. */
  readonly action: string;
  /** For people; what exceeds 1,024 bytes is cut off. Never a secret. */
  readonly note: string;
}

/** Options of {@link EventRecorder}. */
export interface EventRecorderOptions {
  readonly events: ResourceClient<KubeEvent>;
  /** Such as `virtctl.dev/executor`. */
  readonly controller: string;
  /** Which of them, such as the node's name; at most 128 characters. */
  readonly instance: string;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
}

interface Series {
  readonly record: EventRecord;
  /** The event's name: the same at every try. */
  name: string;
  readonly firstMs: number;
  count: number;
  lastMs: number;
  /** How many of `count` the server knows. */
  written: number;
  writtenMs: number;
  /** The event's name once it exists. */
  ref: ObjectRef | undefined;
}

/** Limits of the events API (k8s.io/kubernetes/pkg/apis/core/validation/events.go). */
const maxNoteBytes = 1024;
const maxWordLength = 128;
/**
 * Where events of cluster-wide objects go. With an `eventTime` and no `regarding.namespace`, which `kubectl describe`
 * searches for, Kubernetes 1.20 takes them nowhere else; later versions take `default` too.
 */
const clusterWideNamespace = 'kube-system';
/** A series that saw nothing for so long is over (client-go's finishTime). */
const seriesEndMs = 6 * 60_000;
/** A series is written at most this often. */
const seriesWriteMs = 10_000;
const maxSeries = 2_048;
/** New events of one object: so many at once, then one in so long (client-go's spam filter). */
const burstPerObject = 25;
const refillMs = 300_000;
const retry: BackoffPolicy = { initialMs: 500, maxMs: 30_000, factor: 2, jitter: 0.5 };
const maxTries = 8;
/** After the stop. */
const lastWritesMs = 5_000;

/**
 * Writes Kubernetes events. `record` never waits and never fails; a loop writes them in order. The same event again
 * within six minutes counts up the series of the first. What cannot be written after some tries, or is too much, is
 * dropped, and the log says so: events are for people, and must not hold up what they tell of.
 */
export class EventRecorder {
  readonly #options: EventRecorderOptions;
  readonly #series = new Map<string, Series>();
  readonly #budgets = new Map<string, { tokens: number; atMs: number }>();
  #wake: () => void = () => undefined;
  #dropped = 0;
  #lastName = 0;

  constructor(options: EventRecorderOptions) {
    this.#options = options;
  }

  /** Takes an event. */
  record(record: EventRecord): void {
    const { name, namespace, uid } = record.regarding.metadata;
    const now = this.#options.clock.now();
    const key = JSON.stringify([namespace, name, uid, record.type, record.reason, record.action, record.note]);
    const known = this.#series.get(key);
    if (known !== undefined && now - known.lastMs < seriesEndMs) {
      known.count += 1;
      known.lastMs = now;
    } else if (this.#isAllowed(JSON.stringify([namespace, name, uid]), now) && this.#hasRoom(now)) {
      this.#series.set(key, {
        record,
        name: this.#name({ record, firstMs: now }),
        firstMs: now,
        count: 1,
        lastMs: now,
        written: 0,
        writtenMs: 0,
        ref: undefined,
      });
    } else {
      this.#dropped += 1;
      return;
    }
    this.#wake();
  }

  /** How many events were dropped because there were too many. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Writes events until the signal aborts; what is left then gets five seconds. Call it once. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, logger } = this.#options;
    // A request under way is never broken off by the stop: whether it was done would stay unknown.
    const end = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    const onStop = (): void => {
      timer = setTimeout(() => end.abort(new TimedOutError('the last events took too long')), lastWritesMs);
      this.#wake();
    };
    const forget = onAbort(signal, onStop);
    try {
      while (!isAborted(signal)) {
        for (const series of this.#due(false)) await this.#write(series, signal, end.signal);
        const pause = new AbortController();
        this.#wake = () => pause.abort();
        if (isAborted(signal) || this.#due(false).length > 0) continue;
        try {
          await clock.sleep(seriesWriteMs, pause.signal);
        } catch (error) {
          if (!pause.signal.aborted) throw error;
        }
      }
      for (const series of this.#due(true)) await this.#write(series, signal, end.signal);
      const lost = this.#due(true).length;
      if (lost > 0) logger.warn('some events could not be written before the end', { events: lost });
    } finally {
      clearTimeout(timer);
      forget();
    }
  }

  /** The series that the server does not know yet as they are; all of them, or those whose turn it is. */
  #due(all: boolean): Series[] {
    const now = this.#options.clock.now();
    return [...this.#series.values()].filter(
      ({ written, count, writtenMs }) => written < count && (all || written === 0 || now - writtenMs >= seriesWriteMs),
    );
  }

  /** Writes a series, with several tries until the stop, and with one after it. */
  async #write(series: Series, stop: AbortSignal, end: AbortSignal): Promise<void> {
    const { clock, random, logger } = this.#options;
    const { count, lastMs } = series;
    for (let attempt = 0; ; attempt++) {
      try {
        await this.#writeOnce(series, count, lastMs, end);
        break;
      } catch (error) {
        if (isAborted(end)) return;
        const code = statusOf(error)?.code ?? 0;
        // The server will not take it: the namespace is going, the rights are missing.
        const isFinal = code >= 400 && code < 500 && code !== 429;
        if (isFinal || attempt + 1 >= maxTries) {
          const { reason, note, regarding } = series.record;
          logger.warn('an event could not be written', {
            reason,
            note,
            regarding: regarding.metadata.name,
            error: toError(error),
          });
          break;
        }
        try {
          await clock.sleep(backoffMs(retry, attempt, random), stop);
        } catch (aborted) {
          if (!isAborted(stop)) throw aborted;
          return;
        }
      }
    }
    series.written = count;
    series.writtenMs = clock.now();
  }

  async #writeOnce(series: Series, count: number, lastMs: number, signal: AbortSignal): Promise<void> {
    const { events } = this.#options;
    const lastObservedTime = toKubernetesMicroTime(lastMs);
    if (series.ref !== undefined) {
      try {
        await events.mergePatch(series.ref, { series: { count, lastObservedTime } }, { signal });
        return;
      } catch (error) {
        // Events expire after an hour; the series goes on with a new one.
        if (!isNotFound(error)) throw error;
        series.ref = undefined;
        series.name = this.#name(series);
      }
    }
    const event = this.#event(series, count > 1 ? { count, lastObservedTime } : undefined);
    try {
      await events.create(event, { signal });
    } catch (error) {
      // The answer to an earlier try got lost.
      if (!isAlreadyExists(error)) throw error;
    }
    series.ref = { namespace: event.metadata.namespace, name: series.name };
  }

  /** As client-go names them: the object's name and the time in hex nanoseconds, here counted up where they are equal. */
  #name({ record, firstMs }: Pick<Series, 'record' | 'firstMs'>): string {
    this.#lastName = Math.max(this.#lastName + 1, firstMs * 1000);
    const suffix = (BigInt(this.#lastName) * 1000n).toString(16);
    return `${(record.regarding.metadata.name ?? '').slice(0, 230)}.${suffix}`;
  }

  #event({ record, firstMs, name }: Series, series: KubeEvent['series']): KubeEvent {
    const { controller, instance } = this.#options;
    const { apiVersion, kind, metadata } = record.regarding;
    const meta: ObjectMeta = { name, namespace: metadata.namespace ?? clusterWideNamespace };
    return {
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      metadata: meta,
      eventTime: toKubernetesMicroTime(firstMs),
      ...(series === undefined ? {} : { series }),
      reportingController: controller,
      reportingInstance: instance.slice(0, maxWordLength),
      action: record.action.slice(0, maxWordLength),
      reason: record.reason.slice(0, maxWordLength),
      regarding: {
        apiVersion,
        kind,
        name: metadata.name ?? '',
        namespace: metadata.namespace,
        uid: metadata.uid,
        resourceVersion: metadata.resourceVersion,
      },
      note: cut(record.note),
      type: record.type,
    };
  }

  #isAllowed(object: string, now: number): boolean {
    const known = this.#budgets.get(object) ?? { tokens: burstPerObject, atMs: now };
    const tokens = Math.min(burstPerObject, known.tokens + (now - known.atMs) / refillMs);
    if (tokens >= burstPerObject - 1 && this.#budgets.size >= maxSeries) this.#forgetFullBudgets(now);
    this.#budgets.set(object, { tokens: tokens >= 1 ? tokens - 1 : tokens, atMs: now });
    return tokens >= 1;
  }

  /** A budget that is full again says nothing. */
  #forgetFullBudgets(now: number): void {
    for (const [object, { tokens, atMs }] of this.#budgets) {
      if (tokens + (now - atMs) / refillMs >= burstPerObject) this.#budgets.delete(object);
    }
    const [oldest] = this.#budgets.keys();
    if (this.#budgets.size >= maxSeries && oldest !== undefined) this.#budgets.delete(oldest);
  }

  /** Forgets series that are over and written; false when there is no room even so. */
  #hasRoom(now: number): boolean {
    if (this.#series.size < maxSeries) return true;
    for (const [key, { written, count, lastMs }] of this.#series) {
      if (written === count && now - lastMs >= seriesEndMs) this.#series.delete(key);
    }
    for (const [key, { written, count }] of this.#series) {
      if (this.#series.size < maxSeries) break;
      if (written === count) this.#series.delete(key);
    }
    return this.#series.size < maxSeries;
  }
}

/** Cuts a text to what the API takes, between characters. */
function cut(note: string): string {
  const bytes = Buffer.from(note);
  if (bytes.length <= maxNoteBytes) return note;
  let end = maxNoteBytes - 3;
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return `${bytes.subarray(0, end).toString('utf8')}…`;
}

/** A function, because the compiler does not know that a signal changes while one waits. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}
