/** Where a disk is or is to be, and what else is there. */
import { matchesLabels, selectedNodes } from '../virtual-pool/selected-nodes.ts';
import { poolName } from '../virtual-pool/pool-definition.ts';
import { defaultPoolName, libvirtOf, type StorageContext } from '../virtual-pool/storage-context.ts';
import type { VirtualDisk } from '../../api/virtual-disk.ts';
import type { VirtualPool } from '../../api/virtual-pool.ts';
import { isNotFound } from '../../libvirt/errors.ts';
import type { Pool } from '../../libvirt/objects/pools.ts';

/** The node that has the disk or is to make it; undefined while nobody knows. */
export function homeOf(context: StorageContext, disk: VirtualDisk, pool: VirtualPool | undefined): string | undefined {
  const { namespace = '', name = '' } = disk.metadata;
  const given = [disk.status?.nodeName, disk.spec.nodeName].find((one) => one !== undefined && one !== '');
  if (given !== undefined) return given;
  const nodes = selectedNodes(pool?.spec.nodeSelector, context.nodes());
  const users = context
    .usersOf('VirtualDisk', namespace, name)
    .map(({ nodeName }) => nodeName)
    .filter((one) => one !== '')
    .sort();
  if (users[0] !== undefined) return users[0];
  if (pool?.spec.shared === true && (disk.status?.path !== undefined || disk.spec.bindingMode === 'Immediate')) {
    return nodes[0];
  }
  return disk.spec.bindingMode === 'Immediate' && nodes.length === 1 ? nodes[0] : undefined;
}

/** One node speaks for what belongs to none. */
export function isFirstNode(context: StorageContext): boolean {
  const names = context.nodes().map(({ name }) => name);
  return names.sort()[0] === context.nodeName;
}

/** Whether this node has it, or can have it: the volumes of a shared pool are everywhere. */
export function isOnThisNode(context: StorageContext, disk: VirtualDisk): boolean {
  return disk.status?.nodeName === context.nodeName || (disk.status?.nodeName ?? '') === '';
}

/** Disks of this node that lie over a path. */
export function overlaysOf(context: StorageContext, disk: VirtualDisk, path: string | undefined): string[] {
  if (path === undefined) return [];
  return context
    .knownDisks()
    .filter((one) => one.metadata.uid !== disk.metadata.uid && one.status?.backingChain?.includes(path) === true)
    .filter((one) => isOnThisNode(context, one))
    .map(({ metadata }) => `VirtualDisk ${metadata.namespace ?? ''}/${metadata.name ?? ''}`)
    .sort();
}

/** The files of this node that were made as raw disks. */
export function rawFiles(context: StorageContext): ReadonlySet<string> {
  return new Set(
    context
      .knownDisks()
      .flatMap((one) =>
        one.status?.format === 'raw' && one.status.path !== undefined && isOnThisNode(context, one)
          ? [one.status.path]
          : [],
      ),
  );
}

/** Why a disk cannot be made or looked at here: what is wrong with its pool, in a sentence. */
export function poolProblem(context: StorageContext, disk: VirtualDisk, pool: VirtualPool | undefined): string {
  const name = disk.spec.pool ?? defaultPoolName;
  if (pool === undefined) return `there is no VirtualPool "${name}"`;
  const line = pool.status?.nodes?.find(({ nodeName }) => nodeName === context.nodeName);
  const labels = context.nodes().find((one) => one.name === context.nodeName)?.labels ?? {};
  if (!matchesLabels(pool.spec.nodeSelector, labels)) {
    return `VirtualPool "${name}" is not on node ${context.nodeName}`;
  }
  return `VirtualPool "${name}" is ${line?.state ?? 'absent'} on node ${context.nodeName}${line?.message === undefined ? '' : `: ${line.message}`}`;
}

/** The pool of a disk at libvirt; undefined while it is not there or does not run. */
export async function poolHere(
  context: StorageContext,
  disk: VirtualDisk,
  pool: VirtualPool | undefined,
  signal: AbortSignal,
): Promise<Pool | undefined> {
  const name = disk.status?.pool ?? (pool === undefined ? undefined : poolName(pool));
  if (name === undefined) return undefined;
  try {
    const there = await libvirtOf(context).pools.byName(name, { signal });
    return (await there.isActive({ signal })) ? there : undefined;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}
