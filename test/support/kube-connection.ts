import { dirname } from 'node:path';
import { selectConnection, type Connection } from '../../src/kube/connection.ts';

/** The connection that a kubeconfig names, and nothing of this machine's. */
export function parseConnection(kubeconfig: string): Promise<Connection> {
  const folder = dirname(kubeconfig);
  return selectConnection({ kubeconfig, env: {}, home: folder, cwd: folder });
}
