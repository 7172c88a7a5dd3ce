import type { Difference } from './compare.ts';
import { kibOf } from './same-value.ts';

/** How long a guest may take to give a device back before that is told as waiting for a restart, in milliseconds. */
const detachPatienceMs = 20_000;

/** How long a balloon may stand still, short of where it is to be, before that is told as a failure, in milliseconds. */
const balloonPatienceMs = 20_000;

/**
 * A guest is not asked again sooner, in milliseconds: PCIe's attention button, pressed again within five seconds, takes the
 * request back.
 */
const askAgainMs = 12_000;

/** More than a node asks for at any time; beyond it all is forgotten, and asked once more. */
const maxRequests = 10_000;

/** How a request goes on. */
export interface RequestProgress {
  /** It is waited for; otherwise it is told as refused. */
  readonly isPatient: boolean;
  /** How far it is, or why it is not waited for any longer. */
  readonly message: string;
}

interface Balloon {
  readonly to: bigint;
  readonly startKib: bigint;
  atKib: bigint;
  movedAt: number;
}

/**
 * What guests were asked for and need not do at once: to give devices and memory back. By domain and path (`UUID path`).
 * Lost with the process: then they are asked once more.
 */
export class GuestRequests {
  readonly #asked = new Map<string, { readonly since: number; last: number }>();
  readonly #balloons = new Map<string, Balloon>();

  /** Whether it is time to ask for a device; it counts as asked then. */
  isTurn(key: string, now: number): boolean {
    const known = this.#asked.get(key);
    if (known !== undefined && now - known.last < askAgainMs) return false;
    if (known !== undefined) known.last = now;
    else {
      if (this.#asked.size > maxRequests) this.#asked.clear();
      this.#asked.set(key, { since: now, last: now });
    }
    return true;
  }

  /** It was refused at once: the guest was not asked. */
  forget(key: string): void {
    this.#asked.delete(key);
  }

  /** Whether a device is still waited for. */
  isPatient(key: string, now: number): boolean {
    return now - (this.#asked.get(key)?.since ?? now) < detachPatienceMs;
  }

  /** Notes where a balloon stands that was asked to be elsewhere. It is waited for as long as it moves. */
  balloon(key: string, { from, to }: Pick<Difference, 'from' | 'to'>, now: number): RequestProgress {
    const [at = 0n, target = 0n] = [kibOf(from), kibOf(to)];
    const known = this.#balloons.get(key);
    if (known?.to !== target) {
      if (this.#balloons.size > maxRequests) this.#balloons.clear();
      this.#balloons.set(key, { to: target, startKib: at, atKib: at, movedAt: now });
    } else if (known.atKib !== at) {
      known.atKib = at;
      known.movedAt = now;
    }
    const { startKib, movedAt } = this.#balloons.get(key) ?? { startKib: at, movedAt: now };
    const isPatient = now - movedAt < balloonPatienceMs;
    const where = `the balloon is at ${at} KiB, to be at ${target} KiB`;
    if (isPatient) return { isPatient, message: `${where}: the guest is moving it` };
    const why =
      startKib === at
        ? 'the guest does not move it: it has no balloon driver, or it has not started it'
        : 'and it stands';
    return { isPatient, message: `${where}: ${why}` };
  }

  /** Forgets those of a domain whose paths are no longer asked for. */
  keepOnly(domain: string, paths: ReadonlySet<string>): void {
    for (const map of [this.#asked, this.#balloons]) {
      for (const key of map.keys()) {
        if (key.startsWith(`${domain} `) && !paths.has(key.slice(domain.length + 1))) map.delete(key);
      }
    }
  }
}
