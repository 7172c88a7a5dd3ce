/** Where a machine may run: the fields of a pod's spec with the same meaning, and `vm` where a pod says `pod`. */
import { integer, list, longInteger, map, object, string, words, type Value } from './schema.ts';

const operators = ['In', 'NotIn', 'Exists', 'DoesNotExist', 'Gt', 'Lt'] as const;

const nodeRequirement = object(
  'A condition on one label of the Hypervisor.',
  { key: string("The label's key."), operator: words('How the value is compared.', operators) },
  { values: list('For In and NotIn one or more; for Gt and Lt one integer; else none.', string('A value.')) },
);

const nodeTerm = object(
  'Conditions that must all hold.',
  {},
  {
    matchExpressions: list("On the Hypervisor's labels.", nodeRequirement),
    matchFields: list("On the Hypervisor's fields; only metadata.name.", nodeRequirement),
  },
);

/** metav1.LabelSelector. */
export const labelSelector = object(
  'Selects by labels; all conditions must hold, none select everything.',
  {},
  {
    matchLabels: map('Labels that must have exactly these values.', string('The value.')),
    matchExpressions: list(
      'Further conditions.',
      object(
        'A condition on one label.',
        {
          key: string("The label's key."),
          operator: words('How the value is compared.', ['In', 'NotIn', 'Exists', 'DoesNotExist']),
        },
        { values: list('For In and NotIn one or more, else none.', string('A value.')) },
      ),
    ),
  },
);

const matchLabelKeys = list(
  "Keys of labels: only machines that have this machine's values of them are meant. Needs a labelSelector without them.",
  string('A key.', { minLength: 1 }),
);

/** A label selector with words of its own. */
function describedSelector(description: string): typeof labelSelector {
  return { node: { ...labelSelector.node, description } };
}

const vmTerm = object(
  'Machines near or far from which this one is to run.',
  {
    topologyKey: string(
      'The label of Hypervisors whose equal values mean "near": kubernetes.io/hostname for the same node.',
      { minLength: 1 },
    ),
  },
  {
    labelSelector: labelSelector,
    namespaces: list(
      "The machines' namespaces, beside those of namespaceSelector; this machine's own when both are left out.",
      string('A namespace.'),
    ),
    namespaceSelector: describedSelector("The machines' namespaces by their labels; all when it is empty."),
    matchLabelKeys,
    mismatchLabelKeys: list(
      "Keys of labels: no machines that have this machine's values of them are meant. Needs a labelSelector without them.",
      string('A key.', { minLength: 1 }),
    ),
  },
);

const weight = integer('How much it counts against the other preferences, 1 to 100.', { min: 1, max: 100 });

const vmAffinityFields = {
  requiredDuringSchedulingIgnoredDuringExecution: list('Must hold when the machine is placed.', vmTerm),
  preferredDuringSchedulingIgnoredDuringExecution: list(
    'Better if it holds when the machine is placed.',
    object('A preference.', { weight, vmAffinityTerm: vmTerm }),
  ),
};

/** The field spec.affinity. */
export const affinity = object(
  'Which nodes suit, beyond nodeSelector, and which other machines to be near or far from.',
  {},
  {
    nodeAffinity: object(
      'By labels of the Hypervisor.',
      {},
      {
        requiredDuringSchedulingIgnoredDuringExecution: object('Must hold when the machine is placed.', {
          nodeSelectorTerms: list('Of which at least one must hold.', nodeTerm, { minItems: 1 }),
        }),
        preferredDuringSchedulingIgnoredDuringExecution: list(
          'Better if it holds when the machine is placed.',
          object('A preference.', { weight, preference: nodeTerm }),
        ),
      },
    ),
    vmAffinity: object('Near these machines.', {}, vmAffinityFields),
    vmAntiAffinity: object('Far from these machines.', {}, vmAffinityFields),
  },
);

const effects = ['NoSchedule', 'PreferNoSchedule', 'NoExecute'] as const;

/** The field spec.tolerations. */
export const tolerations = list(
  'Taints of Hypervisors that do not keep this machine away.',
  object(
    'A taint that is tolerated.',
    {},
    {
      key: string("The taint's key; empty, with Exists, for all taints."),
      operator: words('Exists ignores the value. Equal when left out.', ['Exists', 'Equal']),
      value: string("The taint's value, for Equal."),
      effect: words("The taint's effect; all effects when left out.", effects),
      tolerationSeconds: longInteger(
        'For NoExecute, as in a pod; without effect: no taint takes a machine off its node.',
      ),
    },
  ),
);

const policies = ['Honor', 'Ignore'] as const;

/** The field topologySpreadConstraints of a machine. */
export const topologySpreadConstraints = list(
  'How evenly machines like this one are spread.',
  object(
    'A rule of spreading.',
    {
      maxSkew: integer('By how many machines two topology domains may differ, at least 1.', { min: 1 }),
      topologyKey: string('The label of Hypervisors whose values are the topology domains.', { minLength: 1 }),
      whenUnsatisfiable: words('What if it cannot be kept.', ['DoNotSchedule', 'ScheduleAnyway']),
    },
    {
      labelSelector,
      matchLabelKeys,
      minDomains: integer(
        'While there are fewer topology domains, none counts as having one already. For DoNotSchedule.',
        {
          min: 1,
        },
      ),
      nodeAffinityPolicy: words(
        'Whether nodes that nodeSelector and node affinity rule out are left out of the count. Honor when left out.',
        policies,
      ),
      nodeTaintsPolicy: words(
        'Whether nodes are left out of the count that are cordoned, not ready, or have a taint that is not tolerated. Ignore when left out.',
        policies,
      ),
    },
  ),
);

/** The field spec.taints of a Hypervisor. */
export const taints = list(
  'Keep machines away that do not tolerate them.',
  object(
    'A taint.',
    {
      key: string("The taint's key.", { minLength: 1 }),
      effect: words(
        'NoSchedule keeps new machines away, PreferNoSchedule if others will do; NoExecute is NoSchedule here: nothing takes away what is there.',
        effects,
      ),
    },
    { value: string("The taint's value."), timeAdded: string('When it was added.', { format: 'date-time' }) },
  ),
);

/** The field spec.nodeSelector of whatever runs on one node. */
export const nodeSelector = map(
  'Labels that the Hypervisor must have, with these values.',
  string("The label's value."),
);

/** The field spec.nodeSelector of whatever exists on several nodes. */
export const nodesSelector = describedSelector('The Hypervisors it exists on, by their labels; all when left out.');

/** metav1.LabelSelector. */
export type LabelSelector = Value<typeof labelSelector>;
/** As a pod's affinity. */
export type Affinity = Value<typeof affinity>;
/** As a pod's toleration. */
export type Toleration = Value<typeof tolerations>[number];
/** As a pod's topology spread constraint. */
export type TopologySpreadConstraint = Value<typeof topologySpreadConstraints>[number];
/** As a node's taint. */
export type Taint = Value<typeof taints>[number];
