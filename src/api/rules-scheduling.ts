import { parseInt64 } from './quantity.ts';
import type { Problems } from './problem.ts';
import type { Affinity, LabelSelector, Toleration, TopologySpreadConstraint } from './scheduling.ts';

interface Scheduled {
  readonly affinity?: Affinity | undefined;
  readonly tolerations?: readonly Toleration[] | undefined;
  readonly topologySpreadConstraints?: readonly TopologySpreadConstraint[] | undefined;
}

interface Requirement {
  readonly key: string;
  readonly operator: string;
  readonly values?: readonly string[] | undefined;
}

/** The rules of affinity, tolerations and spreading, as Kubernetes has them for pods. */
export function checkScheduling(spec: Scheduled, problems: Problems): void {
  const { nodeAffinity, vmAffinity, vmAntiAffinity } = spec.affinity ?? {};
  const nodes = 'spec.affinity.nodeAffinity';
  const required = nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [];
  for (const [index, term] of required.entries()) {
    checkNodeTerm(
      term,
      `${nodes}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[${index}]`,
      problems,
    );
  }
  const preferred = nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
  for (const [index, one] of preferred.entries()) {
    checkNodeTerm(
      one.preference,
      `${nodes}.preferredDuringSchedulingIgnoredDuringExecution[${index}].preference`,
      problems,
    );
  }
  for (const [name, affinity] of Object.entries({ vmAffinity, vmAntiAffinity })) {
    const path = `spec.affinity.${name}`;
    for (const [index, term] of (affinity?.requiredDuringSchedulingIgnoredDuringExecution ?? []).entries()) {
      const at = `${path}.requiredDuringSchedulingIgnoredDuringExecution[${index}].labelSelector`;
      checkLabelSelector(term.labelSelector, at, problems);
    }
    for (const [index, one] of (affinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []).entries()) {
      const at = `${path}.preferredDuringSchedulingIgnoredDuringExecution[${index}].vmAffinityTerm.labelSelector`;
      checkLabelSelector(one.vmAffinityTerm.labelSelector, at, problems);
    }
  }
  for (const [index, one] of (spec.tolerations ?? []).entries())
    checkToleration(one, `spec.tolerations[${index}]`, problems);
  for (const [index, one] of (spec.topologySpreadConstraints ?? []).entries()) {
    checkLabelSelector(one.labelSelector, `spec.topologySpreadConstraints[${index}].labelSelector`, problems);
  }
}

/** The rules of a label selector (metav1.LabelSelector). */
export function checkLabelSelector(selector: LabelSelector | undefined, path: string, problems: Problems): void {
  for (const [index, one] of (selector?.matchExpressions ?? []).entries()) {
    checkRequirement(one, `${path}.matchExpressions[${index}]`, problems);
  }
}

function checkNodeTerm(
  term: {
    readonly matchExpressions?: readonly Requirement[] | undefined;
    readonly matchFields?: readonly Requirement[] | undefined;
  },
  path: string,
  problems: Problems,
): void {
  for (const [index, one] of (term.matchExpressions ?? []).entries()) {
    checkRequirement(one, `${path}.matchExpressions[${index}]`, problems);
  }
  for (const [index, one] of (term.matchFields ?? []).entries()) {
    const at = `${path}.matchFields[${index}]`;
    checkRequirement(one, at, problems);
    if (one.key !== 'metadata.name') problems.add(`${at}.key`, 'NotSupported', 'only metadata.name can be matched');
  }
}

function checkRequirement({ operator, values }: Requirement, path: string, problems: Problems): void {
  const count = values?.length ?? 0;
  if ((operator === 'In' || operator === 'NotIn') && count === 0) {
    problems.add(`${path}.values`, 'Required', `${operator} needs at least one value`);
  } else if ((operator === 'Exists' || operator === 'DoesNotExist') && count > 0) {
    problems.add(`${path}.values`, 'Invalid', `${operator} takes no values`);
  } else if ((operator === 'Gt' || operator === 'Lt') && !(count === 1 && parseInt64(values?.[0]) !== undefined)) {
    problems.add(`${path}.values`, 'Invalid', `${operator} takes exactly one integer of 64 bits`);
  }
}

function checkToleration(one: Toleration, path: string, problems: Problems): void {
  if ((one.key ?? '') === '' && one.operator !== 'Exists') {
    problems.add(`${path}.operator`, 'Invalid', 'must be Exists when there is no key');
  }
  if (one.operator === 'Exists' && (one.value ?? '') !== '') {
    problems.add(`${path}.value`, 'Invalid', 'must be empty for Exists');
  }
  if (one.tolerationSeconds !== undefined && one.effect !== 'NoExecute') {
    problems.add(`${path}.effect`, 'Invalid', 'must be NoExecute for tolerationSeconds');
  }
}
