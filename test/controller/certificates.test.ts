import { X509Certificate } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { renewCertificates } from '../../src/controller/webhook/certificates.ts';
import { isFor, isPair, isSignedBy } from '../../src/base/pki/key-pair.ts';

const now = Date.UTC(2030, 0, 1);
const day = 24 * 3600 * 1000;
const hosts = ['virtctl-webhook.virtctl-system.svc', '127.0.0.1'];
const bundleSize = (bundle: string): number => bundle.match(/BEGIN CERTIFICATE/g)?.length ?? 0;

describe('the certificates of the webhook', () => {
  it('are made for its names, and are a pair that the bundle trusts', () => {
    const made = renewCertificates(undefined, hosts, now);
    expect(hosts.map((host) => isFor(made.server.certificate, host))).toEqual([true, true]);
    expect(isFor(made.server.certificate, 'example.org')).toBe(false);
    expect([isPair(made.server), isPair(made.authority)]).toEqual([true, true]);
    expect(isSignedBy(made.server.certificate, made.bundle)).toBe(true);
    expect(new X509Certificate(made.bundle).ca).toBe(true);
  });

  it('stay the same as long as they are good', () => {
    const made = renewCertificates(undefined, hosts, now);
    expect(renewCertificates(made, hosts, now + 274 * day)).toBe(made);
  });

  it('are renewed with less than 90 days left, by the same authority', () => {
    const made = renewCertificates(undefined, hosts, now);
    const next = renewCertificates(made, hosts, now + 276 * day);
    expect(next.server.certificate).not.toBe(made.server.certificate);
    expect([next.authority, next.bundle]).toEqual([made.authority, made.bundle]);
  });

  it('are renewed for another name, and keep the names that others use', () => {
    const made = renewCertificates(undefined, hosts, now);
    const next = renewCertificates(made, ['10.0.0.7'], now);
    expect([...hosts, '10.0.0.7'].map((host) => isFor(next.server.certificate, host))).toEqual([true, true, true]);
    expect(renewCertificates(next, hosts, now)).toBe(next);
  });

  it('get a new authority long before the old one ends, and the old one is trusted as long as it lasts', () => {
    const made = renewCertificates(undefined, hosts, now);
    const next = renewCertificates(made, hosts, now + 3300 * day);
    expect(next.authority.certificate).not.toBe(made.authority.certificate);
    expect(next.bundle).toBe(next.authority.certificate + made.authority.certificate);
    expect(isSignedBy(next.server.certificate, next.authority.certificate)).toBe(true);
    const last = renewCertificates(next, hosts, now + 3700 * day);
    expect([last.authority, bundleSize(last.bundle)]).toEqual([next.authority, 1]);
  });

  it('are made anew where key and certificate do not belong together', () => {
    const made = renewCertificates(undefined, hosts, now);
    const mixed = { ...made, server: { ...made.server, key: made.authority.key } };
    expect(isPair(renewCertificates(mixed, hosts, now).server)).toBe(true);
  });
});
