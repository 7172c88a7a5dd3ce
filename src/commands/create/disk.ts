import type { Command } from 'commander';
import { Option } from 'commander';
import { virtualDiskKind, virtualMachineSnapshotKind } from '../../api/kinds.ts';
import { apiVersion } from '../../api/meta.ts';
import { parseQuantity } from '../../api/quantity.ts';
import { assertValid } from '../../api/validate.ts';
import type { VirtualDisk, VirtualDiskSpec } from '../../api/virtual-disk.ts';
import type { VirtualMachineSnapshot } from '../../api/virtual-machine-snapshot.ts';
import { ConflictError, UsageError } from '../../base/errors.ts';
import type { Context } from '../../cli/context.ts';
import { resourceTypeOf } from '../../cli/machine-verb.ts';
import { assertObjectName } from '../../cli/object-name.ts';
import type { KubeClient } from '../../kube/kube-client.ts';

/** The flags of `virtctl create disk` that say what is made. */
export interface DiskFlags {
  readonly size?: string;
  readonly fromSnapshot?: string;
  readonly image?: string;
  readonly clone?: string;
  readonly linked?: boolean;
  readonly pool?: string;
  readonly format?: string;
  readonly node?: string;
}

/** The formats that libvirt knows: of files, and of the partitions of a pool of the type disk (storagevol.rng). */
const formats: ReadonlySet<string> = new Set([
  ...['raw', 'qcow2', 'qcow', 'qed', 'vmdk', 'vdi', 'vpc', 'bochs', 'cloop', 'cow', 'dir', 'dmg', 'iso', 'ploop'],
  ...['none', 'linux', 'fat16', 'fat32', 'linux-swap', 'linux-lvm', 'linux-raid', 'extended'],
]);

function parseFormat(text: string): string {
  if (formats.has(text)) return text;
  throw new UsageError(`--format ${text}: expected a format of libvirt, as qcow2 or raw`);
}

/** Adds what `virtctl create disk` takes. */
export function addDiskOptions(command: Command): void {
  command
    .description('Create a disk: blank, or with what an image, a disk or a snapshot has.')
    .argument('<name>', 'its name')
    .option('--size <size>', 'its size, as 20Gi; that of its source when left out')
    .option('--from-snapshot <snapshot>', 'a snapshot, as SNAPSHOT/DISK; /DISK only where it has several')
    .option('--image <vimg>', 'a VirtualImage')
    .option('--clone <vdisk>', 'a VirtualDisk')
    .option('--linked', 'only what differs from the source is stored')
    .option('--pool <vpool>', "the VirtualPool; default, or the snapshot's disk's, when left out")
    .addOption(new Option('--format <format>', 'its format, as qcow2 or raw').argParser(parseFormat))
    .option('--node <name>', 'the node it is made on at once; that of its first machine when left out');
}

/**
 * The object that the flags describe.
 *
 * @param client Looks up the snapshot; undefined on a dry run without a server.
 */
export async function diskManifest(
  context: Context,
  client: KubeClient | undefined,
  name: string,
  namespace: string,
  flags: DiskFlags,
): Promise<VirtualDisk> {
  const { size, fromSnapshot, image, clone, linked, pool, format, node } = flags;
  if (node !== undefined) assertObjectName(node, '--node');
  const sources = [fromSnapshot, image, clone].filter((one) => one !== undefined);
  if (sources.length > 1) throw new UsageError('give one of --from-snapshot, --image and --clone');
  if (sources.length === 0 && size === undefined) throw new UsageError('give --size, or what it begins with');
  if (sources.length === 0 && linked === true)
    throw new UsageError('--linked goes with --from-snapshot, --image and --clone');
  if (size !== undefined && parseQuantity(size) === undefined) throw new UsageError(`"${size}" is not a size, as 20Gi`);
  const mode = linked === true ? { mode: 'Overlay' as const } : {};
  const snapshot =
    fromSnapshot === undefined ? undefined : await snapshotDisk(context, client, namespace, fromSnapshot);
  const at = node ?? snapshot?.nodeName;
  const source: VirtualDiskSpec['source'] =
    snapshot !== undefined
      ? { snapshot: { name: snapshot.name, volume: snapshot.volume, ...mode } }
      : image !== undefined
        ? { image: { name: image, ...mode } }
        : clone !== undefined
          ? { clone: { name: clone, ...mode } }
          : undefined;
  const from = pool ?? snapshot?.pool;
  const disk: VirtualDisk = {
    apiVersion,
    kind: 'VirtualDisk',
    metadata: { name, namespace },
    spec: {
      ...(from === undefined ? {} : { pool: from }),
      ...(size === undefined ? {} : { capacity: size }),
      ...(format === undefined ? {} : { format }),
      ...(source === undefined ? {} : { source }),
      ...(at === undefined ? {} : { nodeName: at, bindingMode: 'Immediate' as const }),
    },
  };
  assertValid(disk);
  return disk;
}

/** Which disk of which snapshot, and where it is: a copy is made on the same node, in the same pool. */
async function snapshotDisk(
  context: Context,
  client: KubeClient | undefined,
  namespace: string,
  text: string,
): Promise<{ name: string; volume: string; nodeName?: string | undefined; pool?: string | undefined }> {
  const [name = '', volume, ...rest] = text.split('/');
  if (name === '' || rest.length > 0)
    throw new UsageError(`--from-snapshot ${text}: expected SNAPSHOT or SNAPSHOT/DISK`);
  if (client === undefined) {
    if (volume === undefined) throw new UsageError('without a server, --from-snapshot has to be SNAPSHOT/DISK');
    return { name, volume };
  }
  const { signal } = context;
  const snapshots = client.resource<VirtualMachineSnapshot>(resourceTypeOf(virtualMachineSnapshotKind));
  const snapshot = await snapshots.get({ namespace, name }, { signal });
  const kept = (snapshot.status?.disks ?? []).filter(({ mode }) => mode !== 'None');
  const names = kept.map((one) => one.name ?? one.target);
  if (volume === undefined && kept.length > 1) {
    throw new ConflictError(`vmsnap/${name} has several disks: ${names.join(', ')}`, {
      hint: `give one, as --from-snapshot ${name}/${names[0] ?? ''}`,
    });
  }
  const disk = volume === undefined ? kept[0] : kept.find((one) => one.name === volume || one.target === volume);
  if (disk === undefined) {
    const has = names.length === 0 ? 'none yet' : names.join(', ');
    throw new ConflictError(`vmsnap/${name} has no disk${volume === undefined ? '' : ` "${volume}"`}; it has ${has}`);
  }
  const { virtualDisk } = disk;
  const disks = client.resource<VirtualDisk>(resourceTypeOf(virtualDiskKind));
  const own = virtualDisk === undefined ? undefined : await disks.find({ namespace, name: virtualDisk }, { signal });
  return { name, volume: disk.name ?? disk.target, nodeName: snapshot.status?.nodeName, pool: own?.spec.pool };
}
