/**
 * The all-in-one process of one machine: the embedded API server, and beside it whatever runs against it. The
 * components get a kubeconfig as on any cluster and know nothing of being in one process.
 */
import { FailedError, toError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { localController } from './local-controller.ts';
import { localScheduler } from './local-scheduler.ts';
import { virtctlKinds } from './kinds/virtctl-kinds.ts';
import type { ApiServer, ApiServerOptions } from './server.ts';
import { startApiServer } from './server.ts';

/** A part of the control plane that runs beside the API server. */
export interface Component {
  readonly name: string;
  /** Starts it against the API server of a kubeconfig; returns how to stop it. */
  readonly start: (kubeconfig: string) => Promise<() => Promise<void>>;
}

/** The executor of this machine. */
export interface LocalExecutorOptions {
  readonly nodeName: string;
  /** Where libvirt is, as `qemu:///system`. */
  readonly uri: string;
  /** Host and port of the metrics; none when left out. */
  readonly metricsAddress?: string | undefined;
}

/** The executor in this process. */
export function localExecutor(folder: string, logger: Logger, options: LocalExecutorOptions): Component {
  return {
    name: 'executor',
    async start(kubeconfig) {
      const [{ selectConnection }, { KubeClient }, { runExecutor }] = await Promise.all([
        import('../kube/connection.ts'),
        import('../kube/kube-client.ts'),
        import('../executor/executor.ts'),
      ]);
      const connection = await selectConnection({ kubeconfig, env: {}, home: folder, cwd: folder });
      const client = new KubeClient(connection, { fieldManager: 'virtctl-executor' });
      const stop = new AbortController();
      // Beside the store, which only its owner may enter: QEMU's user must reach what machines are given.
      const dataFolder = `${folder}-executor`;
      const running = runExecutor({ ...options, client, dataFolder, logger }, stop.signal);
      // It ends by itself only when it cannot begin; the API server goes on serving.
      running.catch((error: unknown) => logger.error('the executor ended', { error: toError(error) }));
      return async () => {
        stop.abort(new FailedError('standalone ends'));
        await running.catch(() => undefined);
        client.close();
      };
    },
  };
}

/** Options of {@link startStandalone}. */
export interface StandaloneOptions extends Omit<ApiServerOptions, 'definitions'> {
  /** The executor of this machine; none when left out. */
  readonly executor?: LocalExecutorOptions | undefined;
}

/**
 * Starts the API server with our kinds, then the components; stops in the opposite order.
 *
 * @throws as startApiServer, and whatever a component throws; what was started is stopped then.
 */
export async function startStandalone(options: StandaloneOptions): Promise<ApiServer> {
  const { executor, ...serving } = options;
  const server = await startApiServer({ ...serving, definitions: virtctlKinds() });
  const components = [
    localController(options.folder, options.logger),
    localScheduler(options.folder, options.logger),
    ...(executor === undefined ? [] : [localExecutor(options.folder, options.logger, executor)]),
  ];
  const stops: (() => Promise<void>)[] = [() => server.close()];
  const close = async (): Promise<void> => {
    for (const stop of stops.reverse()) await stop();
  };
  try {
    for (const component of components) stops.push(await component.start(server.kubeconfig));
  } catch (error) {
    await close();
    throw error;
  }
  options.logger.info('serving', { url: server.url, kubeconfig: server.kubeconfig });
  return { ...server, close };
}
