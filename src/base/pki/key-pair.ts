/** What is asked of a certificate that was read back: is it still good for what it is used for? */
import { createPublicKey, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import type { KeyPair } from './certificate.ts';

/** Milliseconds of a day. */
export const dayMs = 24 * 3600 * 1000;

/** False for a key of another certificate: a crash may come between the writing of the two. */
export function isPair(pair: KeyPair): boolean {
  const { publicKey } = new X509Certificate(pair.certificate);
  return publicKey.equals(createPublicKey(pair.key));
}

/** How many days are left of a certificate, negative when it has expired. `now` is wall-clock milliseconds. */
export function remainingDays(certificate: string, now: number): number {
  return (Date.parse(new X509Certificate(certificate).validTo) - now) / dayMs;
}

/** Whether an authority's key signed a certificate. */
export function isSignedBy(certificate: string, authority: string): boolean {
  return new X509Certificate(certificate).verify(new X509Certificate(authority).publicKey);
}

/** Whether a certificate is for a DNS name or an IP address. */
export function isFor(certificate: string, host: string): boolean {
  const read = new X509Certificate(certificate);
  return (isIP(host) === 0 ? read.checkHost(host) : read.checkIP(host)) !== undefined;
}
