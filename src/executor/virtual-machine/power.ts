/**
 * Starting and stopping, step by step. Each step is noted in status.power before the next begins, so that an executor that
 * was killed anywhere in between goes on where it was, and no guest boots twice for one wish.
 *
 *   start:  note bootStep=Starting, boot=ID ─▶ start with paused CPUs ─▶ mark the running domain with ID
 *           ─▶ note bootStep=Resuming ─▶ resume ─▶ note bootStep gone
 *
 *   killed before the mark:   off, or paused without it: no instruction was executed, go on
 *   killed before Resuming:   paused with mark ID: go on
 *   killed after it:          paused: resume; running: done; off: it has run, and ended
 *   wanted no more:           before Resuming it is taken back, but for a guest that goes on with saved memory
 *
 *   stop:   note stoppingSince ─▶ ask the guest (agent, then power button), again every few seconds
 *           ─▶ grace period over, or forced: destroy
 */
import { markBoot, toKnown } from './definition.ts';
import { devicesOf, readDomain, type DomainView, type LibvirtCallOptions } from './domain-view.ts';
import { liveDifferences } from './apply-live.ts';
import { memberAt, type DataObject } from './same-value.ts';
import type { StatusNotes } from './machine-status.ts';
import type { RunStrategy, VirtualMachineStatus } from '../../api/virtual-machine.ts';
import { toKubernetesTime } from '../../base/clock.ts';
import {
  isAgentUnavailable,
  isAlreadyRunning,
  isInvalidState,
  isNotRunning,
  LibvirtError,
} from '../../libvirt/errors.ts';

/** status.power. */
export type PowerNotes = NonNullable<VirtualMachineStatus['power']>;

/** Writes notes into the machine's status, and returns when they are stored. */
export type WriteNotes = (notes: StatusNotes) => Promise<void>;

/** Options of {@link continueStart}. */
export interface StartOptions {
  /** Its CPUs stay paused. */
  readonly paused: boolean;
  /** A saved state is thrown away. */
  readonly discardSavedState: boolean;
}

/** What a start needs. */
export interface StartContext {
  readonly wanted: DataObject;
  readonly note: WriteNotes;
  /** The run strategy that it is started for; undefined when an operation starts it. */
  readonly startedFor: RunStrategy | undefined;
  /** How often it was started before. */
  readonly boots: number;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly options: LibvirtCallOptions;
}

/** Starts take longer than other calls: memory is allocated, a saved state is read. In milliseconds. */
const startTimeoutMs = 100_000;

/**
 * Goes on with a start whose intention is noted already (`bootStep` and `boot`).
 *
 * @returns The domain that runs; undefined when it ran and ended already.
 * @throws LibvirtError when libvirt refuses to start it; OutcomeUnknownError when it did not answer.
 */
export async function continueStart(
  view: DomainView,
  notes: PowerNotes,
  start: StartOptions,
  context: StartContext,
): Promise<DomainView | undefined> {
  const { boot = '', bootStep } = notes;
  const { note, options, now, wanted, startedFor } = context;
  const started = { held: null, ...(startedFor === undefined ? {} : { startedFor }) };
  let at = view;
  let isNoted = bootStep === 'Resuming';
  if (at.state === 'off' && bootStep === 'Resuming') {
    await note({ power: { bootStep: null, ...started } });
    return undefined;
  }
  // Paused while a start goes on: it is ours, with the mark of a boot before when a saved state was continued.
  let isOurs = at.state === 'paused';
  if (at.state === 'off') {
    isOurs = await startPaused(at, start, options);
    at = (await readDomain(at.domain, options)) ?? at;
  }
  if (at.boot?.id !== boot) {
    // Somebody else started it: it runs, which is what was wanted.
    if (!isOurs || at.state === 'off') {
      await note({ power: { bootStep: null, ...started } });
      return at.state === 'off' ? undefined : at;
    }
    const baseline = liveDifferences(wanted, { ...at, boot: undefined }).map(toKnown);
    const mark = { id: boot, at: at.boot?.at ?? now(), baseline };
    await markBoot(at, mark, options);
    at = { ...at, boot: mark };
  }
  if (at.state === 'paused' && !start.paused) {
    // What follows is only looked at again when the guest ended meanwhile: so say now that it ran.
    if (!isNoted) await note({ power: { bootStep: 'Resuming', ...started }, domain: bootNotes(at, context) });
    isNoted = true;
    await resume(at, options);
    at = (await readDomain(at.domain, options)) ?? at;
  }
  await note({ power: { bootStep: null, ...started }, ...(isNoted ? {} : { domain: bootNotes(at, context) }) });
  return at;
}

/** Starts a domain; whether it was us. Drivers that cannot start with paused CPUs start it as it is. */
async function startPaused(
  { domain }: DomainView,
  { discardSavedState }: StartOptions,
  options: LibvirtCallOptions,
): Promise<boolean> {
  const flags = { ...(discardSavedState ? { forceBoot: true } : {}), ...options, timeoutMs: startTimeoutMs };
  for (const paused of [true, false]) {
    try {
      await domain.start({ ...flags, ...(paused ? { paused } : {}) });
      return true;
    } catch (error) {
      if (isAlreadyRunning(error)) return false;
      const isFlag = error instanceof LibvirtError && /unsupported flags/.test(error.message);
      if (!isFlag || !paused) throw error;
    }
  }
  return false;
}

function bootNotes(view: DomainView, { boots }: StartContext): StatusNotes['domain'] {
  const at = view.boot === undefined ? {} : { bootedAt: toKubernetesTime(view.boot.at) };
  return { state: 'running', boots: boots + 1, ...(view.id === undefined ? {} : { id: view.id }), ...at };
}

async function resume(view: DomainView, options: LibvirtCallOptions): Promise<void> {
  try {
    await view.domain.resume(options);
  } catch (error) {
    // It runs already, or it ended at once.
    if (!isInvalidState(error)) throw error;
  }
}

/** How often a guest is asked to shut down: sooner at first, for one that is still booting misses the first times. */
const askAgainMs = (count: number): number => (count < 8 ? 1_500 : 10_000);

/** When guests were asked last, and how often. Lost with the process: then they are asked once more. */
export class ShutdownRequests {
  readonly #asked = new Map<string, { at: number; count: number }>();

  /** How often it was asked already, when it is time to ask (again); undefined when it is not. */
  turn(uuid: string, now: number): number | undefined {
    const last = this.#asked.get(uuid);
    const count = last?.count ?? 0;
    if (last !== undefined && now - last.at < askAgainMs(count)) return undefined;
    this.#asked.set(uuid, { at: now, count: count + 1 });
    return count;
  }

  forget(uuid: string): void {
    this.#asked.delete(uuid);
  }
}

/** How a stop goes on. */
export interface StopProgress {
  /** It is off. */
  readonly isOff: boolean;
  /** It was powered off because the guest did not in time, or because force was asked for. */
  readonly wasDestroyed: boolean;
  /** Look again after this many milliseconds. */
  readonly requeueAfterMs: number;
}

/** What a stop needs. */
export interface StopContext {
  readonly requests: ShutdownRequests;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** When the guest was first asked; the caller has noted it. */
  readonly since: number;
  /** How long it may take. */
  readonly graceMs: number;
  readonly force: boolean;
  readonly options: LibvirtCallOptions;
}

/**
 * Does the next step of a stop.
 *
 * @throws LibvirtError when libvirt refuses to power it off; OutcomeUnknownError when it did not answer.
 */
export async function continueStop(view: DomainView, context: StopContext): Promise<StopProgress> {
  const { requests, now, since, graceMs, force, options } = context;
  const { domain } = view;
  if (view.state === 'off') {
    requests.forget(domain.uuid);
    return { isOff: true, wasDestroyed: false, requeueAfterMs: 0 };
  }
  const left = since + graceMs - now;
  if (force || left <= 0 || view.state === 'crashed') {
    await destroy(view, options);
    requests.forget(domain.uuid);
    return { isOff: true, wasDestroyed: true, requeueAfterMs: 0 };
  }
  const turn = requests.turn(domain.uuid, now);
  if (turn !== undefined) {
    // A paused or sleeping guest hears nothing.
    if (view.state === 'paused') await resume(view, options);
    if (view.state === 'suspended') await quietly(domain.pmWakeup(options));
    await ask(view, turn, options);
  }
  return { isOff: false, wasDestroyed: false, requeueAfterMs: Math.min(left, 1_500) + 20 };
}

/** Powers a domain off. */
export async function destroy(view: DomainView, options: LibvirtCallOptions): Promise<void> {
  try {
    await view.domain.destroy(options);
  } catch (error) {
    if (!isNotRunning(error)) throw error;
  }
}

/** Whether the guest agent answers, as libvirt sees its channel. */
export function isAgentConnected(live: DataObject | undefined): boolean {
  return devicesOf(live, 'channel').some(
    (channel) =>
      memberAt(channel, 'target', 'name') === 'org.qemu.guest_agent.0' &&
      memberAt(channel, 'target', 'state') === 'connected',
  );
}

/** Whether it has a channel for an agent at all. */
export function hasAgentChannel(live: DataObject | undefined): boolean {
  return devicesOf(live, 'channel').some((channel) => memberAt(channel, 'target', 'name') === 'org.qemu.guest_agent.0');
}

async function ask({ domain, live }: DomainView, turn: number, options: LibvirtCallOptions): Promise<void> {
  const short = { timeoutMs: 15_000 };
  options.signal?.throwIfAborted();
  // The agent first, the button the second time: one of them may be heard where the other is not.
  if (isAgentConnected(live) && turn % 2 === 0) {
    try {
      await domain.shutdown({ guestAgent: true, ...short });
      return;
    } catch (error) {
      if (!isAgentUnavailable(error) && !(error instanceof LibvirtError)) throw error;
    }
  }
  await quietly(domain.shutdown({ acpiPowerBtn: true, ...short }), () => domain.shutdown(short));
}

/** A request that the domain's state refuses by now, or that the driver only knows in another way. */
async function quietly(request: Promise<void>, otherwise?: () => Promise<void>): Promise<void> {
  try {
    await request;
  } catch (error) {
    if (!(error instanceof LibvirtError)) throw error;
    if (otherwise !== undefined && !isInvalidState(error)) await quietly(otherwise());
  }
}

/**
 * Whether a start was cut off before the guest's first instruction, so that nothing is lost with it. Of a guest that goes on
 * with saved memory libvirt has thrown away the file: it is noted when the start begins, and the guest brings the mark of the
 * boot that it was saved in, or its time.
 *
 * @param domain What status says of the domain: of the boot before, as long as this one has not come further.
 */
export function hasNeverRun(
  { state, boot }: DomainView,
  notes: PowerNotes,
  domain: VirtualMachineStatus['domain'],
): boolean {
  if (notes.bootStep !== 'Starting' || state !== 'paused' || domain?.savedState === true) return false;
  return boot === undefined || (boot.id === notes.boot && toKubernetesTime(boot.at) !== domain?.bootedAt);
}

/** Notes that begin a start; whether it goes on with saved memory cannot be seen any more once libvirt has. */
export function beginStart(boot: string, isSaved: boolean): Pick<StatusNotes, 'power' | 'domain'> {
  return { power: { boot, bootStep: 'Starting', stoppingSince: null }, domain: { savedState: isSaved } };
}

/** Notes that begin a stop; nothing to note when one goes on already. */
export function beginStop(notes: PowerNotes, now: number): { stoppingSince: string } | undefined {
  return notes.stoppingSince === undefined ? { stoppingSince: toKubernetesTime(now) } : undefined;
}
