/** Whom a web server is to be, and who we are to it: the Secrets that an image names. */
import { X509Certificate } from 'node:crypto';
import { StorageProblem, type StorageContext } from '../virtual-pool/storage-context.ts';
import type { SecretObject } from '../virtual-machine/volumes.ts';
import type { VirtualImageSpec } from '../../api/virtual-image.ts';

/** What a request takes along. None of it goes to another server that the first one redirects to, save `ca`. */
export interface WebCredentials {
  /** PEM certificates to trust beside those of the system. */
  readonly ca?: string;
  /** PEM: our certificate with its chain, and its key. */
  readonly certificate?: { readonly cert: string; readonly key: string };
  readonly headers: Readonly<Record<string, string>>;
}

/** Headers that say what is asked for; an image cannot change them. */
const reserved: ReadonlySet<string> = new Set([
  ...['host', 'range', 'if-range', 'accept-encoding', 'content-length', 'transfer-encoding', 'connection', 'upgrade'],
]);

/**
 * Reads the Secrets of an image's web server.
 *
 * @throws StorageProblem `SecretNotFound`, or `SecretNotReady` when one does not hold what it has to; never with its value.
 */
export async function webCredentials(
  context: StorageContext,
  namespace: string | undefined,
  http: NonNullable<VirtualImageSpec['source']['http']>,
  signal: AbortSignal,
): Promise<WebCredentials> {
  const read = async (member: string, name: string): Promise<SecretObject> => {
    const secret = await context.secrets.find({ namespace, name }, { signal });
    if (secret !== undefined) return secret;
    throw new StorageProblem('SecretNotFound', `spec.source.http.${member}: there is no Secret "${name}"`);
  };
  const { caSecretRef, clientCertificateSecretRef, headersSecretRef } = http;
  const ca =
    caSecretRef === undefined
      ? undefined
      : certificatesOf(await read('caSecretRef', caSecretRef.name), 'ca.crt', 'caSecretRef');
  const tls =
    clientCertificateSecretRef === undefined
      ? undefined
      : await read('clientCertificateSecretRef', clientCertificateSecretRef.name);
  const certificate =
    tls === undefined
      ? undefined
      : {
          cert: certificatesOf(tls, 'tls.crt', 'clientCertificateSecretRef'),
          key: textOf(tls, 'tls.key', 'clientCertificateSecretRef'),
        };
  const headers =
    headersSecretRef === undefined ? {} : headersOf(await read('headersSecretRef', headersSecretRef.name));
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(certificate === undefined ? {} : { certificate }),
    headers,
  };
}

/**
 * The request headers in a Secret: each key is one; of a Secret of type kubernetes.io/basic-auth, `username` and
 * `password` become `Authorization: Basic`.
 *
 * @throws StorageProblem when a key or value cannot be that.
 */
export function headersOf(secret: SecretObject): Record<string, string> {
  const name = secret.metadata.name ?? '';
  const headers: Record<string, string> = {};
  if ((secret as { type?: string }).type === 'kubernetes.io/basic-auth') {
    const user = textOf(secret, 'username', 'headersSecretRef');
    const password = textOf(secret, 'password', 'headersSecretRef');
    return { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` };
  }
  for (const [key, data] of Object.entries(secret.data ?? {})) {
    // What `echo` and editors add at the end is no part of it.
    const value = Buffer.from(data, 'base64')
      .toString('latin1')
      .replace(/\r?\n$/, '');
    if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(key) || reserved.has(key.toLowerCase())) {
      throw problem(`key "${key}" of Secret "${name}" cannot be a request header`);
    }
    // RFC 9110, 5.5: printable characters, spaces and tabs.
    if (!/^[\t\x20-\x7e\x80-\xff]*$/.test(value)) {
      throw problem(`what Secret "${name}" has under "${key}" cannot be the value of a request header`);
    }
    headers[key.toLowerCase()] = value;
  }
  return headers;
}

function problem(message: string): StorageProblem {
  return new StorageProblem('SecretNotReady', `spec.source.http.headersSecretRef: ${message}`);
}

function textOf(secret: SecretObject, key: string, member: string): string {
  const data = secret.data?.[key];
  if (data !== undefined) return Buffer.from(data, 'base64').toString('utf8');
  const message = `spec.source.http.${member}: Secret "${secret.metadata.name ?? ''}" has no key "${key}"`;
  throw new StorageProblem('SecretNotReady', message);
}

function certificatesOf(secret: SecretObject, key: string, member: string): string {
  const text = textOf(secret, key, member);
  try {
    new X509Certificate(text);
    return text;
  } catch (cause) {
    const message = `spec.source.http.${member}: "${key}" of Secret "${secret.metadata.name ?? ''}" is no certificate`;
    throw new StorageProblem('SecretNotReady', message, { cause });
  }
}
