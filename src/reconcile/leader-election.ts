import { makeLease } from './lease.ts';
import type { Lease, LeaseSpec } from './lease.ts';
import type { ObjectRef } from '../kube/object.ts';
import type { ResourceClient } from '../kube/resource-client.ts';
import { isAlreadyExists, isConflict, isNotFound } from '../kube/status-error.ts';
import { toKubernetesMicroTime } from '../base/clock.ts';
import type { Clock } from '../base/clock.ts';
import { FailedError, toError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';

/** Options of {@link LeaderElector}. The times are client-go's by default and mean the same. */
export interface LeaderElectionOptions {
  readonly leases: ResourceClient<Lease>;
  readonly ref: ObjectRef;
  /** Names this candidate; no two may share it. */
  readonly identity: string;
  /** Makes the namespace of the lease where it is gone, as after the loss of the API server's data. */
  readonly makeNamespace?: ((signal: AbortSignal) => Promise<void>) | undefined;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  /** Others wait this long after the last renewal that they saw; 15 s. */
  readonly leaseDurationMs?: number | undefined;
  /** The leader gives up when it could not renew for this long; 10 s. */
  readonly renewDeadlineMs?: number | undefined;
  /** Between two tries; 2 s. */
  readonly retryPeriodMs?: number | undefined;
}

/** The leader could not renew its lease in time; another one may lead by now. */
export class LeadershipLostError extends FailedError {
  override readonly code: string = 'LeadershipLost';
}

/**
 * One leader among many candidates, by a lease (client-go's tools/leaderelection). Clocks of different machines are
 * never compared: a lease is alive for its duration after a change of it was *seen*. While the leader's signal has not
 * aborted nobody else leads, and work that stops within `leaseDurationMs - renewDeadlineMs` after it never overlaps.
 * Unlike client-go, the deadline runs from the start of the last successful renewal, so that a slow answer does not
 * make the leader believe in a lease that others see run out.
 */
export class LeaderElector {
  readonly #options: LeaderElectionOptions;
  readonly #leaseDurationMs: number;
  readonly #renewDeadlineMs: number;
  readonly #retryPeriodMs: number;
  /** When the last renewal that succeeded was begun. */
  #renewedAtMs = 0;
  /** The last lease seen, and when it was seen to differ from the one before. */
  #observed: { readonly spec: string; readonly atMs: number; readonly lease: Lease } | undefined;

  /** @throws FailedError when the times make no sense together. */
  constructor(options: LeaderElectionOptions) {
    this.#options = options;
    this.#leaseDurationMs = options.leaseDurationMs ?? 15_000;
    this.#renewDeadlineMs = options.renewDeadlineMs ?? 10_000;
    this.#retryPeriodMs = options.retryPeriodMs ?? 2_000;
    if (
      this.#leaseDurationMs <= this.#renewDeadlineMs ||
      this.#renewDeadlineMs <= this.#retryPeriodMs * 1.2 ||
      this.#retryPeriodMs <= 0
    ) {
      throw new FailedError('leader election needs leaseDuration > renewDeadline > 1.2 × retryPeriod > 0');
    }
  }

  /** Who leads as far as is known; undefined before the first look. */
  get leader(): string | undefined {
    return this.#observed?.lease.spec?.holderIdentity;
  }

  /**
   * Waits to become the leader, then runs `lead`. Releases the lease when `lead` ends or the signal aborts.
   *
   * @param lead Gets a signal that aborts when leadership is lost or the outer signal aborts; must end soon after.
   * @throws LeadershipLostError when it was lost (start again to be a candidate anew); what `lead` throws.
   */
  async run(lead: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void> {
    if (!(await this.#acquire(signal))) return;
    this.#options.logger.info('leading', { lease: this.#options.ref, identity: this.#options.identity });
    const leading = new AbortController();
    const onAbort = (): void => leading.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const renewing = this.#renewUntilLost(leading.signal).then((lost) => {
      if (lost !== undefined) leading.abort(lost);
      return lost;
    });
    try {
      if (signal.aborted) onAbort();
      await lead(leading.signal);
    } catch (error) {
      if (leading.signal.reason instanceof LeadershipLostError) throw leading.signal.reason;
      if (!signal.aborted || error !== signal.reason) throw error;
    } finally {
      signal.removeEventListener('abort', onAbort);
      leading.abort(new FailedError('the work of the leader is over'));
      if ((await renewing) === undefined) await this.#release();
    }
    const lost: unknown = leading.signal.reason;
    if (lost instanceof LeadershipLostError) throw lost;
  }

  async #acquire(signal: AbortSignal): Promise<boolean> {
    const { clock, random } = this.#options;
    while (!signal.aborted) {
      if (await this.#tryOnce(signal)) return true;
      // Jitter keeps candidates from knocking together.
      if (!(await this.#sleep(clock, this.#retryPeriodMs * (1 + 1.2 * random()), signal))) return false;
    }
    return false;
  }

  /** @returns Why leadership ended; undefined when the signal aborted. */
  async #renewUntilLost(signal: AbortSignal): Promise<LeadershipLostError | undefined> {
    const { clock } = this.#options;
    while (await this.#sleep(clock, this.#retryPeriodMs, signal)) {
      for (;;) {
        const remainingMs = this.#renewedAtMs + this.#renewDeadlineMs - clock.monotonicMs();
        if (remainingMs <= 0) {
          return new LeadershipLostError(`could not renew the lease for ${this.#renewDeadlineMs / 1000} s`);
        }
        if (await this.#tryOnce(signal, remainingMs)) break;
        if (isAborted(signal)) return undefined;
        if (this.leader !== this.#options.identity) {
          return new LeadershipLostError(`"${this.leader ?? ''}" took the lease`);
        }
        if (!(await this.#sleep(clock, Math.min(this.#retryPeriodMs, remainingMs), signal))) return undefined;
      }
    }
    return undefined;
  }

  /** Takes or renews the lease if that is allowed; true when this candidate holds it now. */
  async #tryOnce(signal: AbortSignal, timeoutMs = this.#renewDeadlineMs): Promise<boolean> {
    const { leases, ref, identity, clock, logger } = this.#options;
    const options = { signal, timeoutMs };
    const startedMs = clock.monotonicMs();
    try {
      const now = toKubernetesMicroTime(clock.now());
      const current = await leases.find(ref, options);
      if (current === undefined) {
        this.#observe(await leases.create(makeLease({ ...ref }, this.#spec(now, now, 0)), options));
        this.#renewedAtMs = startedMs;
        return true;
      }
      this.#observe(current);
      const held = current.spec?.holderIdentity ?? '';
      const isMine = held === identity;
      const expiresMs = (this.#observed?.atMs ?? 0) + this.#leaseDurationMs;
      if (!isMine && held !== '' && expiresMs > clock.monotonicMs()) return false;
      const transitions = current.spec?.leaseTransitions ?? 0;
      const spec = isMine
        ? this.#spec(current.spec?.acquireTime ?? now, now, transitions)
        : this.#spec(now, now, transitions + 1);
      this.#observe(await leases.update({ ...current, spec }, options));
      this.#renewedAtMs = startedMs;
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      // Another candidate was quicker.
      if (!isConflict(error) && !isAlreadyExists(error)) {
        logger.warn('cannot get or renew the lease', { lease: ref, error: toError(error) });
      }
      if (isNotFound(error)) await this.#makeNamespace(signal);
      return false;
    }
  }

  /** It is tried again a moment later, with or without a namespace. */
  async #makeNamespace(signal: AbortSignal): Promise<void> {
    const { makeNamespace, logger, ref } = this.#options;
    try {
      await makeNamespace?.(signal);
    } catch (error) {
      if (!isAborted(signal))
        logger.warn('cannot make the namespace of the lease', { lease: ref, error: toError(error) });
    }
  }

  /** Gives the lease back at once, so that the next leader need not wait. */
  async #release(): Promise<void> {
    const { leases, clock, logger, ref, identity } = this.#options;
    const lease = this.#observed?.lease;
    if (lease?.spec?.holderIdentity !== identity) return;
    const now = toKubernetesMicroTime(clock.now());
    const spec = {
      holderIdentity: '',
      leaseDurationSeconds: 1,
      acquireTime: now,
      renewTime: now,
      leaseTransitions: lease.spec.leaseTransitions ?? 0,
    };
    try {
      this.#observe(await leases.update({ ...lease, spec }, { timeoutMs: this.#renewDeadlineMs }));
    } catch (error) {
      // It runs out by itself.
      logger.warn('cannot release the lease', { lease: ref, error: toError(error) });
    }
  }

  #observe(lease: Lease): void {
    const spec = JSON.stringify(lease.spec);
    const atMs = this.#observed?.spec === spec ? this.#observed.atMs : this.#options.clock.monotonicMs();
    this.#observed = { spec, atMs, lease };
  }

  #spec(acquireTime: string, renewTime: string, leaseTransitions: number): LeaseSpec {
    const leaseDurationSeconds = Math.ceil(this.#leaseDurationMs / 1000);
    return { holderIdentity: this.#options.identity, leaseDurationSeconds, acquireTime, renewTime, leaseTransitions };
  }

  /** @returns false when the signal aborted. */
  async #sleep(clock: Clock, ms: number, signal: AbortSignal): Promise<boolean> {
    try {
      await clock.sleep(ms, signal);
      return true;
    } catch (error) {
      if (!signal.aborted) throw error;
      return false;
    }
  }
}

/** A function, because the compiler does not know that a signal changes while one waits. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}
