/** The HTTPS server that an API server asks for admission: `POST /admit`, and `GET /readyz` for probes. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { AdmissionReview } from '../../api/review-admission.ts';
import { withDeadline } from '../../base/abort.ts';
import { toError, UnreachableError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import type { KeyPair } from '../../base/pki/certificate.ts';

/** Where reviews are sent to. */
export const admissionPath = '/admit';
/** A review holds two objects of at most 1.5 MiB each, as JSON in JSON. */
const maxBodyBytes = 8 * 1024 * 1024;
const maxConnections = 512;

/** Options of {@link startWebhookServer}. */
export interface WebhookServerOptions {
  readonly host: string;
  /** 0 for any free port. */
  readonly port: number;
  /** What to serve with at first. */
  readonly certificate: KeyPair;
  /** Decides; undefined for a body that is no review. */
  readonly review: (body: unknown, signal: AbortSignal) => Promise<AdmissionReview | undefined>;
  /** Why it cannot decide now, if so. */
  readonly problem: () => string | undefined;
  /** A review has this long, in milliseconds: less than the API server waits. */
  readonly timeoutMs: number;
  readonly logger: Logger;
}

/** A running server. */
export interface WebhookServer {
  readonly port: number;
  /** Serves new connections with another certificate. */
  use(certificate: KeyPair): void;
  /** Ends it; answers that are being made are cut off. */
  close(): Promise<void>;
}

/**
 * Starts the server.
 *
 * @throws UnreachableError when the address cannot be listened on.
 */
export async function startWebhookServer(options: WebhookServerOptions): Promise<WebhookServer> {
  const { host, port, certificate, logger } = options;
  const stop = new AbortController();
  const server = createServer(contextOf(certificate), (request, response) => {
    answer(options, request, response, stop.signal).catch((error: unknown) => {
      // 500, as everything that is not a review: the API server then does as its failurePolicy says.
      logger.warn('cannot answer a review', { error: toError(error) });
      if (response.headersSent) response.destroy();
      else send(response, 500, { message: toError(error).message });
    });
  });
  server.maxConnections = maxConnections;
  server.requestTimeout = 30_000;
  server.headersTimeout = 10_000;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      reject(new UnreachableError(`cannot listen on ${host}:${port} for admission reviews`, { cause }));
    });
    server.listen(port, host, resolve);
  });
  server.on('error', (error) => logger.error('the admission webhook failed', { error }));
  return {
    port: (server.address() as AddressInfo).port,
    use: (next) => server.setSecureContext(contextOf(next)),
    async close() {
      stop.abort();
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

function contextOf({ certificate, key }: KeyPair): { cert: string; key: string; minVersion: 'TLSv1.2' } {
  return { cert: certificate, key, minVersion: 'TLSv1.2' };
}

async function answer(
  options: WebhookServerOptions,
  request: IncomingMessage,
  response: ServerResponse,
  stop: AbortSignal,
): Promise<void> {
  const path = (request.url ?? '').split('?')[0];
  const problem = options.problem();
  if (path === '/readyz' && request.method === 'GET') {
    send(response, problem === undefined ? 200 : 503, { message: problem ?? 'ok' });
    return;
  }
  if (path !== admissionPath) send(response, 404, { message: `there is only ${admissionPath} and /readyz` });
  else if (request.method !== 'POST') send(response, 405, { message: 'expected POST' });
  else if (problem !== undefined) send(response, 503, { message: problem });
  else {
    const text = await readBody(request);
    const body = text === undefined ? undefined : parse(text);
    if (text === undefined) {
      send(response, 413, { message: `the review is larger than ${maxBodyBytes} bytes` });
      // What is left of it is not read.
      response.once('finish', () => request.destroy());
      return;
    }
    const review = await withDeadline('a review', options.timeoutMs, stop, (signal) => options.review(body, signal));
    if (review === undefined) send(response, 400, { message: 'expected an AdmissionReview with a request' });
    else send(response, 200, review);
  }
}

async function readBody(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxBodyBytes) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function send(response: ServerResponse, status: number, body: object): void {
  const text = JSON.stringify(body);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  response.end(text);
}
