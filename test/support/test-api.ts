/** The project's own API server with the project's kinds, in this process, and a client of it: for tests of commands. */
import { rm } from 'node:fs/promises';
import { makeTestFolder } from './test-folder.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { selectConnection } from '../../src/kube/connection.ts';
import { KubeClient } from '../../src/kube/kube-client.ts';
import { virtctlKinds } from '../../src/standalone/kinds/virtctl-kinds.ts';
import { startApiServer } from '../../src/standalone/server.ts';

/** A server that answers. */
export interface TestApi {
  readonly client: KubeClient;
  /** The path of a file for `--kubeconfig`. */
  readonly kubeconfig: string;
  /** Ends both, and removes what they kept. */
  close(): Promise<void>;
}

/**
 * Starts a server in a folder of its own.
 *
 * @param name Part of the folder's name, for people.
 */
export async function startTestApi(name: string): Promise<TestApi> {
  const folder = makeTestFolder(name);
  const server = await startApiServer({ folder, definitions: virtctlKinds(), logger: silentLogger, version: 'test' });
  const { kubeconfig } = server;
  const client = new KubeClient(await selectConnection({ kubeconfig, env: {}, home: '/', cwd: '/' }));
  return {
    client,
    kubeconfig,
    async close() {
      client.close();
      await server.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
