import type { IncomingMessage } from 'node:http';
import type { KubeObject } from './object.ts';
import { statusError } from './status-error.ts';
import { FailedError, TimedOutError, UnreachableError, VirtctlError } from '../base/errors.ts';

/** A change that a watch reports. */
export interface ObjectEvent<T extends KubeObject> {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly object: T;
}

/** The server's note that a watch has seen everything up to this resourceVersion. */
export interface BookmarkEvent {
  readonly type: 'BOOKMARK';
  readonly resourceVersion: string;
}

/** What a watch yields. */
export type WatchEvent<T extends KubeObject> = ObjectEvent<T> | BookmarkEvent;

/** Limits of {@link readWatch}. */
export interface WatchLimits {
  /** A stream that brings nothing for this long, not even a bookmark, is dead. */
  readonly idleTimeoutMs: number;
  /** One event that is longer is an error. */
  readonly maxEventBytes: number;
  readonly signal: AbortSignal | undefined;
}

/**
 * Reads the events of a watch (one JSON object a line) until the server ends it. Destroys the stream when left.
 *
 * @throws a StatusError for an ERROR event (410 Expired among them); TimedOutError when the stream went silent;
 *   UnreachableError when it broke; FailedError for anything that is no watch event; the signal's reason.
 */
export async function* readWatch<T extends KubeObject>(
  response: IncomingMessage,
  what: string,
  limits: WatchLimits,
): AsyncGenerator<WatchEvent<T>, void, undefined> {
  const lines = readLines(response, what, limits);
  for await (const line of lines) yield parseEvent<T>(line, what);
}

async function* readLines(
  response: IncomingMessage,
  what: string,
  limits: WatchLimits,
): AsyncGenerator<string, void, undefined> {
  const { idleTimeoutMs, maxEventBytes, signal } = limits;
  let rest: Buffer[] = [];
  let restBytes = 0;
  // Whoever consumes may take its time; only the server's silence counts.
  let waiting = true;
  const watchdog = setTimeout(() => {
    if (!waiting) watchdog.refresh();
    else response.destroy(new TimedOutError(`${what} brought nothing for ${idleTimeoutMs / 1000} s`));
  }, idleTimeoutMs);
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      watchdog.refresh();
      let start = 0;
      for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
        const line = Buffer.concat([...rest, chunk.subarray(start, end)]).toString('utf8');
        rest = [];
        restBytes = 0;
        start = end + 1;
        if (line.trim() === '') continue;
        waiting = false;
        yield line;
        waiting = true;
        watchdog.refresh();
      }
      if (start < chunk.length) {
        rest.push(chunk.subarray(start));
        restBytes += chunk.length - start;
      }
      if (restBytes > maxEventBytes) throw new FailedError(`an event of ${what} is longer than ${maxEventBytes} bytes`);
    }
    if (restBytes > 0) throw new UnreachableError(`${what} ended in the middle of an event`);
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof VirtctlError) throw error;
    throw new UnreachableError(`${what} broke off`, { cause: error });
  } finally {
    clearTimeout(watchdog);
    response.destroy();
  }
}

function parseEvent<T extends KubeObject>(line: string, what: string): WatchEvent<T> {
  let event: unknown;
  try {
    event = JSON.parse(line);
  } catch (error) {
    throw new FailedError(`${what} brought what is not JSON`, { cause: error });
  }
  const { type, object } = (event ?? {}) as { type?: unknown; object?: unknown };
  if (type === 'ERROR') {
    const code = (object as { code?: unknown } | undefined)?.code;
    throw statusError(typeof code === 'number' ? code : 500, object, { what });
  }
  const metadata = (object as Partial<KubeObject> | null | undefined)?.metadata;
  if (typeof metadata?.resourceVersion === 'string') {
    if (type === 'BOOKMARK') return { type, resourceVersion: metadata.resourceVersion };
    if ((type === 'ADDED' || type === 'MODIFIED' || type === 'DELETED') && typeof metadata.name === 'string') {
      return { type, object: object as T };
    }
  }
  throw new FailedError(`${what} brought what is not a watch event`);
}
