import { rm } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commandLine, type CommandResult } from '../support/command-line.ts';
import { loseControlPlane, type NodeAfterLoss } from '../support/lost-control-plane.ts';
import { SnapshotWorld, startSnapshotWorld } from '../support/snapshot-world.ts';
import type { VirtualMachineSnapshot } from '../../src/api/virtual-machine-snapshot.ts';

describe('external snapshots after the control plane is lost', () => {
  let first: SnapshotWorld;
  const losses: NodeAfterLoss[] = [];

  beforeAll(async () => {
    first = await startSnapshotWorld();
  });
  afterAll(async () => {
    for (const { close } of losses.reverse()) await close();
    await first.node.close();
  });

  /** All objects are lost. */
  async function lose(before: SnapshotWorld): Promise<SnapshotWorld> {
    const loss = await loseControlPlane(before.node);
    losses.push(loss);
    return new SnapshotWorld(loss.node, before.folder);
  }

  const recover = ({ node }: SnapshotWorld): Promise<CommandResult> =>
    commandLine(['recover', '--kubeconfig', node.kubeconfig, '--connect', node.libvirtd.uri]);

  /** What a snapshot's status says of where its data is; sizes are measured later. */
  function kept({ status, spec }: VirtualMachineSnapshot): object {
    const { name, mode, memory, memoryFile, domainState, creationTime, parent, current, notKept } = status ?? {};
    const disks = status?.disks?.map(({ size: _, ...disk }) => disk);
    return {
      ...{ name, mode, memory, memoryFile, domainState, creationTime, parent, current, notKept, disks },
      description: spec.description,
    };
  }

  async function untilRunning(world: SnapshotWorld, name: string): Promise<void> {
    const { node } = world;
    await node.until(
      name,
      (vm) => vm.status?.printableStatus === 'Running' && node.condition(vm, 'Synchronized').status === 'True',
      `${name} to be in sync`,
    );
  }

  it('are what they were, are reverted to with their memory, and merged', async () => {
    await first.machine('web');
    await first.sh('web', 'echo one >/data/a; sync; echo before >/run/memory');
    const memory = { mode: 'External', memory: true } as const;
    await first.take('web', 's1', { ...memory, description: 'before the change' });
    await first.sh('web', 'echo two >/data/b; sync; echo after >/run/memory');
    await first.take('web', 's2', { mode: 'External' });
    await first.sh('web', 'echo three >/data/c; sync');
    const before = await Promise.all(['s1', 's2'].map((name) => first.snapshots.get(first.at(name))));
    const disk = await first.disks.get(first.at('web'));

    const second = await lose(first);
    const done = await recover(second);
    expect(done).toMatchObject({ exitCode: 0, stderr: '' });
    expect(done.stdout).toContain('virtualmachinesnapshot.virtctl.dev/s1 created\n');
    await untilRunning(second, 'web');
    const after = await Promise.all(['s1', 's2'].map((name) => second.ready(name)));
    expect(after.map(kept)).toEqual(before.map(kept));
    const { path, volume, format, backingChain } = (await second.disks.get(second.at('web'))).status ?? {};
    expect({ path, volume, format, backingChain }).toEqual({
      path: disk.status?.path,
      volume: disk.status?.volume,
      format: disk.status?.format,
      backingChain: disk.status?.backingChain,
    });
    expect(backingChain).toHaveLength(2);
    expect(await second.sh('web', 'cat /data/c')).toBe('three');

    await second.revert('web', 's1');
    expect(await second.sh('web', 'cat /run/memory; ls /data')).toBe('before\na\nboots\nlost+found');
    await second.revert('web', 's2');
    expect(await second.sh('web', 'ls /data')).toBe('a\nb\nboots\nlost+found');
    // What is under the second is merged, and its file is another one then.
    await second.dropSnapshot('s1');
    const moved = await second.until(
      second.snapshots,
      's2',
      ({ status }) => status?.parent === undefined,
      's2 to be a root',
    );
    expect(moved.status?.disks?.[0]?.path).not.toBe(before[1]?.status?.disks?.[0]?.path);
    await second.sh('web', 'echo four >/data/d; sync');

    const third = await lose(second);
    expect(await recover(third)).toMatchObject({ exitCode: 0, stderr: '' });
    await untilRunning(third, 'web');
    expect(kept(await third.ready('s2'))).toEqual(kept(moved));
    await third.revert('web', 's2');
    expect(await third.sh('web', 'cat /data/a /data/b; ls /data')).toBe('one\ntwo\na\nb\nboots\nlost+found');
    await third.dropSnapshot('s2');
    expect(await third.sh('web', 'cat /data/a /data/b; ls /data')).toBe('one\ntwo\na\nb\nboots\nlost+found');
    expect(await third.files('default.web')).toEqual(['default.web.qcow2']);
    expect((await third.node.libvirtd.virsh('snapshot-list', 'default.web', '--name')).trim()).toBe('');
    await third.node.delete('web');
  });

  it('are told of, and not made, where their files are gone; their memory alone is done without', async () => {
    const now = await lose(first);
    await now.pool('local', first.folder);
    await now.machine('half', {}, { runStrategy: 'Manual' });
    await now.machine('gone', {}, { runStrategy: 'Manual' });
    await now.operate('half', 'Start');
    const half = await now.take('half', 'h1', { mode: 'External', memory: true });
    const gone = await now.take('gone', 'g1', { mode: 'External' });
    await rm(half.status?.memoryFile ?? '');
    await rm(gone.status?.disks?.[0]?.path ?? '');
    const later = await lose(now);
    const done = await recover(later);
    expect(done.stderr).toContain('vm/half in default: snapshot "h1" is brought back without its memory: ');
    expect(done.stderr).toMatch(
      /vm\/gone in default: snapshot "g1" is not brought back: its disk vda, \/.*, is in no pool/,
    );
    expect(await later.snapshots.find(later.at('g1'))).toBeUndefined();
    expect((await later.ready('h1')).status).toMatchObject({ mode: 'External', memory: false });
    await untilRunning(later, 'half');
    await later.revert('half', 'h1');
    expect(await later.sh('half', 'ls /data')).toBe('boots\nlost+found');
  });
});
