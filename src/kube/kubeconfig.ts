/**
 * Reads kubeconfig files (k8s.io/client-go/tools/clientcmd): parses, makes paths absolute, merges. Loads no client-node
 * and, for a file in JSON, no YAML parser either, because every command pays for it.
 */
import { readFile } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { InvalidInputError } from '../base/errors.ts';

/** A cluster of a kubeconfig; paths are absolute. */
export interface KubeconfigCluster {
  readonly server: string;
  readonly caFile: string | undefined;
  /** PEM. */
  readonly caData: string | undefined;
  readonly insecureSkipTlsVerify: boolean;
  readonly tlsServerName: string | undefined;
  readonly proxyUrl: string | undefined;
  /** The path of a socket on which this machine's `virtctl standalone` is the same server, without TLS. */
  readonly socket?: string | undefined;
}

/**
 * The extension of a cluster that names its socket: `{ path, server }`. Other programs pass it over. It stands for one
 * address: a kubeconfig whose `server` was changed, for a proxy or a tunnel, does not go past it.
 */
export const socketExtension = 'virtctl.dev/socket';

/** `user.exec`: a program that prints credentials (client.authentication.k8s.io). */
export interface ExecPlugin {
  readonly apiVersion: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: readonly { readonly name: string; readonly value: string }[];
  readonly installHint: string | undefined;
  readonly provideClusterInfo: boolean;
}

/** A user of a kubeconfig; paths are absolute. */
export interface KubeconfigUser {
  readonly token?: string | undefined;
  readonly tokenFile?: string | undefined;
  readonly certFile?: string | undefined;
  /** PEM. */
  readonly certData?: string | undefined;
  readonly keyFile?: string | undefined;
  /** PEM. */
  readonly keyData?: string | undefined;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly impersonate?:
    { readonly user: string; readonly groups: readonly string[]; readonly uid: string | undefined } | undefined;
  readonly exec?: ExecPlugin | undefined;
  readonly authProvider?: { readonly name: string; readonly config: Readonly<Record<string, string>> } | undefined;
}

/** A context of a kubeconfig. */
export interface KubeconfigContext {
  readonly cluster: string;
  readonly user: string;
  readonly namespace: string | undefined;
}

/** One or several kubeconfig files, merged. */
export interface Kubeconfig {
  readonly currentContext: string | undefined;
  readonly clusters: ReadonlyMap<string, KubeconfigCluster>;
  readonly users: ReadonlyMap<string, KubeconfigUser>;
  readonly contexts: ReadonlyMap<string, KubeconfigContext>;
}

/**
 * Reads and parses one file.
 *
 * @throws the system's error (ENOENT, EACCES) when it cannot be read; InvalidInputError when it is no kubeconfig.
 */
export async function readKubeconfig(path: string): Promise<Kubeconfig> {
  return parseKubeconfig(await readFile(path, 'utf8'), path);
}

/**
 * Parses a kubeconfig.
 *
 * @param path The file's path: relative paths inside start from its folder, and problems name it.
 * @throws InvalidInputError with line and column where the text is not YAML, or a field has the wrong type.
 */
export async function parseKubeconfig(text: string, path: string): Promise<Kubeconfig> {
  const root = await parseText(text, path);
  const read = new Reader(path);
  const config = read.record(root, '');
  const named = <T>(key: string, field: string, convert: (value: Fields, at: string) => T): Map<string, T> => {
    const found = new Map<string, T>();
    for (const [index, entry] of read.list(config[key], key).entries()) {
      const at = `${key}[${index}]`;
      const fields = read.record(entry, at);
      const name = read.text(fields['name'], `${at}.name`) ?? '';
      // As in client-go, the first entry of a name wins.
      if (!found.has(name)) found.set(name, convert(read.record(fields[field], `${at}.${field}`), `${at}.${field}`));
    }
    return found;
  };
  return {
    currentContext: read.text(config['current-context'], 'current-context'),
    clusters: named('clusters', 'cluster', (fields, at) => readCluster(read, fields, at)),
    users: named('users', 'user', (fields, at) => readUser(read, fields, at)),
    contexts: named('contexts', 'context', (fields, at) => ({
      cluster: read.text(fields['cluster'], `${at}.cluster`) ?? '',
      user: read.text(fields['user'], `${at}.user`) ?? '',
      namespace: read.text(fields['namespace'], `${at}.namespace`),
    })),
  };
}

/** Merges files as client-go does for `KUBECONFIG=a:b`: whatever an earlier file says stays. */
export function mergeKubeconfigs(configs: readonly Kubeconfig[]): Kubeconfig {
  const merge = <T>(pick: (config: Kubeconfig) => ReadonlyMap<string, T>): Map<string, T> =>
    new Map([...configs].reverse().flatMap((config) => [...pick(config)]));
  return {
    currentContext: configs.find((config) => config.currentContext !== undefined)?.currentContext,
    clusters: merge((config) => config.clusters),
    users: merge((config) => config.users),
    contexts: merge((config) => config.contexts),
  };
}

type Fields = Readonly<Record<string, unknown>>;

function readCluster(read: Reader, fields: Fields, at: string): KubeconfigCluster {
  return {
    server: read.text(fields['server'], `${at}.server`) ?? '',
    caFile: read.path(fields['certificate-authority'], `${at}.certificate-authority`),
    caData: read.base64(fields['certificate-authority-data'], `${at}.certificate-authority-data`),
    insecureSkipTlsVerify: fields['insecure-skip-tls-verify'] === true,
    tlsServerName: read.text(fields['tls-server-name'], `${at}.tls-server-name`),
    proxyUrl: read.text(fields['proxy-url'], `${at}.proxy-url`),
    ...readSocket(read, fields, at),
  };
}

function readSocket(read: Reader, fields: Fields, at: string): Pick<KubeconfigCluster, 'socket'> {
  for (const [index, entry] of read.list(fields['extensions'], `${at}.extensions`).entries()) {
    const { name, extension } = read.record(entry, `${at}.extensions[${index}]`);
    if (name !== socketExtension) continue;
    const own = `${at}.extensions[${index}].extension`;
    const { path, server } = read.record(extension, own);
    if (server === fields['server']) return { socket: read.path(path, `${own}.path`) };
  }
  return {};
}

function readUser(read: Reader, fields: Fields, at: string): KubeconfigUser {
  const impersonated = read.text(fields['as'], `${at}.as`);
  return {
    token: read.text(fields['token'], `${at}.token`),
    tokenFile: read.path(fields['tokenFile'], `${at}.tokenFile`),
    certFile: read.path(fields['client-certificate'], `${at}.client-certificate`),
    certData: read.base64(fields['client-certificate-data'], `${at}.client-certificate-data`),
    keyFile: read.path(fields['client-key'], `${at}.client-key`),
    keyData: read.base64(fields['client-key-data'], `${at}.client-key-data`),
    username: read.text(fields['username'], `${at}.username`),
    password: read.text(fields['password'], `${at}.password`),
    impersonate:
      impersonated === undefined
        ? undefined
        : {
            user: impersonated,
            groups: read
              .list(fields['as-groups'], `${at}.as-groups`)
              .map((group, index) => read.text(group, `${at}.as-groups[${index}]`) ?? ''),
            uid: read.text(fields['as-uid'], `${at}.as-uid`),
          },
    exec: isPresent(fields['exec'])
      ? readExec(read, read.record(fields['exec'], `${at}.exec`), `${at}.exec`)
      : undefined,
    authProvider: isPresent(fields['auth-provider'])
      ? readAuthProvider(read, read.record(fields['auth-provider'], `${at}.auth-provider`), `${at}.auth-provider`)
      : undefined,
  };
}

function readExec(read: Reader, fields: Fields, at: string): ExecPlugin {
  const command = read.text(fields['command'], `${at}.command`) ?? '';
  return {
    apiVersion: read.text(fields['apiVersion'], `${at}.apiVersion`) ?? 'client.authentication.k8s.io/v1',
    // A command with a slash is a path from the kubeconfig's folder; without one it is looked up in PATH.
    command: command.includes('/') ? (read.path(command, `${at}.command`) ?? '') : command,
    args: read.list(fields['args'], `${at}.args`).map((arg, i) => read.text(arg, `${at}.args[${i}]`) ?? ''),
    env: read.list(fields['env'], `${at}.env`).map((entry, i) => {
      const pair = read.record(entry, `${at}.env[${i}]`);
      return {
        name: read.text(pair['name'], `${at}.env[${i}].name`) ?? '',
        value: read.text(pair['value'], `${at}.env[${i}].value`) ?? '',
      };
    }),
    installHint: read.text(fields['installHint'], `${at}.installHint`),
    provideClusterInfo: fields['provideClusterInfo'] === true,
  };
}

function readAuthProvider(
  read: Reader,
  fields: Fields,
  at: string,
): { readonly name: string; readonly config: Readonly<Record<string, string>> } {
  const config: Record<string, string> = {};
  for (const [key, value] of Object.entries(read.record(fields['config'], `${at}.config`))) {
    config[key] = read.text(value, `${at}.config.${key}`) ?? '';
  }
  return { name: read.text(fields['name'], `${at}.name`) ?? '', config };
}

async function parseText(text: string, path: string): Promise<unknown> {
  if (text.trimStart().startsWith('{')) {
    try {
      return JSON.parse(text);
    } catch {
      // YAML's flow style begins with a brace too; its parser decides, and its error has line and column.
    }
  }
  const { LineCounter, parseDocument } = await import('yaml');
  const lineCounter = new LineCounter();
  const document = parseDocument(text, { lineCounter, prettyErrors: false });
  if (document.errors.length > 0) {
    throw new InvalidInputError(
      document.errors.map((error) => {
        const { line, col } = lineCounter.linePos(error.pos[0]);
        return { file: path, line, column: col, path: '', message: error.message };
      }),
    );
  }
  return document.toJS();
}

function isPresent(value: unknown): boolean {
  return value !== undefined && value !== null;
}

/** Takes values out of the parsed text, and refuses what has another type. Values never appear in its errors. */
class Reader {
  readonly #file: string;

  constructor(file: string) {
    this.#file = file;
  }

  record(value: unknown, at: string): Fields {
    if (!isPresent(value)) return {};
    if (typeof value !== 'object' || Array.isArray(value)) throw this.#problem(at, 'must be a mapping');
    return value as Fields;
  }

  list(value: unknown, at: string): readonly unknown[] {
    if (!isPresent(value)) return [];
    if (!Array.isArray(value)) throw this.#problem(at, 'must be a list');
    return value;
  }

  text(value: unknown, at: string): string | undefined {
    if (!isPresent(value) || value === '') return undefined;
    if (typeof value === 'number' || typeof value === 'boolean') return String(value);
    if (typeof value !== 'string') throw this.#problem(at, 'must be a string');
    return value;
  }

  path(value: unknown, at: string): string | undefined {
    const path = this.text(value, at);
    return path === undefined || isAbsolute(path) ? path : join(dirname(this.#file), path);
  }

  base64(value: unknown, at: string): string | undefined {
    const text = this.text(value, at)?.replace(/\s+/g, '');
    if (text === undefined) return undefined;
    if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text)) throw this.#problem(at, 'must be base64');
    return Buffer.from(text, 'base64').toString('utf8');
  }

  #problem(path: string, message: string): InvalidInputError {
    return new InvalidInputError([{ file: this.#file, path, message }]);
  }
}
