import { parseInt64 } from './quantity.ts';
import type { Problems } from './problem.ts';
import type { Affinity, LabelSelector, Toleration, TopologySpreadConstraint } from './scheduling.ts';

interface Scheduled {
  readonly affinity?: Affinity | undefined;
  readonly tolerations?: readonly Toleration[] | undefined;
  readonly topologySpreadConstraints?: readonly TopologySpreadConstraint[] | undefined;
}

interface Group {
  readonly labelSelector?: LabelSelector | undefined;
  readonly namespaceSelector?: LabelSelector | undefined;
  readonly matchLabelKeys?: readonly string[] | undefined;
  readonly mismatchLabelKeys?: readonly string[] | undefined;
}

interface Requirement {
  readonly key: string;
  readonly operator: string;
  readonly values?: readonly string[] | undefined;
}

/**
 * The rules of affinity, tolerations and spreading, as Kubernetes has them for pods.
 *
 * @param before The spec before an update.
 */
export function checkScheduling(spec: Scheduled, before: Scheduled | undefined, problems: Problems): void {
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
      checkGroup(term, `${path}.requiredDuringSchedulingIgnoredDuringExecution[${index}]`, problems);
    }
    for (const [index, one] of (affinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []).entries()) {
      const at = `${path}.preferredDuringSchedulingIgnoredDuringExecution[${index}].vmAffinityTerm`;
      checkGroup(one.vmAffinityTerm, at, problems);
    }
  }
  const wasTold = (before?.tolerations ?? []).some(({ tolerationSeconds }) => tolerationSeconds !== undefined);
  for (const [index, one] of (spec.tolerations ?? []).entries()) {
    const at = `spec.tolerations[${index}]`;
    checkToleration(one, at, problems);
    if (one.tolerationSeconds === undefined || wasTold) continue;
    problems.warn(`${at}.tolerationSeconds`, 'NotSupported', 'has no effect: no taint takes a machine off its node');
  }
  for (const [index, one] of (spec.topologySpreadConstraints ?? []).entries()) {
    const at = `spec.topologySpreadConstraints[${index}]`;
    checkGroup(one, at, problems);
    if (one.minDomains !== undefined && one.whenUnsatisfiable !== 'DoNotSchedule') {
      problems.add(`${at}.minDomains`, 'Invalid', 'needs whenUnsatisfiable: DoNotSchedule');
    }
  }
}

/** The rules of what selects machines. */
function checkGroup(group: Group, path: string, problems: Problems): void {
  const { labelSelector, matchLabelKeys = [], mismatchLabelKeys = [] } = group;
  checkLabelSelector(labelSelector, `${path}.labelSelector`, problems);
  checkLabelSelector(group.namespaceSelector, `${path}.namespaceSelector`, problems);
  const selected = new Set([
    ...Object.keys(labelSelector?.matchLabels ?? {}),
    ...(labelSelector?.matchExpressions ?? []).map(({ key }) => key),
  ]);
  for (const [name, keys] of Object.entries({ matchLabelKeys, mismatchLabelKeys })) {
    if (keys.length > 0 && labelSelector === undefined) {
      problems.add(`${path}.${name}`, 'Invalid', 'needs a labelSelector');
    }
    for (const [index, key] of keys.entries()) {
      const at = `${path}.${name}[${index}]`;
      if (selected.has(key)) problems.add(at, 'Invalid', `"${key}" is in labelSelector too`);
      else if (name === 'mismatchLabelKeys' && matchLabelKeys.includes(key)) {
        problems.add(at, 'Invalid', `"${key}" is in matchLabelKeys too`);
      }
    }
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
