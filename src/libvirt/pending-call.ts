import { onAbort } from '../base/abort.ts';
import type { UnknownReason } from './errors.ts';
import type { Procedures } from './protocol.gen.ts';
import type { LibvirtStream } from './stream.ts';

/** Timers of Node.js go no further, in milliseconds. */
const maxTimerMs = 0x7fff_ffff;

/** A call whose answer has not come, with its deadline and signal. */
export class PendingCall {
  readonly name: keyof Procedures;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  /** The stream that the call opens. */
  stream: LibvirtStream | undefined;
  /** Whether it was handed to the socket. */
  sent = false;
  #timer: NodeJS.Timeout | undefined;
  #forget: (() => void) | undefined;

  constructor(name: keyof Procedures, resolve: (value: unknown) => void, reject: (error: Error) => void) {
    this.name = name;
    this.resolve = resolve;
    this.reject = reject;
  }

  /** Calls `giveUp` when the deadline runs out or the signal aborts, unless {@link unwatch} comes first. */
  watch(
    timeoutMs: number,
    signal: AbortSignal | undefined,
    giveUp: (reason: UnknownReason, message: string, cause: unknown) => void,
  ): void {
    if (timeoutMs !== Infinity) {
      this.#timer = setTimeout(
        () => {
          this.unwatch();
          giveUp('timeout', `${this.name}: libvirt did not answer within ${timeoutMs / 1000} s`, undefined);
        },
        Math.min(timeoutMs, maxTimerMs),
      );
    }
    if (signal === undefined) return;
    this.#forget = onAbort(signal, () => {
      this.unwatch();
      giveUp('aborted', `${this.name}: given up before libvirt answered`, signal.reason);
    });
  }

  unwatch(): void {
    clearTimeout(this.#timer);
    this.#forget?.();
  }
}
