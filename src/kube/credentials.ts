/**
 * What a request shows of its user: headers, and a client certificate. Tokens, certificates and passwords are handled
 * here; exec plug-ins and OpenID Connect through client-node, loaded only for users that have them.
 */
import { spawn } from 'node:child_process';
import type { SpawnOptions } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import type { RequestOptions } from 'node:https';
import type { ExecAuth } from '@kubernetes/client-node/dist/exec_auth.js';
import type { OpenIDConnectAuth } from '@kubernetes/client-node/dist/oidc_auth.js';
import type { ExecPlugin, KubeconfigUser } from './kubeconfig.ts';
import { withDeadline } from '../base/abort.ts';
import type { Clock } from '../base/clock.ts';
import { FailedError, ForbiddenError, toError } from '../base/errors.ts';

/** What one request carries. */
export interface Identity {
  readonly headers: Readonly<Record<string, string | readonly string[]>>;
  /** PEM. */
  readonly cert: string | undefined;
  /** PEM. */
  readonly key: string | undefined;
}

/** Files are read again and plug-ins asked again after this long: service account tokens rotate. */
const freshForMs = 60_000;
/** A plug-in may open a browser and wait for a person. */
const pluginDeadlineMs = 120_000;

/** The user of a connection. */
export class Credentials {
  readonly #user: KubeconfigUser;
  readonly #clock: Clock;
  readonly #provider: TokenProvider | undefined;
  #known: { readonly identity: Promise<Identity>; readonly atMs: number } | undefined;

  /** @throws FailedError for an auth provider that is not supported. */
  constructor(user: KubeconfigUser, clock: Clock) {
    this.#user = user;
    this.#clock = clock;
    this.#provider = providerOf(user);
  }

  /**
   * What to send now.
   *
   * @throws ForbiddenError when a plug-in or provider gives no credentials; FailedError when a file cannot be read.
   */
  async identity(): Promise<Identity> {
    const now = this.#clock.monotonicMs();
    if (this.#known === undefined || now - this.#known.atMs > freshForMs) {
      const known = { identity: this.#resolve(), atMs: now };
      this.#known = known;
      known.identity.catch(() => {
        // Those who wait get the error; the next request tries again.
        if (this.#known === known) this.#known = undefined;
      });
    }
    return this.#known.identity;
  }

  /** Forgets what was read: the server did not accept it. */
  invalidate(): void {
    this.#known = undefined;
    this.#provider?.invalidate();
  }

  async #resolve(): Promise<Identity> {
    const user = this.#user;
    const headers: Record<string, string | readonly string[]> = {};
    if (user.impersonate !== undefined) {
      headers['impersonate-user'] = user.impersonate.user;
      if (user.impersonate.uid !== undefined) headers['impersonate-uid'] = user.impersonate.uid;
      if (user.impersonate.groups.length > 0) headers['impersonate-group'] = user.impersonate.groups;
    }
    let cert = user.certData ?? (await fileText(user.certFile));
    let key = user.keyData ?? (await fileText(user.keyFile));
    const provided = await this.#provider?.provide();
    Object.assign(headers, provided?.headers);
    cert = provided?.cert ?? cert;
    key = provided?.key ?? key;
    // As in client-go, a token file wins over a token, and both over what a plug-in said.
    const token = (await fileText(user.tokenFile))?.trim() ?? user.token;
    if (token !== undefined && token !== '') headers['authorization'] = `Bearer ${token}`;
    else if (user.username !== undefined) {
      const pair = Buffer.from(`${user.username}:${user.password ?? ''}`).toString('base64');
      headers['authorization'] = `Basic ${pair}`;
    }
    return { headers, cert, key };
  }
}

async function fileText(path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new FailedError('cannot read a file of the kubeconfig', { cause: error });
  }
}

interface TokenProvider {
  provide(): Promise<Partial<Identity>>;
  invalidate(): void;
}

function providerOf(user: KubeconfigUser): TokenProvider | undefined {
  if (user.exec !== undefined) return execProvider(user.exec);
  const provider = user.authProvider;
  if (provider === undefined) return undefined;
  if (provider.name === 'oidc') return oidcProvider(provider.config);
  throw new FailedError(`the kubeconfig's auth provider "${provider.name}" is not supported`, {
    hint: 'kubectl dropped it in 1.26 as well: use its exec plug-in instead',
  });
}

function execProvider(plugin: ExecPlugin): TokenProvider {
  let auth: Promise<ExecAuth> | undefined;
  const load = async (signal: () => AbortSignal): Promise<ExecAuth> => {
    const client = await import('@kubernetes/client-node/dist/exec_auth.js');
    const made = new client.ExecAuth();
    // Private there, and the only way to end a plug-in that hangs.
    Reflect.set(made, 'execFn', (command: string, args: readonly string[], options: SpawnOptions) =>
      spawn(command, args, { ...options, signal: signal(), stdio: ['inherit', 'pipe', 'pipe'] }),
    );
    return made;
  };
  let current = new AbortController().signal;
  const info = { kind: 'ExecCredential', apiVersion: plugin.apiVersion, spec: { interactive: false } };
  const user = {
    name: 'exec',
    exec: {
      command: plugin.command,
      args: plugin.args,
      env: [...plugin.env, { name: 'KUBERNETES_EXEC_INFO', value: JSON.stringify(info) }],
    },
  };
  return {
    async provide() {
      auth ??= load(() => current);
      const made = await auth;
      try {
        const options: RequestOptions = { headers: {} };
        await withDeadline(`the credential plug-in ${plugin.command}`, pluginDeadlineMs, undefined, async (signal) => {
          current = signal;
          await made.applyAuthentication(user, options);
        });
        return identityOf(options);
      } catch (error) {
        throw new ForbiddenError(`the credential plug-in ${plugin.command} gave no credentials`, {
          cause: toError(error),
          hint: plugin.installHint,
        });
      }
    },
    invalidate: () => {
      // Its cache is inside.
      auth = undefined;
    },
  };
}

function oidcProvider(config: Readonly<Record<string, string>>): TokenProvider {
  let auth: OpenIDConnectAuth | undefined;
  // client-node puts refreshed tokens in here.
  const user = { name: 'oidc', authProvider: { name: 'oidc', config: { ...config } } };
  return {
    async provide() {
      if (auth === undefined) {
        const client = await import('@kubernetes/client-node/dist/oidc_auth.js');
        auth = new client.OpenIDConnectAuth();
      }
      const made = auth;
      const options: RequestOptions = { headers: {} };
      try {
        await withDeadline('a token from the OpenID Connect issuer', pluginDeadlineMs, undefined, () =>
          made.applyAuthentication(user, options),
        );
      } catch (error) {
        throw new ForbiddenError('the OpenID Connect issuer gave no token', { cause: toError(error) });
      }
      return identityOf(options);
    },
    invalidate: () => undefined,
  };
}

function identityOf(options: RequestOptions): Partial<Identity> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(options.headers ?? {})) {
    if (typeof value === 'string') headers[name.toLowerCase()] = value;
  }
  return {
    headers,
    cert: typeof options.cert === 'string' ? options.cert : undefined,
    key: typeof options.key === 'string' ? options.key : undefined,
  };
}
