import { request as plainRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as secureRequest } from 'node:https';
import { rootCertificates } from 'node:tls';
import type { WebCredentials } from './web-credentials.ts';
import { StorageProblem } from '../virtual-pool/storage-context.ts';

/** As many redirects as curl and browsers about follow. */
const maxRedirects = 10;

/**
 * Asks a web server for a file, over redirects to http and https and nothing else. What says who we are goes to the first
 * server's origin only, and nothing follows from https to http.
 *
 * @param headers Of this request, beside those of the credentials.
 * @returns The answer, whose body is still to be read: `destroy` it when it is not wanted.
 * @throws StorageProblem for redirects that are not followed; whatever the connection ends with.
 */
export async function requestFile(
  url: string,
  headers: Readonly<Record<string, string>>,
  credentials: WebCredentials,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const first = new URL(url);
  let at = first;
  for (let redirects = 0; ; redirects += 1) {
    const isFirst = at.origin === first.origin;
    const answer = await send(at, {
      headers: { 'user-agent': 'virtctl', ...(isFirst ? credentials.headers : {}), ...headers },
      ...(at.protocol === 'https:' && credentials.ca !== undefined
        ? { ca: [...rootCertificates, credentials.ca] }
        : {}),
      ...(at.protocol === 'https:' && isFirst && credentials.certificate !== undefined ? credentials.certificate : {}),
      signal,
    });
    const { location } = answer.headers;
    if (![301, 302, 303, 307, 308].includes(answer.statusCode ?? 0) || location === undefined) return answer;
    answer.destroy();
    if (redirects >= maxRedirects) throw refused(`the server redirects more than ${maxRedirects} times`);
    at = nextUrl(at, location);
  }
}

/** Where a redirect leads, if it may. */
export function nextUrl(at: URL, location: string): URL {
  if (!URL.canParse(location, at.href)) throw refused('the server redirects to what is no URL');
  const next = new URL(location, at.href);
  if (next.protocol !== 'http:' && next.protocol !== 'https:') {
    throw refused(`the server redirects to ${next.protocol} instead of http or https`);
  }
  if (at.protocol === 'https:' && next.protocol === 'http:') {
    throw refused('the server redirects from https to http, where anybody could change the file');
  }
  return next;
}

function refused(message: string): StorageProblem {
  return new StorageProblem('UnsafeImage', message, { isFinal: true });
}

function send(url: URL, options: RequestOptions & Record<string, unknown>): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const ask = url.protocol === 'https:' ? secureRequest : plainRequest;
    const sent = ask(url, { ...options, agent: false }, resolve);
    sent.on('error', reject);
    sent.end();
  });
}
