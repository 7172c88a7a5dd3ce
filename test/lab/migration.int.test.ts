import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { VirtualDisk } from '../../src/api/virtual-disk.ts';
import type { VirtualMachineOperation } from '../../src/api/virtual-machine-operation.ts';
import type { VirtualMachine, VirtualMachineSpec } from '../../src/api/virtual-machine.ts';
import type { VirtualPool } from '../../src/api/virtual-pool.ts';
import { ourKind } from '../../scripts/lab/lab.ts';
import { testGuest, type Guest } from '../support/guest.ts';
import { idleMachine, startLabCluster, type LabCluster } from '../support/lab-cluster.ts';
import { bootsOf, consoleOf, faultRun, roamingGuest, untilBooted } from '../support/migration-faults.ts';
import { runProgram } from '../support/run-program.ts';

let cluster: LabCluster;
let guest: Guest;

beforeAll(async () => {
  guest = await testGuest();
  cluster = await startLabCluster();
  const spec = { overcommit: { cpuPercent: 5000 } };
  for (const { name } of cluster.lab.nodes) await cluster.hypervisors.mergePatch({ name }, { spec });
});
afterAll(() => cluster.close());

/** A real guest that counts its boots on its first disk, if it has one, and tells them where all nodes see it. */
function guestSpec(name: string, spec: Partial<VirtualMachineSpec> = {}): VirtualMachineSpec {
  return { ...roamingGuest(cluster, guest, name), ...spec };
}

async function untilSaid(name: string, text: string): Promise<void> {
  const said = async (): Promise<void> =>
    expect(await readFile(consoleOf(cluster, name), 'utf8').catch(() => '')).toContain(text);
  await vi.waitFor(said, { timeout: 90_000, interval: 100 });
}

/** A disk, which node-1 makes when the pool is each node's own. */
async function makeDisk(name: string, pool: string, nodeName?: string): Promise<void> {
  const disks = cluster.lab.client.resource<VirtualDisk>(ourKind('VirtualDisk'));
  const ref = { namespace: 'default', name };
  await disks.create({
    ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualDisk', metadata: ref },
    spec: {
      ...{ pool, bindingMode: 'Immediate', capacity: '32Mi', format: 'qcow2' },
      ...(nodeName === undefined ? {} : { nodeName }),
    },
  });
  const isReady = async (): Promise<void> => expect((await disks.get(ref)).status?.phase).toBe('Ready');
  await vi.waitFor(isReady, { timeout: 60_000, interval: 100 });
}

const boots = (name: string): Promise<number> => bootsOf(cluster, name);

const idle = { ...idleMachine, nodeName: 'node-1' };
const isAt = (step: string) => (operation: VirtualMachineOperation) => operation.status?.step === step;
/** Whether an operation would go if it were deleted: both nodes are done with it. */
const isFree = async ({ metadata: { name = '' } }: VirtualMachineOperation): Promise<boolean> =>
  ((await cluster.operations.get({ namespace: 'default', name })).metadata.finalizers ?? []).length === 0;
const settled = (vm: VirtualMachine): unknown => ({
  wanted: vm.spec.nodeName,
  is: vm.status?.nodeName,
  status: vm.status?.printableStatus,
});

describe('a machine that is migrated', () => {
  it('runs on on the other node, with a disk that both have', async () => {
    const path = join(cluster.lab.shared, 'web.qcow2');
    await runProgram('qemu-img', ['create', '-q', '-f', 'qcow2', path, '32M']);
    const volumes = [{ name: 'root', hostPath: { path, format: 'qcow2' as const } }];
    await cluster.create('web', guestSpec('web', { volumes }));
    await untilSaid('web', 'boots=1');
    const { bootedAt } = (await cluster.untilStatus('web', 'Running')).status?.domain ?? {};
    const asked = await cluster.ask('web', 'Migrate', { migrate: { nodeName: 'node-2', copyStorage: 'None' } });
    const over = await cluster.untilOver(asked);
    expect(over.status).toMatchObject({ phase: 'Succeeded', message: 'it runs on node-2' });
    const moved = await cluster.until('web', 'node-2', (vm) => vm.status?.printableStatus === 'Running');
    expect(settled(moved)).toEqual({ wanted: 'node-2', is: 'node-2', status: 'Running' });
    expect(moved.status?.migration).toMatchObject({ phase: 'Succeeded', sourceNode: 'node-1', targetNode: 'node-2' });
    expect(moved.status?.domain?.bootedAt).toBe(bootedAt);
    expect(await cluster.domains('web')).toEqual({ 'node-2': 'running' });
    expect(await boots('web')).toBe(1);
    for (const type of ['RestartRequired', 'Degraded']) expect(cluster.condition(moved, type).status).toBe('False');
    expect(cluster.condition(moved, 'Synchronized')).toMatchObject({ status: 'True', reason: 'InSync' });
    await expect.poll(() => isFree(over)).toBe(true);
  });

  it('is the other node’s to look after: it changes, restarts and goes there', async () => {
    await cluster.patch('web', { domain: { title: 'moved' } });
    await expect
      .poll(() => cluster.lab.node('node-2').libvirtd.virsh('desc', 'default.web', '--title'), { timeout: 60_000 })
      .toBe('moved');
    const restart = await cluster.untilOver(await cluster.ask('web', 'Restart', { restart: { force: true } }));
    expect(restart.status?.phase).toBe('Succeeded');
    await untilSaid('web', 'boots=2');
    await cluster.delete('web');
    expect(await cluster.domains('web')).toEqual({});
  });

  it('takes what its node made for it with it: empty disks with their content, cloud-init', async () => {
    const volumes = [
      { name: 'data', emptyDisk: { capacity: '32Mi' }, target: { dev: 'vda' } },
      { name: 'seed', cloudInit: { userData: '#cloud-config\n' } },
    ];
    await cluster.create('own', guestSpec('own', { volumes }));
    await untilSaid('own', 'boots=1');
    const over = await cluster.untilOver(await cluster.ask('own', 'Migrate', { migrate: { nodeName: 'node-3' } }));
    expect(over.status).toMatchObject({ phase: 'Succeeded' });
    await cluster.until('own', 'node-3', (vm) => vm.status?.nodeName === 'node-3');
    expect(await cluster.domains('own')).toEqual({ 'node-3': 'running' });
    expect(await boots('own')).toBe(1);
    // What it counted on the other node is on the disk here.
    await cluster.untilOver(await cluster.ask('own', 'Reset'));
    await untilSaid('own', 'boots=2');
    await cluster.delete('own');
  });
});

describe('a machine with a disk in a pool that all nodes share', () => {
  it('is moved, and the disk stays where it is', async () => {
    await cluster.lab.client.resource<VirtualPool>(ourKind('VirtualPool')).create({
      ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualPool', metadata: { name: 'nfs' } },
      spec: { shared: true, pool: { type: 'dir', target: { path: join(cluster.lab.shared, 'pool') } } },
    });
    await makeDisk('free', 'nfs');
    await cluster.create('free', { ...idle, volumes: [{ name: 'root', virtualDisk: 'free' }] });
    await cluster.untilStatus('free', 'Running');
    const over = await cluster.untilOver(await cluster.ask('free', 'Migrate', { migrate: { nodeName: 'node-2' } }));
    expect(over.status).toMatchObject({ phase: 'Succeeded' });
    expect(over.status?.context?.['disks']).toContain('"copy":false');
    expect(await cluster.domains('free')).toEqual({ 'node-2': 'running' });
    await cluster.delete('free');
  });
});

describe('a machine that is off', () => {
  const definition = async (node: string): Promise<string> =>
    (await cluster.lab.node(node).libvirtd.virsh('dumpxml', 'default.still')).replace(
      /<(\w+:)?machine [^]*machine>/,
      '',
    );

  it('is moved as its definition, and starts where it is then', async () => {
    await makeDisk('still', 'nfs');
    const volumes = [{ name: 'root', virtualDisk: 'still' }];
    await cluster.create('still', { ...idle, runStrategy: 'Halted', volumes });
    await cluster.untilStatus('still', 'Stopped');
    const before = await definition('node-1');
    const over = await cluster.untilOver(await cluster.ask('still', 'Migrate', { migrate: { nodeName: 'node-2' } }));
    expect(over.status).toMatchObject({ phase: 'Succeeded', message: 'it is on node-2' });
    expect(await cluster.domains('still')).toEqual({ 'node-2': 'shut off' });
    expect(await definition('node-2')).toBe(before);
    await cluster.patch('still', { runStrategy: 'Always' });
    await cluster.untilStatus('still', 'Running');
    expect(await cluster.domains('still')).toEqual({ 'node-2': 'running' });
    await cluster.patch('still', { runStrategy: 'Halted' });
    await cluster.untilStatus('still', 'Stopped');
  });

  it('is on one node in the end, when both executors are killed in the middle', async () => {
    const [source, target] = [cluster.lab.node('node-2'), cluster.lab.node('node-3')];
    await target.kill('executor');
    const operation = await cluster.ask('still', 'Migrate', { migrate: { nodeName: 'node-3' } });
    await cluster.untilOperation(operation, 'a node', ({ status }) => status?.context?.['target'] === 'node-3');
    await source.kill('executor');
    await target.start('executor');
    await cluster.untilOperation(
      operation,
      'to be let in',
      ({ status }) => status?.context?.['destination'] !== undefined,
    );
    await target.kill('executor');
    await source.start('executor');
    await cluster.untilOperation(operation, 'to be asked for', isAt('Switching'));
    await source.kill('executor');
    await target.start('executor');
    await source.start('executor');
    expect((await cluster.untilOver(operation)).status).toMatchObject({ phase: 'Succeeded' });
    await cluster.until(
      'still',
      'node-3',
      ({ spec, status }) => spec.nodeName === 'node-3' && status?.nodeName === 'node-3',
    );
    expect(await cluster.domains('still')).toEqual({ 'node-3': 'shut off' });
    await cluster.delete('still');
  });

  it('stays where a disk of it would have to be copied', async () => {
    await cluster.create('own-off', {
      ...idle,
      runStrategy: 'Halted',
      volumes: [{ name: 'data', hostPath: { path: join(cluster.lab.shared, 'off.img') } }],
    });
    await cluster.untilStatus('own-off', 'Stopped');
    const over = await cluster.untilOver(await cluster.ask('own-off', 'Migrate', { migrate: { nodeName: 'node-2' } }));
    expect(over.status).toMatchObject({ phase: 'Failed', reason: 'StorageNotShared' });
    expect(over.status?.message).toMatch(/it is copied only while the machine runs$/);
    expect(await cluster.domains('own-off')).toEqual({ 'node-1': 'shut off' });
    await cluster.delete('own-off');
  });
});

describe('a migration that cannot be', () => {
  it('is refused for a disk in a pool of the node', async () => {
    await makeDisk('tied', 'default', 'node-1');
    await cluster.create('tied', { ...idle, volumes: [{ name: 'root', virtualDisk: 'tied' }] });
    await cluster.untilStatus('tied', 'Running');
    const over = await cluster.untilOver(await cluster.ask('tied', 'Migrate', { migrate: { nodeName: 'node-2' } }));
    expect(over.status).toMatchObject({ phase: 'Failed', reason: 'StorageNotShared' });
    expect(over.status?.message).toMatch(/^disk vda \(.*\): VirtualDisk "tied" is in a pool of this node only/);
    expect(await cluster.domains('tied')).toEqual({ 'node-1': 'running' });
    await cluster.delete('tied');
  });

  it('is refused where a file would be overwritten, unless that is said to be the same', async () => {
    const path = join(cluster.lab.shared, 'file.img');
    await runProgram('qemu-img', ['create', '-q', '-f', 'raw', path, '1M']);
    await cluster.create('file', { ...idle, volumes: [{ name: 'root', hostPath: { path } }] });
    await cluster.untilStatus('file', 'Running');
    const to = { nodeName: 'node-2' };
    const copied = await cluster.untilOver(await cluster.ask('file', 'Migrate', { migrate: to }));
    expect(copied.status).toMatchObject({ phase: 'Failed', reason: 'TargetRefused' });
    expect(copied.status?.message).toContain(`${path} exists there and would be overwritten`);
    const migrate = { ...to, copyStorage: 'None' } as const;
    const shared = await cluster.untilOver(await cluster.ask('file', 'Migrate', { migrate }));
    expect(shared.status).toMatchObject({ phase: 'Succeeded' });
    expect(await cluster.domains('file')).toEqual({ 'node-2': 'running' });
    await cluster.delete('file');
  });

  it('is refused where something else is in the way, and the machine stays', async () => {
    await cluster.create('stay', idle);
    await cluster.untilStatus('stay', 'Running');
    const id = await cluster.domainId('node-1', 'stay');
    const { libvirtd } = cluster.lab.node('node-2');
    const path = join(cluster.lab.shared, 'foreign.xml');
    const xml = "<domain type='qemu'><name>default.stay</name><memory>1024</memory><os><type>hvm</type></os></domain>";
    await runProgram('sh', ['-c', 'printf %s "$1" > "$2"', 'sh', xml, path]);
    await libvirtd.virsh('define', path);
    const over = await cluster.untilOver(await cluster.ask('stay', 'Migrate', { migrate: { nodeName: 'node-2' } }));
    expect(over.status).toMatchObject({ phase: 'Failed', reason: 'TargetRefused' });
    expect(over.status?.message).toBe('node-2: there is a domain "default.stay" that belongs to somebody else');
    expect(await cluster.domains('stay')).toEqual({ 'node-1': 'running', 'node-2': 'shut off' });
    await libvirtd.virsh('undefine', 'default.stay');
    expect(await cluster.domainId('node-1', 'stay')).toBe(id);
  });

  it('is refused where it is already', async () => {
    const here = await cluster.untilOver(await cluster.ask('stay', 'Migrate', { migrate: { nodeName: 'node-1' } }));
    expect(here.status).toMatchObject({ phase: 'Failed', message: 'it is on node-1 already' });
  });

  it('is given up in time when the target is cut off, and the machine stays', async () => {
    await cluster.lab.node('node-3').partition();
    const migrate = { nodeName: 'node-3', timeoutSeconds: 3 };
    const over = await cluster.untilOver(await cluster.ask('stay', 'Migrate', { migrate }));
    expect(over.status).toMatchObject({ phase: 'Failed', reason: 'DeadlineExceeded' });
    await cluster.lab.node('node-3').heal();
    expect(await cluster.domains('stay')).toEqual({ 'node-1': 'running' });
    await cluster.delete('stay');
  });
});

describe('virtctl', () => {
  const virtctl = async (...args: string[]): Promise<string> => {
    const { exitCode, stdout, stderr } = await cluster.virtctl(...args);
    expect([exitCode, stderr], args.join(' ')).toEqual([0, '']);
    return stdout;
  };

  it('migrates a machine to the node that the scheduler chooses', async () => {
    await cluster.lab.untilReady(['node-1', 'node-2', 'node-3']);
    await cluster.hypervisors.mergePatch({ name: 'node-2' }, { metadata: { labels: { disk: 'ssd' } } });
    await cluster.create('light', { ...idle, nodeSelector: { disk: 'ssd' } });
    await cluster.untilStatus('light', 'Running');
    const before = await virtctl('migrate', 'vm/light', '--cancel');
    expect(before).toBe('virtualmachine.virtctl.dev/light is not being migrated\n');
    expect(await virtctl('migrate', 'vm/light')).toBe('virtualmachine.virtctl.dev/light migrated\n');
    expect(await cluster.domains('light')).toEqual({ 'node-2': 'running' });
    const again = await cluster.virtctl('migrate', 'light');
    expect([again.exitCode, again.stderr]).toEqual([
      1,
      expect.stringContaining('TargetRefused: 3 nodes: 1 where it is now, 2 without the label disk=ssd'),
    ]);
    const there = await cluster.virtctl('migrate', 'light', '--to', 'hv/node-1');
    expect([there.exitCode, there.stderr]).toEqual([
      1,
      expect.stringContaining('TargetRefused: node-1: without the label disk=ssd'),
    ]);
    await cluster.patch('light', { nodeSelector: null });
    expect(await virtctl('migrate', 'light', '--to', 'hv/node-1')).toContain('migrated');
    expect(await cluster.domains('light')).toEqual({ 'node-1': 'running' });
  });

  it('drains a node: machines move, stop or stay as each says', async () => {
    await cluster.create('stops', { ...idle, evictionStrategy: 'Stop' });
    await cluster.create('stays', { ...idle, evictionStrategy: 'None' });
    for (const name of ['stops', 'stays']) await cluster.untilStatus(name, 'Running');
    const { exitCode, stdout, stderr } = await cluster.virtctl('node', 'drain', 'node-1');
    expect(stdout).toContain('virtualmachine.virtctl.dev/light in default migrated to node-2\n');
    expect(stdout).toContain('virtualmachine.virtctl.dev/stops in default stopped\n');
    expect([exitCode, stderr]).toEqual([
      1,
      expect.stringContaining('vm/stays in default: spec.evictionStrategy is None'),
    ]);
    expect(await cluster.domains('light')).toEqual({ 'node-2': 'running' });
    expect(await cluster.domains('stops')).toEqual({ 'node-1': 'shut off' });
    expect(await cluster.domains('stays')).toEqual({ 'node-1': 'running' });
    await virtctl('node', 'uncordon', 'node-1', '--start');
    await cluster.untilStatus('stops', 'Running');
    await cluster.delete('light', 'stops', 'stays');
  });
});

describe('a migration that is asked for otherwise', () => {
  it.each([
    ['node-2', { autoConverge: true, maxDowntimeMilliseconds: 500 }],
    ['node-3', { bandwidthMiBPerSecond: 200, parallelConnections: 2 }],
    ['node-1', { postCopy: true }],
  ])('gets to %s with %o', async (nodeName, how) => {
    if (nodeName === 'node-2') await cluster.create('other', idle);
    await cluster.untilStatus('other', 'Running');
    const over = await cluster.untilOver(await cluster.ask('other', 'Migrate', { migrate: { nodeName, ...how } }));
    expect(over.status).toMatchObject({ phase: 'Succeeded' });
    expect(await cluster.domains('other')).toEqual({ [nodeName]: 'running' });
    if (nodeName === 'node-1') await cluster.delete('other');
  });
});

describe('a migration in the middle of which something happens', () => {
  /** Slow enough to be met half way; {@link hurry} ends it. */
  const slow = (nodeName: string, more: object = {}) => ({
    migrate: { nodeName, bandwidthMiBPerSecond: 1, ...more },
  });
  const hurry = (node: string): Promise<string> =>
    cluster.lab.node(node).libvirtd.virsh('migrate-setspeed', 'default.busy', '2000');

  /** Asks for a migration, and waits until libvirt moves memory. */
  async function half(nodeName: string, more: object = {}): Promise<VirtualMachineOperation> {
    const operation = await cluster.ask('busy', 'Migrate', slow(nodeName, more));
    return cluster.untilOperation(operation, 'to be on its way', ({ status }) => status?.percent !== undefined);
  }

  /** Exactly one copy, which has run without a break. */
  async function isOn(node: string): Promise<void> {
    await cluster.until(
      'busy',
      node,
      ({ spec, status }) => spec.nodeName === node && status?.printableStatus === 'Running',
    );
    await expect.poll(() => cluster.domains('busy'), { timeout: 60_000 }).toEqual({ [node]: 'running' });
    expect(await boots('busy')).toBe(1);
  }

  beforeAll(async () => {
    await cluster.lab.untilReady(['node-1', 'node-2', 'node-3']);
    await cluster.create('busy', guestSpec('busy'));
    await untilBooted(cluster, 'busy', 1);
    await cluster.untilStatus('busy', 'Running');
  });

  it('ends when it is called off', async () => {
    const operation = await half('node-2');
    await cluster.untilStatus('busy', 'Migrating');
    await cluster.operations.delete({ namespace: 'default', name: operation.metadata.name ?? '' });
    await isOn('node-1');
    await cluster.until('busy', 'the outcome', ({ status }) => status?.migration?.phase === 'Failed');
  });

  it('leaves one copy when the operation is removed by force after the guest has gone', async () => {
    const operation = await half('node-2');
    await cluster.lab.node('node-2').kill('executor');
    await hurry('node-1');
    await cluster.untilOperation(operation, 'to be there', isAt('Switching'));
    await expect.poll(() => cluster.domains('busy'), { timeout: 60_000 }).toEqual({ 'node-2': 'running' });
    const ref = { namespace: 'default', name: operation.metadata.name ?? '' };
    await cluster.operations.delete(ref);
    await cluster.operations.mergePatch(ref, { metadata: { finalizers: null } });
    // Nobody but the machine says that the guest may be elsewhere.
    const held = await cluster.until('busy', 'held', ({ status }) => status?.migration?.asked !== undefined);
    expect([held.spec.nodeName, cluster.condition(held, 'Ready').reason]).toEqual(['node-1', 'MigrationUnclear']);
    await cluster.lab.node('node-2').start('executor');
    await isOn('node-2');
  });

  it('goes on when the executor of the source is killed', async () => {
    const operation = await half('node-1');
    await cluster.lab.node('node-2').kill('executor');
    await cluster.lab.node('node-2').start('executor');
    await hurry('node-2');
    expect((await cluster.untilOver(operation)).status).toMatchObject({ phase: 'Succeeded' });
    await isOn('node-1');
  });

  it('ends at the target although the executor there was away', async () => {
    const operation = await half('node-3');
    await cluster.lab.node('node-3').kill('executor');
    await hurry('node-1');
    await cluster.untilOperation(operation, 'to be there', isAt('Switching'));
    // The guest is there, and nobody has said so: nothing is done with what is gone here.
    expect((await cluster.get('busy')).spec.nodeName).toBe('node-1');
    await cluster.lab.node('node-3').start('executor');
    expect((await cluster.untilOver(operation)).status).toMatchObject({ phase: 'Succeeded' });
    await isOn('node-3');
  });

  it.each(['source', 'target'])('leaves one copy when libvirtd of the %s is killed', async (side) => {
    const before = (await cluster.get('busy')).spec.nodeName ?? '';
    const operation = await half('node-1');
    const node = cluster.lab.node(side === 'source' ? before : 'node-1');
    await node.kill('libvirtd');
    await node.start('libvirtd');
    expect((await cluster.untilOver(operation)).status).toMatchObject({ phase: 'Failed', reason: 'MigrationFailed' });
    await isOn(before);
  });

  it('leaves the guest where it is when the target loses its power', async () => {
    const operation = await half('node-2');
    await cluster.lab.node('node-2').kill();
    expect((await cluster.untilOver(operation)).status).toMatchObject({ phase: 'Failed' });
    await cluster.lab.node('node-2').start();
    await isOn('node-3');
  });

  it('is given up when the target is cut off, which then removes what it has', async () => {
    const operation = await half('node-1', { timeoutSeconds: 5 });
    await cluster.lab.node('node-1').partition();
    expect((await cluster.untilOver(operation)).status).toMatchObject({ phase: 'Failed', reason: 'DeadlineExceeded' });
    await cluster.until('busy', 'to stay', ({ status }) => status?.printableStatus === 'Running');
    await cluster.lab.node('node-1').heal();
    await isOn('node-3');
  });
});

describe('migrations with faults at random moments', () => {
  it('leave one copy that has booted once, and one of its disk', async () => {
    await cluster.delete('busy');
    await cluster.lab.untilReady(['node-1', 'node-2', 'node-3']);
    const { failures } = await faultRun(cluster, guest, 5, Math.random, () => undefined, 'roamer-disk');
    expect(failures).toEqual([]);
  });
});
