/**
 * The certificates, the token and the kubeconfig of the embedded server, kept in its data folder and made when it is
 * first started. What expires is renewed at start; the authority outlives everything it signs.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { toError } from '../../base/errors.ts';
import type { KeyPair } from '../../base/pki/certificate.ts';
import { issueCertificate } from '../../base/pki/certificate.ts';
import { dayMs, isFor, isPair, isSignedBy, remainingDays } from '../../base/pki/key-pair.ts';
import { socketExtension } from '../../kube/kubeconfig.ts';
import { StorageFailedError } from '../storage/storage-error.ts';

const authorityDays = 3650;
const leafDays = 365;
/** A certificate is renewed when less than this is left of it. */
const renewBeforeDays = 90;

/** What the server needs to be reached safely. */
export interface Credentials {
  readonly authority: KeyPair;
  readonly server: KeyPair;
  readonly admin: KeyPair;
  /** The administrator's bearer token. */
  readonly token: string;
}

/** Options of {@link ensureCredentials}. */
export interface CredentialsOptions {
  /** The folder of the certificates; made with mode 0700 when missing. */
  readonly folder: string;
  /** Names and addresses that clients reach the server by. */
  readonly hosts: readonly string[];
  /** Wall-clock milliseconds. */
  readonly now: number;
}

/**
 * Reads the credentials; makes those that are missing, expired or soon to be, or not for `hosts`.
 *
 * @throws StorageFailedError when the folder cannot be read or written.
 */
export function ensureCredentials(options: CredentialsOptions): Credentials {
  const { folder, now } = options;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const authority = ensurePair(
      join(folder, 'ca'),
      (pair) => remainingDays(pair.certificate, now) > leafDays,
      () =>
        issueCertificate({
          commonName: 'virtctl-ca',
          usage: 'authority',
          notBefore: now - dayMs,
          notAfter: now + authorityDays * dayMs,
        }),
    );
    const leaf = { notBefore: now - dayMs, notAfter: now + leafDays * dayMs };
    const fresh = (pair: KeyPair): boolean =>
      isSignedBy(pair.certificate, authority.certificate) && remainingDays(pair.certificate, now) > renewBeforeDays;
    const server = ensurePair(
      join(folder, 'server'),
      (pair) => fresh(pair) && options.hosts.every((host) => isFor(pair.certificate, host)),
      () =>
        issueCertificate(
          { commonName: 'virtctl-apiserver', usage: 'server', hosts: options.hosts, ...leaf },
          authority,
        ),
    );
    const admin = ensurePair(join(folder, 'admin'), fresh, () =>
      issueCertificate({ commonName: 'admin', organization: 'system:masters', usage: 'client', ...leaf }, authority),
    );
    return { authority, server, admin, token: ensureToken(join(folder, 'admin.token')) };
  } catch (error) {
    throw new StorageFailedError(`cannot make the certificates in ${folder}`, { cause: toError(error) });
  }
}

/**
 * Writes the administrator's kubeconfig for `server`, a URL, with mode 0600.
 *
 * @param socket Where the same server is without TLS, for virtctl on this machine (`socketExtension` in src/kube).
 * @throws StorageFailedError when it cannot be written.
 */
export function writeKubeconfig(path: string, server: string, credentials: Credentials, socket?: string): void {
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  const kubeconfig = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name: 'virtctl',
        cluster: {
          server,
          'certificate-authority-data': base64(credentials.authority.certificate),
          ...(socket === undefined
            ? {}
            : { extensions: [{ name: socketExtension, extension: { path: socket, server } }] }),
        },
      },
    ],
    users: [
      {
        name: 'admin',
        user: {
          'client-certificate-data': base64(credentials.admin.certificate),
          'client-key-data': base64(credentials.admin.key),
        },
      },
    ],
    contexts: [{ name: 'virtctl', context: { cluster: 'virtctl', user: 'admin', namespace: 'default' } }],
    'current-context': 'virtctl',
  };
  // JSON is YAML as well, and every call of virtctl reads it in a tenth of the time.
  writeSecret(path, `${JSON.stringify(kubeconfig, undefined, 2)}\n`);
}

function ensurePair(path: string, isGood: (pair: KeyPair) => boolean, make: () => KeyPair): KeyPair {
  if (existsSync(`${path}.crt`) && existsSync(`${path}.key`)) {
    const pair = { certificate: readFileSync(`${path}.crt`, 'utf8'), key: readFileSync(`${path}.key`, 'utf8') };
    if (isPair(pair) && isGood(pair)) return pair;
  }
  const pair = make();
  writeSecret(`${path}.key`, pair.key);
  writeSecret(`${path}.crt`, pair.certificate);
  return pair;
}

function ensureToken(path: string): string {
  if (existsSync(path)) {
    const token = readFileSync(path, 'utf8').trim();
    if (token.length >= 32) return token;
  }
  const token = randomBytes(32).toString('base64url');
  writeSecret(path, `${token}\n`);
  return token;
}

/**
 * A crash leaves the old file or the new one, and neither is ever readable by others. One that is as it should be stays:
 * a server has to start on a disk that is full, so that somebody can delete something.
 */
function writeSecret(path: string, content: string): void {
  if (isWritten(path, content)) return;
  const next = `${path}.new`;
  try {
    writeFileSync(next, content, { mode: 0o600, flush: true });
    renameSync(next, path);
  } catch (error) {
    throw new StorageFailedError(`cannot write ${path}`, { cause: toError(error) });
  }
}

function isWritten(path: string, content: string): boolean {
  if (!existsSync(path) || (statSync(path).mode & 0o777) !== 0o600) return false;
  return readFileSync(path, 'utf8') === content;
}
