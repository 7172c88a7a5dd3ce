import { randomUUID } from 'node:crypto';
import type { Component } from './standalone.ts';
import { FailedError, toError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';

/**
 * The scheduler in this process. It asks for no lease: nobody else is meant to place machines here, one that died a
 * moment ago must not be waited for, and should a second scheduler run all the same, the reservations keep them apart.
 *
 * @param folder The data folder; only relative names of the kubeconfig would start from it.
 */
export function localScheduler(folder: string, logger: Logger): Component {
  return {
    name: 'scheduler',
    async start(kubeconfig) {
      const [{ selectConnection }, { KubeClient }, { placeMachines }] = await Promise.all([
        import('../kube/connection.ts'),
        import('../kube/kube-client.ts'),
        import('../scheduler/run-scheduler.ts'),
      ]);
      const connection = await selectConnection({ kubeconfig, env: {}, home: folder, cwd: folder });
      const client = new KubeClient(connection, { fieldManager: 'virtctl-scheduler' });
      const stop = new AbortController();
      const newToken = (): string => randomUUID().slice(0, 8);
      const running = placeMachines({ client, identity: 'standalone', newToken, logger }, stop.signal);
      // The API server goes on serving, and no machine that has a node depends on the scheduler.
      running.catch((error: unknown) => logger.error('the scheduler ended', { error: toError(error) }));
      return async () => {
        stop.abort(new FailedError('standalone ends'));
        await running.catch(() => undefined);
        client.close();
      };
    },
  };
}
