import { describe, expect, it } from 'vitest';
import type { VirtualMachineSpec } from '../../src/api/virtual-machine.ts';
import { allFilters } from '../../src/scheduler/filters/all-filters.ts';
import { findPreemption } from '../../src/scheduler/unschedulable.ts';
import { selectNode } from '../../src/scheduler/select-node.ts';
import { choose, cluster, machine, node, place, type NodeOptions, type Things } from './cluster.ts';

type Capabilities = NonNullable<NonNullable<NodeOptions['status']>['domainCapabilities']>[number];

const x86 = (more: Partial<Capabilities> = {}): Capabilities => ({ arch: 'x86_64', domainType: 'kvm', ...more });
const can = (...domainCapabilities: Capabilities[]): NodeOptions => ({
  status: { nodeInfo: { architecture: 'x86_64' }, domainCapabilities },
});
const ready = (status: 'False' | 'Unknown'): NodeOptions => ({ status: { conditions: [{ type: 'Ready', status }] } });
const domain = (more: VirtualMachineSpec['domain']): VirtualMachineSpec => ({ domain: more });
const disk: VirtualMachineSpec = { volumes: [{ name: 'root', virtualDisk: 'root' }] };
const hostname = 'kubernetes.io/hostname';
const pci = (slot: string): VirtualMachineSpec =>
  domain({
    devices: {
      hostdev: [{ type: 'pci', source: { address: { domain: '0x0000', bus: '0x01', slot, function: '0x0' } } }],
    },
  });

/** A node that will do, one that will not, for which machine, and the reason; and what else there is. */
type Case = readonly [
  what: string,
  good: NodeOptions,
  bad: NodeOptions,
  spec: VirtualMachineSpec,
  reason: string,
  things?: Things,
];

const cases: Readonly<Record<string, readonly Case[]>> = {
  availability: [
    ['is not cordoned', {}, { spec: { unschedulable: true } }, {}, 'cordoned'],
    ['is ready', {}, ready('False'), {}, 'not ready'],
    ['is heard of', {}, ready('Unknown'), {}, 'not heard of'],
    ['reports what it has', {}, { status: { allocatable: undefined } }, {}, 'without a report of what it has'],
  ],
  nodeAffinity: [
    [
      'has the labels of nodeSelector',
      { labels: { disk: 'fast' } },
      {},
      { nodeSelector: { disk: 'fast' } },
      'without the label disk=fast',
    ],
    ...(
      [
        ['In', ['a', 'b'], { zone: 'b' }, { zone: 'c' }],
        ['NotIn', ['a'], { zone: 'b' }, { zone: 'a' }],
        ['Exists', undefined, { zone: '' }, {}],
        ['DoesNotExist', undefined, {}, { zone: 'a' }],
        ['Gt', ['9'], { zone: '10' }, { zone: '9' }],
        ['Lt', ['9'], { zone: '-1' }, { zone: 'nine' }],
      ] as const
    ).map(([operator, values, good, bad]): Case => {
      const expression = { key: 'zone', operator, ...(values === undefined ? {} : { values: [...values] }) };
      const terms = { nodeSelectorTerms: [{ matchExpressions: [expression] }] };
      const affinity = { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: terms } };
      return [
        `matches the node affinity with ${operator}`,
        { labels: good },
        { labels: bad },
        { affinity },
        'not matching the node affinity',
      ];
    }),
    [
      'has the name that the node affinity asks for',
      {},
      {},
      {
        affinity: {
          nodeAffinity: {
            requiredDuringSchedulingIgnoredDuringExecution: {
              nodeSelectorTerms: [{ matchFields: [{ key: 'metadata.name', operator: 'In', values: ['good'] }] }],
            },
          },
        },
      },
      'not matching the node affinity',
    ],
  ],
  taints: [
    [
      'has no taint that is not tolerated',
      { spec: { taints: [{ key: 'gpu', value: 'a100', effect: 'NoSchedule' }] } },
      { spec: { taints: [{ key: 'gpu', value: 'h100', effect: 'NoSchedule' }] } },
      { tolerations: [{ key: 'gpu', operator: 'Equal', value: 'a100' }] },
      'tainted gpu=h100:NoSchedule',
    ],
    [
      'has no taint of another effect than is tolerated',
      { spec: { taints: [{ key: 'old', effect: 'PreferNoSchedule' }] } },
      { spec: { taints: [{ key: 'old', effect: 'NoExecute' }] } },
      { tolerations: [{ key: 'old', operator: 'Exists', effect: 'NoSchedule' }] },
      'tainted old:NoExecute',
    ],
  ],
  capabilities: [
    [
      'is of its architecture',
      { status: { nodeInfo: { architecture: 'aarch64' } } },
      { status: { nodeInfo: { architecture: 'x86_64' } } },
      domain({ os: { type: { arch: 'aarch64', value: 'hvm' } } }),
      'not of architecture aarch64',
    ],
    [
      'emulates its architecture',
      can(x86(), { arch: 'aarch64', domainType: 'qemu' }),
      can(x86()),
      domain({ type: 'qemu', os: { type: { arch: 'aarch64', value: 'hvm' } } }),
      'not of architecture aarch64',
    ],
    [
      'has its domain type',
      can(x86(), x86({ domainType: 'qemu' })),
      can(x86()),
      domain({ type: 'qemu' }),
      'without domains of type qemu',
    ],
    [
      'can use KVM',
      can(x86()),
      {
        status: { ...can(x86(), x86({ domainType: 'qemu' })).status, conditions: [{ type: 'Ready', status: 'True' }] },
      },
      {},
      'where KVM cannot be used (spec.allowEmulation of the Hypervisor is not set)',
    ],
    [
      'has its machine type',
      can(x86({ machineTypes: ['q35', 'pc-q35-9.0'] })),
      can(x86({ machineTypes: ['q35', 'pc-q35-7.2'] })),
      domain({ os: { type: { machine: 'pc-q35-9.0', value: 'hvm' } } }),
      'without machine type pc-q35-9.0',
    ],
    [
      'allows as many CPUs',
      can(x86({ maxVcpus: 64 })),
      can(x86({ maxVcpus: 8 })),
      domain({ vcpu: { value: 16 } }),
      'limited to 8 CPUs a machine',
    ],
    [
      'has its CPU model',
      can(x86({ cpuModels: ['Haswell', 'Skylake-Server'] })),
      can(x86({ cpuModels: ['Haswell'] })),
      domain({ cpu: { mode: 'custom', model: { value: 'Skylake-Server' } } }),
      'without CPU model Skylake-Server',
    ],
    [
      'has the CPU features that it requires',
      can(x86({ cpuFeatures: ['fpu', 'avx512f'] })),
      can(x86({ cpuFeatures: ['fpu'] })),
      domain({ cpu: { mode: 'host-model', feature: [{ policy: 'require', name: 'avx512f' }] } }),
      'without CPU feature avx512f',
    ],
    [
      'has UEFI',
      can(x86({ firmware: ['efi'] })),
      can(x86({ firmware: [] })),
      domain({ os: { firmware: 'efi' } }),
      'without UEFI firmware',
    ],
    [
      'has firmware for Secure Boot',
      can(x86({ secureBoot: true })),
      can(x86({ secureBoot: false })),
      domain({ os: { loader: { secure: true } } }),
      'without firmware for Secure Boot',
    ],
    [
      'has its graphics',
      can(x86({ devices: { 'graphics.type': ['vnc', 'spice'] } })),
      can(x86({ devices: { 'graphics.type': ['vnc'] } })),
      domain({ devices: { graphics: [{ type: 'spice' }] } }),
      'without spice graphics',
    ],
  ],
  volumes: [
    ['has its disk', {}, {}, disk, 'the wrong one: VirtualDisk "root" is on good', { disks: { root: { on: 'good' } } }],
    [
      'is where its disk is to be made',
      {},
      {},
      disk,
      'the wrong one: VirtualDisk "root" is on good',
      { disks: { root: { nodeName: 'good' } } },
    ],
    [
      'has the disk that its disk is to be a clone of',
      {},
      {},
      disk,
      'the wrong one: VirtualDisk "golden" is on good',
      { disks: { root: { source: { clone: { name: 'golden' } } }, golden: { on: 'good' } } },
    ],
    [
      'has the snapshot that its disk is to be made from',
      {},
      {},
      disk,
      'the wrong one: VirtualMachineSnapshot "before" is on good',
      {
        disks: { root: { source: { snapshot: { name: 'before', volume: 'root' } } } },
        machineSnapshots: { before: { on: 'good' } },
      },
    ],
    [
      "has its disk's pool",
      { labels: { storage: 'ssd' } },
      {},
      disk,
      'without VirtualPool "fast"',
      { disks: { root: { pool: 'fast' } }, pools: { fast: { nodeSelector: { matchLabels: { storage: 'ssd' } } } } },
    ],
    [
      "has its disk's pool running",
      {},
      {},
      disk,
      'where VirtualPool "fast" is inactive',
      { disks: { root: { pool: 'fast' } }, pools: { fast: { states: { good: 'running', bad: 'inactive' } } } },
    ],
    [
      'has its image',
      { labels: { images: 'yes' } },
      {},
      { volumes: [{ name: 'live', virtualImage: 'live' }] },
      'without VirtualImage "live"',
      { images: { live: { nodeSelector: { matchLabels: { images: 'yes' } } } } as never },
    ],
    [
      'has the image that its disk is made from',
      { labels: { images: 'yes' } },
      {},
      disk,
      'without VirtualImage "debian"',
      {
        disks: { root: { source: { image: { name: 'debian' } } } },
        images: { debian: { nodeSelector: { matchLabels: { images: 'yes' } } } } as never,
      },
    ],
    [
      'has the pool of its empty disk',
      { labels: { storage: 'ssd' } },
      {},
      { volumes: [{ name: 'swap', emptyDisk: { capacity: '1Gi', pool: 'fast' } }] },
      'without VirtualPool "fast"',
      { pools: { fast: { nodeSelector: { matchLabels: { storage: 'ssd' } } } } },
    ],
  ],
  networks: [
    [
      'has its network',
      { labels: { rack: '1' } },
      {},
      { interfaces: [{ name: 'eth0', virtualNetwork: 'front' }] },
      'without VirtualNetwork "front"',
      { networks: { front: { nodeSelector: { matchLabels: { rack: '1' } } } } },
    ],
    [
      'has its bridge',
      { status: { bridges: ['br0'] } },
      { status: { bridges: [] } },
      { interfaces: [{ name: 'eth0', bridge: 'br0' }] },
      'without the bridge br0',
    ],
    [
      "has the bridge of its domain's interface, be it of a network",
      { status: { bridges: [], networks: [{ name: 'lab', bridge: 'br0' }] } },
      { status: { bridges: [], networks: [] } },
      domain({ devices: { interface: [{ type: 'bridge', source: { bridge: 'br0' } }] } }),
      'without the bridge br0',
    ],
    [
      "has the network of its domain's interface",
      { status: { networks: [{ name: 'lab' }] } },
      { status: { networks: [{ name: 'default' }] } },
      domain({ devices: { interface: [{ type: 'network', source: { network: 'lab' } }] } }),
      'without the network lab',
    ],
  ],
  hostDevices: [
    [
      'has its PCI device',
      { status: { hostDevices: [{ name: 'pci_0000_01_00_0' }] } },
      { status: { hostDevices: [{ name: 'pci_0000_02_00_0' }] } },
      pci('0x00'),
      'without host device pci_0000_01_00_0',
    ],
    [
      'has its PCI device to give',
      { status: { hostDevices: [{ name: 'pci_0000_01_1f_0' }] } },
      { status: { hostDevices: [{ name: 'pci_0000_01_1f_0', usedBy: 'shop/other' }] } },
      pci('0x1f'),
      'whose host device pci_0000_01_1f_0 is taken',
    ],
    [
      'has its mediated device',
      { status: { hostDevices: [{ name: 'mdev_c1a2b3c4_0000_4000_8000_000000000001' }] } },
      { status: { hostDevices: [] } },
      domain({
        devices: { hostdev: [{ type: 'mdev', source: { address: { uuid: 'c1a2b3c4-0000-4000-8000-000000000001' } } }] },
      }),
      'without host device mdev_c1a2b3c4_0000_4000_8000_000000000001',
    ],
    [
      'has its USB device',
      { status: { hostDevices: [{ name: 'usb_1_2', vendorID: '0x046d', productID: '0xc52b' }] } },
      { status: { hostDevices: [{ name: 'usb_1_2', vendorID: '0x046d', productID: '0x0001' }] } },
      domain({
        devices: { hostdev: [{ type: 'usb', source: { vendor: { id: '0x046d' }, product: { id: '0xc52b' } } }] },
      }),
      'without USB device 0x046d:0xc52b',
    ],
  ],
  resources: [
    [
      'has the CPUs',
      { status: { allocatable: { cpu: '8', memory: '8Gi' } } },
      { status: { allocatable: { cpu: '3', memory: '8Gi' } } },
      domain({ vcpu: { value: 4 } }),
      'too few CPUs (needs 4, free 3)',
    ],
    [
      "has the memory, QEMU's own included",
      { status: { allocatable: { cpu: '8', memory: '1200Mi' } } },
      { status: { allocatable: { cpu: '8', memory: '1Gi' } } },
      {},
      'too little memory (needs 1.1 GiB, free 1 GiB)',
    ],
    [
      'has the huge pages',
      { status: { allocatable: { cpu: '8', memory: '1Gi', 'hugepages-2Mi': '2Gi' } } },
      { status: { allocatable: { cpu: '8', memory: '8Gi', 'hugepages-2Mi': '512Mi' } } },
      domain({ memoryBacking: { hugepages: { page: [{ size: 2, unit: 'M' }] } } }),
      'too few huge pages of 2Mi (needs 1 GiB, free 512 MiB)',
    ],
    [
      'may have one more machine',
      { status: { allocatable: { cpu: '8', memory: '8Gi', domains: '1' } } },
      { status: { allocatable: { cpu: '8', memory: '8Gi', domains: '0' } } },
      {},
      'full of machines',
    ],
  ],
};

for (const [filter, list] of Object.entries(cases)) {
  describe(`the filter ${filter}`, () => {
    for (const [what, good, bad, spec, reason, things] of list) {
      it(`takes a node only if it ${what}`, () => {
        const web = machine('web', spec);
        expect(choose(cluster([node('bad', bad), node('good', good)], things), web)).toBe('good');
        expect(choose(cluster([node('bad', bad)], things), web)).toBe(`1 node: 1 ${reason}`);
      });
    }
  });
}

const term = (key: string, app: string) => ({ topologyKey: key, labelSelector: { matchLabels: { app } } });
const near = (key: string, app: string): VirtualMachineSpec => ({
  affinity: { vmAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term(key, app)] } },
});
const far = (key: string, app: string): VirtualMachineSpec => ({
  affinity: { vmAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term(key, app)] } },
});
const zones = [
  node('a', { labels: { zone: 'x' } }),
  node('b', { labels: { zone: 'x' } }),
  node('c', { labels: { zone: 'y' } }),
];

describe('the filter machineAffinity', () => {
  it('keeps a machine near those it must be near, in the whole topology domain', () => {
    const snapshot = cluster(zones);
    snapshot.place(machine('db', {}, { app: 'db' }), 'c');
    expect(choose(snapshot, machine('web', near('zone', 'db')))).toBe('c');
    expect(choose(cluster(zones), machine('web', near('zone', 'db')))).toBe(
      '3 nodes: 3 without a machine that it must be near',
    );
    const unlabelled = cluster([node('d')]);
    expect(choose(unlabelled, machine('web', near('zone', 'db')))).toBe('1 node: 1 without the label zone');
  });

  it('lets the first of a group that is to be together go anywhere', () => {
    const snapshot = cluster(zones);
    const first = place(snapshot, machine('w1', near(hostname, 'web')));
    expect(place(snapshot, machine('w2', near(hostname, 'web')))).toBe(first);
  });

  it('does not take one on a node without the label for company', () => {
    const snapshot = cluster([node('c', { labels: { zone: 'y' } }), node('d')]);
    snapshot.place(machine('w1'), 'd');
    expect(choose(snapshot, machine('w2', near('zone', 'web')))).toBe('c');
  });

  it('looks at the namespaces that a term names', () => {
    const snapshot = cluster([node('a')]);
    snapshot.place({ ...machine('db', {}, { app: 'db' }), namespace: 'other' }, 'a');
    expect(choose(snapshot, machine('web', far(hostname, 'db')))).toBe('a');
    const named = { ...term(hostname, 'db'), namespaces: ['other'] };
    const spec = { affinity: { vmAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [named] } } };
    expect(choose(snapshot, machine('web', spec))).toBe('1 node: 1 with a machine that it must be far from');
  });

  it('speaks of machines with its own value of a label, or with another one', () => {
    const group = (keys: object): VirtualMachineSpec => ({
      affinity: {
        vmAntiAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: [
            { topologyKey: hostname, labelSelector: { matchLabels: { app: 'web' } }, ...keys },
          ],
        },
      },
    });
    const web = (name: string, tenant: string, keys: object) =>
      machine(name, group(keys), { app: 'web', ...(tenant === '' ? {} : { tenant }) });
    const taken = '1 node: 1 with a machine that it must be far from';
    const like = { matchLabelKeys: ['tenant'] };
    const unlike = { mismatchLabelKeys: ['tenant'] };
    for (const [keys, tenant, outcome] of [
      [like, 'red', taken],
      [like, 'blue', 'a'],
      // A label that it does not have itself says nothing.
      [like, '', taken],
      [unlike, 'red', 'a'],
      [unlike, 'blue', taken],
    ] as const) {
      const snapshot = cluster([node('a')]);
      snapshot.place(machine('w1', {}, { app: 'web', tenant: 'red' }), 'a');
      expect([tenant, choose(snapshot, web('w2', tenant, keys))]).toEqual([tenant, outcome]);
    }
    // The other way round: the one that is placed keeps others of its value away.
    const snapshot = cluster([node('a')]);
    snapshot.place(web('w1', 'red', like), 'a');
    expect(choose(snapshot, machine('w2', {}, { app: 'web', tenant: 'blue' }))).toBe('a');
    expect(choose(snapshot, machine('w2', {}, { app: 'web', tenant: 'red' }))).toBe(taken);
  });

  it('keeps machines apart in both directions', () => {
    const snapshot = cluster(zones);
    snapshot.place(machine('w1', far('zone', 'web')), 'a');
    expect(place(snapshot, machine('w2', far('zone', 'web')))).toBe('c');
    expect(choose(snapshot, machine('w3'))).toBe('3 nodes: 3 with a machine that it must be far from');
    expect(choose(snapshot, machine('db', {}, { app: 'db' }))).not.toContain('nodes');
  });
});

describe('the filter topologySpread', () => {
  const spread = (more: object = {}): VirtualMachineSpec => ({
    topologySpreadConstraints: [
      {
        maxSkew: 1,
        topologyKey: 'zone',
        whenUnsatisfiable: 'DoNotSchedule',
        labelSelector: { matchLabels: { app: 'web' } },
        ...more,
      },
    ],
  });

  it('keeps the domains within the skew', () => {
    const snapshot = cluster([
      zones[0] ?? node('a'),
      node('c', { labels: { zone: 'y' }, spec: { unschedulable: true } }),
    ]);
    snapshot.place(machine('w1'), 'a');
    expect(choose(snapshot, machine('w2', spread()))).toBe(
      '2 nodes: 1 cordoned, 1 where zone=x has too many of its kind',
    );
    expect(choose(snapshot, machine('w2', spread({ maxSkew: 2 })))).toBe('a');
  });

  it('does not count nodes that are not asked for', () => {
    const snapshot = cluster([
      node('a', { labels: { zone: 'x', disk: 'fast' } }),
      node('c', { labels: { zone: 'y' } }),
    ]);
    snapshot.place(machine('w1'), 'a');
    expect(choose(snapshot, machine('w2', { ...spread(), nodeSelector: { disk: 'fast' } }))).toBe('a');
  });

  it('does not compare with nodes that another constraint rules out', () => {
    const snapshot = cluster([node('a', { labels: { zone: 'x', rack: '1' } }), node('c', { labels: { zone: 'y' } })]);
    snapshot.place(machine('w1'), 'a');
    const [zone] = spread().topologySpreadConstraints ?? [];
    const [rack] = spread({ topologyKey: 'rack' }).topologySpreadConstraints ?? [];
    const both = [zone, rack].filter((one) => one !== undefined);
    expect(choose(snapshot, machine('w2', { topologySpreadConstraints: both }))).toBe('a');
    expect(choose(snapshot, machine('w2', spread()))).toBe('c');
  });

  it('counts nodes that are not asked for, when it is to ignore the node affinity', () => {
    const nodes = [node('a', { labels: { zone: 'x', disk: 'fast' } }), node('c', { labels: { zone: 'y' } })];
    const snapshot = cluster(nodes);
    snapshot.place(machine('w1'), 'a');
    const web = machine('w2', { ...spread({ nodeAffinityPolicy: 'Ignore' }), nodeSelector: { disk: 'fast' } });
    expect(choose(snapshot, web)).toBe(
      '2 nodes: 1 where zone=x has too many of its kind, 1 without the label disk=fast',
    );
  });

  it.each([
    ['cordoned', { unschedulable: true }, undefined, 'node.kubernetes.io/unschedulable'],
    ['tainted gpu:NoSchedule', { taints: [{ key: 'gpu', effect: 'NoSchedule' as const }] }, undefined, 'gpu'],
    ['not heard of', {}, 'Unknown' as const, undefined],
  ])('does not count a node that is %s, when it is to honor taints', (reason, spec, readiness, key) => {
    const status = readiness === undefined ? {} : { conditions: [{ type: 'Ready', status: readiness }] };
    const nodes = [node('a', { labels: { zone: 'x' } }), node('c', { labels: { zone: 'y' }, spec, status })];
    const snapshot = cluster(nodes);
    snapshot.place(machine('w1'), 'a');
    expect(choose(snapshot, machine('w2', spread()))).toBe(
      `2 nodes: 1 ${[reason, 'where zone=x has too many of its kind'].sort().join(', 1 ')}`,
    );
    const honors = spread({ nodeTaintsPolicy: 'Honor' });
    expect(choose(snapshot, machine('w2', honors))).toBe('a');
    if (key === undefined) return;
    // What is tolerated counts again.
    expect(choose(snapshot, machine('w2', { ...honors, tolerations: [{ key, operator: 'Exists' }] }))).toBe('c');
  });

  it('thinks of one more domain that has none while there are too few', () => {
    const snapshot = cluster([node('a', { labels: { zone: 'x' } }), node('c', { labels: { zone: 'y' } })]);
    const three = spread({ minDomains: 3 });
    place(snapshot, machine('w1', three));
    place(snapshot, machine('w2', three));
    expect(choose(snapshot, machine('w3', three))).toBe(
      '2 nodes: 1 where zone=x has too many of its kind, 1 where zone=y has too many of its kind',
    );
    expect(choose(snapshot, machine('w3', spread({ minDomains: 2 })))).not.toContain('nodes');
    snapshot.setNode(node('e', { labels: { zone: 'z' } }));
    expect(choose(snapshot, machine('w3', three))).toBe('e');
  });

  it("counts only those with the machine's own value of a label", () => {
    const cordoned = node('c', { labels: { zone: 'y' }, spec: { unschedulable: true } });
    const snapshot = cluster([node('a', { labels: { zone: 'x' } }), cordoned]);
    snapshot.place(machine('w1', {}, { app: 'web', version: '1' }), 'a');
    const web = (version: string) =>
      machine('w2', spread({ matchLabelKeys: ['version', 'unknown'] }), { app: 'web', version });
    expect(choose(snapshot, web('1'))).toContain('1 where zone=x has too many of its kind');
    expect(choose(snapshot, web('2'))).toBe('a');
  });

  it('wants the label on the node', () => {
    expect(choose(cluster([node('d')]), machine('w1', spread()))).toBe('1 node: 1 without the label zone');
  });
});

describe('volumes that are not there yet', () => {
  it('are waited for by name', () => {
    expect(choose(cluster([node('a')]), machine('web', disk))).toBe(
      '1 node: 1 that would do once VirtualDisk "root" exists',
    );
    const live: VirtualMachineSpec = { volumes: [{ name: 'live', virtualImage: 'live' }] };
    expect(choose(cluster([node('a')]), machine('web', live))).toBe(
      '1 node: 1 that would do once VirtualImage "live" exists',
    );
    const front: VirtualMachineSpec = { interfaces: [{ name: 'eth0', virtualNetwork: 'front' }] };
    expect(choose(cluster([node('a')]), machine('web', front))).toBe(
      '1 node: 1 that would do once VirtualNetwork "front" exists',
    );
  });

  it('are made where their first machine is placed, and hold the others there', () => {
    const snapshot = cluster([node('a'), node('b')], { disks: { root: {} } });
    const first = place(snapshot, machine('w1', disk));
    expect(place(snapshot, machine('w2', disk))).toBe(first);
    expect(
      choose(snapshot, machine('w3', { ...disk, nodeSelector: { [hostname]: first === 'a' ? 'b' : 'a' } })),
    ).toContain(`the wrong one: VirtualDisk "root" will be on ${first}`);
  });

  it('of a snapshot wait until it is taken', () => {
    const root = { source: { snapshot: { name: 'before', volume: 'root' } } };
    const wait = (machineSnapshots: Record<string, object>): string =>
      choose(cluster([node('a')], { disks: { root }, machineSnapshots }), machine('web', disk));
    expect(wait({})).toBe('1 node: 1 that would do once VirtualMachineSnapshot "before" exists');
    expect(wait({ before: {} })).toBe('1 node: 1 that would do once VirtualMachineSnapshot "before" is taken');
  });

  it('of a shared pool are everywhere', () => {
    const things = { disks: { root: { pool: 'nfs', on: 'a' } }, pools: { nfs: { shared: true } } };
    const snapshot = cluster([node('a', { spec: { unschedulable: true } }), node('b')], things);
    expect(choose(snapshot, machine('web', disk))).toBe('b');
  });
});

describe('resources', () => {
  it('give a host device to one machine', () => {
    const snapshot = cluster([node('a')]);
    expect(place(snapshot, machine('w1', pci('0x02')))).toBe('a');
    expect(choose(snapshot, machine('w2', pci('0x02')))).toBe('1 node: 1 whose host device pci_0000_01_02_0 is taken');
    expect(choose(snapshot, machine('w3', pci('0x03')))).toBe('a');
  });

  it('are less what pods of a kubelet request, and CPUs of pods are whole ones', () => {
    const snapshot = cluster([node('a', { status: { allocatable: { cpu: '16', memory: '2Gi' } } })]);
    snapshot.setPods('a', { cpu: 3.5, memory: 2 ** 30 });
    expect(choose(snapshot, machine('web'))).toBe('1 node: 1 too little memory (needs 1.1 GiB, free 1 GiB)');
    const small = { memory: { unit: 'MiB', value: 64 }, vcpu: { value: 3 } };
    expect(choose(snapshot, machine('web', { domain: small }))).toBe('1 node: 1 too few CPUs (needs 3, free 2)');
  });

  it('count reservations of machines that are nowhere yet', () => {
    const entry = { m: 'shop/other', r: { memory: 63 * 2 ** 30, cpu: 1, domains: 1 }, t: 'x' };
    const reserved = node('a');
    const annotations = { 'scheduler.virtctl.dev/allocation': JSON.stringify({ other: entry }) };
    const snapshot = cluster([{ ...reserved, metadata: { ...reserved.metadata, annotations } }]);
    expect(choose(snapshot, machine('web'))).toBe('1 node: 1 too little memory (needs 1.1 GiB, free 1 GiB)');
    expect(choose(snapshot, { ...machine('other'), uid: 'other' })).toBe('a');
    snapshot.forget('other');
    expect(choose(snapshot, machine('web'))).toBe('a');
  });
});

describe('the line that says why no node will do', () => {
  it('counts nodes by reason, fewest first, with what each has', () => {
    const small = (memory: string): NodeOptions => ({ status: { allocatable: { cpu: '8', memory } } });
    const nodes = [node('a', { spec: { unschedulable: true } }), node('b', small('1536Mi')), node('c', small('900Mi'))];
    const web = machine('web', domain({ memory: { unit: 'GiB', value: 4 } }));
    expect(choose(cluster(nodes), web)).toBe(
      '3 nodes: 1 cordoned, 2 too little memory (needs 4.1 GiB, free 1.5 GiB, 900 MiB)',
    );
    expect(choose(cluster([]), web)).toBe('there are no nodes');
    const many = Array.from({ length: 9 }, (_none, index) => node(`n${index}`, small('512Mi')));
    expect(choose(cluster(many), web)).toBe(
      '9 nodes: 9 too little memory (needs 4.1 GiB, free 512 MiB, 512 MiB, 512 MiB, 512 MiB, 512 MiB, …)',
    );
  });
});

describe('priority', () => {
  const full = () => {
    const snapshot = cluster([node('a', { status: { allocatable: { cpu: '8', memory: '3Gi' } } })]);
    snapshot.place(machine('batch-1', { priority: 1 }), 'a');
    snapshot.place(machine('batch-2', { priority: 2 }), 'a');
    return snapshot;
  };

  it('only tells which machines would have to move, the least important first', () => {
    const snapshot = full();
    const vital = machine('vital', { priority: 10 });
    const selection = selectNode(vital, snapshot);
    expect(selection.node).toBeUndefined();
    const found = selection.node === undefined ? findPreemption(vital, snapshot, selection.failures) : undefined;
    expect([found?.node, found?.machines.map(({ key }) => key)]).toEqual(['a', ['shop/batch-1']]);
    expect([snapshot.nodeOf('batch-1'), snapshot.nodeOf('batch-2')]).toEqual(['a', 'a']);
  });

  it('does not move a machine for one that is no more important', () => {
    const snapshot = full();
    const equal = machine('equal', { priority: 1 });
    const selection = selectNode(equal, snapshot);
    expect(selection.node === undefined && findPreemption(equal, snapshot, selection.failures)).toBeUndefined();
  });
});

it('every filter has its cases here', () => {
  expect(allFilters).toHaveLength(Object.keys(cases).length + 2);
});
