import { isConflict } from '../kube/status-error.ts';

/** Somebody else's write in between (the executor's status, mostly) is no reason to fail: look again, decide again. */
const maxConflicts = 20;

/**
 * Reads and writes an object, again when somebody else wrote it in between.
 *
 * @param work Reads the object anew each time, and writes it with its resourceVersion.
 * @returns What `work` returned.
 * @throws What `work` throws; the conflict when it never ends.
 */
export async function retryOnConflict<T>(work: () => Promise<T>): Promise<T> {
  for (let conflicts = 0; ; conflicts += 1) {
    try {
      return await work();
    } catch (error) {
      if (!isConflict(error) || conflicts >= maxConflicts) throw error;
    }
  }
}
