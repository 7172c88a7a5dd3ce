import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { VirtualDisk, VirtualDiskSpec } from '../../src/api/virtual-disk.ts';
import type { VirtualMachine } from '../../src/api/virtual-machine.ts';
import type { VirtualMachineOperation } from '../../src/api/virtual-machine-operation.ts';
import type { ResourceClient } from '../../src/kube/resource-client.ts';
import { ourKind } from '../../scripts/lab/lab.ts';
import { testGuest, type Guest } from '../support/guest.ts';
import { idleMachine, startLabCluster, type LabCluster } from '../support/lab-cluster.ts';
import { bootsOf, roamingGuest, untilBooted } from '../support/migration-faults.ts';

/** Machines whose disks lie in a pool that each node has for itself, which they take with them. */
let cluster: LabCluster;
let guest: Guest;
let disks: ResourceClient<VirtualDisk>;

beforeAll(async () => {
  guest = await testGuest();
  cluster = await startLabCluster();
  disks = cluster.lab.client.resource<VirtualDisk>(ourKind('VirtualDisk'));
  const spec = { overcommit: { cpuPercent: 5000 } };
  for (const { name } of cluster.lab.nodes) await cluster.hypervisors.mergePatch({ name }, { spec });
});
afterAll(() => cluster.close());

const idle = { ...idleMachine, nodeName: 'node-1' };
const refTo = (name: string) => ({ namespace: 'default', name });

/** A disk on node-1, in the pool that each node has for itself. */
async function makeDisk(name: string, spec: VirtualDiskSpec = {}): Promise<string> {
  await disks.create({
    ...{ apiVersion: 'virtctl.dev/v1alpha1', kind: 'VirtualDisk', metadata: refTo(name) },
    spec: { bindingMode: 'Immediate', nodeName: 'node-1', capacity: '32Mi', ...spec },
  });
  const isReady = async (): Promise<void> => expect((await disks.get(refTo(name))).status?.phase).toBe('Ready');
  await vi.waitFor(isReady, { timeout: 60_000, interval: 100 });
  return (await disks.get(refTo(name))).status?.path ?? '';
}

/** The nodes that have a file. */
async function whereIs(path: string): Promise<string[]> {
  const found: string[] = [];
  for (const node of cluster.lab.nodes) {
    const listed = await node.libvirtd.exec('find', path.slice(0, path.lastIndexOf('/')), '-path', path);
    if (listed.trim() !== '') found.push(node.name);
  }
  return found;
}

/** A disk is on one node alone, as its object says. */
async function isOnlyOn(name: string, nodeName: string): Promise<void> {
  const settled = async (): Promise<void> => {
    const { status } = await disks.get(refTo(name));
    expect([status?.nodeName, status?.phase, status?.move]).toEqual([nodeName, 'Ready', undefined]);
    expect(await whereIs(status?.path ?? '')).toEqual([nodeName]);
  };
  await vi.waitFor(settled, { timeout: 60_000, interval: 200 });
}

/** What QEMU's tool says of the pattern that was written to a disk. */
const patternOf = (node: string, path: string, format: string): Promise<string> =>
  cluster.lab.node(node).libvirtd.exec('qemu-io', '-r', '-U', '-f', format, '-c', 'read -P 0xab 1M 24M', path);

async function fill(path: string, format: string): Promise<void> {
  await cluster.lab.node('node-1').libvirtd.exec('qemu-io', '-f', format, '-c', 'write -P 0xab 1M 24M', path);
}

describe('a machine with disks in a pool of its node', () => {
  it('is moved with them when it is asked for, without a break, and they are as they were', async () => {
    const root = await makeDisk('root');
    const data = await makeDisk('data', { format: 'raw', wipe: 'zero' });
    await fill(data, 'raw');
    const volumes = [
      { name: 'root', virtualDisk: 'root' },
      { name: 'data', virtualDisk: 'data' },
    ];
    await cluster.create('web', { ...roamingGuest(cluster, guest, 'web'), volumes });
    await untilBooted(cluster, 'web', 1);
    const refused = await cluster.virtctl('migrate', 'vm/web', '--to', 'node-2');
    expect([refused.exitCode, refused.stderr]).toEqual([
      1,
      expect.stringContaining('`virtctl migrate web --copy-storage All` copies it'),
    ]);
    const moved = await cluster.virtctl('migrate', 'vm/web', '--to', 'node-2', '--copy-storage', 'All');
    expect(moved).toMatchObject({ exitCode: 0, stdout: 'virtualmachine.virtctl.dev/web migrated\n' });
    expect(await cluster.domains('web')).toEqual({ 'node-2': 'running' });
    expect(await bootsOf(cluster, 'web')).toBe(1);
    await isOnlyOn('root', 'node-2');
    await isOnlyOn('data', 'node-2');
    expect([root, data]).toEqual(
      await Promise.all(['root', 'data'].map(async (name) => (await disks.get(refTo(name))).status?.path)),
    );
    expect(await patternOf('node-2', data, 'raw')).not.toContain('failed');
    const settled = await cluster.until('web', 'to run there', ({ status }) => status?.printableStatus === 'Running');
    for (const type of ['RestartRequired', 'Degraded']) expect(cluster.condition(settled, type).status).toBe('False');
  });

  it('finds on them there what it wrote here, and goes on to where there is room', async () => {
    await cluster.untilOver(await cluster.ask('web', 'Reset'));
    await untilBooted(cluster, 'web', 2);
    // It does not get there before its memory is asked for from the other side, with the disks copied already.
    const how = { postCopy: true, bandwidthMiBPerSecond: 20, maxDowntimeMilliseconds: 1 };
    const back = await cluster.untilOver(
      await cluster.ask('web', 'Migrate', { migrate: { copyStorage: 'All', ...how } }),
    );
    expect(back.status).toMatchObject({ phase: 'Succeeded' });
    const to = (await cluster.get('web')).spec.nodeName ?? '';
    expect(to).not.toBe('node-2');
    for (const name of ['root', 'data']) await isOnlyOn(name, to);
    expect(await cluster.domains('web')).toEqual({ [to]: 'running' });
    await cluster.delete('web');
    for (const name of ['root', 'data']) await disks.delete(refTo(name));
  });
});

describe('a disk that is copied', () => {
  /** About six seconds on the way. */
  const slow = (nodeName: string) => ({ migrate: { nodeName, copyStorage: 'All', bandwidthMiBPerSecond: 4 } }) as const;
  let path = '';

  /** Asks for a migration, and waits until libvirt copies. */
  async function half(nodeName: string): Promise<VirtualMachineOperation> {
    const operation = await cluster.ask('db', 'Migrate', slow(nodeName));
    return cluster.untilOperation(operation, 'to be on its way', ({ status }) => status?.percent !== undefined);
  }

  /** The machine and its disk are on one node, and nothing of them is elsewhere. */
  async function isOn(node: string): Promise<void> {
    const holds = ({ spec, status }: VirtualMachine): boolean =>
      spec.nodeName === node && status?.printableStatus === 'Running';
    await cluster.until('db', node, holds);
    await isOnlyOn('thin', node);
    await expect.poll(() => cluster.domains('db'), { timeout: 60_000 }).toEqual({ [node]: 'running' });
    expect(await patternOf(node, path, 'qcow2')).not.toContain('failed');
  }

  beforeAll(async () => {
    await fill(await makeDisk('golden'), 'qcow2');
    path = await makeDisk('thin', { source: { clone: { name: 'golden', mode: 'Overlay' } } });
    await cluster.create('db', { ...idle, volumes: [{ name: 'data', virtualDisk: 'thin' }] });
    await cluster.untilStatus('db', 'Running');
    expect((await disks.get(refTo('thin'))).status?.backingChain).toHaveLength(1);
  });

  it('goes to the target although its executor was killed in the middle, with what it lay over', async () => {
    const operation = await half('node-2');
    expect((await disks.get(refTo('thin'))).status).toMatchObject({
      nodeName: 'node-1',
      move: { nodeName: 'node-2', state: 'Copying', operation: operation.metadata.name },
    });
    await cluster.lab.node('node-2').kill('executor');
    await cluster.untilOperation(operation, 'to be there', ({ status }) => status?.step === 'Switching');
    // The guest is there, and nobody has said so: the disk is still that of this node.
    expect(await whereIs(path)).toEqual(['node-1', 'node-2']);
    expect((await disks.get(refTo('thin'))).status?.nodeName).toBe('node-1');
    await cluster.lab.node('node-2').start('executor');
    expect((await cluster.untilOver(operation)).status).toMatchObject({ phase: 'Succeeded' });
    await isOn('node-2');
    await expect.poll(async () => (await disks.get(refTo('thin'))).status?.backingChain ?? []).toEqual([]);
  });

  it('stays when libvirtd of the target is killed, and what was copied goes', async () => {
    const operation = await half('node-3');
    await cluster.lab.node('node-3').kill('libvirtd');
    await cluster.lab.node('node-3').start('libvirtd');
    expect((await cluster.untilOver(operation)).status).toMatchObject({ phase: 'Failed', reason: 'MigrationFailed' });
    await isOn('node-2');
  });

  it('stays when the migration is called off, and what was copied goes', async () => {
    const operation = await half('node-3');
    expect(await whereIs(path)).toEqual(['node-2', 'node-3']);
    await cluster.operations.delete(refTo(operation.metadata.name ?? ''));
    await isOn('node-2');
  });

  it('stays when there is no room for it after all', async () => {
    const { libvirtd } = cluster.lab.node('node-3');
    const folder = path.slice(0, path.lastIndexOf('/'));
    await libvirtd.exec('mount', '-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', folder);
    try {
      const over = await cluster.untilOver(await cluster.ask('db', 'Migrate', slow('node-3')));
      expect(over.status).toMatchObject({ phase: 'Failed', reason: 'MigrationFailed' });
      expect(over.status?.message).toMatch(/No space left/);
      await isOn('node-2');
    } finally {
      await libvirtd.exec('umount', folder);
    }
  });

  it('starts again where it is', async () => {
    const restart = await cluster.untilOver(await cluster.ask('db', 'Restart', { restart: { force: true } }));
    expect(restart.status?.phase).toBe('Succeeded');
    await isOn('node-2');
  });

  it('is not copied over a file that stands there, nor where it has snapshots inside', async () => {
    const file = await makeDisk('taken');
    const inside = await makeDisk('kept');
    await cluster.lab.node('node-1').libvirtd.exec('qemu-img', 'snapshot', '-c', 'old', inside);
    for (const name of ['taken', 'kept']) {
      await cluster.create(name, { ...idle, volumes: [{ name: 'data', virtualDisk: name }] });
      await cluster.untilStatus(name, 'Running');
    }
    const { libvirtd } = cluster.lab.node('node-3');
    await libvirtd.exec('sh', '-c', 'printf mine > "$1"', 'sh', file);
    const taken = await cluster.untilOver(await cluster.ask('taken', 'Migrate', slow('node-3')));
    expect(taken.status).toMatchObject({
      ...{ phase: 'Failed', reason: 'TargetRefused' },
      message: `node-3: ${file} exists there and is not this disk's; it would be overwritten`,
    });
    const kept = await cluster.untilOver(await cluster.ask('kept', 'Migrate', slow('node-3')));
    expect(kept.status).toMatchObject({
      ...{ phase: 'Failed', reason: 'StorageNotShared' },
      message: `disk vda (${inside}): VirtualDisk "kept" cannot be copied: the snapshots inside of it would be lost: old`,
    });
    expect(await libvirtd.exec('cat', file)).toBe('mine');
    expect((await disks.get(refTo('taken'))).status?.move).toBeUndefined();
    expect(await whereIs(inside)).toEqual(['node-1']);
    await cluster.delete('taken', 'kept', 'db');
  });
});
