import type { InputProblem } from '../base/errors.ts';

/** What kind of problem it is: the reasons of Kubernetes' field errors (metav1.CauseType without `FieldValue`). */
export type ProblemReason =
  'Required' | 'Invalid' | 'NotSupported' | 'Duplicate' | 'NotFound' | 'Forbidden' | 'TooLong';

/** One thing that is wrong with an object. */
export interface Problem extends InputProblem {
  readonly reason: ProblemReason;
  /** `error` refuses the object; `warning` is only told. */
  readonly severity: 'error' | 'warning';
}

/** Collects problems, up to a bound. */
export class Problems {
  readonly list: Problem[] = [];

  /** An error at a path. */
  add(path: string, reason: ProblemReason, message: string): void {
    this.#push({ path, message, reason, severity: 'error' });
  }

  /** Something that is told but not refused. */
  warn(path: string, reason: ProblemReason, message: string): void {
    this.#push({ path, message, reason, severity: 'warning' });
  }

  #push(problem: Problem): void {
    if (this.list.length < maxProblems) this.list.push(problem);
  }
}

/** More are not told. */
const maxProblems = 1000;

/** True for a JSON object. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `a.b`; a key that is no plain word in brackets and quotes, as in `metadata.labels["a/b"]`. */
export function joinPath(path: string, key: string): string {
  if (!/^[A-Za-z_][\w:-]*$/.test(key)) return `${path}[${JSON.stringify(key)}]`;
  return path === '' ? key : `${path}.${key}`;
}

/** A value for a message: itself when it is short, else its type. */
export function describeValue(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'an object';
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

/** True when two JSON values are equal; the order of keys does not count. */
export function sameJson(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((item, index) => sameJson(item, b[index]));
  }
  if (!isRecord(a) || !isRecord(b)) return false;
  const keys = Object.keys(a).filter((key) => a[key] !== undefined);
  const others = Object.keys(b).filter((key) => b[key] !== undefined);
  return keys.length === others.length && keys.every((key) => Object.hasOwn(b, key) && sameJson(a[key], b[key]));
}
