/**
 * A way to an API server that lets a test act between two requests of a command: somebody else writes, the user presses
 * Ctrl-C, an answer gets lost. Every request goes on to the real server.
 */
import { rm, writeFile } from 'node:fs/promises';
import { request as httpsRequest } from 'node:https';
import { join } from 'node:path';
import { sendJson, startFakeApiServer, statusBody, type SeenRequest } from './fake-api-server.ts';
import { makeTestFolder } from './test-folder.ts';
import { selectConnection } from '../../src/kube/connection.ts';

/** What a test does about requests. Each is waited for. */
export interface Meddling {
  /** Before the server gets it. */
  readonly before?: (request: SeenRequest) => unknown;
  /** Says that so old a version is not known any more, instead of the server. */
  readonly expires?: (request: SeenRequest) => boolean;
  /** An HTTP status that the command hears instead of the server's, although that has done it; 0 for none. */
  readonly answers?: (request: SeenRequest, status: number) => number;
  /** After the server has done it, before the command hears of it. */
  readonly after?: (request: SeenRequest, status: number) => unknown;
}

/** The way. */
export interface MeddledApi {
  /** The path of a file for `--kubeconfig`. */
  readonly kubeconfig: string;
  /** Meddles from now on; nothing of what was said before. */
  meddle(meddling: Meddling): void;
  close(): Promise<void>;
}

/**
 * Opens one.
 *
 * @param kubeconfig The file of the real server.
 */
export async function startMeddledApi(kubeconfig: string): Promise<MeddledApi> {
  const { cluster, user } = await selectConnection({ kubeconfig, env: {}, home: '/', cwd: '/' });
  const folder = makeTestFolder('meddled');
  const [ca, cert, key] = [cluster.caData, user.certData, user.keyData];
  let now: Meddling = {};
  const server = await startFakeApiServer((request, response) => {
    const meddling = now;
    const forward = async (): Promise<void> => {
      await meddling.before?.(request);
      if (meddling.expires?.(request) === true) {
        sendJson(response, 410, statusBody(410, 'Expired', 'too old resource version'));
        return;
      }
      const { host: _host, connection: _connection, ...headers } = request.headers;
      const path = `${request.url.pathname}${request.url.search}`;
      const onward = httpsRequest(`${cluster.server}${path}`, {
        ...{ method: request.method, headers, ca, cert, key, agent: false },
      });
      onward.on('error', () => response.destroy());
      response.on('close', () => onward.destroy());
      onward.on('response', (answer) => {
        const pass = async (): Promise<void> => {
          await meddling.after?.(request, answer.statusCode ?? 0);
          const code = meddling.answers?.(request, answer.statusCode ?? 0) ?? 0;
          if (code !== 0) {
            answer.resume();
            sendJson(response, code, statusBody(code, 'Timeout', 'it took too long'));
            return;
          }
          response.writeHead(answer.statusCode ?? 500, answer.headers);
          answer.pipe(response);
        };
        pass().catch(() => response.destroy());
      });
      onward.end(request.body);
    };
    forward().catch(() => response.destroy());
  });
  const path = join(folder, 'kubeconfig');
  const config = {
    ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'meddled' },
    clusters: [{ name: 'meddled', cluster: { server: server.url } }],
    users: [{ name: 'meddled', user: {} }],
    contexts: [{ name: 'meddled', context: { cluster: 'meddled', user: 'meddled' } }],
  };
  await writeFile(path, JSON.stringify(config));
  return {
    kubeconfig: path,
    meddle(meddling) {
      now = meddling;
    },
    async close() {
      await server.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Does something at the first call that fits, and never again. */
export function once(fits: (request: SeenRequest) => boolean, act: () => unknown): (request: SeenRequest) => unknown {
  let isDone = false;
  return (request) => {
    if (isDone || !fits(request)) return undefined;
    isDone = true;
    return act();
  };
}
