import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startSnapshotWorld, type SnapshotWorld } from '../support/snapshot-world.ts';
import { join } from 'node:path';
import type { VirtualMachineSnapshot } from '../../src/api/virtual-machine-snapshot.ts';

describe('snapshots and what can go wrong', () => {
  let world: SnapshotWorld;
  let small: string;

  beforeAll(async () => {
    world = await startSnapshotWorld({ sameMounts: true });
    small = join(world.node.libvirtd.dir, 'small');
    await world.node.libvirtd.exec('mkdir', small);
    await world.node.libvirtd.exec('mount', '-t', 'tmpfs', '-o', 'size=44m', 'tmpfs', small);
    await world.pool('small', small);
  });
  afterAll(async () => {
    await world.node.close();
  });

  /** Kills the executor once something is so, and starts it again. */
  async function killOnce(
    name: string,
    isSo: (snapshot: VirtualMachineSnapshot | undefined) => boolean,
  ): Promise<void> {
    for (const end = Date.now() + 120_000; !isSo(await world.snapshots.find(world.at(name)));) {
      if (Date.now() > end) throw new Error(`${name} never came so far`);
      await delay(5);
    }
    await world.node.stopExecutor('SIGKILL');
    await world.node.startExecutor();
  }
  const isTaking = (one: VirtualMachineSnapshot | undefined): boolean => one?.status?.step === 'Taking';
  const isMerging = (one: VirtualMachineSnapshot | undefined): boolean => one?.status?.merges?.length === 1;

  it('goes on with a snapshot and a merge when the executor is killed in the middle of them', async () => {
    const { node, disks, snapshots } = world;
    await world.machine('killed');
    await world.sh('killed', 'echo one >/data/a; sync');
    await world.ask('killed', 'k1', { memory: true, mode: 'External' });
    await killOnce('k1', isTaking);
    await world.ready('k1');
    await world.sh('killed', 'dd if=/dev/urandom of=/data/big bs=1M count=24 2>/dev/null; sync');
    const sum = await world.sh('killed', 'sha256sum /data/a /data/big');
    await world.take('killed', 'k2');
    await world.sh('killed', 'echo three >/data/c; sync');

    await snapshots.delete(world.at('k1'));
    await killOnce('k1', isMerging);
    await world.dropSnapshot('k1');
    expect(await world.sh('killed', 'echo 3 >/proc/sys/vm/drop_caches; sha256sum /data/a /data/big; cat /data/c')).toBe(
      `${sum}\nthree`,
    );
    const revert = await node.ask('killed', 'Revert', { revert: { snapshot: 'k2' } });
    const name = revert.metadata.name ?? '';
    await world.until(
      node.operations,
      name,
      ({ status }) => status?.step === 'Switching' || status?.step === 'Starting',
      'it',
    );
    await node.stopExecutor('SIGKILL');
    await node.startExecutor();
    expect((await node.untilOver(revert)).status).toMatchObject({ phase: 'Succeeded' });
    expect(await world.sh('killed', 'sha256sum /data/a /data/big; ls /data')).toBe(`${sum}\na\nbig\nboots\nlost+found`);

    await snapshots.delete(world.at('k2'));
    await world.until(snapshots, 'k2', isMerging, 'the merge', 30_000).catch((error: unknown) => {
      // It may be over already.
      if (!String(error).includes('not found')) throw error;
    });
    await node.libvirtd.restart('KILL');
    await world.dropSnapshot('k2');
    expect(await world.sh('killed', 'sha256sum /data/a /data/big')).toBe(sum);
    expect((await disks.get(world.at('killed'))).status?.backingChain).toEqual([]);
    expect(await world.files('default.killed')).toEqual(['default.killed.qcow2']);
    await world.operate('killed', 'Restart', { restart: { force: true } });
    expect(await world.sh('killed', 'sha256sum /data/a /data/big')).toBe(sum);
    await node.delete('killed');
  });

  it('takes a snapshot once when libvirtd is killed while it takes it', async () => {
    const { node } = world;
    await world.machine('daemon');
    await world.sh('daemon', 'echo one >/data/a; sync');
    await world.ask('daemon', 'd1', { memory: true, mode: 'External' });
    await world.until(world.snapshots, 'd1', isTaking, 'it to begin');
    await node.libvirtd.restart('KILL');
    await world.ready('d1');
    await world.sh('daemon', 'echo two >/data/b; sync');
    await world.revert('daemon', 'd1');
    expect(await world.sh('daemon', 'ls /data')).toBe('a\nboots\nlost+found');
    await node.delete('daemon');
    expect(await world.files('default.daemon')).toEqual(['default.daemon.qcow2']);
  });

  it('finds a snapshot by its files that libvirtd made, and died before it wrote that down', async () => {
    const { node, disks, snapshots } = world;
    await world.machine('window');
    await world.sh('window', 'echo one >/data/a; sync');
    await node.stopExecutor('SIGKILL');
    const [{ metadata }, disk] = [await node.get('window'), await disks.get(world.at('window'))];
    const path = disk.status?.path ?? '';
    const overlay = join(world.folder, 'default.window.snap-w1.qcow2');
    await world.ask('window', 'w1');
    const status = {
      ...{ phase: 'InProgress', step: 'Taking', nodeName: node.name, virtualMachineUID: metadata.uid, name: 'w1' },
      ...{ mode: 'External', memory: false, domainState: 'running' },
      disks: [{ target: 'vda', name: 'root', mode: 'External', path, format: 'qcow2', virtualDisk: 'window', overlay }],
    };
    await snapshots.mergePatch(world.at('w1'), { status }, { subresource: 'status' });
    const files = ['--disk-only', '--no-metadata', '--diskspec', `vda,file=${overlay}`];
    await node.libvirtd.virsh('snapshot-create-as', 'default.window', 'w1', ...files);
    await node.startExecutor();
    await world.ready('w1');
    expect((await disks.get(world.at('window'))).status).toMatchObject({ path: overlay, backingChain: [path] });
    await world.sh('window', 'echo two >/data/b; sync');
    await world.revert('window', 'w1');
    expect(await world.sh('window', 'ls /data')).toBe('a\nboots\nlost+found');
    await world.dropSnapshot('w1');
    expect(await world.files('default.window')).toEqual(['default.window.qcow2']);
    await node.delete('window');
  });

  it('takes a snapshot when there is space for its memory, and the guest runs on meanwhile', async () => {
    const { node, snapshots } = world;
    const folder = join(node.libvirtd.dir, 'executor/snapshots');
    await node.libvirtd.exec('mkdir', '-p', folder);
    await node.libvirtd.exec('mount', '-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', folder);
    await world.machine('room');
    await world.sh('room', 'echo one >/data/a; sync; echo before >/run/memory');
    await world.ask('room', 'm1', { memory: true, mode: 'External' });
    const isFull = ({ status }: VirtualMachineSnapshot): boolean =>
      status?.conditions?.some(({ reason }) => reason === 'OutOfSpace') === true;
    await world.until(snapshots, 'm1', isFull, 'the lack of space to be told');
    expect(await world.sh('room', 'cat /data/a /run/memory')).toBe('one\nbefore');
    expect(await world.files('default.room')).toEqual(['default.room.qcow2']);
    await node.libvirtd.exec('mount', '-o', 'remount,size=400m', folder);
    await world.ready('m1');
    await world.sh('room', 'echo after >/run/memory');
    await world.revert('room', 'm1');
    expect(await world.sh('room', 'cat /data/a /run/memory')).toBe('one\nbefore');
    await node.delete('room');
    await node.libvirtd.exec('umount', folder);
  });

  it('loses nothing when a merge runs out of space, and goes on when there is some', async () => {
    const { node, snapshots } = world;
    await world.machine('full', { pool: 'small', capacity: '32Mi' });
    await world.sh('full', 'dd if=/dev/urandom of=/data/one bs=1M count=12 2>/dev/null; sync');
    await world.take('full', 'f1');
    await world.sh('full', 'dd if=/dev/urandom of=/data/two bs=1M count=12 2>/dev/null; sync');
    const sums = await world.sh('full', 'sha256sum /data/one /data/two');
    await node.libvirtd.exec('dd', 'if=/dev/zero', `of=${small}/ballast`, 'bs=1M', 'count=12', 'status=none');

    await snapshots.delete(world.at('f1'));
    const told = await world.until(
      snapshots,
      'f1',
      ({ status }) => status?.conditions?.some(({ reason }) => reason === 'OutOfSpace') === true,
      'the lack of space to be told',
    );
    expect(told.status?.message).toContain('nothing is lost');
    expect(await world.sh('full', 'echo 3 >/proc/sys/vm/drop_caches; sha256sum /data/one /data/two')).toBe(sums);
    await node.libvirtd.exec('rm', `${small}/ballast`);
    await world.dropSnapshot('f1');
    expect(await world.sh('full', 'echo 3 >/proc/sys/vm/drop_caches; sha256sum /data/one /data/two')).toBe(sums);
    expect(await node.libvirtd.exec('ls', small)).toBe('default.full.qcow2');
    await node.delete('full');
  });
});
