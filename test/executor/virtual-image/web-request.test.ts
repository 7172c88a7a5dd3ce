import { createServer as createPlain, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { createServer as createSecure } from 'node:https';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { headersOf, type WebCredentials } from '../../../src/executor/virtual-image/web-credentials.ts';
import { nextUrl, requestFile } from '../../../src/executor/virtual-image/web-request.ts';
import { makeAuthority, makeCertificate } from '../../support/test-certificates.ts';
import { makeTestFolder } from '../../support/test-folder.ts';

const nobody: WebCredentials = { headers: {} };
const { signal } = new AbortController();
const base64 = (text: string): string => Buffer.from(text).toString('base64');

describe('asking a web server for an image', () => {
  const servers: Server[] = [];
  let certificates: { ca: string; cert: string; key: string };

  beforeAll(async () => {
    const folder = makeTestFolder('web');
    const authority = await makeAuthority(folder, 'ca');
    const files = await makeCertificate(folder, 'one', authority, '/CN=one', ['IP:127.0.0.1']);
    const [ca, cert, key] = await Promise.all(
      [authority.cert, files.cert, files.key].map((at) => readFile(at, 'utf8')),
    );
    certificates = { ca: ca ?? '', cert: cert ?? '', key: key ?? '' };
  });
  afterAll(() => {
    for (const server of servers) {
      server.closeAllConnections();
      server.close();
    }
  });

  async function serve(answer: RequestListener, isSecure = false): Promise<string> {
    const server = isSecure
      ? createSecure({ ...certificates, ca: certificates.ca, requestCert: true, rejectUnauthorized: true }, answer)
      : createPlain(answer);
    servers.push(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return `${isSecure ? 'https' : 'http'}://127.0.0.1:${(server.address() as AddressInfo).port}/image`;
  }
  async function text(answer: IncomingMessage): Promise<string> {
    let all = '';
    for await (const chunk of answer) all += String(chunk);
    return all;
  }

  it('trusts the authority and shows the certificate that the Secrets hold, and fails without either', async () => {
    const url = await serve((_request, response) => void response.end('served'), true);
    const { ca, cert, key } = certificates;
    const both = { ca, certificate: { cert, key }, headers: {} };
    expect(await text(await requestFile(url, {}, both, signal))).toBe('served');
    await expect(requestFile(url, {}, { headers: {}, certificate: { cert, key } }, signal)).rejects.toThrow(
      /certificate/,
    );
    const answered = requestFile(url, {}, { headers: {}, ca }, signal).then(text);
    await expect(answered).rejects.toThrow(/certificate required|ECONNRESET|socket hang up|aborted/);
  });

  it('sends the headers of the Secret to the first server, and to none that it redirects to', async () => {
    const seen: (string | undefined)[] = [];
    const other = await serve((request, response) => {
      seen.push(request.headers.authorization);
      response.end(`range ${request.headers.range ?? 'none'}`);
    });
    const first = await serve((request, response) => {
      seen.push(request.headers.authorization);
      response.writeHead(302, { location: other }).end();
    });
    const credentials = { headers: { authorization: 'Bearer of-mine' } };
    expect(await text(await requestFile(first, { range: 'bytes=5-' }, credentials, signal))).toBe('range bytes=5-');
    expect(seen).toEqual(['Bearer of-mine', undefined]);
  });

  it('follows a few redirects and no more, and none to anything but http and https', async () => {
    const turns = await serve((request, response) => {
      response.writeHead(302, { location: `${request.url ?? ''}x` }).end();
    });
    await expect(requestFile(turns, {}, nobody, signal)).rejects.toThrow('redirects more than 10 times');
    for (const location of ['file:///etc/shadow', 'ftp://127.0.0.1/x', 'data:,x', 'nbd://127.0.0.1/x']) {
      const evil = await serve((_request, response) => void response.writeHead(301, { location }).end());
      await expect(requestFile(evil, {}, nobody, signal)).rejects.toMatchObject({
        reason: 'UnsafeImage',
        isFinal: true,
      });
    }
    expect(() => nextUrl(new URL('https://a/x'), 'http://a/x')).toThrow('from https to http');
    expect(nextUrl(new URL('http://a/x/y'), '../z').href).toBe('http://a/z');
  });

  it('makes headers of what a Secret holds, and refuses what would be another request', () => {
    const secret = (data: Record<string, string>, type = 'Opaque') =>
      ({ apiVersion: 'v1', kind: 'Secret', type, metadata: { name: 's' }, data }) as const;
    expect(headersOf(secret({ Authorization: base64('Bearer abc\n'), 'X-Key': base64('k') }))).toEqual({
      authorization: 'Bearer abc',
      'x-key': 'k',
    });
    const basic = secret({ username: base64('me'), password: base64('pass:word') }, 'kubernetes.io/basic-auth');
    expect(headersOf(basic)).toEqual({ authorization: `Basic ${base64('me:pass:word')}` });
    expect(() => headersOf(secret({ Authorization: base64('hidden\r\nHost: evil') }))).toThrow(
      'what Secret "s" has under "Authorization" cannot be the value of a request header',
    );
    for (const key of ['Range', 'host', 'a b']) expect(() => headersOf(secret({ [key]: base64('x') }))).toThrow(key);
  });
});
