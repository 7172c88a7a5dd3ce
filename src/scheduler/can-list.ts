import { backoffMs, reconnectBackoff } from '../base/backoff.ts';
import { systemClock } from '../base/clock.ts';
import { toError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { KubeObject } from '../kube/object.ts';
import type { ResourceClient } from '../kube/resource-client.ts';
import { isNotFound, statusOf } from '../kube/status-error.ts';

/** What {@link canList} asks for. */
export interface CanListOptions {
  readonly source: Pick<ResourceClient<KubeObject>, 'list'>;
  readonly fieldSelector?: string | undefined;
  /** As it is called in the log: `pods`. */
  readonly what: string;
  /** What follows when they may not be seen, for the log. */
  readonly otherwise: string;
  readonly logger: Logger;
}

/**
 * Whether there are objects of a kind that may be listed: an API server need not have it, and RBAC that does not let it be
 * seen is told of once. Asks until it is known.
 *
 * @throws the signal's reason.
 */
export async function canList(options: CanListOptions, signal: AbortSignal): Promise<boolean> {
  const { source, fieldSelector, what, otherwise, logger } = options;
  for (let attempt = 0; ; attempt += 1) {
    try {
      await source.list({ limit: 1, fieldSelector, signal });
      return true;
    } catch (error) {
      signal.throwIfAborted();
      if (isNotFound(error)) return false;
      if (statusOf(error)?.code === 403) {
        logger.warn(`may not see ${what}: ${otherwise}`, { error: toError(error) });
        return false;
      }
      logger.warn(`cannot list ${what}, trying again`, { error: toError(error) });
      await systemClock.sleep(backoffMs(reconnectBackoff, attempt, Math.random), signal);
    }
  }
}
