/**
 * The entry of src/kube: a client of one Kubernetes API server, embedded or real. Everything above that reads or writes
 * objects uses it; nothing else imports @kubernetes/client-node.
 *
 *   selectConnection (connection.ts, kubeconfig.ts)   which server, as whom
 *        │ Connection
 *        ▼
 *   Transport (transport.ts, credentials.ts)          HTTP, TLS, deadlines, safe retries
 *        │ JSON, or a Status as a typed error (status-error.ts)
 *        ▼
 *   KubeClient → ResourceClient (resource-client.ts)  get, list, create, update, patch, apply, delete, watch
 *        │ pages and watch events (watch-stream.ts)
 *        ▼
 *   Informer (informer.ts over reflector.ts)          a cache that follows the server, and tells its handlers
 */
import type { Connection } from './connection.ts';
import type { KubeObject } from './object.ts';
import { ResourceClient } from './resource-client.ts';
import type { RequestOptions } from './resource-client.ts';
import type { ResourceType } from './resource-type.ts';
import { Transport } from './transport.ts';
import type { TransportOptions } from './transport.ts';
import { systemClock } from '../base/clock.ts';
import { FailedError } from '../base/errors.ts';
import { version } from '../base/version.ts';

/** Options of {@link KubeClient}. */
export interface KubeClientOptions extends Partial<TransportOptions> {
  /** Whom `managedFields` names after our writes; `virtctl` by default. */
  readonly fieldManager?: string | undefined;
}

/** What a server says about one resource of a group (metav1.APIResource). */
export interface DiscoveredResource {
  readonly name: string;
  readonly kind: string;
  readonly namespaced: boolean;
  readonly verbs: readonly string[];
  readonly shortNames?: readonly string[] | undefined;
  readonly categories?: readonly string[] | undefined;
}

/** What a server says about itself (`/version`). */
export interface ServerVersion {
  readonly major: string;
  readonly minor: string;
  readonly gitVersion: string;
}

/** A client of one API server as one user. Close it when done: it keeps connections. */
export class KubeClient {
  /** The namespace for objects that name none. */
  readonly namespace: string;
  readonly #transport: Transport;
  readonly #fieldManager: string;

  /** @throws FailedError when the connection asks for what is not supported. Connects only when asked something. */
  constructor(connection: Connection, options: KubeClientOptions = {}) {
    this.namespace = connection.namespace;
    this.#fieldManager = options.fieldManager ?? 'virtctl';
    this.#transport = new Transport(connection, {
      clock: options.clock ?? systemClock,
      random: options.random ?? Math.random,
      userAgent: options.userAgent ?? `virtctl/${version}`,
      timeoutMs: options.timeoutMs ?? 30_000,
      maxResponseBytes: options.maxResponseBytes ?? 256 * 1024 * 1024,
      maxRetries: options.maxRetries ?? 5,
      useSocket: options.useSocket ?? false,
      onWarning: options.onWarning,
      onServerTime: options.onServerTime,
    });
  }

  /**
   * The objects of one resource.
   *
   * @example
   * const vm = await client.resource<VirtualMachine>(virtualMachines).get({ namespace: 'shop', name: 'web' });
   */
  resource<T extends KubeObject>(type: ResourceType): ResourceClient<T> {
    return new ResourceClient<T>(type, this.#transport, this.#fieldManager);
  }

  /** GET of any path; the parsed JSON, or the text where the answer is not JSON (`/readyz`). */
  async raw(path: string, options: RequestOptions & { readonly accept?: string | undefined } = {}): Promise<unknown> {
    const { accept, ...rest } = options;
    const headers = accept === undefined ? {} : { accept };
    return this.#transport.request({ method: 'GET', path, headers, ...rest });
  }

  /** The server's version. */
  async version(options: RequestOptions = {}): Promise<ServerVersion> {
    return (await this.raw('/version', options)) as ServerVersion;
  }

  /**
   * The resources of one group version, such as `virtctl.dev/v1alpha1` or `v1`; subresources are left out.
   *
   * @throws a NotFoundError when the server does not have it.
   */
  async discover(groupVersion: string, options: RequestOptions = {}): Promise<readonly DiscoveredResource[]> {
    const path = groupVersion.includes('/') ? `/apis/${groupVersion}` : `/api/${groupVersion}`;
    const list = (await this.raw(path, options)) as { resources?: readonly DiscoveredResource[] } | undefined;
    if (!Array.isArray(list?.resources)) throw new FailedError(`the answer to GET ${path} is not a resource list`);
    return (list.resources as readonly DiscoveredResource[]).filter(({ name }) => !name.includes('/'));
  }

  /** Closes the idle connections. */
  close(): void {
    this.#transport.close();
  }
}
