import { parseInt64 } from '../api/quantity.ts';
import type { LabelSelector, Taint, Toleration } from '../api/scheduling.ts';

/** An object's labels. */
export type Labels = Readonly<Record<string, string>>;

interface Requirement {
  readonly key: string;
  readonly operator: string;
  readonly values?: readonly string[] | undefined;
}

/** Whether one condition of a selector holds of a value, undefined when the label is not there. */
function holds({ operator, values = [] }: Requirement, value: string | undefined): boolean {
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    case 'Gt':
    case 'Lt': {
      const [is, bound] = [parseInt64(value), values.length === 1 ? parseInt64(values[0]) : undefined];
      if (is === undefined || bound === undefined) return false;
      return operator === 'Gt' ? is > bound : is < bound;
    }
    default:
      return false;
  }
}

/** Whether labels match a selector; an empty one matches all, none at all matches nothing, as for pods. */
export function matchesSelector(selector: LabelSelector | undefined, labels: Labels): boolean {
  if (selector === undefined) return false;
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) if (labels[key] !== value) return false;
  return (selector.matchExpressions ?? []).every((one) => holds(one, labels[one.key]));
}

/** A term of node affinity. */
export interface NodeTerm {
  readonly matchExpressions?: readonly Requirement[] | undefined;
  readonly matchFields?: readonly Requirement[] | undefined;
}

/** Whether a node matches a term; an empty term matches none, as for pods. */
export function matchesNodeTerm(term: NodeTerm, labels: Labels, name: string): boolean {
  const { matchExpressions = [], matchFields = [] } = term;
  if (matchExpressions.length + matchFields.length === 0) return false;
  return (
    matchExpressions.every((one) => holds(one, labels[one.key])) &&
    matchFields.every((one) => one.key === 'metadata.name' && holds(one, name))
  );
}

/** Whether one of the tolerations is for a taint. */
export function isTolerated(taint: Taint, tolerations: readonly Toleration[] | undefined): boolean {
  return (tolerations ?? []).some((one) => {
    if ((one.effect ?? '') !== '' && one.effect !== taint.effect) return false;
    if ((one.key ?? '') === '') return one.operator === 'Exists';
    if (one.key !== taint.key) return false;
    return one.operator === 'Exists' || (one.value ?? '') === (taint.value ?? '');
  });
}
