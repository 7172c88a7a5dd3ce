import { describe, expect, it } from 'vitest';
import { validateObject } from '../../src/api/validate.ts';

/** What is wrong with a machine of this spec, each with where it is, below spec. */
function problems(spec: object): string[] {
  const object = { apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualMachine', metadata: { name: 'web' }, spec };
  return validateObject(object)
    .filter(({ severity }) => severity === 'error')
    .map(({ path, message }) => `${path.replace('spec.', '')}: ${message}`);
}

describe('the node affinity of a machine', () => {
  const bounded = (...values: string[]): object => ({
    affinity: {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [{ matchExpressions: [{ key: 'cores', operator: 'Gt', values }] }],
        },
      },
    },
  });
  const where =
    'affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values';

  it.each([['8'], ['-8'], ['+8'], ['9223372036854775807']])('compares with the integer %s', (value) => {
    expect(problems(bounded(value))).toEqual([]);
  });

  it.each([[''], ['many'], ['8.5'], ['0x8'], ['1e3'], ['9223372036854775808']])(
    'does not compare with "%s"',
    (value) => {
      expect(problems(bounded(value))).toEqual([`${where}: Gt takes exactly one integer of 64 bits`]);
    },
  );

  it('compares with one number', () => {
    expect([...problems(bounded()), ...problems(bounded('1', '2'))]).toHaveLength(2);
  });
});

describe('rules that speak of other machines', () => {
  const constraint = { maxSkew: 1, topologyKey: 'zone', whenUnsatisfiable: 'DoNotSchedule' };
  const spread = (more: object): object => ({ topologySpreadConstraints: [{ ...constraint, ...more }] });
  const affinity = (term: object): object => ({
    affinity: {
      vmAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [{ topologyKey: 'zone', ...term }] },
      vmAntiAffinity: {
        preferredDuringSchedulingIgnoredDuringExecution: [
          { weight: 1, vmAffinityTerm: { topologyKey: 'zone', ...term } },
        ],
      },
    },
  });
  const labelSelector = { matchLabels: { app: 'web' }, matchExpressions: [{ key: 'tier', operator: 'Exists' }] };

  it('may ask for a number of domains, and say which nodes count', () => {
    const policies = { nodeAffinityPolicy: 'Ignore', nodeTaintsPolicy: 'Honor' };
    expect(problems(spread({ labelSelector, minDomains: 3, ...policies, matchLabelKeys: ['version'] }))).toEqual([]);
    expect(problems(spread({ minDomains: 0 }))).toHaveLength(1);
    expect(problems(spread({ nodeTaintsPolicy: 'Maybe' }))).toHaveLength(1);
  });

  it('ask for a number of domains only where that must be kept', () => {
    expect(problems(spread({ whenUnsatisfiable: 'ScheduleAnyway', minDomains: 3 }))).toEqual([
      'topologySpreadConstraints[0].minDomains: needs whenUnsatisfiable: DoNotSchedule',
    ]);
  });

  it('name labels only beside a selector, and only those that it does not speak of', () => {
    expect(problems(spread({ matchLabelKeys: ['version'] }))).toEqual([
      'topologySpreadConstraints[0].matchLabelKeys: needs a labelSelector',
    ]);
    expect(problems(spread({ labelSelector, matchLabelKeys: ['version', 'tier'] }))).toEqual([
      'topologySpreadConstraints[0].matchLabelKeys[1]: "tier" is in labelSelector too',
    ]);
  });

  it('may select namespaces', () => {
    const expression = (values: string[]) => [{ key: 'team', operator: 'In', values }];
    expect(problems(affinity({ namespaceSelector: { matchExpressions: expression(['red']) } }))).toEqual([]);
    expect(problems(affinity({ namespaceSelector: { matchExpressions: expression([]) } }))).toHaveLength(2);
  });

  it('want machines with the value of a label or with another, not both', () => {
    expect(problems(affinity({ labelSelector, matchLabelKeys: ['a'], mismatchLabelKeys: ['b'] }))).toEqual([]);
    const at = [
      'affinity.vmAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]',
      'affinity.vmAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].vmAffinityTerm',
    ];
    expect(problems(affinity({ labelSelector, matchLabelKeys: ['a'], mismatchLabelKeys: ['a'] }))).toEqual(
      at.map((path) => `${path}.mismatchLabelKeys[0]: "a" is in matchLabelKeys too`),
    );
    expect(problems(affinity({ labelSelector, mismatchLabelKeys: ['app'] }))).toEqual(
      at.map((path) => `${path}.mismatchLabelKeys[0]: "app" is in labelSelector too`),
    );
  });
});

describe('NoExecute', () => {
  /** The warnings about an object, after what was before. */
  function warnings(kind: string, spec: object, before?: object): string[] {
    const object = (given: object) => ({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind,
      metadata: { name: 'a' },
      spec: given,
    });
    return validateObject(object(spec), before === undefined ? {} : { old: object(before) })
      .filter(({ severity }) => severity === 'warning')
      .map(({ path, message }) => `${path}: ${message}`);
  }
  const taint = { key: 'disk', effect: 'NoExecute' };

  it('of a node takes no machine away, which is told once', () => {
    expect(warnings('Hypervisor', { taints: [{ key: 'gpu', effect: 'NoSchedule' }, taint] })).toEqual([
      'spec.taints[1].effect: keeps new machines away as NoSchedule does; those that are there stay until the node is drained',
    ]);
    expect(warnings('Hypervisor', { taints: [taint], unschedulable: true }, { taints: [taint] })).toEqual([]);
    expect(warnings('Hypervisor', { taints: [taint] }, {})).toHaveLength(1);
  });

  it('needs no time for which it is tolerated, which is told once', () => {
    const spec = { tolerations: [{ ...taint, operator: 'Exists', tolerationSeconds: 60 }] };
    expect(warnings('VirtualMachine', spec)).toEqual([
      'spec.tolerations[0].tolerationSeconds: has no effect: no taint takes a machine off its node',
    ]);
    expect(warnings('VirtualMachine', { ...spec, nodeName: 'n1' }, spec)).toEqual([]);
    expect(warnings('VirtualMachine', { tolerations: [{ ...taint, operator: 'Exists' }] })).toEqual([]);
  });
});
