/** The admission webhook's answer (admission.k8s.io/v1), as a pure function; the HTTP server is the controller's. */
import { formatProblem } from '../base/errors.ts';
import { isRecord, type Problem } from './problem.ts';
import type { Lookup } from './lookup.ts';
import type { KubeObject } from './meta.ts';
import { validateDeletion, validateObject } from './validate.ts';

/** What an API server asks (AdmissionReview.request), as far as it is looked at. */
export interface AdmissionRequest {
  readonly uid: string;
  readonly operation: 'CREATE' | 'UPDATE' | 'DELETE' | 'CONNECT';
  readonly subResource?: string | undefined;
  readonly name?: string | undefined;
  readonly object?: KubeObject | null | undefined;
  readonly oldObject?: KubeObject | null | undefined;
}

/** The answer (AdmissionReview). */
export interface AdmissionReview {
  readonly apiVersion: 'admission.k8s.io/v1';
  readonly kind: 'AdmissionReview';
  readonly response: {
    readonly uid: string;
    readonly allowed: boolean;
    readonly warnings?: readonly string[];
    readonly status?: AdmissionStatus;
  };
}

/** Why it is refused (metav1.Status). */
export interface AdmissionStatus {
  readonly status: 'Failure';
  readonly code: 403 | 422;
  readonly reason: 'Forbidden' | 'Invalid';
  readonly message: string;
  readonly details: {
    readonly name: string;
    readonly kind: string;
    readonly causes: readonly { readonly reason: string; readonly message: string; readonly field: string }[];
  };
}

/** kube-apiserver cuts off longer warnings. */
const maxWarningLength = 256;

/**
 * Answers a review: validateObject for what is created or updated, validateDeletion for what is deleted. Subresources
 * (status) pass.
 *
 * @param body The request's body, parsed.
 * @returns The answer, or undefined when the body is no AdmissionReview with a request.
 */
export function reviewAdmission(body: unknown, lookup?: Lookup): AdmissionReview | undefined {
  if (!isRecord(body) || body['kind'] !== 'AdmissionReview' || !isRecord(body['request'])) return undefined;
  const request = body['request'] as unknown as AdmissionRequest;
  if (typeof request.uid !== 'string') return undefined;
  const problems = problemsOf(request, lookup);
  const errors = problems.filter((one) => one.severity === 'error');
  const warnings = problems
    .filter((one) => one.severity === 'warning')
    .map((one) => formatProblem(one).slice(0, maxWarningLength));
  const subject = request.object ?? request.oldObject;
  return {
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    response: {
      uid: request.uid,
      allowed: errors.length === 0,
      ...(warnings.length > 0 ? { warnings } : {}),
      ...(errors.length > 0 ? { status: statusOf(errors, subject?.kind ?? '', nameOf(request)) } : {}),
    },
  };
}

function problemsOf(request: AdmissionRequest, lookup: Lookup | undefined): readonly Problem[] {
  if ((request.subResource ?? '') !== '') return [];
  const { object, oldObject } = request;
  if (request.operation === 'DELETE') return isRecord(oldObject) ? validateDeletion(oldObject) : [];
  if (request.operation === 'CONNECT' || !isRecord(object)) return [];
  return validateObject(object, { lookup, old: request.operation === 'UPDATE' ? (oldObject ?? undefined) : undefined });
}

/** The Status with which problems refuse an object: 403 when it is not allowed, 422 when it is not valid. */
export function statusOf(errors: readonly Problem[], kind: string, name: string): AdmissionStatus {
  const isForbidden = errors.every((one) => one.reason === 'Forbidden');
  return {
    status: 'Failure',
    code: isForbidden ? 403 : 422,
    reason: isForbidden ? 'Forbidden' : 'Invalid',
    message: errors.map(formatProblem).join('; '),
    details: {
      name,
      kind,
      causes: errors.map(({ reason, message, path }) => ({ reason: `FieldValue${reason}`, message, field: path })),
    },
  };
}

function nameOf(request: AdmissionRequest): string {
  return request.name ?? request.object?.metadata.name ?? '';
}
