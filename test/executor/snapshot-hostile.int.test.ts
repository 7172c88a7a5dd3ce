import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commandLine } from '../support/command-line.ts';
import { diskContent, writeDisk } from '../support/disk-content.ts';
import { runProgram } from '../support/run-program.ts';
import { startSnapshotWorld, type SnapshotWorld } from '../support/snapshot-world.ts';
import { markMerged } from '../../src/executor/virtual-machine-snapshot/merged-mark.ts';
import type { VirtualMachineSnapshot } from '../../src/api/virtual-machine-snapshot.ts';

describe('snapshots of machines that are changed meanwhile, and odd names', () => {
  let world: SnapshotWorld;

  beforeAll(async () => {
    world = await startSnapshotWorld();
  });
  afterAll(async () => {
    await world.node.close();
  });

  async function content(disk: string): Promise<string> {
    const { path = '', format = '' } = (await world.disks.get(world.at(disk))).status ?? {};
    return diskContent(path, format);
  }
  async function write(disk: string, byte: number, offsetMiB = 0): Promise<string> {
    const { path = '', format = '' } = (await world.disks.get(world.at(disk))).status ?? {};
    await writeDisk(path, format, { byte, offsetBytes: offsetMiB * 1024 * 1024, bytes: 1024 * 1024 });
    return content(disk);
  }
  /** A machine that is off, with a second disk. */
  async function machine(name: string): Promise<void> {
    await world.disks.create({
      apiVersion: 'virtctl.dev/v1alpha1',
      kind: 'VirtualDisk',
      metadata: world.at(`${name}-b`),
      spec: { pool: 'local', nodeName: world.node.name, capacity: '8Mi' },
    });
    const volumes = [
      { name: 'root', virtualDisk: name, target: { dev: 'vda' } },
      { name: 'more', virtualDisk: `${name}-b`, target: { dev: 'vdb' } },
    ];
    await world.machine(name, { capacity: '8Mi' }, { runStrategy: 'Halted', spec: { volumes } });
  }
  const virtctl = (...args: string[]) => commandLine([...args, '--kubeconfig', world.node.kubeconfig]);

  it('takes, reverts to and deletes one whose name is as long as a name can be', async () => {
    await machine('long');
    const name = `a.${'b'.repeat(238)}`;
    const then = await write('long', 1);
    await world.take('long', name, { mode: 'External' });
    await write('long', 2);
    await world.revert('long', name);
    expect(await content('long')).toBe(then);
    await world.dropSnapshot(name);
    expect(await content('long')).toBe(then);
    expect(await world.files('default.long')).toHaveLength(2);
  });

  it('merges nothing that a file needs which nobody here knows', async () => {
    await machine('below');
    await write('below', 1);
    const snapshot = await world.take('below', 'below-1', { mode: 'External' });
    const frozen = snapshot.status?.disks?.find(({ target }) => target === 'vda')?.path ?? '';
    const stranger = join(world.folder, 'stranger.qcow2');
    await runProgram('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', frozen, stranger]);
    await world.node.libvirtd.virsh('pool-refresh', 'local');
    const seen = await diskContent(stranger, 'qcow2');
    await write('below', 2);
    const now = await content('below');
    await world.snapshots.delete(world.at('below-1'));
    const waits = ({ status }: VirtualMachineSnapshot): boolean => status?.message?.includes(stranger) === true;
    await world.until(world.snapshots, 'below-1', waits, 'it to wait for the file');
    expect(await diskContent(stranger, 'qcow2')).toBe(seen);

    await rm(stranger);
    await world.dropSnapshot('below-1');
    expect(await content('below')).toBe(now);
    expect(await world.files('default.below')).toHaveLength(2);
  });

  it('refuses names that are taken or none, and machines that are not there', async () => {
    await machine('names');
    expect((await virtctl('snapshot', 'create', 'names', 'n1')).exitCode).toBe(0);
    expect((await virtctl('snapshot', 'create', 'names', 'n1')).exitCode).toBe(4);
    expect((await virtctl('snapshot', 'create', 'names', 'Not_A_Name')).exitCode).toBe(2);
    expect((await virtctl('snapshot', 'create', 'nobody')).exitCode).toBe(3);
    expect((await virtctl('snapshot', 'revert', 'nothing')).exitCode).toBe(3);
    expect((await virtctl('clone', 'vm', 'names', 'names')).exitCode).toBe(4);
    expect((await virtctl('clone', 'vm', 'names', 'Not_A_Name')).exitCode).toBe(2);
    expect(await world.files('default.Not')).toEqual([]);
    await world.dropSnapshot('n1');
  });

  it('leaves a disk alone that was taken from the machine since, and refuses one that another machine has', async () => {
    const { node } = world;
    await machine('giver');
    await write('giver', 1);
    await write('giver-b', 1);
    await world.take('giver', 'g1', { mode: 'External' });
    await write('giver', 2);
    await write('giver-b', 2);
    const [root] = (await node.get('giver')).spec.volumes ?? [];
    await node.patch('giver', { volumes: [root] });
    await node.untilObserved('giver');
    const theirs = await content('giver-b');
    const refused = await node.operate('giver', 'Revert', { revert: { snapshot: 'g1' } });
    expect(refused.status).toMatchObject({ phase: 'Failed', reason: 'SpecDiffers' });

    const { status } = await node.operate('giver', 'Revert', { revert: { snapshot: 'g1', force: true } });
    expect(status).toMatchObject({ phase: 'Succeeded' });
    expect(status?.message).toContain("giver-b is not the machine's any more, and was left alone");
    expect(await content('giver-b')).toBe(theirs);

    // Now another machine runs with it.
    const volumes = [{ name: 'root', virtualDisk: 'giver-b', target: { dev: 'vda' } }];
    await world.machine('taker', { capacity: '8Mi' }, { spec: { volumes } });
    await node.untilStatus('taker', 'Running');
    const inUse = await node.operate('giver', 'Revert', { revert: { snapshot: 'g1', restoreSpec: true } });
    expect(inUse.status).toMatchObject({ phase: 'Failed', reason: 'SpecDiffers' });
    expect(inUse.status?.message).toContain('VirtualMachine "taker" has giver-b read-write already');
    await node.delete('taker');
  });

  it('refuses to go back to one whose disk somebody else has open, and touches nothing', async () => {
    const { node, disks } = world;
    await machine('open');
    await world.take('open', 'o1', { mode: 'External' });
    const now = await write('open-b', 5);
    const { path = '', format = '' } = (await disks.get(world.at('open-b'))).status ?? {};
    const holder = spawn('qemu-io', ['-f', format, path], { stdio: ['pipe', 'pipe', 'inherit'] });
    try {
      // Its prompt: it has the file, with QEMU's lock.
      await once(holder.stdout, 'data');
      const { status } = await node.operate('open', 'Revert', { revert: { snapshot: 'o1' } });
      expect(status).toMatchObject({ phase: 'Failed', reason: 'SnapshotNotReady' });
      expect(status?.message).toContain('VirtualDisk "open-b" is in use by another machine');
    } finally {
      const ended = once(holder, 'exit');
      holder.stdin.end();
      await ended;
    }
    expect((await disks.get(world.at('open-b'))).status?.path).toBe(path);
    expect(await content('open-b')).toBe(now);
    await world.revert('open', 'o1');
  });

  it('refuses to go back inside of a disk that is not the machine’s any more', async () => {
    const { node } = world;
    await machine('inside');
    await world.take('inside', 'i1', { mode: 'Internal' });
    const [root] = (await node.get('inside')).spec.volumes ?? [];
    await node.patch('inside', { volumes: [root] });
    await node.untilObserved('inside');
    const theirs = await write('inside-b', 7);
    const { status } = await node.operate('inside', 'Revert', { revert: { snapshot: 'i1', force: true } });
    expect(status).toMatchObject({ phase: 'Failed', reason: 'SpecDiffers' });
    expect(await content('inside-b')).toBe(theirs);
  });

  it('goes back to a snapshot of a smaller disk, and merges it, with all that was written since', async () => {
    const { disks } = world;
    await machine('grown');
    const then = await write('grown', 1, 6);
    await world.take('grown', 'g2', { mode: 'External' });
    await disks.mergePatch(world.at('grown'), { spec: { capacity: '16Mi' } });
    await world.until(disks, 'grown', ({ status }) => status?.capacity === '16Mi', 'the disk to be grown');
    const grown = await write('grown', 2, 12);
    await world.take('grown', 'g3', { mode: 'External' });
    await world.dropSnapshot('g2');
    expect(await content('grown')).toBe(grown);
    expect(grown).not.toBe(then);
    await world.revert('grown', 'g3');
    expect(await content('grown')).toBe(grown);
    await world.dropSnapshot('g3');
    expect(await content('grown')).toBe(grown);
  });

  it('ends a merge and the machine together when both are deleted', async () => {
    const { node, disks, snapshots } = world;
    await machine('going');
    await write('going', 1);
    await world.take('going', 'e1', { mode: 'External' });
    await write('going', 2);
    await world.take('going', 'e2', { mode: 'External' });
    const last = await write('going', 3, 4);
    await snapshots.delete(world.at('e1'));
    await node.delete('going');
    expect(await snapshots.find(world.at('e2'))).toBeUndefined();
    expect(await content('going')).toBe(last);
    expect((await disks.get(world.at('going'))).status?.backingChain).toEqual([]);
    expect(await world.files('default.going')).toHaveLength(2);
  });

  it('ends a revert whose snapshot is deleted meanwhile, and then deletes it', async () => {
    const { node, snapshots } = world;
    await machine('both');
    const then = await write('both', 1);
    await world.take('both', 'b1', { mode: 'External' });
    await write('both', 2);
    const revert = await node.ask('both', 'Revert', { revert: { snapshot: 'b1' } });
    await world.until(
      node.operations,
      revert.metadata.name ?? '',
      ({ status }) => status?.step !== undefined && status.step !== 'Preparing',
      'the revert to begin',
    );
    await snapshots.delete(world.at('b1'));
    expect((await node.untilOver(revert)).status).toMatchObject({ phase: 'Succeeded' });
    await world.dropSnapshot('b1');
    expect(await content('both')).toBe(then);
    expect(await world.files('default.both')).toHaveLength(2);
  });

  /** A machine whose snapshot's merge was noted as done when the executor was killed; @returns the files. */
  async function mergedWhenKilled(name: string): Promise<{ from: string; into: string }> {
    const { node, snapshots, disks } = world;
    await machine(name);
    await write(name, 1);
    const { status } = await world.take(name, `${name}-1`, { mode: 'External' });
    const into = status?.disks?.find(({ target }) => target === 'vda')?.path ?? '';
    await write(name, 2);
    const from = (await disks.get(world.at(name))).status?.path ?? '';
    await node.stopExecutor('SIGKILL');
    await runProgram('qemu-img', ['commit', '-q', '-d', '-f', 'qcow2', '-b', into, from]);
    await markMerged(from, into, Date.now());
    await snapshots.delete(world.at(`${name}-1`));
    const merges = [{ target: 'vda', from, into, stage: 'Committed' as const }];
    const noted = { phase: 'Deleting' as const, step: 'Merging', merges };
    await snapshots.mergePatch(world.at(`${name}-1`), { status: noted }, { subresource: 'status' });
    return { from, into };
  }

  it('loses nothing that was written to a merged file before the disk left it', async () => {
    const { from, into } = await mergedWhenKilled('late');
    // As a guest does that somebody starts while the executor is away: its domain has that file.
    await writeDisk(from, 'qcow2', { byte: 3, offsetBytes: 2 * 1024 * 1024, bytes: 1024 * 1024 });
    const last = await diskContent(from, 'qcow2');
    await world.node.startExecutor();
    await world.dropSnapshot('late-1');
    expect((await world.disks.get(world.at('late'))).status?.path).toBe(into);
    expect(await content('late')).toBe(last);
  });

  it('loses nothing that is written to a merged file while the disk is to leave it', async () => {
    const { from, into } = await mergedWhenKilled('held');
    const holder = spawn('qemu-io', ['-f', 'qcow2', from], { stdio: ['pipe', 'pipe', 'inherit'] });
    const ended = once(holder, 'exit');
    try {
      await once(holder.stdout, 'data');
      await world.node.startExecutor();
      await world.until(
        world.snapshots,
        'held-1',
        ({ status }) => /lock|in use|open/.test(status?.message ?? ''),
        'the merge to wait for who has the file',
      );
      expect((await world.disks.get(world.at('held'))).status?.path).toBe(from);
      holder.stdin.write('write -P 3 2M 1M\n');
    } finally {
      holder.stdin.end();
      await ended;
    }
    await world.dropSnapshot('held-1');
    expect((await world.disks.get(world.at('held'))).status?.path).toBe(into);
    await runProgram('qemu-io', ['-r', '-f', 'qcow2', '-c', 'read -P 3 2M 1M', into]);
  });

  it('removes no merged file, and none that a revert left, under one that somebody laid over it', async () => {
    const { node, snapshots, disks } = world;
    const lay = async (under: string): Promise<string> => {
      const over = `${under}.over`;
      await runProgram('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', under, '-F', 'qcow2', over]);
      return over;
    };
    const { from } = await mergedWhenKilled('laid');
    const over = await lay(from);
    const seen = await diskContent(over, 'qcow2');
    await node.startExecutor();
    const said = ({ status }: VirtualMachineSnapshot): boolean => status?.message?.includes(over) === true;
    await world.until(snapshots, 'laid-1', said, 'the merge to wait for the file over it');
    expect(await diskContent(over, 'qcow2')).toBe(seen);
    await rm(over);
    await world.dropSnapshot('laid-1');

    await machine('back');
    await world.take('back', 'back-1', { mode: 'External' });
    await write('back', 5);
    const { path = '' } = (await disks.get(world.at('back'))).status ?? {};
    const byHand = await lay(path);
    const theirs = await diskContent(byHand, 'qcow2');
    const { status } = await node.operate('back', 'Revert', { revert: { snapshot: 'back-1' } });
    expect(status).toMatchObject({ phase: 'Succeeded' });
    expect(status?.message).toContain(`${path} stays, since ${byHand} lies over it`);
    expect(await diskContent(byHand, 'qcow2')).toBe(theirs);
  });

  it('takes one right after another was merged, whose files the domain still names', async () => {
    const { node, snapshots } = world;
    await machine('next');
    await world.take('next', 'next-1', { mode: 'External' });
    const last = await write('next', 2);
    // Both are found in one look at the machine.
    await node.stopExecutor('SIGKILL');
    await snapshots.delete(world.at('next-1'));
    await world.ask('next', 'next-2', { mode: 'External' });
    await node.startExecutor();
    const over = ({ status }: VirtualMachineSnapshot): boolean => /Ready|Failed/.test(status?.phase ?? '');
    const { status } = await world.until(snapshots, 'next-2', over, 'next-2 to be over');
    expect(status).toMatchObject({ phase: 'Ready' });
    expect(await content('next')).toBe(last);
  });
});
