/**
 * The rules of Kubernetes for names and labels
 * (https://kubernetes.io/docs/concepts/overview/working-with-objects/names/), and refusals of what a command line names:
 * no server is asked for what none would take, and a dry run tells what a server would.
 */
import { UsageError } from '../base/errors.ts';

const part = '[a-z0-9](?:[-a-z0-9]*[a-z0-9])?';
const subdomain = new RegExp(`^${part}(?:\\.${part})*$`);
const label = new RegExp(`^${part}$`);
const word = '[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?';
const labelValue = new RegExp(`^(?:${word})?$`);
const qualifiedName = new RegExp(`^(?:(?=[^/]{1,253}/)${part}(?:\\.${part})*/)?${word}$`);

const ends = 'with a letter or digit at both ends';

/** What an object's name is to be. */
export const nameRule = `at most 253 lower-case letters, digits, "-" and ".", ${ends}`;
/** What a namespace's name is to be. */
export const namespaceRule = `at most 63 lower-case letters, digits and "-", ${ends}`;
/** What a label's value is to be. */
export const labelValueRule = `at most 63 letters, digits, "-", "_" and ".", ${ends}`;
/** What the key of a label or an annotation is to be. */
export const keyRule = `${labelValueRule}; before it a DNS name and "/" where wanted`;

/** Whether an API server takes a text for an object's name (an RFC 1123 subdomain). */
export function isObjectName(text: string): boolean {
  return text.length <= 253 && subdomain.test(text);
}

/** Whether an API server takes a text for a namespace (an RFC 1123 label). */
export function isNamespaceName(text: string): boolean {
  return text.length <= 63 && label.test(text);
}

/** Whether an API server takes a text for a label's value. */
export function isLabelValue(text: string): boolean {
  return labelValue.test(text);
}

/** Whether an API server takes a text for the key of a label or an annotation. */
export function isQualifiedName(text: string): boolean {
  return qualifiedName.test(text);
}

/**
 * Refuses the name of something new.
 *
 * @param flag Where it stands, for messages, as `--node`; left out for an argument.
 * @throws UsageError with the rule.
 */
export function assertObjectName(name: string, flag?: string): void {
  if (isObjectName(name)) return;
  const where = flag === undefined ? '' : `${flag}: `;
  throw new UsageError(`${where}${JSON.stringify(name)} cannot be a name: expected ${nameRule}`);
}

/**
 * Refuses a namespace.
 *
 * @param name undefined where none was given.
 * @throws UsageError with the rule.
 */
export function assertNamespaceName(name: string | undefined): void {
  if (name === undefined || isNamespaceName(name)) return;
  throw new UsageError(`${JSON.stringify(name)} cannot be a namespace: expected ${namespaceRule}`);
}

/**
 * Refuses a label or an annotation.
 *
 * @param flag For messages, as `--label`.
 * @param value undefined where it may be anything (an annotation's, one that is removed).
 * @throws UsageError with the rule.
 */
export function assertLabel(flag: string, key: string, value: string | undefined): void {
  // The server takes an annotation's key in capitals, too.
  const form = flag === '--annotation' ? key.toLowerCase() : key;
  if (!isQualifiedName(form))
    throw new UsageError(`${flag}: ${JSON.stringify(key)} cannot be a key: expected ${keyRule}`);
  if (value === undefined || isLabelValue(value)) return;
  throw new UsageError(`${flag} ${key}: ${JSON.stringify(value)} cannot be a value: expected ${labelValueRule}`);
}
