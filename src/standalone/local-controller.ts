import { randomBytes } from 'node:crypto';
import type { Component } from './standalone.ts';
import { FailedError, toError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';

/**
 * The controller in this process. It serves no webhook: the embedded server checks what it stores by itself.
 *
 * @param folder The data folder; only relative names of the kubeconfig would start from it.
 */
export function localController(folder: string, logger: Logger): Component {
  return {
    name: 'controller',
    async start(kubeconfig) {
      const [{ selectConnection }, { KubeClient }, { runController }] = await Promise.all([
        import('../kube/connection.ts'),
        import('../kube/kube-client.ts'),
        import('../controller/controller.ts'),
      ]);
      const connection = await selectConnection({ kubeconfig, env: {}, home: folder, cwd: folder });
      const client = new KubeClient(connection, { fieldManager: 'virtctl-controller' });
      const stop = new AbortController();
      const identity = `standalone_${randomBytes(6).toString('hex')}`;
      const running = runController({ client, identity, logger }, stop.signal);
      // The API server goes on serving, and no machine depends on the controller.
      running.catch((error: unknown) => logger.error('the controller ended', { error: toError(error) }));
      return async () => {
        stop.abort(new FailedError('standalone ends'));
        await running.catch(() => undefined);
        client.close();
      };
    },
  };
}
