/** How a silent peer is noticed. */
export interface KeepalivePolicy {
  /** A ping is sent when nothing came for this long, in milliseconds. */
  readonly intervalMs: number;
  /** The connection is dead after this many pings without anything coming. */
  readonly count: number;
}

/** libvirt's own: dead after half a minute. */
export const defaultKeepalive: KeepalivePolicy = { intervalMs: 5000, count: 5 };

/** What a {@link KeepaliveTimer} does. */
export interface KeepaliveActions {
  readonly ping: () => void;
  /** The peer was silent for `silentMs`. */
  readonly dead: (silentMs: number) => void;
  /**
   * Whether silence is no proof of death now: while we do not read ourselves, or while as many calls are in flight as
   * libvirtd takes from one client (`max_client_requests`), after which it does not even read pings.
   */
  readonly excused: () => boolean;
}

/**
 * Pings a silent peer and tells when it is dead. While we do not read, it pings all the same: libvirtd takes any
 * message for a sign of life, and would close the connection of a client whose consumer is slow.
 */
export class KeepaliveTimer {
  readonly #policy: KeepalivePolicy;
  readonly #actions: KeepaliveActions;
  readonly #timer: NodeJS.Timeout;
  #heard = false;
  #silent = 0;

  constructor(policy: KeepalivePolicy, actions: KeepaliveActions) {
    this.#policy = policy;
    this.#actions = actions;
    this.#timer = setInterval(() => this.#tick(), policy.intervalMs);
    this.#timer.unref();
  }

  /** Something came from the peer. */
  heard(): void {
    this.#heard = true;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #tick(): void {
    if (this.#heard) {
      this.#heard = false;
      this.#silent = 0;
      return;
    }
    if (this.#actions.excused()) this.#silent = 0;
    if (this.#silent >= this.#policy.count) {
      this.#actions.dead((this.#silent + 1) * this.#policy.intervalMs);
      return;
    }
    this.#silent += 1;
    this.#actions.ping();
  }
}
