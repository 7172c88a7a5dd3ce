import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startSnapshotWorld, type SnapshotWorld } from '../support/snapshot-world.ts';

describe('snapshots and the guest', () => {
  let world: SnapshotWorld;

  beforeAll(async () => {
    world = await startSnapshotWorld();
  });
  afterAll(async () => {
    await world.node.close();
  });

  it('are not taken without an agent where frozen file systems are required, and say so where they are not', async () => {
    const { node, snapshots } = world;
    await world.machine('mute', { capacity: '8Mi' }, { agent: false });
    await node.untilStatus('mute', 'Running');
    await world.ask('mute', 'required', { quiesce: 'Required' });
    const failed = await world.until(snapshots, 'required', ({ status }) => status?.phase === 'Failed', 'it to fail');
    expect(failed.status?.conditions).toContainEqual(
      expect.objectContaining({ type: 'Ready', status: 'False', reason: 'AgentUnavailable' }),
    );
    expect(failed.status?.message).toContain("the guest's agent does not answer");
    expect(await world.files('default.mute')).toEqual(['default.mute.qcow2']);
    expect((await world.take('mute', 'auto')).status).toMatchObject({ mode: 'External', quiesced: false });
    await node.delete('mute');
  });

  it('go back with the disks that they have, quiesced, and are merged when their time is over', async () => {
    const { node, disks, snapshots } = world;
    const iso = join(node.libvirtd.dir, 'cd.iso');
    await writeFile(iso, Buffer.alloc(1024 * 1024, 'c'));
    for (const [name, format] of [
      ['many-raw', 'raw'],
      ['many-left', 'qcow2'],
    ] as const) {
      await disks.create({
        apiVersion: 'virtctl.dev/v1alpha1',
        kind: 'VirtualDisk',
        metadata: world.at(name),
        spec: { pool: 'local', nodeName: node.name, capacity: '8Mi', format },
      });
    }
    const volumes = [
      { name: 'root', virtualDisk: 'many', target: { dev: 'vda' } },
      { name: 'raw', virtualDisk: 'many-raw', target: { dev: 'vdb' } },
      { name: 'left', virtualDisk: 'many-left', target: { dev: 'vdc' } },
      { name: 'cd', hostPath: { path: iso }, cdrom: true, target: { dev: 'sda', bus: 'sata' as const } },
    ];
    await world.machine('many', {}, { spec: { volumes } });
    const fill = 'for d in vdb vdc; do dd if=/dev/urandom of=/dev/$d bs=1M count=2 conv=fsync 2>/dev/null; done; sync';
    const sums = 'echo 3 >/proc/sys/vm/drop_caches; sha256sum /dev/vdb; sha256sum /dev/vdc';
    await world.sh('many', `echo one >/data/a; ${fill}`);
    const [raw] = (await world.sh('many', sums)).split('\n');
    const taken = await world.take('many', 'm1', {
      quiesce: 'Required',
      disks: [{ name: 'root' }, { name: 'raw' }],
    });
    expect(taken.status).toMatchObject({ mode: 'External', memory: false, quiesced: true });
    const modes = Object.fromEntries((taken.status?.disks ?? []).map(({ target, mode }) => [target, mode]));
    expect(modes).toEqual({ vda: 'External', vdb: 'External', vdc: 'None', sda: 'None' });
    await world.sh('many', `echo two >/data/b; ${fill}`);
    const [changed, left] = (await world.sh('many', sums)).split('\n');
    expect(changed).not.toBe(raw);

    const revert = await node.ask('many', 'Revert', { revert: { snapshot: 'm1' } });
    const isSwitching = ({ status }: { status?: { step?: string | undefined } | undefined }): boolean =>
      status?.step === 'Switching' || status?.step === 'Starting' || status?.step === 'Cleaning';
    await world.until(node.operations, revert.metadata.name ?? '', isSwitching, 'the revert to begin');
    await node.libvirtd.restart('KILL');
    expect((await node.untilOver(revert)).status).toMatchObject({ phase: 'Succeeded' });
    expect((await world.sh('many', `${sums}; ls /data`)).split('\n')).toEqual([raw, left, 'a', 'boots', 'lost+found']);

    await snapshots.mergePatch(world.at('m1'), { spec: { ttlSeconds: 1 } });
    await world.until(disks, 'many-raw', ({ status }) => status?.format === 'raw', 'the raw disk to be one file again');
    await world.dropSnapshot('m1');
    expect((await world.sh('many', `${sums}; cat /data/a`)).split('\n')).toEqual([raw, left, 'one']);
    expect(await world.files('default.many')).toHaveLength(3);
    await node.delete('many');
  });

  it('go on from their memory when libvirtd is killed while it loads it', async () => {
    const { node } = world;
    for (const mode of ['External', 'Internal'] as const) {
      const name = mode.toLowerCase();
      await world.machine(name);
      await world.sh(name, 'echo one >/data/a; sync; echo before >/run/memory');
      await world.take(name, `${name}-1`, { mode, memory: true });
      await world.sh(name, 'echo two >/data/b; sync; echo after >/run/memory');
      const revert = await node.ask(name, 'Revert', { revert: { snapshot: `${name}-1` } });
      const step = mode === 'External' ? 'Starting' : 'Switching';
      await world.until(
        node.operations,
        revert.metadata.name ?? '',
        ({ status }) => status?.step === step || status?.step === 'Cleaning' || status?.phase === 'Succeeded',
        'the memory to be loaded',
      );
      await node.libvirtd.restart('KILL');
      expect((await node.untilOver(revert)).status).toMatchObject({ phase: 'Succeeded' });
      expect(await world.sh(name, 'cat /run/memory; ls /data')).toBe('before\na\nboots\nlost+found');
      await node.delete(name);
    }
  });
});
