/**
 * The certificates of the admission webhook: an authority of its own and a server certificate that it signs, kept in one
 * Secret that all controllers share. They are made when they are missing and made anew long before they expire; whoever
 * comes first writes, the others take what is there.
 */
import { X509Certificate } from 'node:crypto';
import type { Clock } from '../../base/clock.ts';
import { FailedError } from '../../base/errors.ts';
import type { KeyPair } from '../../base/pki/certificate.ts';
import { issueCertificate } from '../../base/pki/certificate.ts';
import { dayMs, isFor, isPair, isSignedBy, remainingDays } from '../../base/pki/key-pair.ts';
import type { KubeObject, ObjectRef } from '../../kube/object.ts';
import type { ResourceClient } from '../../kube/resource-client.ts';
import { isAlreadyExists, isConflict } from '../../kube/status-error.ts';

/** core/v1 Secret, as far as it is used. */
export interface SecretObject extends KubeObject {
  readonly type?: string | undefined;
  /** Base64. */
  readonly data?: Readonly<Record<string, string>> | undefined;
}

/** What the webhook serves with. */
export interface WebhookCertificates {
  readonly server: KeyPair;
  /** The newest authority with its key: it signs. */
  readonly authority: KeyPair;
  /** PEM, the authorities that a client has to trust: the newest first, then those before that have not expired. */
  readonly bundle: string;
}

const authorityDays = 3650;
const serverDays = 365;
/** An authority has to outlive whatever it signs. */
const authorityBeforeDays = serverDays + 30;
/** A certificate is renewed when less than this is left of it. */
const serverBeforeDays = 90;
/** Names of earlier controllers are kept, so that two of different addresses do not take turns; at most this many. */
const maxHosts = 32;
const maxConflicts = 10;

/**
 * What is to be served: the given certificates where they are good, else with new ones in the place of those that are
 * not. The same object comes back when nothing had to be made.
 *
 * @param hosts DNS names and addresses that the API server calls the webhook by.
 * @param now Wall-clock milliseconds.
 */
export function renewCertificates(
  current: WebhookCertificates | undefined,
  hosts: readonly string[],
  now: number,
): WebhookCertificates {
  const isAuthorityGood =
    current !== undefined &&
    isPair(current.authority) &&
    remainingDays(current.authority.certificate, now) > authorityBeforeDays;
  const authority = isAuthorityGood
    ? current.authority
    : issueCertificate({
        commonName: 'virtctl-webhook-ca',
        usage: 'authority',
        notBefore: now - dayMs,
        notAfter: now + authorityDays * dayMs,
      });
  const old = current === undefined ? [] : certificatesOf(current.bundle);
  const others = old.filter((one) => one !== authority.certificate && remainingDays(one, now) > 0);
  const isServerGood =
    isAuthorityGood &&
    isPair(current.server) &&
    isSignedBy(current.server.certificate, authority.certificate) &&
    remainingDays(current.server.certificate, now) > serverBeforeDays &&
    hosts.every((host) => isFor(current.server.certificate, host));
  if (isServerGood && old.length === others.length + 1) return current;
  const before = current === undefined ? [] : hostsOf(current.server.certificate);
  const server = isServerGood
    ? current.server
    : issueCertificate(
        {
          commonName: 'virtctl-webhook',
          usage: 'server',
          hosts: [...new Set([...hosts, ...before])].slice(0, Math.max(maxHosts, hosts.length)),
          notBefore: now - dayMs,
          notAfter: now + serverDays * dayMs,
        },
        authority,
      );
  return { server, authority, bundle: [authority.certificate, ...others].join('') };
}

/** Options of {@link ensureCertificates}. */
export interface EnsureCertificatesOptions {
  readonly secrets: ResourceClient<SecretObject>;
  /** Where they are kept. */
  readonly ref: ObjectRef;
  readonly hosts: readonly string[];
  readonly clock: Clock;
}

/**
 * The certificates of the Secret, renewed and stored where that is needed.
 *
 * @throws what the API server refuses with; FailedError when others kept writing in between.
 */
export async function ensureCertificates(
  options: EnsureCertificatesOptions,
  signal: AbortSignal,
): Promise<WebhookCertificates> {
  const { secrets, ref, hosts, clock } = options;
  for (let conflicts = 0; conflicts <= maxConflicts; conflicts += 1) {
    const stored = await secrets.find(ref, { signal });
    const current = stored === undefined ? undefined : readSecret(stored);
    const wanted = renewCertificates(current, hosts, clock.now());
    if (wanted === current) return wanted;
    try {
      if (stored === undefined) {
        const metadata = { ...ref };
        const made = { apiVersion: 'v1', kind: 'Secret', metadata, type: 'kubernetes.io/tls', data: dataOf(wanted) };
        await secrets.create(made, { signal });
      } else {
        await secrets.update({ ...stored, data: { ...stored.data, ...dataOf(wanted) } }, { signal });
      }
      return wanted;
    } catch (error) {
      if (!isConflict(error) && !isAlreadyExists(error)) throw error;
    }
  }
  throw new FailedError(`others keep writing Secret ${ref.namespace ?? ''}/${ref.name}`);
}

/** What a Secret holds; undefined where a part is missing or no certificate. */
function readSecret(secret: SecretObject): WebhookCertificates | undefined {
  const text = (key: string): string => Buffer.from(secret.data?.[key] ?? '', 'base64').toString('utf8');
  const bundle = text('ca.crt');
  const [newest] = certificatesOf(bundle);
  const server = { certificate: text('tls.crt'), key: text('tls.key') };
  if (newest === undefined) return undefined;
  const read = { server, authority: { certificate: newest, key: text('ca.key') }, bundle };
  try {
    isPair(read.server);
    isPair(read.authority);
    return read;
  } catch {
    // Somebody damaged it; there is nothing in it that cannot be made again.
    return undefined;
  }
}

function dataOf({ server, authority, bundle }: WebhookCertificates): Record<string, string> {
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  return {
    'tls.crt': base64(server.certificate),
    'tls.key': base64(server.key),
    'ca.crt': base64(bundle),
    'ca.key': base64(authority.key),
  };
}

function certificatesOf(bundle: string): string[] {
  const found = bundle.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return found.map((one) => `${one}\n`);
}

function hostsOf(certificate: string): string[] {
  const names = new X509Certificate(certificate).subjectAltName ?? '';
  return [...names.matchAll(/(?:DNS|IP Address):([^,\s]+)/g)]
    .map((match) => match[1] ?? '')
    .filter((one) => one !== '');
}
