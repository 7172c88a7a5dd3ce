import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { LabelSelector } from '../../src/api/scheduling.ts';
import type { VirtualMachineSpec } from '../../src/api/virtual-machine.ts';
import { accessManifests } from '../../src/commands/install/access-rules.ts';
import { isInGroup } from '../../src/scheduler/label-index.ts';
import { machineGroup, machineInfo, type MachineInfo } from '../../src/scheduler/machine-info.ts';
import { SchedulerWorld } from '../support/scheduler-world.ts';
import { choose, cluster, machine, node } from './cluster.ts';

const hostname = 'kubernetes.io/hostname';
const far = (term: object): VirtualMachineSpec => ({
  affinity: {
    vmAntiAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: [
        { topologyKey: hostname, labelSelector: { matchLabels: { app: 'web' } }, ...term },
      ],
    },
  },
});
const red = { namespaceSelector: { matchLabels: { team: 'red' } } };
const taken = '1 node: 1 with a machine that it must be far from';

function machineIn(
  namespace: string,
  name: string,
  spec: VirtualMachineSpec = {},
  labels = { app: 'web' },
): MachineInfo {
  const { object } = machine(name, spec, labels);
  return machineInfo({ ...object, metadata: { ...object.metadata, namespace, uid: `${namespace}/${name}` } });
}

describe('a rule that selects namespaces', () => {
  it('speaks of machines in namespaces with those labels', () => {
    const snapshot = cluster([node('a')]);
    snapshot.setNamespace('lab', { team: 'red' });
    snapshot.place(machineIn('lab', 'other'), 'a');
    expect(choose(snapshot, machine('web', far({})))).toBe('a');
    expect(choose(snapshot, machine('web', far(red)))).toBe(taken);
    expect(choose(snapshot, machine('web', far({ namespaceSelector: { matchLabels: { team: 'blue' } } })))).toBe('a');
  });

  it('speaks of all namespaces when it is empty, also of those that nothing is known of', () => {
    const snapshot = cluster([node('a')]);
    snapshot.place(machineIn('lab', 'other'), 'a');
    expect(choose(snapshot, machine('web', far({ namespaceSelector: {} })))).toBe(taken);
  });

  it("does not speak of the machine's own namespace, unless that is selected", () => {
    const snapshot = cluster([node('a')]);
    snapshot.place(machine('other'), 'a');
    expect(choose(snapshot, machine('web', far(red)))).toBe('a');
    expect(choose(snapshot, machine('web', far({ ...red, namespaces: ['shop'] })))).toBe(taken);
    snapshot.setNamespace('shop', { team: 'red' });
    expect(choose(snapshot, machine('web', far(red)))).toBe(taken);
  });

  it('knows every namespace by its name', () => {
    const snapshot = cluster([node('a')]);
    snapshot.place(machineIn('lab', 'other'), 'a');
    const named = { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'lab' } } };
    expect(choose(snapshot, machine('web', far(named)))).toBe(taken);
  });

  it('keeps others away by the labels of their namespaces', () => {
    const snapshot = cluster([node('a')]);
    snapshot.place(machine('web', far(red)), 'a');
    const other = machineIn('lab', 'other');
    expect(choose(snapshot, other)).toBe('a');
    snapshot.setNamespace('lab', { team: 'red' });
    expect(choose(snapshot, other)).toBe(taken);
  });

  it('places nothing while namespaces cannot be seen', () => {
    const snapshot = cluster([node('a')]);
    snapshot.seesNamespaces = false;
    expect(choose(snapshot, machine('web', far(red)))).toBe(
      '1 node: 1 that would do if the scheduler might list namespaces, as namespaceSelector asks for',
    );
    expect(choose(snapshot, machine('web', far({ namespaceSelector: {} })))).toBe('a');
    expect(choose(snapshot, machine('web', far({})))).toBe('a');
  });

  it('wakes machines that wait when a namespace gets other labels, and only then', async () => {
    const world = new SchedulerWorld();
    world.addNode('a', '4096Mi');
    world.addMachine('old', 64, { nodeName: 'a' }, { app: 'web' });
    const { scheduler } = world.start();
    const namespace = (labels: Record<string, string>) => {
      const object = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop', labels } };
      scheduler.onNamespace({ type: 'added', object });
    };
    namespace({ team: 'red' });
    world.addMachine('web', 64, far(red));
    await world.settle();
    expect(scheduler.waiting).toBe(1);
    const before = scheduler.attempts;
    namespace({ team: 'red' });
    await world.settle();
    expect(scheduler.attempts).toBe(before);
    namespace({ team: 'blue' });
    await world.settle();
    expect(world.machines.get('web')?.spec.nodeName).toBe('a');
  });

  it('is counted as if every machine were looked at, whatever comes and goes', () => {
    const namespaces = ['n1', 'n2', 'n3'];
    const selectors: (LabelSelector | undefined)[] = [
      undefined,
      {},
      { matchLabels: { team: 'red' } },
      { matchExpressions: [{ key: 'team', operator: 'NotIn', values: ['red'] }] },
    ];
    const rule = fc.record({
      namespaces: fc.constantFrom(undefined, ['n1'], ['n1', 'n2']),
      namespaceSelector: fc.constantFrom(...selectors),
      labelSelector: fc.constantFrom<LabelSelector>({}, { matchLabels: { app: 'web' } }),
    });
    const step = fc.oneof(
      fc.record({
        do: fc.constant('place' as const),
        id: fc.nat(5),
        namespace: fc.constantFrom(...namespaces),
        app: fc.constantFrom('web', 'db'),
        on: fc.constantFrom('a', 'b'),
        rule,
      }),
      fc.record({ do: fc.constant('remove' as const), id: fc.nat(5) }),
      fc.record({
        do: fc.constant('namespace' as const),
        namespace: fc.constantFrom(...namespaces),
        team: fc.constantFrom('red', 'blue', undefined),
      }),
      fc.record({ do: fc.constant('ask' as const), namespace: fc.constantFrom(...namespaces), rule }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (steps) => {
        const snapshot = cluster([node('a'), node('b')]);
        const placed = new Map<number, { readonly one: MachineInfo; readonly on: string }>();
        const labels = new Map<string, Record<string, string>>();
        const labelsOf = (name: string) => ({ 'kubernetes.io/metadata.name': name, ...labels.get(name) });
        for (const what of steps) {
          if (what.do === 'place') {
            placed.delete(what.id);
            snapshot.remove(`m${what.id}`);
            const info = machineIn(what.namespace, `m${what.id}`, far(what.rule), { app: what.app });
            const one = { ...info, uid: `m${what.id}` };
            snapshot.place(one, what.on);
            placed.set(what.id, { one, on: what.on });
          } else if (what.do === 'remove') {
            placed.delete(what.id);
            snapshot.remove(`m${what.id}`);
          } else if (what.do === 'namespace') {
            labels.delete(what.namespace);
            if (what.team === undefined) snapshot.deleteNamespace(what.namespace);
            else {
              labels.set(what.namespace, { team: what.team });
              snapshot.setNamespace(what.namespace, { team: what.team });
            }
          } else {
            const group = machineGroup(what.rule, { namespace: what.namespace, labels: {} });
            const expected: Record<string, number> = {};
            for (const { one, on } of placed.values()) {
              if (!isInGroup(group, one.namespace, one.labels, labelsOf(one.namespace))) continue;
              expected[on] = (expected[on] ?? 0) + 1;
            }
            expect(Object.fromEntries(snapshot.countsOf(group))).toEqual(expected);
            const asking = machineIn(what.namespace, 'asking');
            const keepers = [...placed.values()].filter(({ one }) =>
              one.far.some((term) => isInGroup(term.group, what.namespace, asking.labels, labelsOf(what.namespace))),
            );
            const found = snapshot.farFrom(asking).flatMap(({ nodes }) => [...nodes]);
            const counted = (on: string) => found.reduce((sum, [name, count]) => sum + (name === on ? count : 0), 0);
            expect([counted('a'), counted('b')]).toEqual(
              ['a', 'b'].map((on) => keepers.filter((keeper) => keeper.on === on).length),
            );
          }
        }
      }),
    );
  });
});

describe('the rights of an installed scheduler', () => {
  it('let it follow namespaces, and change none', () => {
    const role = accessManifests().find(
      ({ kind, metadata }) => kind === 'ClusterRole' && metadata.name === 'virtctl-scheduler',
    ) as { rules?: { resources: string[]; verbs: string[]; resourceNames?: string[] }[] } | undefined;
    const rules = (role?.rules ?? []).filter(({ resources }) => resources.includes('namespaces'));
    expect(rules.filter(({ resourceNames }) => resourceNames === undefined).flatMap(({ verbs }) => verbs)).toEqual([
      'list',
      'watch',
    ]);
    expect(rules.flatMap(({ verbs }) => verbs).sort()).toEqual(['get', 'list', 'watch']);
  });
});
