/**
 * Snapshots and reverts for kill-executor.ts: the executor is killed while one is made, and afterwards it was made once, the
 * guest has gone on (or back) without a boot, and its files are those of that moment.
 */
import { join } from 'node:path';
import { resourceOf, type ExecutorNode } from './executor-node.ts';
import { bootsOf } from './guest-machine.ts';
import { SnapshotWorld } from './snapshot-world.ts';

/** What is going on when the executor is killed. */
export type SnapshotStory = 'snapshot' | 'revert';

/**
 * Tells one story.
 *
 * @param kill Does something, and kills and starts the executor a moment later.
 * @returns How often the guest booted.
 * @throws Error when something that must hold does not.
 */
export async function tellSnapshotStory(
  node: ExecutorNode,
  story: SnapshotStory,
  name: string,
  kill: <T>(act: () => Promise<T>) => Promise<T>,
): Promise<number> {
  const world = await snapshotWorld(node);
  await world.machine(name);
  await world.sh(name, 'echo one >/data/a; sync');
  const snapshot = `${name}-s`;
  const take = (): Promise<unknown> => world.ask(name, snapshot, { memory: true, mode: 'External' });
  await (story === 'snapshot' ? kill(take) : take());
  await world.ready(snapshot);
  await world.sh(name, 'echo two >/data/b; sync');
  await expectLayers(world, name, 2);
  const revert = (): Promise<unknown> => node.ask(name, 'Revert', { revert: { snapshot } });
  const asked = await (story === 'revert' ? kill(revert) : revert());
  const { status } = await node.untilOver(asked as Awaited<ReturnType<ExecutorNode['ask']>>);
  if (status?.phase !== 'Succeeded') throw new Error(`Revert: ${JSON.stringify(status)}`);
  await node.untilStatus(name, 'Running');
  const files = await world.sh(name, 'echo 3 >/proc/sys/vm/drop_caches; ls /data');
  if (files !== 'a\nboots\nlost+found') throw new Error(`after the revert of ${name} there is: ${files}`);
  const boots = await bootsOf(node, name);
  if (boots !== 1) throw new Error(`${name} booted ${boots} times, not 1`);
  await node.delete(name);
  await world.dropSnapshot(snapshot);
  await world.drop(world.disks, name);
  const left = await world.files(`default.${name}`);
  if (left.length > 0) throw new Error(`of ${name} are left: ${left.join(', ')}`);
  return boots;
}

/** A snapshot taken twice would have left another layer. */
async function expectLayers(world: SnapshotWorld, name: string, count: number): Promise<void> {
  const files = (await world.files(`default.${name}`)).filter((file) => file.endsWith('.qcow2'));
  if (files.length !== count) throw new Error(`${name} has ${files.length} layers, not ${count}: ${files.join(', ')}`);
}

/** The node with its pool, which the first of the stories makes. */
async function snapshotWorld(node: ExecutorNode): Promise<SnapshotWorld> {
  const folder = join(node.libvirtd.dir, 'pool');
  const world = new SnapshotWorld(node, folder);
  const pools = node.client.resource(resourceOf('VirtualPool'));
  if ((await pools.find({ name: 'local' })) === undefined) await world.pool('local', folder);
  return world;
}
