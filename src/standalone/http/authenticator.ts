import { createHash, timingSafeEqual, X509Certificate } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { TLSSocket } from 'node:tls';
import type { Credentials } from '../pki/credentials.ts';

const clientAuthUsage = '1.3.6.1.5.5.7.3.2';

/**
 * Decides whether a request comes from the administrator: by a client certificate of the server's authority, or by
 * the token. There is one user; whoever has the data folder's credentials may do everything.
 *
 * The certificate is checked here and not by TLS's own verdict, which calls a resumed session without a certificate
 * authorized.
 */
export class Authenticator {
  readonly #authority: X509Certificate;
  readonly #tokenDigest: Buffer;
  readonly #now: () => number;
  readonly #peers = new WeakMap<object, X509Certificate | undefined>();

  constructor(credentials: Credentials, now: () => number) {
    this.#authority = new X509Certificate(credentials.authority.certificate);
    this.#tokenDigest = digest(credentials.token);
    this.#now = now;
  }

  /** Whether the request may be served. */
  authenticate(request: IncomingMessage): boolean {
    const header = request.headers.authorization;
    if (header !== undefined) {
      const token = /^Bearer +(\S+)$/i.exec(header)?.[1];
      // Digests have one length, so that the comparison tells nothing.
      return token !== undefined && timingSafeEqual(digest(token), this.#tokenDigest);
    }
    const peer = request.socket instanceof TLSSocket ? this.#peerOf(request.socket) : undefined;
    if (peer === undefined) return false;
    const now = this.#now();
    return Date.parse(peer.validFrom) <= now && now <= Date.parse(peer.validTo);
  }

  #peerOf(socket: TLSSocket): X509Certificate | undefined {
    if (this.#peers.has(socket)) return this.#peers.get(socket);
    const peer = socket.getPeerX509Certificate();
    const good =
      peer !== undefined &&
      !peer.ca &&
      peer.checkIssued(this.#authority) &&
      peer.verify(this.#authority.publicKey) &&
      peer.keyUsage.includes(clientAuthUsage)
        ? peer
        : undefined;
    this.#peers.set(socket, good);
    return good;
  }
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
