import { formatSize } from '../amounts.ts';
import { matchesSelector } from '../label-match.ts';
import type { MachineInfo } from '../machine-info.ts';
import type { NodeInfo } from '../node-info.ts';
import type { Failure, Filter, NodeTest } from '../plugin.ts';
import type { Snapshot } from '../snapshot.ts';
import { diskOfVolume } from '../../api/empty-disk.ts';
import { parseQuantity } from '../../api/quantity.ts';
import type { VirtualDisk } from '../../api/virtual-disk.ts';

const defaultPool = 'default';

/** Disks that exist are where they are, those made from a snapshot where that is; disks, images and pools of a node are on that node; missing ones are waited for. */
export const volumes: Filter = (machine, snapshot) => {
  const tests = (machine.spec.volumes ?? []).flatMap((volume) => {
    if (volume.virtualDisk !== undefined) return diskTests(volume.virtualDisk, machine, snapshot, 0);
    if (volume.virtualImage !== undefined) return imageTests(volume.virtualImage, machine, snapshot);
    if (volume.emptyDisk !== undefined) return poolTests(volume.emptyDisk.pool ?? defaultPool, snapshot);
    return [];
  });
  return all(tests);
};

/**
 * As {@link volumes}, for a machine that takes its disks with it: those of a node's own pool may go wherever that pool runs
 * and has room for what they take now.
 */
export const copiedVolumes: Filter = (machine, snapshot) => {
  const moved = movedDisks(machine, snapshot);
  const names = new Set(moved.map(({ metadata }) => metadata.name));
  const stays = (machine.spec.volumes ?? []).filter((volume) => !names.has(diskOfVolume(machine.object, volume)));
  const rest = volumes({ ...machine, spec: { ...machine.spec, volumes: stays } }, snapshot);
  const needs = new Map<string, number>();
  for (const { spec, status } of moved) {
    const pool = spec.pool ?? defaultPool;
    needs.set(pool, (needs.get(pool) ?? 0) + (parseQuantity(status?.allocation ?? '') ?? 0));
  }
  const tests = [...needs].flatMap(([pool, bytes]) => [...poolTests(pool, snapshot), roomTest(pool, bytes, snapshot)]);
  return all(rest === undefined ? tests : [rest, ...tests]);
};

/** The disks of a machine that are in a node's own pool; each once. */
function movedDisks(machine: MachineInfo, { surroundings }: Snapshot): readonly VirtualDisk[] {
  const names = (machine.spec.volumes ?? []).flatMap((volume) => diskOfVolume(machine.object, volume) ?? []);
  return [...new Set(names)].flatMap((name) => {
    const disk = surroundings.disk(machine.namespace, name);
    const isMade = (disk?.status?.nodeName ?? '') !== '';
    const isShared = disk !== undefined && surroundings.pool(disk.spec.pool ?? defaultPool)?.spec.shared === true;
    return disk !== undefined && isMade && !isShared ? [disk] : [];
  });
}

/** Whether a pool runs on a node and has so many bytes free there; one that does not say how many has. */
function roomTest(name: string, bytes: number, { surroundings }: Snapshot): NodeTest {
  const nodes = new Map((surroundings.pool(name)?.status?.nodes ?? []).map((line) => [line.nodeName, line]));
  return (node) => {
    const line = nodes.get(node.name);
    if (line === undefined) return { reason: `without VirtualPool "${name}"` };
    const free = parseQuantity(line.available ?? '');
    if (free === undefined || free >= bytes) return undefined;
    return {
      reason: `with too little room in VirtualPool "${name}"`,
      need: `needs ${formatSize(bytes)}`,
      has: { label: 'free', value: formatSize(free) },
    };
  };
}

function diskTests(name: string, machine: MachineInfo, snapshot: Snapshot, depth: number): NodeTest[] {
  const { namespace, uid } = machine;
  const disk = snapshot.surroundings.disk(namespace, name);
  if (disk === undefined) return [always(`that would do once VirtualDisk "${name}" exists`)];
  const poolName = disk.spec.pool ?? defaultPool;
  const tests = poolTests(poolName, snapshot);
  if (snapshot.surroundings.pool(poolName)?.spec.shared === true) return tests;
  const told = disk.status?.nodeName ?? '';
  const home = told === '' ? (disk.spec.nodeName ?? '') : told;
  if (home !== '') return [only([home], `VirtualDisk "${name}" is on ${home}`), ...tests];
  // It is made where its first machine is placed.
  const users = snapshot.diskUsers(namespace, name).filter((node) => snapshot.nodeOf(uid) !== node);
  if (users.length > 0) return [only(users, `VirtualDisk "${name}" will be on ${users.join(', ')}`), ...tests];
  const { clone, image, snapshot: origin } = disk.spec.source ?? {};
  if (origin !== undefined) return [...tests, snapshotTest(origin.name, machine, snapshot)];
  const ofClone = clone === undefined || depth > 4 ? [] : diskTests(clone.name, machine, snapshot, depth + 1);
  return [...tests, ...ofClone, ...(image === undefined ? [] : imageTests(image.name, machine, snapshot))];
}

/** What a snapshot keeps is on the node where it was taken. */
function snapshotTest(name: string, { namespace }: MachineInfo, { surroundings }: Snapshot): NodeTest {
  const origin = surroundings.machineSnapshot(namespace, name);
  if (origin === undefined) return always(`that would do once VirtualMachineSnapshot "${name}" exists`);
  const home = origin.status?.nodeName ?? '';
  if (home === '') return always(`that would do once VirtualMachineSnapshot "${name}" is taken`);
  return only([home], `VirtualMachineSnapshot "${name}" is on ${home}`);
}

function imageTests(name: string, { namespace }: MachineInfo, { surroundings }: Snapshot): NodeTest[] {
  const image = surroundings.image(namespace, name);
  if (image === undefined) return [always(`that would do once VirtualImage "${name}" exists`)];
  const { nodeSelector } = image.spec;
  if (nodeSelector === undefined) return [];
  return [
    ({ traits }) =>
      matchesSelector(nodeSelector, traits.labels) ? undefined : { reason: `without VirtualImage "${name}"` },
  ];
}

/** States of a pool in which nothing can be made in it or read from it, as libvirt calls them. */
const unusable = ['inactive', 'inaccessible', 'absent'];

function poolTests(name: string, { surroundings }: Snapshot): NodeTest[] {
  const pool = surroundings.pool(name);
  if (pool === undefined) return [];
  const { nodeSelector } = pool.spec;
  const states = new Map((pool.status?.nodes ?? []).map(({ nodeName, state }) => [nodeName, state ?? '']));
  return [
    (node: NodeInfo): Failure | undefined => {
      if (nodeSelector !== undefined && !matchesSelector(nodeSelector, node.traits.labels)) {
        return { reason: `without VirtualPool "${name}"` };
      }
      const state = states.get(node.name) ?? '';
      return unusable.includes(state) ? { reason: `where VirtualPool "${name}" is ${state}` } : undefined;
    },
  ];
}

const only =
  (names: readonly string[], reason: string): NodeTest =>
  (node) =>
    names.includes(node.name) ? undefined : { reason: `the wrong one: ${reason}` };

const always = (reason: string): NodeTest => {
  const failure = { reason };
  return () => failure;
};

function all(tests: readonly NodeTest[]): NodeTest | undefined {
  if (tests.length === 0) return undefined;
  return (node) => {
    for (const test of tests) {
      const failure = test(node);
      if (failure !== undefined) return failure;
    }
    return undefined;
  };
}
