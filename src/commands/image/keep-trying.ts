import { backoffMs, reconnectBackoff } from '../../base/backoff.ts';
import type { Clock } from '../../base/clock.ts';
import { toError, UnreachableError, VirtctlError } from '../../base/errors.ts';
import { ExitCode } from '../../base/exit-code.ts';

/** What an attempt tells. */
export interface Attempt {
  /** How often the connection was lost before. */
  readonly losses: number;
  /** There is something to go on with from here on: a connection that is lost before is nothing to try again for. */
  readonly begun: (sent?: string) => void;
  /** More of it is done, as `32Mi of 96Mi`: the time that a lost connection may take begins anew. */
  readonly progressed: (sent: string) => void;
}

/** How {@link keepTrying} waits. */
export interface TryingOptions {
  readonly clock: Clock;
  /** Returns a number in [0, 1). */
  readonly random: () => number;
  /** How long it may take from the first failure after any progress until there is more, in milliseconds. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** Tells the user, in one line. */
  readonly say: (text: string) => void;
  /** What else than an unreachable server passes, once a connection was lost. */
  readonly isPassing: (error: unknown) => boolean;
}

/**
 * Does something that can go on where it was, again after each lost connection to libvirt or the API server, with waits
 * as reconnecting has everywhere.
 *
 * @throws What the attempt throws when it is nothing of a connection, or before it had begun; UnreachableError with what
 *   to do when the connection stays lost.
 */
export async function keepTrying(
  work: (attempt: Attempt) => Promise<void>,
  { clock, random, timeoutMs, signal, say, isPassing }: TryingOptions,
): Promise<void> {
  const state: { sent?: string; hasBegun: boolean; lostAtMs?: number | undefined; tries: number } = {
    hasBegun: false,
    tries: 0,
  };
  const attempt = (losses: number): Attempt => ({
    losses,
    begun: (sent) => {
      state.hasBegun = true;
      if (sent !== undefined) state.sent = sent;
    },
    progressed: (sent) => {
      state.sent = sent;
      state.lostAtMs = undefined;
      state.tries = 0;
    },
  });
  for (let losses = 0; ; losses += 1) {
    try {
      await work(attempt(losses));
      return;
    } catch (error) {
      const isLost = error instanceof VirtctlError && error.exitCode === ExitCode.Unreachable;
      const isTriedAgain = isLost || (state.lostAtMs !== undefined && isPassing(error));
      if (signal.aborted && state.sent !== undefined) say(`${state.sent} are there; the same command goes on`);
      if (!state.hasBegun || signal.aborted || !isTriedAgain) throw error;
      const nowMs = clock.monotonicMs();
      if (state.lostAtMs === undefined) say(`the connection was lost (${toError(error).message}); tries again`);
      state.lostAtMs ??= nowMs;
      const waitMs = backoffMs(reconnectBackoff, state.tries, random);
      if (nowMs + waitMs - state.lostAtMs > timeoutMs) {
        const text = state.sent === undefined ? '' : ` (${state.sent} are there)`;
        throw new UnreachableError(`the upload was cut off${text}`, {
          cause: error,
          hint: 'give the same command again: it goes on where it was',
        });
      }
      state.tries += 1;
      await clock.sleep(waitMs, signal);
    }
  }
}
