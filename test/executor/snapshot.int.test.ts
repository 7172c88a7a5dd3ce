import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseQuantity } from '../../src/api/quantity.ts';
import { startSnapshotWorld, type SnapshotWorld } from '../support/snapshot-world.ts';

describe('snapshots of real guests', () => {
  let world: SnapshotWorld;

  beforeAll(async () => {
    world = await startSnapshotWorld();
  });
  afterAll(async () => {
    await world.node.close();
  });

  it('brings disks and memory back, and merges a tree of files while the guest runs', async () => {
    const { node, disks, snapshots } = world;
    await world.machine('ext');
    await world.sh('ext', 'echo one >/data/a; sync');
    const first = await world.take('ext', 's1');
    expect(first.status).toMatchObject({ mode: 'External', memory: false, quiesced: true, domainState: 'running' });
    await world.sh('ext', 'echo two >/data/b; sync; echo before >/run/memory');
    const second = await world.take('ext', 's2', { memory: true, mode: 'External' });
    expect(second.status).toMatchObject({ mode: 'External', memory: true, quiesced: false });
    // The frozen file, and with it the memory: the guest has touched tens of MiB of it.
    const sizes = [first, second].map(({ status }) => parseQuantity(status?.size ?? '') ?? 0);
    expect(sizes[0]).toBeGreaterThan(64 * 1024);
    expect(sizes[1]).toBeGreaterThan(16 * 1024 * 1024);
    await world.until(
      snapshots,
      's2',
      ({ status }) => status?.parent === 's1' && status.current === true,
      's2 to be current',
    );
    await world.sh('ext', 'echo three >/data/c; sync; echo after >/run/memory');

    await world.revert('ext', 's2');
    expect(await world.sh('ext', 'cat /run/memory; ls /data')).toMatch(/^before\na\nb\nboots\nlost\+found$/);
    await world.revert('ext', 's1');
    expect(await world.sh('ext', 'ls /data; cat /data/a /run/boots')).toMatch(/^a\nboots\nlost\+found\none\n2$/);
    await world.until(snapshots, 's1', ({ status }) => status?.current === true, 's1 to be current');

    // Two files lie over that of s1 now: that of s2, and the active one.
    await world.sh('ext', 'echo four >/data/d; sync');
    await world.dropSnapshot('s1');
    expect(await world.sh('ext', 'ls /data; cat /data/a /data/d')).toMatch(/^a\nboots\nd\nlost\+found\none\nfour$/);
    await world.revert('ext', 's2');
    expect(await world.sh('ext', 'cat /run/memory; ls /data')).toMatch(/^before\na\nb\nboots\nlost\+found$/);
    await world.dropSnapshot('s2');
    await world.sh('ext', 'echo 3 >/proc/sys/vm/drop_caches; cat /data/a /data/b');
    expect((await disks.get(world.at('ext'))).status?.backingChain).toEqual([]);
    expect(await world.files('default.ext')).toHaveLength(1);

    await node.operate('ext', 'Restart', { restart: { force: true } });
    expect(await world.sh('ext', 'cat /data/a /data/b')).toBe('one\ntwo');
    await node.delete('ext');
  });
});
