import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { installKinds, ourKind } from '../../scripts/lab/lab.ts';
import type { Hypervisor } from '../../src/api/hypervisor.ts';
import { findCondition } from '../../src/api/meta.ts';
import type { VirtualDisk } from '../../src/api/virtual-disk.ts';
import type { VirtualMachineSnapshot } from '../../src/api/virtual-machine-snapshot.ts';
import type { VirtualMachine, VirtualMachineSpec } from '../../src/api/virtual-machine.ts';
import type { VirtualNetwork } from '../../src/api/virtual-network.ts';
import type { VirtualPool } from '../../src/api/virtual-pool.ts';
import type { KubeObject } from '../../src/kube/object.ts';
import { builtin } from '../../src/kube/resource-type.ts';
import { testGuest, type Guest } from '../support/guest.ts';
import { idleMachine, startLabCluster, type LabCluster } from '../support/lab-cluster.ts';
import { bootsOf, roamingGuest, untilBooted } from '../support/migration-faults.ts';

let cluster: LabCluster;
let guest: Guest;
const nodes = ['node-1', 'node-2', 'node-3'];
const apiVersion = 'virtctl.dev/v1alpha1';

beforeAll(async () => {
  guest = await testGuest();
  cluster = await startLabCluster();
});
afterAll(() => (cluster as LabCluster | undefined)?.close());

/** What a user keeps in files. */
interface Manifest extends KubeObject {
  readonly spec: object;
}

/** A machine, and how it is to be. */
interface Wanted {
  readonly manifest: Manifest;
  readonly status: string;
}

const resource = <T extends KubeObject>(kind: string) => cluster.lab.client.resource<T>(ourKind(kind));

function manifest(kind: string, key: string, spec: object): Manifest {
  const [namespace, name = ''] = key.split('/');
  return { apiVersion, kind, metadata: namespace === '' ? { name } : { namespace, name }, spec };
}

const networks = [
  manifest('VirtualNetwork', 'default/front', {
    network: { ip: [{ address: '192.168.232.1', netmask: '255.255.255.0' }] },
  }),
  manifest('VirtualNetwork', 'shop/front', {
    network: { ip: [{ address: '192.168.231.1', netmask: '255.255.255.0' }] },
  }),
];

/** Of each node: a guest with disk and network, an idle one, and one that is off; and what is special beside. */
function machines(): Wanted[] {
  const machine = (key: string, status: string, spec: VirtualMachineSpec): Wanted => ({
    manifest: manifest('VirtualMachine', key, spec),
    status,
  });
  const each = nodes.flatMap((nodeName, index) => {
    const n = index + 1;
    const idle = { ...idleMachine, nodeName };
    const volumes = [{ name: 'data', virtualDisk: `data-${n}` }];
    return [
      machine(`shop/web-${n}`, 'Running', {
        ...roamingGuest(cluster, guest, `web-${n}`),
        ...{ nodeName, volumes, interfaces: [{ name: 'eth0', virtualNetwork: 'front' }] },
      }),
      machine(`default/idle-${n}`, 'Running', { ...idle, interfaces: [{ name: 'eth0', virtualNetwork: 'front' }] }),
      machine(`shop/off-${n}`, 'Stopped', { ...idle, runStrategy: 'Halted' }),
    ];
  });
  const onTwo = { ...idleMachine, nodeName: 'node-2' };
  return [
    ...each,
    machine('default/frozen', 'Paused', { ...idleMachine, nodeName: 'node-1' }),
    machine('default/seeded', 'Running', {
      ...onTwo,
      volumes: [{ name: 'seed', cloudInit: { userData: '#cloud-config\npassword: hunter2\n' } }],
    }),
    machine('default/secretive', 'Running', {
      ...onTwo,
      volumes: [
        { name: 'keys', secret: { name: 'keys' } },
        { name: 'settings', configMap: { name: 'settings' } },
      ],
    }),
    machine('shop/kept', 'Stopped', {
      ...{ ...idleMachine, nodeName: 'node-3', runStrategy: 'Halted' },
      volumes: [{ name: 'root', virtualDisk: 'kept' }],
    }),
  ];
}

async function untilSettled({ manifest: { metadata }, status }: Wanted): Promise<VirtualMachine> {
  const { namespace, name = '' } = metadata;
  return vi.waitFor(
    async () => {
      const machine = await resource<VirtualMachine>('VirtualMachine').get({ namespace, name });
      const found = [machine.status?.printableStatus, findCondition(machine.status, 'Synchronized')?.status];
      expect(found, `${name}: ${JSON.stringify(machine.status, undefined, 1)}`).toEqual([status, 'True']);
      return machine;
    },
    { timeout: 90_000, interval: 100 },
  );
}

/** Every domain of the lab: its state, its process, and its definition but for our mark. */
async function domains(): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const { name: node, folder, libvirtd } of cluster.lab.nodes) {
    const names = (await libvirtd.virsh('list', '--all', '--name')).split('\n').map((line) => line.trim());
    for (const domain of names.filter((one) => one !== '').sort()) {
      const state = (await libvirtd.virsh('domstate', domain)).trim();
      const pid = await pidOf(join(folder, 'run/libvirt/qemu', `${domain}.pid`));
      const xml = await libvirtd.virsh('dumpxml', '--inactive', '--security-info', domain);
      const definition = xml.replace(/<(\w+:)?machine xmlns[^>]*>[^<]*<\/(\w+:)?machine>/, '');
      found[`${node} ${domain}`] = `${state}, process ${pid}\n${definition}`;
    }
  }
  return found;
}

/** QEMU's process; it begins with the guest, and ends with it. */
async function pidOf(file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'none';
    throw error;
  }
}

async function makeSecrets(): Promise<void> {
  const secrets = cluster.lab.client.resource<KubeObject>(builtin.secrets);
  const configMaps = cluster.lab.client.resource<KubeObject>(builtin.configMaps);
  const metadata = (name: string) => ({ metadata: { namespace: 'default', name } });
  await secrets.create({
    apiVersion: 'v1',
    kind: 'Secret',
    ...metadata('keys'),
    data: { key: 'c2VjcmV0' },
  } as KubeObject);
  await configMaps.create({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    ...metadata('settings'),
    data: { a: 'b' },
  } as KubeObject);
}

const make = (one: Manifest): Promise<KubeObject> => resource<KubeObject>(one.kind).create(one);

/** A spec without what tells the domain from others of its name. */
function withoutUuid({ domain: { uuid: _, ...domain } = {}, ...spec }: VirtualMachineSpec): VirtualMachineSpec {
  return { ...spec, domain };
}

describe('virtctl recover, when etcd is lost under three nodes', () => {
  let wanted: readonly Wanted[];
  let specs: ReadonlyMap<string, VirtualMachineSpec>;
  let before: Record<string, string>;
  /** The networks and machines, as a user keeps them. */
  let file: string;

  it('finds machines of every sort', async () => {
    const namespaces = cluster.lab.client.resource<KubeObject>(builtin.namespaces);
    await namespaces.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } });
    await makeSecrets();
    await make(
      manifest('VirtualPool', '/local', { pool: { type: 'dir', target: { path: '/var/lib/libvirt/local' } } }),
    );
    const disk = { pool: 'local', capacity: '16Mi', format: 'qcow2', bindingMode: 'Immediate' };
    for (const [index, nodeName] of nodes.entries()) {
      await make(manifest('VirtualDisk', `shop/data-${index + 1}`, { ...disk, nodeName }));
    }
    await make(manifest('VirtualDisk', 'shop/kept', { ...disk, nodeName: 'node-3' }));
    wanted = machines();
    file = join(cluster.lab.folder, 'manifests.yaml');
    await writeFile(
      file,
      [...networks, ...wanted.map((one) => one.manifest)].map((one) => stringify(one)).join('---\n'),
    );
    expect(await cluster.virtctl('apply', '-f', file)).toMatchObject({ exitCode: 0 });
    await cluster.untilStatus('frozen', 'Running');
    await cluster.untilOver(await cluster.ask('frozen', 'Pause'));
    const settled = await Promise.all(wanted.map(untilSettled));
    specs = new Map(settled.map(({ metadata, spec }) => [metadata.name ?? '', spec]));
    await make(
      manifest('VirtualMachineSnapshot', 'shop/first', {
        virtualMachine: 'kept',
        mode: 'Internal',
        description: 'as new',
      }),
    );
    await vi.waitFor(
      async () => {
        const snapshots = resource<VirtualMachineSnapshot>('VirtualMachineSnapshot');
        expect((await snapshots.get({ namespace: 'shop', name: 'first' })).status?.phase).toBe('Ready');
      },
      { timeout: 120_000, interval: 100 },
    );
    await Promise.all([1, 2, 3].map((n) => untilBooted(cluster, `web-${n}`, 1)));
    before = await domains();
    expect(Object.keys(before)).toHaveLength(wanted.length);
  });

  it('is waited for by executors, who touch no guest meanwhile', async () => {
    await cluster.lab.kubeApiserver?.loseData();
    await installKinds(cluster.lab.client);
    await cluster.lab.untilReady(nodes);
    const hypervisors = resource<Hypervisor>('Hypervisor');
    for (const name of nodes) {
      const all = Object.keys(before).filter((one) => one.startsWith(`${name} `)).length;
      const isSeen = async (): Promise<void> =>
        expect((await hypervisors.get({ name })).status?.domains).toMatchObject({ total: all, orphaned: all });
      await vi.waitFor(isSeen, { timeout: 120_000, interval: 100 });
    }
    expect((await resource('VirtualMachine').listAll()).items).toEqual([]);
    expect(await domains()).toEqual(before);
  });

  it('brings all nodes back in one call, and no guest notices', async () => {
    const connect = ['--connect', ...cluster.lab.nodes.map(({ libvirtd }) => libvirtd.uri)];
    const dry = await cluster.virtctl('recover', '--dry-run', ...connect);
    expect(dry).toMatchObject({ exitCode: 0 });
    expect((await resource('VirtualMachine').listAll()).items).toEqual([]);
    const done = await cluster.virtctl('recover', ...connect);
    expect([done.exitCode, done.exitCode === 0 ? '' : done.stderr]).toEqual([0, '']);
    expect(done.stdout).toBe(dry.stdout.replaceAll(' (dry run)', ''));
    for (const { metadata } of wanted.map((one) => one.manifest)) {
      expect(done.stdout).toContain(`virtualmachine.virtctl.dev/${metadata.name ?? ''} recovered\n`);
    }
    expect(done.stderr).toContain('vm/seeded in default: volume seed: what cloud-init was given is only in /');
    expect(done.stderr).toContain(
      'To be made again, since no host keeps them:\n' +
        '  ConfigMap default/settings (vm/secretive)\n  Secret default/keys (vm/secretive)\n',
    );
    // As a backup would have them, or their owner.
    await makeSecrets();
    for (const one of wanted) {
      const { name = '' } = one.manifest.metadata;
      const machine = await untilSettled(one);
      expect(findCondition(machine.status, 'RestartRequired')?.status, name).toBe('False');
      // Its seed is a file now: what was in it nobody knows.
      if (name !== 'seeded') expect(withoutUuid(machine.spec)).toEqual(specs.get(name));
    }
    expect(await domains()).toEqual(before);
    for (const n of [1, 2, 3]) expect(await bootsOf(cluster, `web-${n}`)).toBe(1);
  });

  it('brings back disks, the pool of all nodes, networks and the snapshot', async () => {
    const pools = (await resource<VirtualPool>('VirtualPool').listAll()).items;
    expect(pools.map(({ metadata, spec }) => [metadata.name, spec.nodeSelector])).toEqual([
      ['local', { matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: nodes }] }],
    ]);
    const disks = (await resource<VirtualDisk>('VirtualDisk').listAll()).items;
    const found = disks.map(({ metadata, spec }) => `${metadata.name ?? ''} ${spec.pool ?? ''} ${spec.nodeName ?? ''}`);
    expect(found.sort()).toEqual([
      ...nodes.map((node, index) => `data-${index + 1} local ${node}`),
      'kept local node-3',
    ]);
    for (const { spec, metadata } of networks) {
      const ref = { namespace: metadata.namespace, name: metadata.name ?? '' };
      expect((await resource<VirtualNetwork>('VirtualNetwork').get(ref)).spec).toMatchObject(spec);
    }
    const snapshots = resource<VirtualMachineSnapshot>('VirtualMachineSnapshot');
    const first = { namespace: 'shop', name: 'first' };
    const recovered = await snapshots.get(first);
    expect(recovered, JSON.stringify(recovered)).toMatchObject({
      spec: { virtualMachine: 'kept', mode: 'Internal', description: 'as new' },
      status: { phase: 'Ready', mode: 'Internal', current: true, disks: [{ name: 'root', virtualDisk: 'kept' }] },
    });
    const revert = { verb: 'Revert', virtualMachine: 'kept', revert: { snapshot: 'first' } };
    const asked = await resource<KubeObject>('VirtualMachineOperation').create(
      manifest('VirtualMachineOperation', 'shop/back', revert),
    );
    await vi.waitFor(
      async () => {
        const operations = resource<KubeObject>('VirtualMachineOperation');
        const { status } = (await operations.get({ namespace: 'shop', name: asked.metadata.name ?? '' })) as {
          status?: { phase?: string };
        };
        expect(status?.phase, JSON.stringify(status)).toBe('Succeeded');
      },
      { timeout: 120_000, interval: 100 },
    );
    await snapshots.delete(first);
    await vi.waitFor(async () => expect(await snapshots.find(first)).toBeUndefined(), { timeout: 120_000 });
    const { libvirtd } = cluster.lab.node('node-3');
    expect((await libvirtd.virsh('snapshot-list', 'shop.kept', '--name')).trim()).toBe('');
  });

  it('leaves nothing to do: plan shows no change, and a second call finds all there', async () => {
    // What its seed was is not what it is.
    const others = (await readFile(file, 'utf8')).split('---\n').filter((one) => !one.includes('name: seeded'));
    await writeFile(file, others.join('---\n'));
    const plan = await cluster.virtctl('plan', '-f', file);
    expect([plan.exitCode, plan.stderr]).toEqual([0, '']);
    const lines = plan.stdout
      .split('\n')
      .filter((line) => !line.startsWith('  note: not judged by libvirt') && line !== '');
    expect(lines.filter((line) => !line.endsWith(' unchanged'))).toEqual([]);
    expect(lines).toHaveLength(others.length);
    const connect = ['--connect', ...cluster.lab.nodes.map(({ libvirtd }) => libvirtd.uri)];
    expect(await cluster.virtctl('recover', ...connect)).toMatchObject({
      exitCode: 0,
      stdout: '',
      stderr: 'Nothing to recover: every marked domain of nodes node-1, node-2, node-3 has its machine.\n',
    });
  });
});
