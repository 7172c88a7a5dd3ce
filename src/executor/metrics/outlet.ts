/** The executor's HTTP outlet: /metrics, /healthz, /readyz. Loopback unless asked otherwise; GET and HEAD only. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { toError, UsageError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';

/** What the outlet tells. */
export interface OutletOptions {
  /** Host and port, as `127.0.0.1:9177`; port 0 for any. */
  readonly address: string;
  /** The text of /metrics. */
  readonly metrics: (signal: AbortSignal) => Promise<string>;
  /** Why it does not live; undefined when it does. */
  readonly health: () => string | undefined;
  /** Why it is not ready; undefined when it is. */
  readonly readiness: () => string | undefined;
  readonly logger: Logger;
}

/** A running outlet. */
export interface Outlet {
  /** Where it listens, as `http://127.0.0.1:9177`. */
  readonly url: string;
  close(): Promise<void>;
}

/** How long a scrape may take, in milliseconds: Prometheus gives up after ten seconds. */
const scrapeTimeoutMs = 9_000;

/**
 * Starts listening.
 *
 * @throws UsageError when the address cannot be one; the system's error when it is taken.
 */
export async function openOutlet(options: OutletOptions): Promise<Outlet> {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:[\]]+)):([0-9]{1,5})$/.exec(options.address);
  if (match === null || Number(match[3]) > 65535) {
    throw new UsageError(`"${options.address}" is no address: expected HOST:PORT, as 127.0.0.1:9177`);
  }
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 5_000 }, (request, response) => {
    const reply = (status: number, body: string, type = 'text/plain; charset=utf-8'): void => {
      response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' });
      response.end(request.method === 'HEAD' ? undefined : body);
    };
    const state = (problem: string | undefined): void =>
      problem === undefined ? reply(200, 'ok\n') : reply(503, `${problem}\n`);
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      reply(405, 'only GET and HEAD\n');
      return;
    }
    switch (request.url?.split('?')[0]) {
      case '/healthz':
        state(options.health());
        return;
      case '/readyz':
        state(options.readiness());
        return;
      case '/metrics':
        options.metrics(AbortSignal.timeout(scrapeTimeoutMs)).then(
          (text) => reply(200, text, 'text/plain; version=0.0.4; charset=utf-8'),
          (error: unknown) => {
            options.logger.warn('cannot tell the metrics', { error: toError(error) });
            reply(500, 'the metrics are not known now\n');
          },
        );
        return;
      default:
        reply(404, 'there are /metrics, /healthz and /readyz\n');
    }
  });
  server.maxConnections = 64;
  await listen(server, match[1] ?? match[2] ?? '', Number(match[3]));
  const { address, port, family } = server.address() as AddressInfo;
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
}
