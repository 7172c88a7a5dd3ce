/**
 * The embedded API server: Kubernetes' API for one machine, in this process and on its disk.
 *
 *     http/ ── authenticates, routes ──▶ verbs/ ── schema/, fields/, patch/ ──▶ storage/ (LMDB)
 *       ▲                                                                         │ committed changes
 *       ├── watch streams ◀───────────────────────────────────────────────────────┤
 *       └── discovery/, table/                                   collect/ ◀───────┘
 *
 * It serves the kinds it is given (a CRD each) and those in kinds/core-kinds.ts. It is called by `virtctl standalone`
 * and by tests; nothing else in here is meant to be called from outside. What differs from a real kube-apiserver is
 * in docs/conformance-differences.md.
 */
import { join, resolve } from 'node:path';
import { DiscoveryDocuments } from './discovery/documents.ts';
import { GarbageCollector } from './collect/garbage-collector.ts';
import { listen } from './http/listener.ts';
import { coreKinds } from './kinds/core-kinds.ts';
import { DefinitionRegistry } from './kinds/registry.ts';
import type { ResourceDefinition } from './kinds/resource-definition.ts';
import { ensureCredentials, writeKubeconfig } from './pki/credentials.ts';
import { lockFolder } from './storage/lock-folder.ts';
import type { HistoryLimits } from './storage/history.ts';
import { defaultHistoryLimits } from './storage/history.ts';
import { Store } from './storage/store.ts';
import type { ApiState } from './verbs/api-state.ts';
import { indexed } from './verbs/api-state.ts';
import { createObject } from './verbs/create.ts';
import { WatchHub } from './verbs/watch.ts';
import type { Logger } from '../base/logger.ts';
import type { JsonObject } from './schema/json-schema.ts';

/** Options of {@link startApiServer}. */
export interface ApiServerOptions {
  /** The data folder: certificates, kubeconfig and the store. Made with mode 0700 when missing. */
  readonly folder: string;
  /** What is served beside Kubernetes' own kinds. */
  readonly definitions: readonly ResourceDefinition[];
  readonly logger: Logger;
  /** virtctl's version. */
  readonly version: string;
  /** The address to listen on; loopback unless asked otherwise. */
  readonly host?: string;
  /** 0 for any free port. */
  readonly port?: number;
  /** More names and addresses for the server's certificate. */
  readonly alternativeNames?: readonly string[];
  readonly history?: HistoryLimits;
  /** The most that the store's file may hold, in bytes. */
  readonly maxStoreBytes?: number;
  /** Wall-clock milliseconds. */
  readonly now?: () => number;
  readonly random?: () => number;
}

/** A running server. */
export interface ApiServer {
  /** `https://127.0.0.1:PORT` */
  readonly url: string;
  /** The administrator's kubeconfig. */
  readonly kubeconfig: string;
  /** The administrator's bearer token. */
  readonly token: string;
  /** The authority's certificate, PEM. */
  readonly authority: string;
  /** Copies the store, consistently, to a file. */
  readonly backup: (path: string) => Promise<void>;
  /** Ends watches, finishes writes and releases the folder. */
  readonly close: () => Promise<void>;
}

/** The name of the kubeconfig in the data folder. */
export const kubeconfigName = 'kubeconfig';
const loopback = '127.0.0.1';
const defaultMaxStoreBytes = 8 * 1024 * 1024 * 1024;
const firstNamespaces = ['default', 'kube-system'];

/**
 * Starts the server.
 *
 * @throws StorageFailedError when the folder cannot be used or another server uses it, UnreachableError when the
 *   address cannot be listened on.
 */
export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const { folder, logger } = options;
  const now = options.now ?? Date.now;
  const host = options.host ?? loopback;
  const unlock = lockFolder(folder);
  const hosts = new Set([
    loopback,
    '::1',
    'localhost',
    ...(isAny(host) ? [] : [host]),
    ...(options.alternativeNames ?? []),
  ]);
  const credentials = ensureCredentials({ folder: join(folder, 'pki'), hosts: [...hosts], now: now() });
  const registry = new DefinitionRegistry([...coreKinds, ...options.definitions]);
  const store = await Store.open({
    folder: join(folder, 'store'),
    history: options.history ?? defaultHistoryLimits,
    maxBytes: options.maxStoreBytes ?? defaultMaxStoreBytes,
    indexObject(resource, key, json) {
      const object = JSON.parse(json.toString('utf8')) as JsonObject;
      return indexed(registry.storing(resource), resource, key, object, json);
    },
  });
  const state: ApiState = { store, registry, now, random: options.random ?? Math.random };
  await makeFirstNamespaces(state);
  const hub = new WatchHub(state);
  const collector = new GarbageCollector(state, logger);
  let address = '';
  const documents = new DiscoveryDocuments({
    registry,
    version: options.version,
    address: () => address,
    problems: () => [],
  });
  const socket = socketIn(folder);
  const listener = await listen({ state, hub, credentials, documents, logger, host, port: options.port ?? 0, socket });
  const reached = isAny(host) ? loopback : host;
  address = `${reached.includes(':') ? `[${reached}]` : reached}:${listener.port}`;
  const url = `https://${address}`;
  const kubeconfig = join(folder, kubeconfigName);
  writeKubeconfig(kubeconfig, url, credentials, socket);
  return {
    url,
    kubeconfig,
    token: credentials.token,
    authority: credentials.authority.certificate,
    backup: (path) => store.backup(path),
    async close() {
      await collector.close();
      hub.close();
      await listener.close();
      await store.close();
      unlock();
    },
  };
}

/** The socket of a data folder; undefined where the folder's name is too long for one (108 bytes on Linux, 104 on BSD). */
function socketIn(folder: string): string | undefined {
  const path = resolve(folder, 'api.sock');
  return Buffer.byteLength(path) < 104 ? path : undefined;
}

function isAny(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}

async function makeFirstNamespaces(state: ApiState): Promise<void> {
  const definition = state.registry.find('', 'v1', 'namespaces');
  if (definition === undefined) return;
  const missing = firstNamespaces.filter((name) => state.store.get('namespaces', name) === undefined);
  await Promise.all(
    missing.map((name) =>
      createObject(
        state,
        definition,
        '',
        { apiVersion: 'v1', kind: 'Namespace', metadata: { name } },
        { dryRun: false, fieldManager: 'virtctl', fieldValidation: 'Strict', warnings: [] },
      ),
    ),
  );
}
