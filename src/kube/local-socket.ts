import { lstat } from 'node:fs/promises';
import process from 'node:process';
import type { Connection } from './connection.ts';

/**
 * The socket of a connection's cluster, if it may stand for the server: it is there, belongs to this user or to root, so
 * that nobody else can have put it there, and the user has no identity of its own that a request would have to carry.
 *
 * @returns Its path; false when it is not to be used.
 */
export async function usableSocket({ cluster, user }: Connection): Promise<string | false> {
  if (cluster.socket === undefined || user.impersonate !== undefined) return false;
  try {
    const found = await lstat(cluster.socket);
    const owners = [0, process.geteuid?.()];
    return found.isSocket() && owners.includes(found.uid) ? cluster.socket : false;
  } catch (error) {
    if (typeof (error as NodeJS.ErrnoException).code === 'string') return false;
    throw error;
  }
}
