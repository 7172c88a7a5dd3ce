import { badRequest } from '../http/api-error.ts';

/** Where a list goes on: at which state, and from which key. */
export interface ContinuePoint {
  /** The resource version of the list; -1 for whatever is there now. */
  readonly revision: number;
  readonly start: string;
}

/** A token as kube-apiserver makes it: base64url of `{"v":"meta.k8s.io/v1","rv":…,"start":…}`. */
export function encodeContinue(revision: number, start: string): string {
  return Buffer.from(JSON.stringify({ v: 'meta.k8s.io/v1', rv: revision, start })).toString('base64url');
}

/** @throws ApiError 400 for a token that this server has not made. */
export function decodeContinue(token: string): ContinuePoint {
  const refuse = (why: string): Error => badRequest(`invalid continue token: continue key is not valid: ${why}`);
  if (!/^[A-Za-z0-9_-]+$/.test(token) || token.length % 4 === 1) throw refuse('illegal base64 data');
  let decoded: unknown;
  try {
    decoded = JSON.parse(Buffer.from(token, 'base64url').toString('utf8'));
  } catch {
    throw refuse('invalid character in the decoded token');
  }
  const point = decoded as { v?: unknown; rv?: unknown; start?: unknown } | null;
  if (point?.v !== 'meta.k8s.io/v1') throw refuse('server does not recognize this encoded version');
  if (typeof point.rv !== 'number' || typeof point.start !== 'string' || point.start === '') {
    throw refuse('incorrect encoded start resourceVersion (version meta.k8s.io/v1)');
  }
  return { revision: point.rv, start: point.start };
}
