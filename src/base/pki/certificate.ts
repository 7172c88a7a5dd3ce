import type { KeyObject } from 'node:crypto';
import { createHash, createPrivateKey, generateKeyPairSync, randomBytes, sign, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import * as der from './der.ts';

/** A certificate with its private key, both as PEM. */
export interface KeyPair {
  readonly certificate: string;
  readonly key: string;
}

/** Whom a certificate is for. */
export interface CertificateRequest {
  readonly commonName: string;
  /** Kubernetes reads the groups of a user from here. */
  readonly organization?: string;
  readonly usage: 'authority' | 'server' | 'client';
  /** DNS names and IP addresses of a server. */
  readonly hosts?: readonly string[];
  readonly notBefore: number;
  readonly notAfter: number;
}

const ecdsaWithSha256 = der.sequence(der.objectIdentifier('1.2.840.10045.4.3.2'));
const usageOid = { server: '1.3.6.1.5.5.7.3.1', client: '1.3.6.1.5.5.7.3.2' } as const;

/**
 * Makes a key (P-256) and its X.509 version 3 certificate (RFC 5280).
 *
 * @param issuer Who signs; itself when undefined.
 */
export function issueCertificate(request: CertificateRequest, issuer?: KeyPair): KeyPair {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const issuerKey = issuer === undefined ? privateKey : createPrivateKey(issuer.key);
  const issuerCertificate = issuer === undefined ? undefined : new X509Certificate(issuer.certificate);
  const subject = nameOf(request.commonName, request.organization);
  const issuerName = issuerCertificate === undefined ? subject : subjectOf(issuerCertificate.raw);
  const issuerKeyId = keyIdOf(issuerCertificate?.publicKey ?? publicKey);
  const toBeSigned = der.sequence(
    der.explicit(0, der.integer(Buffer.from([2]))),
    der.integer(randomBytes(16)),
    ecdsaWithSha256,
    issuerName,
    der.sequence(der.time(request.notBefore), der.time(request.notAfter)),
    subject,
    publicKey.export({ type: 'spki', format: 'der' }),
    der.explicit(3, der.sequence(...extensionsOf(request, keyIdOf(publicKey), issuerKeyId))),
  );
  const signature = sign('sha256', toBeSigned, { key: issuerKey, dsaEncoding: 'der' });
  const certificate = der.sequence(toBeSigned, ecdsaWithSha256, der.bitString(signature));
  const lines = certificate.toString('base64').match(/.{1,64}/g) ?? [];
  return {
    certificate: `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
  };
}

function extensionsOf(request: CertificateRequest, keyId: Buffer, issuerKeyId: Buffer): Buffer[] {
  const authority = request.usage === 'authority';
  const extensions = [
    extension('2.5.29.19', true, der.sequence(...(authority ? [der.boolean(true)] : []))),
    // keyCertSign and cRLSign, or digitalSignature.
    extension(
      '2.5.29.15',
      true,
      authority ? der.bitString(Buffer.from([0x06]), 1) : der.bitString(Buffer.from([0x80]), 7),
    ),
    extension('2.5.29.14', false, der.octetString(keyId)),
    extension('2.5.29.35', false, der.sequence(der.implicit(0, issuerKeyId))),
  ];
  if (request.usage !== 'authority') {
    extensions.push(extension('2.5.29.37', false, der.sequence(der.objectIdentifier(usageOid[request.usage]))));
  }
  if (request.hosts !== undefined && request.hosts.length > 0) {
    extensions.push(extension('2.5.29.17', false, der.sequence(...request.hosts.map(alternativeName))));
  }
  return extensions;
}

function extension(oid: string, critical: boolean, value: Buffer): Buffer {
  return der.sequence(der.objectIdentifier(oid), ...(critical ? [der.boolean(true)] : []), der.octetString(value));
}

function alternativeName(host: string): Buffer {
  const family = isIP(host);
  if (family === 0) return der.implicit(2, Buffer.from(host, 'ascii'));
  return der.implicit(7, family === 4 ? Buffer.from(host.split('.').map(Number)) : ipv6Bytes(host));
}

function ipv6Bytes(host: string): Buffer {
  const [head = '', tail] = host.split('::');
  const words = (text: string): number[] => (text === '' ? [] : text.split(':').map((word) => parseInt(word, 16)));
  const before = words(head);
  const after = tail === undefined ? [] : words(tail);
  const middle = new Array<number>(8 - before.length - after.length).fill(0);
  return Buffer.from([...before, ...middle, ...after].flatMap((word) => [word >> 8, word & 0xff]));
}

function nameOf(commonName: string, organization: string | undefined): Buffer {
  const part = (oid: string, text: string): Buffer =>
    der.set(der.sequence(der.objectIdentifier(oid), der.utf8String(text)));
  const parts = organization === undefined ? [] : [part('2.5.4.10', organization)];
  return der.sequence(...parts, part('2.5.4.3', commonName));
}

function keyIdOf(publicKey: KeyObject): Buffer {
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  return createHash('sha1').update(spki.subarray(-65)).digest();
}

/** The subject's bytes as they stand in a certificate: an issuer's name has to be equal byte for byte. */
function subjectOf(certificate: Buffer): Buffer {
  const outer = read(certificate, 0);
  const toBeSigned = read(certificate, outer.contentAt);
  let at = toBeSigned.contentAt;
  // version, serial number, algorithm, issuer, validity
  for (let skipped = 0; skipped < 5; skipped++) at = read(certificate, at).end;
  return certificate.subarray(at, read(certificate, at).end);
}

function read(buffer: Buffer, at: number): { contentAt: number; end: number } {
  const first = buffer[at + 1] ?? 0;
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
  const length = lengthBytes === 0 ? first : buffer.readUIntBE(at + 2, lengthBytes);
  const contentAt = at + 2 + lengthBytes;
  return { contentAt, end: contentAt + length };
}
