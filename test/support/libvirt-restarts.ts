import { getEventListeners } from 'node:events';
import { readdirSync } from 'node:fs';
import { LibvirtError, OutcomeUnknownError, ConnectionError } from '../../src/libvirt/errors.ts';
import type { Libvirt } from '../../src/libvirt/libvirt.ts';
import { Supervisor } from '../../src/libvirt/supervisor.ts';
import type { LibvirtdNode } from './libvirtd.ts';

/** What {@link restartAgainAndAgain} counted. */
export interface RestartFigures {
  readonly rounds: number;
  /** `resynchronise` signals: one at first and one after each restart. */
  readonly resynchronised: number;
  /** Calls made, and how each ended. The last three add up to the first. */
  readonly calls: number;
  readonly answered: number;
  /** OutcomeUnknownError. */
  readonly unknown: number;
  /** ConnectionError: never sent. */
  readonly unsent: number;
  /** Open files of this process, before and after. */
  readonly filesBefore: number;
  readonly filesAfter: number;
  /** Listeners left on the signal that every call and the supervisor got. */
  readonly listenersAfter: number;
}

/** Calls in flight at each moment. */
const callers = 8;

/**
 * Kills and starts libvirtd `rounds` times below a supervised connection, while several callers call without a pause.
 *
 * @throws Whatever a call ends with that is neither an answer nor one of the errors that a lost connection has.
 */
export async function restartAgainAndAgain(node: LibvirtdNode, rounds: number): Promise<RestartFigures> {
  const filesBefore = openFiles();
  const controller = new AbortController();
  const { signal } = controller;
  const supervisor = new Supervisor({
    uri: node.uri,
    kinds: ['domain.lifecycle', 'network.lifecycle'],
    backoff: { initialMs: 20, maxMs: 200, factor: 2, jitter: 0.5 },
    signal,
  });
  const counts = { calls: 0, answered: 0, unknown: 0, unsent: 0 };
  let resynchronised = 0;
  let over = false;

  const call = async (libvirt: Libvirt): Promise<void> => {
    counts.calls += 1;
    try {
      await libvirt.rpc.call('nodeGetInfo', undefined, { signal, timeoutMs: 30_000 });
      counts.answered += 1;
    } catch (error) {
      if (error instanceof OutcomeUnknownError) counts.unknown += 1;
      else if (error instanceof ConnectionError) counts.unsent += 1;
      else if (error instanceof LibvirtError) counts.answered += 1;
      else throw error;
    }
  };
  const caller = async (): Promise<void> => {
    while (!over) await call(await supervisor.connected());
  };
  const callersDone = Promise.all(Array.from({ length: callers }, caller));

  let round = 0;
  for await (const event of supervisor) {
    if (event.type !== 'resynchronise') continue;
    resynchronised += 1;
    for (let count = 0; count < 20; count += 1) {
      await event.libvirt.rpc.call('connectListAllDomains', { needResults: 1, flags: 0 });
    }
    if (round === rounds) break;
    round += 1;
    const lost = new Promise<void>((resolve) => event.libvirt.rpc.onClose(() => resolve()));
    await node.signal('KILL');
    await lost;
    await node.start();
    if (round === rounds) over = true;
  }
  await callersDone;
  await supervisor.close();
  const listenersAfter = getEventListeners(signal, 'abort').length;
  return { rounds, resynchronised, ...counts, filesBefore, filesAfter: openFiles(), listenersAfter };
}

function openFiles(): number {
  return readdirSync('/proc/self/fd').length;
}
