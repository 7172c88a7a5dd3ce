import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'vitest';
import type { DecodedEvent, FeedItem, WatchedKind } from '../../src/libvirt/event-feed.ts';
import type { Domain } from '../../src/libvirt/objects/domain.ts';

/** Collects a feed's events, and waits for one that matches. */
export class EventLog {
  readonly #events: DecodedEvent[] = [];
  #woken: (() => void)[] = [];
  #error: Error | undefined;

  constructor(feed: AsyncIterable<FeedItem<WatchedKind>>) {
    this.#collect(feed).catch((error: unknown) => {
      this.#error = error as Error;
    });
  }

  /** Everything that came and was not expected yet. */
  get events(): readonly DecodedEvent[] {
    return this.#events;
  }

  /** Takes the first event that has these members, waiting for it if need be. */
  async expect(members: object, timeoutMs = 30_000): Promise<DecodedEvent> {
    const deadline = AbortSignal.timeout(timeoutMs);
    for (;;) {
      const index = this.#events.findIndex((event) => matches(event, members));
      const [found] = index < 0 ? [] : this.#events.splice(index, 1);
      if (found !== undefined) return found;
      if (this.#error !== undefined) throw this.#error;
      if (deadline.aborted) {
        // The message shows what came instead.
        expect(this.#events).toContainEqual(expect.objectContaining(members));
      }
      await Promise.race([
        new Promise<void>((resolve) => this.#woken.push(resolve)),
        delay(timeoutMs, undefined, { signal: deadline }).catch(() => undefined),
      ]);
    }
  }

  /** Waits until a test guest with an agent answers, so that it reacts to what is plugged in and to its buttons. */
  async guestIsUp(domain: Domain): Promise<void> {
    const deadline = Date.now() + 60_000;
    for (;;) {
      try {
        await domain.guest.command({ execute: 'guest-ping' }, { agentTimeoutSeconds: 2 });
        return;
      } catch (error) {
        if (Date.now() > deadline) throw error;
        await delay(200);
      }
    }
  }

  async #collect(feed: AsyncIterable<FeedItem<WatchedKind>>): Promise<void> {
    for await (const item of feed) {
      if (item.type === 'overflow') throw new Error(`${item.lost} events were lost`);
      this.#events.push(item.event);
      const woken = this.#woken;
      this.#woken = [];
      for (const wake of woken) wake();
    }
  }
}

function matches(value: unknown, members: unknown): boolean {
  if (typeof members !== 'object' || members === null) return Object.is(value, members);
  if (typeof value !== 'object' || value === null) return false;
  return Object.entries(members).every(([name, member]) => matches((value as Record<string, unknown>)[name], member));
}
