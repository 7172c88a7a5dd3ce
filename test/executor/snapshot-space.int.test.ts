import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { diskContent, writeDisk } from '../support/disk-content.ts';
import { startSnapshotWorld, type SnapshotWorld } from '../support/snapshot-world.ts';
import type { VirtualMachineSnapshot } from '../../src/api/virtual-machine-snapshot.ts';

const MiB = 1024 * 1024;

describe('snapshots on a small file system', () => {
  let world: SnapshotWorld;
  let small: string;

  beforeAll(async () => {
    world = await startSnapshotWorld({ sameMounts: true });
    const { libvirtd } = world.node;
    small = join(libvirtd.dir, 'small');
    const image = join(libvirtd.dir, 'small.img');
    await libvirtd.exec('mkdir', small);
    await libvirtd.exec('truncate', '-s', '64M', image);
    await libvirtd.exec('mke2fs', '-q', '-F', '-t', 'ext4', '-m', '0', '-O', '^has_journal', image);
    await libvirtd.exec('mount', '-o', 'loop', image, small);
    await world.pool('small', small);
  });
  afterAll(async () => {
    await world.node.libvirtd.exec('umount', '-l', small);
    await world.node.close();
  });

  const isFull = ({ status }: VirtualMachineSnapshot): boolean =>
    status?.conditions?.some(({ reason }) => reason === 'OutOfSpace') === true;

  /** Leaves so much space, in KiB. */
  async function fill(leftKiB: number): Promise<void> {
    const { libvirtd } = world.node;
    const free = Number((await libvirtd.exec('df', '--output=avail', '-BK', small)).split('\n')[1]?.replace('K', ''));
    await libvirtd.exec('fallocate', '-l', `${free - leftKiB}K`, join(small, 'ballast'));
  }
  async function free(): Promise<void> {
    await world.node.libvirtd.exec('rm', '-f', join(small, 'ballast'));
  }
  async function active(disk: string): Promise<{ path: string; format: string }> {
    const { path = '', format = '' } = (await world.disks.get(world.at(disk))).status ?? {};
    return { path, format };
  }
  const inside = (program: string, ...args: string[]): Promise<string> => world.node.libvirtd.exec(program, ...args);
  async function content(disk: string): Promise<string> {
    const { path, format } = await active(disk);
    return diskContent(path, format, undefined, inside);
  }
  async function frozenContent(snapshot: string): Promise<string> {
    const disk = (await world.snapshots.get(world.at(snapshot))).status?.disks?.[0];
    return diskContent(disk?.path ?? '', disk?.format ?? '', undefined, inside);
  }

  it('loses nothing when the merge of a machine that is off has no space, and goes on when there is some', async () => {
    const { node, snapshots, disks } = world;
    await world.machine('off', { pool: 'small', capacity: '32Mi' }, { runStrategy: 'Halted' });
    const write = async (byte: number, offsetMiB: number): Promise<void> => {
      const { path, format } = await active('off');
      const at = { byte, offsetBytes: offsetMiB * MiB, bytes: 8 * MiB };
      await writeDisk(path, format, at, inside);
    };
    await write(1, 0);
    await world.take('off', 'o1', { mode: 'External' });
    await write(2, 8);
    await world.take('off', 'o2', { mode: 'External' });
    await write(3, 16);
    // A branch: o1 has two files over it, of which one has to take its 8 MiB into itself.
    await world.revert('off', 'o1');
    await write(4, 24);
    const [before, then] = [await content('off'), await frozenContent('o2')];
    await fill(2048);
    await snapshots.delete(world.at('o1'));
    const told = await world.until(snapshots, 'o1', isFull, 'the lack of space to be told');
    expect(told.status).toMatchObject({ phase: 'Deleting' });
    expect(told.status?.message).toContain('nothing is lost');
    expect(await content('off')).toBe(before);
    await free();
    await world.dropSnapshot('o1');
    expect(await content('off')).toBe(before);
    expect(await frozenContent('o2')).toBe(then);

    await world.take('off', 'o3', { mode: 'External' });
    await write(5, 4);
    const last = await content('off');
    await fill(2048);
    await snapshots.delete(world.at('o3'));
    await world.until(snapshots, 'o3', isFull, 'the lack of space to be told');
    expect(await content('off')).toBe(last);
    await free();
    await world.dropSnapshot('o3');
    await world.dropSnapshot('o2');
    expect(await content('off')).toBe(last);
    expect((await disks.get(world.at('off'))).status?.backingChain).toEqual([]);
    await node.delete('off');
    await world.drop(disks, 'off');
  });

  it('leaves the guest alone when there is no space to revert it', async () => {
    const { node, disks } = world;
    await world.machine('on', { pool: 'small', capacity: '32Mi' });
    await world.sh('on', 'echo one >/data/a; sync');
    await world.take('on', 'n1');
    await world.sh('on', 'echo two >/data/b; sync; echo here >/run/memory');
    await fill(8);
    const { status } = await node.operate('on', 'Revert', { revert: { snapshot: 'n1' } });
    expect(status).toMatchObject({ phase: 'Failed', reason: 'OutOfSpace' });
    expect(await world.sh('on', 'cat /run/memory; ls /data')).toBe('here\na\nb\nboots\nlost+found');
    await free();
    await world.revert('on', 'n1');
    expect(await world.sh('on', 'cat /data/a; ls /data')).toBe('one\na\nboots\nlost+found');
    await world.dropSnapshot('n1');
    expect(await node.libvirtd.exec('ls', small)).toContain('default.on');
    await node.delete('on');
    await world.drop(disks, 'on');
  });
});
