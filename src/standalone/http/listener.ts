/**
 * The HTTP side of the server: authenticates, finds out what a request is about, and answers errors as Status. Over TLS
 * on a port, and without on a socket in the data folder, which only its owner may open.
 */
import { rmSync } from 'node:fs';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Socket } from 'node:net';
import { ApiError, resourceNotFound, unauthorized } from './api-error.ts';
import { Authenticator } from './authenticator.ts';
import { negotiate } from './negotiation.ts';
import { parseResourcePath } from './request-info.ts';
import { sendText, sendValue } from './respond.ts';
import { serveResource } from './serve-resource.ts';
import { toError, UnreachableError } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import type { DiscoveryDocuments } from '../discovery/documents.ts';
import type { Credentials } from '../pki/credentials.ts';
import { StorageFailedError, StoreFullError } from '../storage/storage-error.ts';
import type { ApiState } from '../verbs/api-state.ts';
import type { WatchHub } from '../verbs/watch.ts';

/** Connections beyond this are refused. */
const maxConnections = 4096;

export interface ListenerOptions {
  readonly state: ApiState;
  readonly hub: WatchHub;
  readonly credentials: Credentials;
  readonly documents: DiscoveryDocuments;
  readonly logger: Logger;
  /** An address of this machine. */
  readonly host: string;
  /** 0 for any free one. */
  readonly port: number;
  /** The path of the socket; none when left out. Whoever may open it is the administrator. */
  readonly socket?: string | undefined;
}

/** A listening server. */
export interface Listener {
  readonly port: number;
  readonly close: () => Promise<void>;
}

/** @throws UnreachableError when the address or the socket cannot be listened on. */
export async function listen(options: ListenerOptions): Promise<Listener> {
  const authenticator = new Authenticator(options.credentials, options.state.now);
  const port = await listenOnPort(options, authenticator);
  try {
    const local =
      options.socket === undefined ? undefined : await listenOnSocket(options, authenticator, options.socket);
    return {
      port: port.port,
      close: async () => {
        await Promise.all([port.close(), local?.close()]);
      },
    };
  } catch (error) {
    await port.close();
    throw error;
  }
}

/** What both servers have. */
const serverOptions = { keepAliveTimeout: 120_000 };

async function listenOnPort(options: ListenerOptions, authenticator: Authenticator): Promise<Listener> {
  const { credentials } = options;
  const server = createServer(
    {
      cert: credentials.server.certificate,
      key: credentials.server.key,
      ca: credentials.authority.certificate,
      requestCert: true,
      rejectUnauthorized: false,
      minVersion: 'TLSv1.2',
      ...serverOptions,
    },
    (request, response) => void answer(options, authenticator, request, response),
  );
  server.maxConnections = maxConnections;
  const sockets = new Set<Socket>();
  server.on('secureConnection', (socket) => {
    socket.setNoDelay(true);
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(new UnreachableError(`cannot listen on ${options.host} port ${options.port}`, { cause: error })),
    );
    server.listen(options.port, options.host, resolve);
  });
  return { port: (server.address() as AddressInfo).port, close: () => close(server, sockets) };
}

async function listenOnSocket(
  options: ListenerOptions,
  authenticator: Authenticator,
  path: string,
): Promise<Omit<Listener, 'port'>> {
  // Whoever could open it is the administrator; a token that is given has to be right all the same.
  const local = {
    authenticate: (request: IncomingMessage) =>
      request.headers.authorization === undefined || authenticator.authenticate(request),
  };
  const server = createHttpServer(serverOptions, (request, response) => void answer(options, local, request, response));
  server.maxConnections = maxConnections;
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  // What a crash left; the folder is locked.
  rmSync(path, { force: true });
  // Node.js binds before listen() returns: at no moment can others open it, whatever the folder's mode is.
  const umask = process.umask(0o177);
  const listening = new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(new UnreachableError(`cannot listen on ${path}`, { cause: error })));
    server.listen(path, resolve);
  });
  process.umask(umask);
  await listening;
  return { close: () => close(server, sockets) };
}

function close(server: Server, sockets: ReadonlySet<Socket>): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeIdleConnections();
    // What is still open after this has had its chance.
    setTimeout(() => {
      for (const socket of sockets) socket.destroy();
    }, 500).unref();
  });
}

async function answer(
  options: ListenerOptions,
  authenticator: Pick<Authenticator, 'authenticate'>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  try {
    if (!authenticator.authenticate(request)) throw unauthorized();
    await route(options, request, response);
  } catch (thrown) {
    fail(options, request, response, toError(thrown));
  }
}

async function route(options: ListenerOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const [path, search] = splitOnce(request.url ?? '/', '?');
  const query = new URLSearchParams(search);
  if (options.documents.serve(path, request, response)) return;
  const info = /^\/apis?\//.test(path) ? parseResourcePath(path, options.state.registry) : 'unknown-group';
  if (info === 'unknown-group') {
    sendText(response, 404, '404 page not found\n');
    return;
  }
  if (info === 'unknown-resource') {
    if (path.startsWith('/apis/')) {
      sendText(response, 404, '404 page not found\n');
      return;
    }
    throw resourceNotFound();
  }
  const { state, hub } = options;
  await serveResource({ state, hub, info, query, request, response });
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

function fail(options: ListenerOptions, request: IncomingMessage, response: ServerResponse, error: Error): void {
  const known = asApiError(error);
  if (known === undefined) {
    options.logger.error('request failed', { method: request.method, url: request.url, error });
  }
  const status = (known ?? new ApiError(500, 'InternalError', `Internal error occurred: ${error.message}`)).status;
  if (response.headersSent) {
    // The answer has begun; all that is left is to end it so that nobody takes it for whole.
    response.destroy();
    return;
  }
  if (error instanceof ApiError && error.code === 413) response.setHeader('connection', 'close');
  sendValue(response, status.code ?? 500, status, formatOf(request));
}

function asApiError(error: Error): ApiError | undefined {
  if (error instanceof ApiError) return error;
  if (error instanceof StoreFullError) return new ApiError(507, 'InsufficientStorage', error.message);
  if (!(error instanceof StorageFailedError)) return undefined;
  const cause = error.cause instanceof Error ? `: ${error.cause.message}` : '';
  return new ApiError(500, 'InternalError', `Internal error occurred: ${error.message}${cause}`);
}

function formatOf(request: IncomingMessage): 'json' | 'yaml' {
  try {
    return negotiate(request.headers.accept).format;
  } catch (error) {
    if (error instanceof ApiError) return 'json';
    throw error;
  }
}
