/**
 * VirtualDisks in a node's own pool that go with their machine: what speaks against copying one, looked up at the source, and
 * how the source gives them away.
 */
import type { MovedDisk } from './migration-notes.ts';
import type { OperationRun } from '../virtual-machine-operation/operation-run.ts';
import { snapshotsInside } from '../virtual-machine-snapshot/image-files.ts';
import { namesOf } from '../virtual-pool/names-of.ts';
import type { VirtualDisk } from '../../api/virtual-disk.ts';
import type { VirtualMachineSnapshot } from '../../api/virtual-machine-snapshot.ts';
import type { CopyStorage } from './migration-disks.ts';
import { FailedError } from '../../base/errors.ts';
import { refOf, type ObjectMeta } from '../../kube/object.ts';

/** The source of a migration, and its operation, also when that is no more. */
export interface Departing extends Pick<OperationRun, 'context'> {
  readonly operation: { readonly metadata: Pick<ObjectMeta, 'name' | 'uid'> };
}

/** What {@link obstacleOf} looks at, beside the disk. */
export interface DiskSurroundings {
  /** The machine that it goes with. */
  readonly machine: string;
  /** The files of the running domain's disks. */
  readonly paths: ReadonlySet<string>;
  readonly copyStorage: CopyStorage;
  /** The snapshots of the namespace. */
  readonly snapshots: readonly VirtualMachineSnapshot[];
  /** The names of the snapshots inside of its file. */
  readonly inside: readonly string[];
}

/** Why a disk of a node's own pool cannot be copied to another node; undefined when nothing speaks against it. Pure. */
export function obstacleOf({ metadata, spec, status }: VirtualDisk, around: DiskSurroundings): string | undefined {
  const { phase = 'Pending', path = '', format = 'raw', usedBy = [], backingChain = [] } = status ?? {};
  if (phase !== 'Ready') return `it is ${phase}`;
  if (spec.encryption !== undefined || spec.volume?.target?.encryption !== undefined) {
    return 'it is encrypted, and its content would go over the network in the clear';
  }
  if (path.startsWith('/dev/')) return 'it is a block device; only volumes that are files are copied';
  if (format !== 'qcow2' && format !== 'raw') return `its format is ${format}; qcow2 and raw are copied`;
  if (!around.paths.has(path)) return `the machine has another file for it than ${path}, which lies over that`;
  const overlays = usedBy.filter(({ kind }) => kind === 'VirtualDisk').map(({ name }) => name);
  if (overlays.length > 0) return `VirtualDisk ${namesOf(overlays)} would be left on this node without it`;
  const others = usedBy.filter(({ kind, name }) => kind === 'VirtualMachine' && name !== around.machine);
  if (others.length > 0) return `VirtualMachine ${namesOf(others.map(({ name }) => name))} has it too`;
  const snapshots = around.snapshots
    .filter((one) => one.status?.disks?.some(({ virtualDisk }) => virtualDisk === metadata.name) === true)
    .map((one) => one.metadata.name ?? '');
  if (snapshots.length > 0) return `VirtualMachineSnapshot ${namesOf(snapshots)} would be left on this node`;
  if (around.inside.length > 0) return `the snapshots inside of it would be lost: ${namesOf(around.inside)}`;
  if (backingChain.length > 0 && around.copyStorage === 'Incremental') {
    return `it lies over ${backingChain[0] ?? ''}; copyStorage All copies it with that`;
  }
  return undefined;
}

/** What speaks against copying those disks of a node's own pool that cannot be, by their names. */
export async function obstaclesOf(
  run: OperationRun,
  disks: readonly VirtualDisk[],
  around: Pick<DiskSurroundings, 'paths' | 'copyStorage'>,
): Promise<ReadonlyMap<string, string>> {
  const { context } = run;
  const { signal } = context;
  const obstacles = new Map<string, string>();
  if (disks.length === 0) return obstacles;
  const { name: machine = '', namespace } = context.status.machine.metadata;
  const { items: snapshots } = await context.revert.snapshots.snapshots.listAll({ namespace, signal });
  for (const disk of disks) {
    const known = { machine, snapshots, ...around };
    let obstacle = obstacleOf(disk, { ...known, inside: [] });
    const { path = '', format } = disk.status ?? {};
    if (obstacle === undefined && format === 'qcow2') {
      obstacle = obstacleOf(disk, { ...known, inside: await snapshotsInside(path, format, signal) });
    }
    if (obstacle !== undefined) obstacles.set(disk.metadata.name ?? '', obstacle);
  }
  return obstacles;
}

/** A disk that has a second volume still, of a migration before, and the node that is to remove it. */
export async function unfinishedMove(run: OperationRun, disks: readonly MovedDisk[]): Promise<string | undefined> {
  for (const disk of await copiedDisks(run, disks)) {
    const { move } = disk.status ?? {};
    if (move !== undefined) {
      return `VirtualDisk "${disk.metadata.name ?? ''}" has a second volume, ${move.path}, which node ${move.nodeName} has not removed yet`;
    }
  }
  return undefined;
}

/** A disk for which the target has noted no volume: nothing is sent before, or nobody could say later whose is what. */
export async function unnotedDisk(
  run: OperationRun,
  disks: readonly MovedDisk[],
  target: string,
): Promise<string | undefined> {
  const copied = await copiedDisks(run, disks);
  return copied.find((disk) => !isNotedFor(disk, run, target))?.metadata.name;
}

/** Whether a disk is here, with a second volume on the target, made for this operation. */
function isNotedFor({ status }: VirtualDisk, { context, operation }: Departing, target: string): boolean {
  const { move, nodeName } = status ?? {};
  return nodeName === context.nodeName && move?.nodeName === target && move.operationUid === operation.metadata.uid;
}

/**
 * Says that the disks that were copied are on the target: only after the domain is gone here and the target said that it has
 * the guest. What they were here is noted to be removed. May be repeated.
 *
 * @throws FailedError when a disk is not as it was left; nothing is removed then.
 */
export async function giveDisksAway(run: Departing, disks: readonly MovedDisk[], target: string): Promise<void> {
  const { context } = run;
  for (const disk of await copiedDisks(run, disks)) {
    const { nodeName, pool, volume, path, move } = disk.status ?? {};
    if (nodeName === target) continue;
    const isKnown = move !== undefined && pool !== undefined && volume !== undefined && path !== undefined;
    if (!isKnown || !isNotedFor(disk, run, target)) {
      throw new FailedError(`VirtualDisk "${disk.metadata.name ?? ''}" is no longer as it was when it was copied`);
    }
    const left = { ...move, state: 'Left', nodeName: context.nodeName, pool, volume, path };
    const status = { nodeName: target, pool: move.pool, volume: move.volume, path: move.path, move: left };
    const { uid, resourceVersion } = disk.metadata;
    await context.disks.mergePatch(
      refOf(disk),
      { metadata: { uid, resourceVersion }, status },
      { subresource: 'status', signal: context.signal },
    );
  }
}

async function copiedDisks(run: Departing, disks: readonly MovedDisk[]): Promise<VirtualDisk[]> {
  const { context } = run;
  const { namespace } = context.status.machine.metadata;
  const found: VirtualDisk[] = [];
  for (const { disk: name, copy } of disks) {
    if (name === undefined || !copy) continue;
    const disk = await context.disks.find({ namespace, name }, { signal: context.signal });
    if (disk !== undefined) found.push(disk);
  }
  return found;
}
