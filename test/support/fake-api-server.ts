/** A small HTTP server that speaks as much of the Kubernetes API as a test tells it to, faults included. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Connection } from '../../src/kube/connection.ts';
import type { KubeconfigCluster, KubeconfigUser } from '../../src/kube/kubeconfig.ts';

/** What the server was asked. */
export interface SeenRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** Answers one request. */
export type Answer = (request: SeenRequest, response: ServerResponse) => void;

/** A running server. */
export interface FakeApiServer {
  readonly url: string;
  /** Every request so far, in order. */
  readonly seen: readonly SeenRequest[];
  /** Connections open now. */
  connections(): number;
  /** Connections ever made. */
  connectionsMade(): number;
  /** The raw server, to change its certificate. */
  readonly raw: Server;
  /** A connection to it. */
  connection(user?: KubeconfigUser, cluster?: Partial<KubeconfigCluster>): Connection;
  /** Breaks every connection and stops listening. */
  close(): Promise<void>;
}

/**
 * Starts one on a free port of 127.0.0.1.
 *
 * @param answer Answers each request.
 * @param tls Certificate and key (PEM) to serve HTTPS with; plain HTTP when left out.
 */
export async function startFakeApiServer(
  answer: Answer,
  tls?: { readonly cert: string; readonly key: string },
): Promise<FakeApiServer> {
  const seen: SeenRequest[] = [];
  const sockets = new Set<Socket>();
  let made = 0;
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => (body += text));
    request.on('end', () => {
      const url = new URL(request.url ?? '/', 'http://server');
      const one = { method: request.method ?? '', url, headers: request.headers, body };
      seen.push(one);
      answer(one, response);
    });
  };
  const server: Server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
  server.on('connection', (socket: Socket) => {
    made += 1;
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    seen,
    raw: server,
    connections: () => sockets.size,
    connectionsMade: () => made,
    connection: (user = {}, cluster = {}) => ({
      cluster: {
        server: url,
        caFile: undefined,
        caData: undefined,
        insecureSkipTlsVerify: false,
        tlsServerName: undefined,
        proxyUrl: undefined,
        ...cluster,
      },
      user,
      namespace: 'default',
      context: 'fake',
      source: 'test',
    }),
    async close() {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, 'close');
    },
  };
}

/** Answers with JSON. */
export function sendJson(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(body));
}

/** A Status object as an API server sends it. */
export function statusBody(code: number, reason: string, message: string, details: object = {}): object {
  return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason, details, code };
}
