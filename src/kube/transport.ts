/**
 * HTTP to one API server: TLS as the kubeconfig says, keep-alive connections, deadlines, bounded answers, and a retry
 * where repeating is safe. Knows nothing of resources.
 */
import { readFile } from 'node:fs/promises';
import { Agent as HttpAgent, request as httpRequest } from 'node:http';
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import type * as Https from 'node:https';
import { isIP } from 'node:net';
import type { Connection } from './connection.ts';
import { usableSocket } from './local-socket.ts';
import { Credentials } from './credentials.ts';
import type { Identity } from './credentials.ts';
import { isUnauthorized, retryAfterMs, statusError, statusOf } from './status-error.ts';
import { onAbort, withDeadline } from '../base/abort.ts';
import { backoffMs } from '../base/backoff.ts';
import type { BackoffPolicy } from '../base/backoff.ts';
import type { Clock } from '../base/clock.ts';
import { FailedError, UnreachableError, VirtctlError } from '../base/errors.ts';

/** One request. */
export interface TransportRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Path and query below the server's address, as `/api/v1/secrets?limit=1`. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly body?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Until the whole answer is there, retries included; the transport's default when left out. */
  readonly timeoutMs?: number | undefined;
}

/** Limits of a {@link Transport}. */
export interface TransportOptions {
  readonly clock: Clock;
  readonly random: () => number;
  readonly userAgent: string;
  /** For requests that give no deadline of their own. */
  readonly timeoutMs: number;
  /** An answer that is longer is an error. */
  readonly maxResponseBytes: number;
  /** How many times a request is repeated at most. */
  readonly maxRetries: number;
  /**
   * Use the cluster's socket, if it has one that works; else TLS. For short calls: it saves the handshake, which takes
   * longer than all the rest of a small command.
   */
  readonly useSocket: boolean;
  /** Is told what the server warns of in an answer, such as an unknown field or a deprecated version. */
  readonly onWarning?: ((text: string) => void) | undefined;
  /** Is told the server's clock with each answer: wall-clock milliseconds, in whole seconds. */
  readonly onServerTime?: ((time: number) => void) | undefined;
}

const retryBackoff: BackoffPolicy = { initialMs: 100, maxMs: 5_000, factor: 2, jitter: 0.5 };
/** Idle connections are closed before kube-apiserver (90 s) and usual load balancers (60 s) close them. */
const idleSocketMs = 30_000;
/** CA and client certificate files are looked at again after this long. */
const tlsFreshForMs = 60_000;

/** Certificate errors of Node.js that a rotated CA file explains. */
const certificateErrors = new Set([
  'CERT_HAS_EXPIRED',
  'CERT_SIGNATURE_FAILURE',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

interface Agents {
  /** What they were made from. */
  readonly fingerprint: string;
  /** For requests; bounded. */
  readonly requests: HttpAgent;
  /** For streams, each of which keeps a connection for itself. */
  readonly streams: HttpAgent;
}

/** HTTP to one API server as one user. Close it when done: it keeps connections. */
export class Transport {
  readonly #connection: Connection;
  readonly #base: URL;
  readonly #credentials: Credentials;
  readonly #options: TransportOptions;
  #agents: Agents | undefined;
  #ca: { readonly text: string | undefined; readonly atMs: number } | undefined;
  /** Undefined until it is looked for; false when it is not to be used. */
  #socket: string | false | undefined;

  /** @throws FailedError when the connection asks for what is not supported (a proxy, another protocol). */
  constructor(connection: Connection, options: TransportOptions) {
    this.#connection = connection;
    this.#options = options;
    this.#base = parseServer(connection);
    this.#credentials = new Credentials(connection.user, options.clock);
  }

  /**
   * Sends a request and reads the answer as JSON.
   *
   * Repeats it only where that is safe: after 429 or 503 with `Retry-After` (the server did not do it), a GET also after
   * a connection that was reset; after 401 once with fresh credentials; after a TLS failure once with the CA file read
   * again.
   *
   * @returns The parsed body; its text when it is not JSON.
   * @throws a StatusError for an answer that is not a success; UnreachableError, TimedOutError; the signal's reason.
   */
  async request(request: TransportRequest): Promise<unknown> {
    const what = `${request.method} ${pathOnly(request.path)}`;
    const timeoutMs = request.timeoutMs ?? this.#options.timeoutMs;
    const end = this.#options.clock.monotonicMs() + timeoutMs;
    return withDeadline(what, timeoutMs, request.signal, (signal) =>
      this.#repeat(request, signal, end, async () => {
        const response = await this.#open(request, signal, 'requests');
        const text = await readText(response, this.#options.maxResponseBytes, what, signal);
        const body = parseBody(text);
        this.#passWarningsOn(response);
        this.#passTimeOn(response);
        if (isSuccess(response)) return body;
        throw this.#statusError(response, body, what);
      }),
    );
  }

  /**
   * Sends a GET and hands over the answer as a stream, once its head is there. The caller reads or destroys it; the
   * signal ends it at any time.
   *
   * @throws as {@link request}; `timeoutMs` covers the time until the head.
   */
  async stream(request: TransportRequest): Promise<IncomingMessage> {
    const what = `${request.method} ${pathOnly(request.path)}`;
    const timeoutMs = request.timeoutMs ?? this.#options.timeoutMs;
    const end = this.#options.clock.monotonicMs() + timeoutMs;
    const whole = new AbortController();
    request.signal?.throwIfAborted();
    const forget =
      request.signal === undefined ? undefined : onAbort(request.signal, () => whole.abort(request.signal?.reason));
    try {
      const response = await withDeadline(what, timeoutMs, request.signal, (signal) =>
        this.#repeat(request, signal, end, async () => {
          const response = await this.#open(request, signal, 'streams', whole.signal);
          if (isSuccess(response)) return response;
          const text = await readText(response, this.#options.maxResponseBytes, what, signal);
          throw this.#statusError(response, parseBody(text), what);
        }),
      );
      response.once('close', () => forget?.());
      return response;
    } catch (error) {
      forget?.();
      throw error;
    }
  }

  /** Closes the idle connections; those in use end with their requests. */
  close(): void {
    this.#agents?.requests.destroy();
    this.#agents?.streams.destroy();
    this.#agents = undefined;
  }

  async #repeat<T>(
    request: TransportRequest,
    signal: AbortSignal,
    endMs: number,
    attempt: () => Promise<T>,
  ): Promise<T> {
    const { clock, maxRetries, random } = this.#options;
    let renewed = false;
    for (let retries = 0; ; retries++) {
      try {
        return await attempt();
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof SocketError) {
          // Left over from a server that is gone, or not for us: nothing was sent.
          this.#socket = false;
          continue;
        }
        if (!renewed && (isUnauthorized(error) || isCertificateError(error))) {
          renewed = true;
          this.#credentials.invalidate();
          this.#ca = undefined;
          continue;
        }
        const waitMs = retryWaitMs(error, request, () => backoffMs(retryBackoff, retries, random));
        // An answer that says why is worth more than the deadline's.
        if (waitMs === undefined || retries >= maxRetries || clock.monotonicMs() + waitMs >= endMs) throw error;
        await clock.sleep(waitMs, signal);
      }
    }
  }

  async #open(
    request: TransportRequest,
    signal: AbortSignal,
    pool: 'requests' | 'streams',
    lifetime: AbortSignal = signal,
  ): Promise<IncomingMessage> {
    const identity = await this.#credentials.identity();
    this.#socket ??= this.#options.useSocket && (await usableSocket(this.#connection));
    const socketPath = this.#socket === false ? undefined : this.#socket;
    const secure = socketPath === undefined && this.#base.protocol === 'https:';
    // Loaded when needed, with all of TLS.
    const https = secure ? await import('node:https') : undefined;
    const agents = await this.#agentsFor(identity, socketPath, https);
    signal.throwIfAborted();
    const headers: OutgoingHttpHeaders = {
      accept: 'application/json',
      'user-agent': this.#options.userAgent,
      ...request.headers,
    };
    for (const [name, value] of Object.entries(identity.headers)) {
      headers[name] = typeof value === 'string' ? value : [...value];
    }
    const body = request.body === undefined ? undefined : Buffer.from(request.body);
    if (body !== undefined) headers['content-length'] = body.length;
    const isSecure = this.#base.protocol === 'https:';
    const options = {
      method: request.method,
      hostname: hostnameOf(this.#base),
      port: this.#base.port === '' ? (isSecure ? 443 : 80) : Number(this.#base.port),
      path: `${this.#base.pathname.replace(/\/$/, '')}${request.path}`,
      headers,
      agent: agents[pool],
      ...(socketPath === undefined ? {} : { socketPath }),
    };
    return new Promise((resolve, reject) => {
      const sent = https === undefined ? httpRequest(options) : https.request(options);
      // Both end the exchange; the request's own `signal` option would also break a connection that is idle again.
      const abort = (): void => void sent.destroy(asError((signal.aborted ? signal : lifetime).reason));
      signal.addEventListener('abort', abort, { once: true });
      lifetime.addEventListener('abort', abort, { once: true });
      sent.once('response', (response) => {
        if (lifetime !== signal) signal.removeEventListener('abort', abort);
        response.once('close', () => {
          signal.removeEventListener('abort', abort);
          lifetime.removeEventListener('abort', abort);
        });
        resolve(response);
      });
      sent.on('error', (error) => {
        signal.removeEventListener('abort', abort);
        lifetime.removeEventListener('abort', abort);
        if (signal.aborted) reject(asError(signal.reason));
        else if (socketPath !== undefined && isNotConnected(error)) reject(new SocketError(error.message));
        else reject(this.#connectionError(error));
      });
      sent.end(body);
    });
  }

  async #agentsFor(
    identity: Identity,
    socketPath: string | undefined,
    https: typeof Https | undefined,
  ): Promise<Agents> {
    const ca = https === undefined ? undefined : await this.#readCa();
    const fingerprint = JSON.stringify([socketPath, ca, identity.cert, identity.key]);
    if (this.#agents?.fingerprint === fingerprint) return this.#agents;
    // Requests under way keep their connections; the old agents' idle ones close.
    this.close();
    const common = { keepAlive: true, keepAliveMsecs: 15_000, timeout: idleSocketMs, scheduling: 'lifo' as const };
    const make = (maxSockets: number): HttpAgent => {
      if (https === undefined) return new HttpAgent({ ...common, maxSockets });
      const { insecureSkipTlsVerify, tlsServerName } = this.#connection.cluster;
      const host = hostnameOf(this.#base);
      const serverName = tlsServerName ?? (isIP(host) === 0 ? host : undefined);
      return new https.Agent({
        ...common,
        maxSockets,
        minVersion: 'TLSv1.2',
        rejectUnauthorized: !insecureSkipTlsVerify,
        ...(ca === undefined ? {} : { ca }),
        ...(identity.cert === undefined ? {} : { cert: identity.cert }),
        ...(identity.key === undefined ? {} : { key: identity.key }),
        ...(serverName === undefined ? {} : { servername: serverName }),
      });
    };
    this.#agents = { fingerprint, requests: make(16), streams: make(Infinity) };
    return this.#agents;
  }

  async #readCa(): Promise<string | undefined> {
    const { caData, caFile } = this.#connection.cluster;
    // As in client-go, inline data wins over the file.
    if (caData !== undefined || caFile === undefined) return caData;
    const now = this.#options.clock.monotonicMs();
    if (this.#ca === undefined || now - this.#ca.atMs > tlsFreshForMs) {
      try {
        this.#ca = { text: await readFile(caFile, 'utf8'), atMs: now };
      } catch (error) {
        throw new FailedError('cannot read the certificate authority of the kubeconfig', { cause: error });
      }
    }
    return this.#ca.text;
  }

  /** `Warning: 299 - "text"` (RFC 7234, 5.5), as kube-apiserver sends it since 1.19. */
  #passWarningsOn(response: IncomingMessage): void {
    const { onWarning } = this.#options;
    const header = response.headers.warning;
    if (onWarning === undefined || header === undefined) return;
    // Node.js reads headers as Latin-1, the server writes UTF-8.
    const decoded = Buffer.from(header, 'latin1').toString('utf8');
    for (const [, text] of decoded.matchAll(/299 \S+ "((?:[^"\\]|\\.)*)"/g)) {
      if (text !== undefined) onWarning(text.replace(/\\(.)/g, '$1'));
    }
  }

  /** `Date` (RFC 9110, 6.6.1): Go's server and Node's both send it. */
  #passTimeOn(response: IncomingMessage): void {
    const time = Date.parse(response.headers.date ?? '');
    if (!Number.isNaN(time)) this.#options.onServerTime?.(time);
  }

  #statusError(response: IncomingMessage, body: unknown, what: string): VirtctlError {
    const retryAfter = response.headers['retry-after'];
    return statusError(response.statusCode ?? 0, body, { what, retryAfter, now: this.#options.clock.now() });
  }

  #connectionError(error: Error): Error {
    if (error instanceof VirtctlError) return error;
    return new UnreachableError(`cannot reach the API server at ${this.#base.origin}`, {
      cause: error,
      hint: hintFor(error, this.#connection),
    });
  }
}

/** The socket could not be connected to. */
class SocketError extends Error {}

function isNotConnected(error: NodeJS.ErrnoException): boolean {
  return error.syscall === 'connect';
}

function retryWaitMs(error: unknown, request: TransportRequest, backoff: () => number): number | undefined {
  const status = statusOf(error);
  if (status !== undefined) {
    if (status.code !== 429 && status.code < 500) return undefined;
    return status.code === 429 ? (retryAfterMs(error) ?? backoff()) : retryAfterMs(error);
  }
  if (request.method !== 'GET' || !(error instanceof UnreachableError)) return undefined;
  const code = (error.cause as NodeJS.ErrnoException | undefined)?.code;
  return code === 'ECONNRESET' || code === 'EPIPE' ? backoff() : undefined;
}

function isCertificateError(error: unknown): boolean {
  const code = (error as { cause?: NodeJS.ErrnoException }).cause?.code;
  return error instanceof UnreachableError && code !== undefined && certificateErrors.has(code);
}

function parseServer(connection: Connection): URL {
  const { server, proxyUrl } = connection.cluster;
  if (proxyUrl !== undefined) {
    throw new FailedError(`the cluster of context "${connection.context}" sets proxy-url, which is not supported`, {
      hint: 'forward a port to the API server instead, or reach it directly',
    });
  }
  let url: URL;
  try {
    url = new URL(server.includes('://') ? server : `https://${server}`);
  } catch (error) {
    throw new FailedError(`"${server}" in ${connection.source} is not an address of a server`, { cause: error });
  }
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    throw new FailedError(`"${server}" in ${connection.source} must begin with https:// or http://`);
  }
  return url;
}

function hostnameOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '');
}

function pathOnly(path: string): string {
  return path.split('?')[0] ?? path;
}

function isSuccess(response: IncomingMessage): boolean {
  const status = response.statusCode ?? 0;
  return status >= 200 && status < 300;
}

async function readText(
  response: IncomingMessage,
  maxBytes: number,
  what: string,
  signal: AbortSignal,
): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > maxBytes) throw new FailedError(`the answer to ${what} is longer than ${maxBytes} bytes`);
      chunks.push(chunk);
    }
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof VirtctlError) throw error;
    throw new UnreachableError(`the API server broke off its answer to ${what}`, { cause: error });
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parseBody(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Health checks answer plain text, and proxies HTML.
    return text;
  }
}

function hintFor(error: Error, connection: Connection): string | undefined {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  if (certificateErrors.has(code)) {
    return `the certificate does not fit the authority or name in ${connection.source}: is the kubeconfig of this server?`;
  }
  if (code === 'ECONNREFUSED') return 'is the API server running there? `virtctl standalone` starts a local one';
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return `check the server's name in ${connection.source}`;
  return undefined;
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new FailedError('aborted', { cause: reason });
}
