/** The disks of a domain as snapshots have to know them, and the VirtualDisks whose active file changes. */
import { basename } from 'node:path';
import type { SnapshotDisk } from './choose-mode.ts';
import { readChain, type ImageHeader } from './image-files.ts';
import type { SnapshotContext } from './snapshot-context.ts';
import { devicesOf } from '../virtual-machine/domain-view.ts';
import { isList, isObject, memberAt, textOf, type Data, type DataObject } from '../virtual-machine/same-value.ts';
import { disksOfMachineSpec } from '../../api/empty-disk.ts';
import type { VirtualDisk } from '../../api/virtual-disk.ts';
import type { VirtualMachine } from '../../api/virtual-machine.ts';
import { FailedError } from '../../base/errors.ts';
import { refOf } from '../../kube/object.ts';
import type { Libvirt } from '../../libvirt/libvirt.ts';

/** The VirtualDisks that a machine's spec.volumes name, by name. */
export async function disksOfMachine(
  { disks }: SnapshotContext,
  machine: VirtualMachine,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, VirtualDisk>> {
  const { namespace } = machine.metadata;
  const found = new Map<string, VirtualDisk>();
  for (const virtualDisk of disksOfMachineSpec(machine)) {
    const disk = await disks.find({ namespace, name: virtualDisk }, { signal });
    if (disk !== undefined) found.set(virtualDisk, disk);
  }
  return found;
}

/** The disks of a domain: of the running one, or of its definition. */
export function disksOfDomain(
  domain: DataObject,
  machine: VirtualMachine,
  virtualDisks: ReadonlyMap<string, VirtualDisk>,
): SnapshotDisk[] {
  return devicesOf(domain, 'disk').flatMap((disk): SnapshotDisk[] => {
    const target = textOf(memberAt(disk, 'target', 'dev'));
    const path = sourcePath(disk);
    const kind = textOf(disk['device']) || 'disk';
    if (path === '' && kind !== 'disk') return [];
    const volume = machine.status?.volumes?.find((one) => one.target === target)?.name;
    const known = [...virtualDisks].find(([, { status }]) => status?.path === path)?.[0];
    return [
      {
        target,
        name: volume,
        path,
        format: textOf(memberAt(disk, 'driver', 'type')) || 'raw',
        virtualDisk: known,
        isReadOnly: kind !== 'disk' || disk['readonly'] !== undefined || disk['transient'] !== undefined,
        isShareable: disk['shareable'] !== undefined,
        isFile: textOf(disk['type']) === 'file',
        isEncrypted: memberAt(disk, 'source', 'encryption') !== undefined || disk['encryption'] !== undefined,
      },
    ];
  });
}

/** The file or device of a disk; empty for a network's, or none. */
export function sourcePath(disk: DataObject): string {
  return textOf(memberAt(disk, 'source', 'file')) || textOf(memberAt(disk, 'source', 'dev'));
}

/** The files of a running disk, the active one first. */
export function liveChain(live: DataObject | undefined, target: string): readonly string[] {
  const disk = devicesOf(live, 'disk').find((one) => textOf(memberAt(one, 'target', 'dev')) === target);
  if (disk === undefined) return [];
  const chain = [sourcePath(disk)];
  let below = disk['backingStore'];
  while (typeof below === 'object' && below !== null) {
    const path = sourcePath(below as DataObject);
    if (path === '') break;
    chain.push(path);
    below = memberAt(below, 'backingStore');
  }
  return chain;
}

/** The file that a definition's disk has. */
export function definedPath(domain: DataObject | undefined, target: string): string | undefined {
  const disk = devicesOf(domain, 'disk').find((one) => textOf(memberAt(one, 'target', 'dev')) === target);
  return disk === undefined ? undefined : sourcePath(disk);
}

/** A domain's devices with other files in some of their disks. */
export function devicesWithFiles(
  devices: Data | undefined,
  files: readonly {
    readonly target: string;
    readonly path?: string | undefined;
    readonly format?: string | undefined;
  }[],
): Data {
  if (!isObject(devices)) return {};
  const list = devices['disk'];
  const disks = (isList(list) ? list : []).map((disk): Data => {
    const file = files.find(({ target }) => target === textOf(memberAt(disk, 'target', 'dev')));
    if (!isObject(disk) || file?.path === undefined) return disk;
    const { backingStore: _chain, ...rest } = disk;
    return {
      ...rest,
      driver: { ...(isObject(disk['driver']) ? disk['driver'] : {}), type: file.format ?? 'raw' },
      source: { file: file.path },
    };
  });
  return { ...devices, disk: disks };
}

/**
 * Tells a VirtualDisk's status that another file is its active one, with what lies below it.
 *
 * @returns The disk as it is now.
 */
export async function setActiveFile(
  context: SnapshotContext,
  libvirt: Libvirt,
  disk: VirtualDisk,
  file: { readonly path: string; readonly format: string },
  signal: AbortSignal,
): Promise<VirtualDisk> {
  const chain = await readChain(file.path, file.format, signal);
  const active = chain[0];
  if (active === undefined) throw new FailedError(`${file.path} has no header`);
  // The pool finds files that others made when it looks again.
  const { pool } = disk.status ?? {};
  if (pool !== undefined) await (await libvirt.pools.byName(pool, { signal })).refresh({ signal });
  const status = {
    path: file.path,
    key: file.path,
    volume: basename(file.path),
    format: file.format,
    backingChain: chainPaths(chain),
  };
  const { resourceVersion, uid } = disk.metadata;
  const patch = { metadata: { resourceVersion, uid }, status };
  return context.disks.mergePatch(refOf(disk), patch, { subresource: 'status', signal });
}

function chainPaths(chain: readonly ImageHeader[]): string[] {
  return chain.slice(1).map(({ path }) => path);
}
