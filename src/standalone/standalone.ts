/**
 * The all-in-one process of one machine: the embedded API server, and beside it whatever runs against it. The
 * components get a kubeconfig as on any cluster and know nothing of being in one process.
 */
import { virtctlKinds } from './kinds/virtctl-kinds.ts';
import type { ApiServer, ApiServerOptions } from './server.ts';
import { startApiServer } from './server.ts';

/** A part of the control plane that runs beside the API server. */
export interface Component {
  readonly name: string;
  /** Starts it against the API server of a kubeconfig; returns how to stop it. */
  readonly start: (kubeconfig: string) => Promise<() => Promise<void>>;
}

/** What runs beside the API server, in the order of starting: controller, scheduler and executor have their place here. */
export const components: readonly Component[] = [];

/** Options of {@link startStandalone}. */
export type StandaloneOptions = Omit<ApiServerOptions, 'definitions'>;

/**
 * Starts the API server with our kinds, then the components; stops in the opposite order.
 *
 * @throws as startApiServer, and whatever a component throws; what was started is stopped then.
 */
export async function startStandalone(options: StandaloneOptions): Promise<ApiServer> {
  const server = await startApiServer({ ...options, definitions: virtctlKinds() });
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
