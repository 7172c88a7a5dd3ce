import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseQuantity } from '../../src/api/quantity.ts';
import { runProgram } from '../support/run-program.ts';
import { startSnapshotWorld, type SnapshotWorld } from '../support/snapshot-world.ts';

describe('snapshots by mode and state', () => {
  let world: SnapshotWorld;

  beforeAll(async () => {
    world = await startSnapshotWorld();
  });
  afterAll(async () => {
    await world.node.close();
  });

  it('keeps disks and memory inside of qcow2, of a running, a paused and a stopped guest', async () => {
    const { node, snapshots } = world;
    await world.machine('int', {}, { runStrategy: 'Manual' });
    await world.operate('int', 'Start');
    await world.sh('int', 'echo one >/data/a; sync; echo before >/run/memory');
    const running = await world.take('int', 'i1', { memory: true, description: 'before the change' });
    expect(running.status).toMatchObject({ mode: 'Internal', memory: true, domainState: 'running', current: true });
    expect(parseQuantity(running.status?.size ?? '')).toBeGreaterThan(16 * 1024 * 1024);
    expect(await node.libvirtd.virsh('snapshot-dumpxml', 'default.int', 'i1')).toContain('before the change');
    await world.sh('int', 'echo two >/data/b; sync; echo after >/run/memory');
    await world.revert('int', 'i1');
    expect(await world.sh('int', 'cat /run/memory; ls /data')).toBe('before\na\nboots\nlost+found');

    await world.operate('int', 'Pause');
    const paused = await world.take('int', 'i2');
    expect(paused.status).toMatchObject({ mode: 'Internal', memory: true, domainState: 'paused', parent: 'i1' });
    await world.operate('int', 'Unpause');
    await world.sh('int', 'echo four >/data/d; sync');
    await world.revert('int', 'i2');
    expect((await node.until('int', (vm) => vm.status?.printableStatus === 'Paused')).status?.domain?.state).toBe(
      'paused',
    );
    await world.operate('int', 'Unpause');
    expect(await world.sh('int', 'ls /data')).toBe('a\nboots\nlost+found');

    await world.operate('int', 'Stop', { stop: { force: true } });
    const stopped = await world.take('int', 'i3');
    expect(stopped.status).toMatchObject({ mode: 'Internal', memory: false, domainState: 'shutoff', parent: 'i2' });
    await world.operate('int', 'Start');
    await world.sh('int', 'rm /data/a; sync');
    await world.revert('int', 'i3');
    expect((await node.untilStatus('int', 'Stopped')).status?.printableStatus).toBe('Stopped');
    await world.revert('int', 'i3', { powerState: 'Running' });
    expect(await world.sh('int', 'cat /data/a')).toBe('one');

    const other = await world.ask('int', 'refused', { mode: 'External' });
    const failed = await world.until(
      snapshots,
      other.metadata.name ?? '',
      ({ status }) => status?.phase === 'Failed',
      'it',
    );
    expect(failed.status?.message).toContain('snapshots that are Internal');
    await world.dropSnapshot('refused');
    await world.dropSnapshot('i2');
    await world.until(snapshots, 'i3', ({ status }) => status?.parent === 'i1', 'i3 to follow i1');
    await node.delete('int');
    expect(await snapshots.find(world.at('i1'))).toBeUndefined();
  });

  it('takes, reverts to and merges external snapshots of a stopped guest with a raw disk', async () => {
    const { node, disks } = world;
    await world.machine('raw', { format: 'raw' }, { runStrategy: 'Manual' });
    await world.operate('raw', 'Start');
    await world.sh('raw', 'echo one >/data/a; sync');
    await world.operate('raw', 'Stop', { stop: { force: true } });
    const first = await world.take('raw', 'r1');
    expect(first.status).toMatchObject({ mode: 'External', memory: false, domainState: 'shutoff' });
    await world.operate('raw', 'Start');
    await world.sh('raw', 'echo two >/data/b; sync');
    await world.operate('raw', 'Stop', { stop: { force: true } });
    await world.take('raw', 'r2');
    await world.operate('raw', 'Start');
    await world.sh('raw', 'echo three >/data/c; sync');
    await world.operate('raw', 'Stop', { stop: { force: true } });
    expect((await disks.get(world.at('raw'))).status?.backingChain).toHaveLength(2);

    await world.dropSnapshot('r1');
    expect((await disks.get(world.at('raw'))).status?.backingChain).toHaveLength(1);
    await world.revert('raw', 'r2', { powerState: 'Running' });
    expect(await world.sh('raw', 'cat /data/a /data/b; ls /data')).toBe('one\ntwo\na\nb\nboots\nlost+found');
    await world.operate('raw', 'Stop', { stop: { force: true } });
    await world.dropSnapshot('r2');
    expect((await disks.get(world.at('raw'))).status).toMatchObject({ format: 'raw', backingChain: [] });
    expect(await world.files('default.raw')).toEqual(['default.raw.raw']);
    await world.operate('raw', 'Start');
    expect(await world.sh('raw', 'cat /data/a /data/b; ls /data')).toBe('one\ntwo\na\nb\nboots\nlost+found');
    await node.delete('raw');
  });

  it('refuses a revert to another spec, unless it is brought back or kept on purpose', async () => {
    const { node } = world;
    await world.machine('spec');
    await world.sh('spec', 'echo one >/data/a; sync; echo before >/run/memory');
    await world.take('spec', 'p1', { memory: true });
    await world.sh('spec', 'echo two >/data/b; sync');
    await node.patch('spec', { domain: { memory: { unit: 'MiB', value: 256 } } });
    await node.untilObserved('spec');
    const refused = await node.operate('spec', 'Revert', { revert: { snapshot: 'p1' } });
    expect(refused.status).toMatchObject({ phase: 'Failed', reason: 'SpecDiffers' });
    expect(refused.status?.message).toContain('domain.memory.value');
    expect(await world.sh('spec', 'ls /data')).toBe('a\nb\nboots\nlost+found');

    await world.revert('spec', 'p1', { force: true });
    expect(await world.sh('spec', 'ls /data; cat /run/boots')).toBe('a\nboots\nlost+found\n2');
    expect((await node.get('spec')).spec.domain?.memory).toEqual({ unit: 'MiB', value: 256 });
    await world.revert('spec', 'p1', { restoreSpec: true });
    expect(await world.sh('spec', 'cat /run/memory /run/boots')).toBe('before\n1');
    expect((await node.get('spec')).spec.domain?.memory).toEqual({ unit: 'MiB', value: 192 });
    await node.delete('spec');
  });

  it('makes the disks of a machine whole that is deleted with its snapshots', async () => {
    const { node, disks, snapshots } = world;
    await world.machine('gone');
    await world.sh('gone', 'echo one >/data/a; sync');
    await world.take('gone', 'g1');
    await world.sh('gone', 'echo two >/data/b; sync');
    await world.take('gone', 'g2');
    await world.sh('gone', 'echo three >/data/c; sync');
    await node.patch('gone', { runStrategy: 'Halted' });
    await node.untilStatus('gone', 'Stopped');
    const before = join(node.libvirtd.dir, 'before.qcow2');
    const { path = '' } = (await disks.get(world.at('gone'))).status ?? {};
    await runProgram('qemu-img', ['convert', '-O', 'qcow2', path, before]);
    await node.delete('gone');
    for (const name of ['g1', 'g2']) expect(await snapshots.find(world.at(name))).toBeUndefined();
    const whole = (await disks.get(world.at('gone'))).status;
    expect(whole?.backingChain).toEqual([]);
    expect(await world.files('default.gone')).toEqual(['default.gone.qcow2']);
    expect(await runProgram('qemu-img', ['compare', before, whole?.path ?? ''])).toContain('identical');
  });
});
