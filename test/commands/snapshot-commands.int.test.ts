import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commandLine } from '../support/command-line.ts';
import { runProgram } from '../support/run-program.ts';
import { startSnapshotWorld, type SnapshotWorld } from '../support/snapshot-world.ts';

describe('virtctl snapshot, create disk --from-snapshot and clone', () => {
  let world: SnapshotWorld;

  beforeAll(async () => {
    world = await startSnapshotWorld();
  });
  afterAll(async () => {
    await world.node.close();
  });

  /** Runs a command line; what it printed, unless it failed. */
  async function virtctl(...args: string[]): Promise<string> {
    const { exitCode, stdout, stderr } = await commandLine([...args, '--kubeconfig', world.node.kubeconfig]);
    if (exitCode !== 0) throw new Error(`virtctl ${args.join(' ')}: ${exitCode}: ${stderr}`);
    return stdout;
  }
  const path = async (disk: string): Promise<string> => (await world.disks.get(world.at(disk))).status?.path ?? '';

  it('takes, shows, copies, reverts to and deletes a snapshot of a running machine', async () => {
    await world.machine('web');
    await world.sh('web', 'echo one >/data/a; sync');
    expect(await virtctl('snapshot', 'create', 'web', 'first')).toBe('vmsnap/first taken (external, quiesced)\n');
    await world.sh('web', 'echo two >/data/b; sync');
    await virtctl('snapshot', 'create', 'web', 'second', '--memory', '--description', 'with b');
    expect(await virtctl('snapshot', 'tree', 'web')).toMatch(
      /^first \(external, \d+s\)\n└─ \* second \(external, memory, \d+s\) with b\n$/,
    );
    expect(await virtctl('snapshot', 'list', 'web')).toMatch(
      /^NAME +VM .*\nfirst +web +Ready +External +no +yes +running/,
    );

    const frozen = (await world.snapshots.get(world.at('first'))).status?.disks?.[0]?.path ?? '';
    await virtctl('create', 'disk', 'rescued', '--from-snapshot', 'first/root', '--wait');
    expect(await runProgram('qemu-img', ['compare', '-U', frozen, await path('rescued')])).toContain('identical');

    expect(await virtctl('snapshot', 'revert', 'first')).toMatch(/^vm\/web reverted: back to first; it was started\n$/);
    expect(await world.sh('web', 'ls /data')).toBe('a\nboots\nlost+found');
    expect(await virtctl('snapshot', 'delete', 'first', 'second')).toBe(
      'vmsnap/first deleted\nvmsnap/second deleted\n',
    );
    expect(await world.sh('web', 'cat /data/a')).toBe('one');
    expect(await world.files('default.web')).toHaveLength(1);
    const missing = await commandLine(['snapshot', 'create', 'nobody', '--kubeconfig', world.node.kubeconfig]);
    expect(missing.exitCode).toBe(3);
  });

  it('clones a running machine, in full and thin', async () => {
    const { node } = world;
    await world.machine('golden', {}, { spec: { interfaces: [{ name: 'eth0', user: {}, mac: '52:54:00:00:00:01' }] } });
    await world.sh('golden', 'dd if=/dev/urandom of=/data/x bs=1M count=4 2>/dev/null; sync');
    const sum = await world.sh('golden', 'sha256sum /data/x');
    expect(await virtctl('clone', 'vm', 'golden', 'full', '--node', node.name)).toBe('vm/full cloned from vm/golden\n');
    expect(await world.sh('full', 'sha256sum /data/x')).toBe(sum);
    const [golden, full] = [await node.get('golden'), await node.get('full')];
    expect(full.status?.interfaces?.[0]?.mac).toMatch(/^52:54:00:/);
    expect(full.status?.interfaces?.[0]?.mac).not.toBe(golden.status?.interfaces?.[0]?.mac);
    expect(full.status?.domain?.uuid).not.toBe(golden.status?.domain?.uuid);
    expect((await world.disks.get(world.at('full-root'))).status?.backingChain).toEqual([]);

    await virtctl('clone', 'vm', 'golden', 'thin', '--linked', '--node', node.name);
    expect(await world.sh('thin', 'sha256sum /data/x; echo thin >/data/own; sync')).toBe(sum);
    expect((await world.disks.get(world.at('thin-root'))).status?.backingChain).toHaveLength(1);
    await world.sh('golden', 'echo golden >/data/own; sync');
    await world.snapshots.delete(world.at('golden-for-thin'));
    await world.until(
      world.snapshots,
      'golden-for-thin',
      ({ status }) => status?.message?.includes('VirtualDisk "thin-root" lies over') === true,
      'the snapshot to wait for the clone',
    );
    expect(await world.sh('thin', 'cat /data/own')).toBe('thin');
    await node.delete('thin');
    await world.drop(world.disks, 'thin-root');
    await world.dropSnapshot('golden-for-thin');
    expect(await world.sh('golden', 'cat /data/own; sha256sum /data/x')).toBe(`golden\n${sum}`);
    expect(await world.files('default.golden')).toHaveLength(1);
  });
});
