/**
 * What the API server says when it refuses: a `Status` object (metav1.Status) becomes an error with the server's own
 * words, the exit code of its kind and the fields at fault.
 */
import {
  ConflictError,
  FailedError,
  ForbiddenError,
  InvalidInputError,
  NotFoundError,
  TimedOutError,
  UnreachableError,
} from '../base/errors.ts';
import type { InputProblem, VirtctlError, VirtctlErrorOptions } from '../base/errors.ts';

/** metav1.StatusCause: one field at fault. */
export interface StatusCause {
  readonly reason?: string | undefined;
  readonly message?: string | undefined;
  /** The field's path, such as `spec.domain.vcpu`. */
  readonly field?: string | undefined;
}

/** What an answer that is not a success said (metav1.Status, flattened). */
export interface KubeStatus {
  /** The HTTP status. */
  readonly code: number;
  /** One stable word, such as `AlreadyExists`; empty when the server gave none. */
  readonly reason: string;
  /** The server's own words. */
  readonly message: string;
  readonly causes: readonly StatusCause[];
  /** How long the server asks to wait before the next try; undefined when it does not. */
  readonly retryAfterMs: number | undefined;
}

/** An error that carries the server's answer. */
export interface StatusError extends VirtctlError {
  readonly status: KubeStatus;
}

class KubeNotFoundError extends NotFoundError implements StatusError {
  override readonly code: string;
  readonly status: KubeStatus;
  constructor(status: KubeStatus, options: VirtctlErrorOptions) {
    super(status.message, options);
    this.code = codeOf(status, 'NotFound');
    this.status = status;
  }
}

class KubeConflictError extends ConflictError implements StatusError {
  override readonly code: string;
  readonly status: KubeStatus;
  constructor(status: KubeStatus, options: VirtctlErrorOptions) {
    super(status.message, options);
    this.code = codeOf(status, 'Conflict');
    this.status = status;
  }
}

class KubeInvalidError extends InvalidInputError implements StatusError {
  override readonly code: string;
  readonly status: KubeStatus;
  constructor(status: KubeStatus, options: VirtctlErrorOptions) {
    super(problemsOf(status), options);
    // The server's sentence names the object and holds every cause already.
    this.message = status.message;
    this.code = codeOf(status, 'Invalid');
    this.status = status;
  }
}

class KubeForbiddenError extends ForbiddenError implements StatusError {
  override readonly code: string;
  readonly status: KubeStatus;
  constructor(status: KubeStatus, options: VirtctlErrorOptions) {
    super(status.message, options);
    this.code = codeOf(status, 'Forbidden');
    this.status = status;
  }
}

class KubeTimedOutError extends TimedOutError implements StatusError {
  override readonly code: string;
  readonly status: KubeStatus;
  constructor(status: KubeStatus, options: VirtctlErrorOptions) {
    super(status.message, options);
    this.code = codeOf(status, 'Timeout');
    this.status = status;
  }
}

class KubeUnavailableError extends UnreachableError implements StatusError {
  override readonly code: string;
  readonly status: KubeStatus;
  constructor(status: KubeStatus, options: VirtctlErrorOptions) {
    super(status.message, options);
    this.code = codeOf(status, 'ServiceUnavailable');
    this.status = status;
  }
}

class KubeFailedError extends FailedError implements StatusError {
  override readonly code: string;
  readonly status: KubeStatus;
  constructor(status: KubeStatus, options: VirtctlErrorOptions) {
    super(status.message, options);
    this.code = codeOf(status, 'Failed');
    this.status = status;
  }
}

const classes = [
  KubeNotFoundError,
  KubeConflictError,
  KubeInvalidError,
  KubeForbiddenError,
  KubeTimedOutError,
  KubeUnavailableError,
  KubeFailedError,
] as const;

/** The server's answer inside an error; undefined when the error is no answer of an API server. */
export function statusOf(error: unknown): KubeStatus | undefined {
  return classes.some((one) => error instanceof one) ? (error as StatusError).status : undefined;
}

/** The object does not exist. */
export const isNotFound = (error: unknown): boolean => statusOf(error)?.code === 404;
/** The object exists already. */
export const isAlreadyExists = (error: unknown): boolean => statusOf(error)?.reason === 'AlreadyExists';
/** Somebody else changed the object meanwhile, or a precondition did not hold: read again and decide anew. */
export const isConflict = (error: unknown): boolean =>
  statusOf(error)?.code === 409 && statusOf(error)?.reason !== 'AlreadyExists';
/** The resourceVersion or continue token is too old (410 Gone): list again. */
export const isExpired = (error: unknown): boolean => statusOf(error)?.code === 410;
/** The credentials were not accepted (401). */
export const isUnauthorized = (error: unknown): boolean => statusOf(error)?.code === 401;

/**
 * The server has refused, and done nothing. After an answer of 5xx (a write that took too long), and after none, it may
 * have done what it was asked all the same.
 */
export function isRefusal(error: unknown): boolean {
  const code = statusOf(error)?.code;
  return code !== undefined && code < 500;
}

/** How long the server asked to wait before the next try, in milliseconds. */
export function retryAfterMs(error: unknown): number | undefined {
  return statusOf(error)?.retryAfterMs;
}

/**
 * Makes the error of an answer.
 *
 * @param code The HTTP status, or the Status object's own code when it came inside a watch.
 * @param body The answer's body, parsed or not; anything but a Status is quoted, shortened.
 * @param context `what` names the request, as in `GET /api/v1/secrets`; `retryAfter` is the header of that name.
 */
export function statusError(
  code: number,
  body: unknown,
  context: { readonly what: string; readonly retryAfter?: string | undefined; readonly now?: number | undefined },
): StatusError {
  const status = readStatus(code, body, context);
  switch (status.code) {
    case 404:
      return new KubeNotFoundError(status, {
        hint: isUnknownResource(status)
          ? 'is the kind installed there? `virtctl crd | kubectl apply --server-side -f -` installs them'
          : undefined,
      });
    case 409:
      return new KubeConflictError(status, {});
    case 400:
    case 413:
    case 422:
      return new KubeInvalidError(status, {});
    case 401:
      return new KubeForbiddenError(status, { hint: 'the server did not accept the credentials of this kubeconfig' });
    case 403:
      return new KubeForbiddenError(status, {});
    case 504:
      return new KubeTimedOutError(status, {});
    case 502:
    case 503:
      return new KubeUnavailableError(status, {});
    default:
      if (status.reason === 'Timeout' || status.reason === 'ServerTimeout') return new KubeTimedOutError(status, {});
      return new KubeFailedError(status, {});
  }
}

function readStatus(
  code: number,
  body: unknown,
  context: { readonly what: string; readonly retryAfter?: string | undefined; readonly now?: number | undefined },
): KubeStatus {
  const status = isRecord(body) && body['kind'] === 'Status' ? body : undefined;
  const details = status !== undefined && isRecord(status['details']) ? status['details'] : {};
  const seconds = details['retryAfterSeconds'];
  const quoted = quote(body);
  const said = typeof status?.['message'] === 'string' ? status['message'] : '';
  return {
    code,
    reason: typeof status?.['reason'] === 'string' ? status['reason'] : '',
    message:
      said === '' ? `the API server answered ${code} to ${context.what}${quoted === '' ? '' : `: ${quoted}`}` : said,
    causes: (Array.isArray(details['causes']) ? details['causes'] : []).filter(isRecord).map((cause) => ({
      reason: textOf(cause['reason']),
      message: textOf(cause['message']),
      field: textOf(cause['field']),
    })),
    retryAfterMs:
      parseRetryAfter(context.retryAfter, context.now ?? Date.now()) ??
      (typeof seconds === 'number' && seconds > 0 ? seconds * 1000 : undefined),
  };
}

/** `Retry-After` in milliseconds: seconds, or an HTTP date (RFC 9110, 10.2.3). */
export function parseRetryAfter(header: string | undefined, now: number): number | undefined {
  if (header === undefined || header.trim() === '') return undefined;
  if (/^\s*\d+\s*$/.test(header)) return Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

function problemsOf(status: KubeStatus): InputProblem[] {
  const problems = status.causes.map((cause) => ({
    path: cause.field ?? '',
    message: (cause.message ?? cause.reason ?? '').replace(/\s*\n\s*/g, ' '),
  }));
  return problems.length > 0 ? problems : [{ path: '', message: status.message }];
}

/** The server's words for a path that it does not serve at all, in contrast to an object that is not there. */
function isUnknownResource(status: KubeStatus): boolean {
  return status.reason === '' || status.message === 'the server could not find the requested resource';
}

function codeOf(status: KubeStatus, otherwise: string): string {
  return status.reason === '' || status.reason === 'Unknown' ? otherwise : status.reason;
}

function quote(body: unknown): string {
  if (typeof body !== 'string') return '';
  const line = body.trim().split('\n')[0] ?? '';
  return line.length > 200 ? `${line.slice(0, 200)}…` : line;
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
