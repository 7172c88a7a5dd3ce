/** `spec.volumes` as libvirt's `<disk>` elements: looks up what they name, and makes the files that they need. */
import { stat } from 'node:fs/promises';
import { encryptionOf, type DiskSecrets, type Encryption } from '../virtual-disk/disk-secrets.ts';
import { StorageProblem } from '../virtual-pool/storage-context.ts';
import type { ImageFile, Media } from './media.ts';
import { emptyDiskFile } from './empty-disk-file.ts';
import { ensureEmptyDisk } from './empty-disk.ts';
import { NotReadyError } from './not-ready-error.ts';
import type { Data, DataObject } from './same-value.ts';
import { memberAt, textOf } from './same-value.ts';
import { diskOfVolume } from '../../api/empty-disk.ts';
import { machineUuid } from '../../api/machine-uuid.ts';
import type { VirtualDisk } from '../../api/virtual-disk.ts';
import type { VirtualImage } from '../../api/virtual-image.ts';
import type { CloudInit, VirtualMachine, Volume } from '../../api/virtual-machine.ts';
import type { KubeObject } from '../../kube/object.ts';
import type { ResourceClient } from '../../kube/resource-client.ts';

/** v1 Secret, as far as it is read. */
export interface SecretObject extends KubeObject {
  readonly data?: Readonly<Record<string, string>> | undefined;
}

/** v1 ConfigMap. */
export interface ConfigMapObject extends KubeObject {
  readonly data?: Readonly<Record<string, string>> | undefined;
  readonly binaryData?: Readonly<Record<string, string>> | undefined;
}

/** Where volumes find what they name. */
export interface VolumeSources {
  readonly disks: Pick<ResourceClient<VirtualDisk>, 'find' | 'get' | 'create'>;
  readonly images: ResourceClient<VirtualImage>;
  readonly secrets: ResourceClient<SecretObject>;
  readonly configMaps: ResourceClient<ConfigMapObject>;
  readonly media: Media;
  readonly nodeName: string;
  /** Gives libvirt the keys of encrypted disks; without it disks are only named. */
  readonly diskSecrets?: Pick<DiskSecrets, 'ensure'> | undefined;
}

/** A volume that is there. */
export interface ResolvedVolume {
  readonly name: string;
  /** What libvirt is given. */
  readonly disk: DataObject;
  /** Its file, where it has one. */
  readonly path: string | undefined;
  readonly target: string;
  /** Throws away what the guest wrote: for what lasts one run of the machine. */
  readonly renew?: ((signal: AbortSignal) => Promise<void>) | undefined;
  /** Its file is smaller than it is to be. */
  readonly grow?: VolumeGrowth | undefined;
}

/** From how large to how large, in bytes. */
export interface VolumeGrowth {
  readonly format: string;
  readonly is: number;
  readonly wanted: number;
}

/** What stands behind a volume. */
export interface VolumeSource {
  readonly path: string;
  readonly format: string;
  readonly isBlock?: boolean;
  readonly isMedium?: boolean;
  readonly readOnly?: boolean;
  /** The pool and volume at libvirt, of what is no file or device of the node. */
  readonly volume?: { readonly pool: string; readonly volume: string };
  readonly encryption?: Encryption | undefined;
  readonly renew?: (signal: AbortSignal) => Promise<void>;
  readonly grow?: VolumeGrowth | undefined;
}

/**
 * Resolves all volumes of a machine.
 *
 * @throws NotReadyError when one is not there yet.
 */
export async function resolveVolumes(
  machine: VirtualMachine,
  sources: VolumeSources,
  signal: AbortSignal,
): Promise<ResolvedVolume[]> {
  const given = memberAt(machine.spec.domain as DataObject | undefined, 'devices', 'disk');
  const taken = new Set(
    [...(Array.isArray(given) ? (given as readonly Data[]) : [])].map((disk) =>
      textOf(memberAt(disk, 'target', 'dev')),
    ),
  );
  for (const { target } of machine.spec.volumes ?? []) if (target?.dev !== undefined) taken.add(target.dev);
  const places = knownPlaces(machine, taken);
  for (const place of places.values()) taken.add(place);
  const resolved: ResolvedVolume[] = [];
  for (const volume of machine.spec.volumes ?? []) {
    const source = await sourceOf(machine, volume, sources, signal);
    if (source === undefined) continue;
    // virtio has no drives with media: there it is a disk that cannot be written to.
    const isCdrom = volume.cdrom ?? (source.isMedium === true && volume.target?.bus !== 'virtio');
    const bus = volume.target?.bus ?? (isCdrom ? 'sata' : 'virtio');
    const target = volume.target?.dev ?? placeOn(bus, places.get(volume.name)) ?? nextTarget(bus, taken);
    taken.add(target);
    resolved.push({
      name: volume.name,
      disk: diskDevice({ ...volume, cdrom: isCdrom, target: { bus, dev: target } }, source),
      path: source.path,
      target,
      renew: source.renew,
      grow: source.grow,
    });
  }
  return resolved;
}

/** Where volumes without a place of their own are already: taking one out moves no other. */
function knownPlaces({ spec, status }: VirtualMachine, taken: ReadonlySet<string>): ReadonlyMap<string, string> {
  const names = new Set((spec.volumes ?? []).flatMap(({ name, target }) => (target?.dev === undefined ? [name] : [])));
  return new Map(
    (status?.volumes ?? []).flatMap(({ name, target }) =>
      target !== undefined && names.has(name) && !taken.has(target) ? [[name, target] as const] : [],
    ),
  );
}

/** A known place, if it is one of this bus. */
function placeOn(bus: string, place: string | undefined): string | undefined {
  return place?.startsWith(prefixes[bus] ?? 'sd') === true ? place : undefined;
}

/** The element of a volume whose place in the guest is known. */
export function diskDevice(volume: Volume, source: VolumeSource): DataObject {
  const { bootOrder, cache, serial, shareable, device, target } = volume;
  const isCdrom = volume.cdrom === true;
  const readOnly = isCdrom || volume.readOnly === true || source.readOnly === true || source.isMedium === true;
  return {
    type: source.volume !== undefined ? 'volume' : source.isBlock === true ? 'block' : 'file',
    device: isCdrom ? 'cdrom' : 'disk',
    driver: { name: 'qemu', type: source.format, ...(cache === undefined ? {} : { cache }) },
    source: {
      ...(source.volume ?? (source.isBlock === true ? { dev: source.path } : { file: source.path })),
      ...(source.encryption === undefined ? {} : { encryption: source.encryption }),
    },
    target: { ...target },
    ...(bootOrder === undefined ? {} : { boot: { order: bootOrder } }),
    ...(serial === undefined ? {} : { serial }),
    ...(readOnly ? { readonly: {} } : {}),
    ...(shareable === true ? { shareable: {} } : {}),
    ...(device as DataObject | undefined),
  };
}

/** What device names begin with, where it is not sd. */
const prefixes: Readonly<Record<string, string>> = { virtio: 'vd', ide: 'hd', fdc: 'fd', xen: 'xvd' };

/** The first free device name of a bus: vda, vdb … vdaa. */
function nextTarget(bus: string, taken: ReadonlySet<string>): string {
  const prefix = prefixes[bus] ?? 'sd';
  for (let index = 0; ; index += 1) {
    let letters = '';
    for (let rest = index; rest >= 0; rest = Math.floor(rest / 26) - 1) {
      letters = String.fromCharCode(97 + (rest % 26)) + letters;
    }
    if (!taken.has(prefix + letters)) return prefix + letters;
  }
}

async function sourceOf(
  machine: VirtualMachine,
  volume: Volume,
  sources: VolumeSources,
  signal: AbortSignal,
): Promise<VolumeSource | undefined> {
  const namespace = machine.metadata.namespace;
  const uid = machineUuid(machine);
  const waiting = (message: string): NotReadyError => new NotReadyError('VolumeNotReady', 'Provisioning', message);
  if (volume.hostPath !== undefined) return hostPath(volume.hostPath.path, volume.hostPath.format);
  const name = diskOfVolume(machine, volume);
  if (name !== undefined) {
    if (volume.virtualDisk === undefined && !sources.media.isDry) {
      await ensureEmptyDisk(machine, volume, sources.disks, signal);
    }
    const disk = await sources.disks.find({ namespace, name }, { signal });
    if (disk === undefined) throw waiting(`volume ${volume.name}: there is no VirtualDisk "${name}"`);
    const { phase, path, format, message, nodeName } = disk.status ?? {};
    // Its deletion waits for those who have it already; it takes nothing from them.
    const hasIt = machine.status?.volumes?.some((one) => one.name === volume.name && one.source === path) === true;
    if (path === undefined || (phase !== 'Ready' && phase !== 'Resizing' && !(phase === 'Deleting' && hasIt))) {
      throw waiting(
        `volume ${volume.name}: VirtualDisk "${name}" is ${phase ?? 'Pending'}${message === undefined ? '' : `: ${message}`}`,
      );
    }
    if (nodeName !== undefined && nodeName !== '' && nodeName !== sources.nodeName) {
      throw waiting(`volume ${volume.name}: VirtualDisk "${name}" is on node ${nodeName}, not on ${sources.nodeName}`);
    }
    const overlays = (disk.status?.usedBy ?? []).filter(({ kind }) => kind === 'VirtualDisk');
    if (overlays.length > 0 && volume.readOnly !== true) {
      const names = overlays.map((one) => `"${one.name}"`).join(', ');
      throw waiting(
        `volume ${volume.name}: VirtualDisk "${name}" is the base of ${names}, which writing to it would destroy; use it readOnly`,
      );
    }
    const { pool, volume: libvirtVolume } = disk.status ?? {};
    // Of a pool over the network (rbd, iscsi-direct, gluster): libvirt knows its hosts and password.
    const isRemote = !path.startsWith('/') && pool !== undefined && libvirtVolume !== undefined;
    const encryption = encryptionOf(disk);
    if (encryption !== undefined) await ensureKey(volume.name, disk, sources, signal);
    return {
      path,
      format: format ?? 'raw',
      isBlock: path.startsWith('/dev/'),
      encryption,
      ...(isRemote ? { volume: { pool, volume: libvirtVolume } } : {}),
    };
  }
  if (volume.virtualImage !== undefined) {
    const name = volume.virtualImage;
    const image = await sources.images.find({ namespace, name }, { signal });
    if (image === undefined) throw waiting(`volume ${volume.name}: there is no VirtualImage "${name}"`);
    const here = image.status?.nodes?.find(({ nodeName }) => nodeName === '' || nodeName === sources.nodeName);
    if (here?.path === undefined || (here.phase !== undefined && here.phase !== 'Ready')) {
      throw waiting(`volume ${volume.name}: VirtualImage "${name}" is not on this node yet`);
    }
    const format = (image.status as { format?: string } | undefined)?.format ?? 'raw';
    if (volume.readOnly === true || volume.cdrom === true) return { path: here.path, format, readOnly: true };
    const base = here.path;
    const make = (inner: AbortSignal, isNew: boolean) =>
      sources.media.overlay(uid, volume.name, { path: base, format, isNew }, inner);
    const renew = async (inner: AbortSignal): Promise<void> => {
      await make(inner, true);
    };
    return { path: await make(signal, false), format: 'qcow2', renew };
  }
  if (volume.cloudInit !== undefined) {
    const { label, files } = await cloudInitFiles(machine, volume.name, volume.cloudInit, sources, signal);
    return { path: await sources.media.image(uid, volume.name, label, files, signal), format: 'raw', isMedium: true };
  }
  if (volume.configMap !== undefined) {
    const { name, label = 'config', optional } = volume.configMap;
    const object = await sources.configMaps.find({ namespace, name }, { signal });
    if (object === undefined && optional === true) return undefined;
    if (object === undefined) throw waiting(`volume ${volume.name}: there is no ConfigMap "${name}"`);
    const files = [
      ...Object.entries(object.data ?? {}).map(([key, content]): ImageFile => ({ name: key, content })),
      ...decoded(object.binaryData),
    ];
    return { path: await sources.media.image(uid, volume.name, label, files, signal), format: 'raw', readOnly: true };
  }
  if (volume.secret !== undefined) {
    const { name, label = 'secret', optional } = volume.secret;
    const object = await sources.secrets.find({ namespace, name }, { signal });
    if (object === undefined && optional === true) return undefined;
    if (object === undefined) throw missingSecret(volume.name, name);
    const path = await sources.media.image(uid, volume.name, label, decoded(object.data), signal);
    return { path, format: 'raw', readOnly: true };
  }
  return emptyDiskFile(machine, volume, sources.media, signal);
}

async function ensureKey(
  volume: string,
  disk: VirtualDisk,
  { diskSecrets }: VolumeSources,
  signal: AbortSignal,
): Promise<void> {
  try {
    await diskSecrets?.ensure(disk, signal);
  } catch (error) {
    if (!(error instanceof StorageProblem)) throw error;
    const name = disk.metadata.name ?? '';
    const message = `volume ${volume}: VirtualDisk "${name}": ${error.message}`;
    throw new NotReadyError('SecretNotFound', 'Provisioning', message, { cause: error });
  }
}

async function hostPath(path: string, format: string | undefined): Promise<VolumeSource> {
  let isBlock = path.startsWith('/dev/');
  try {
    isBlock = (await stat(path)).isBlockDevice();
  } catch (error) {
    // libvirtd may see what we do not; it will say so when the machine starts.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' && (error as NodeJS.ErrnoException).code !== 'EACCES')
      throw error;
  }
  return { path, format: format ?? 'raw', isBlock };
}

const cloudInitKeys = ['userData', 'networkData', 'metaData'] as const;

async function cloudInitFiles(
  machine: VirtualMachine,
  volume: string,
  cloudInit: CloudInit,
  sources: VolumeSources,
  signal: AbortSignal,
): Promise<{ label: string; files: ImageFile[] }> {
  const { namespace, name: machineName = '' } = machine.metadata;
  const uid = machineUuid(machine);
  const texts: Partial<Record<(typeof cloudInitKeys)[number], string>> = {};
  if (cloudInit.secretRef !== undefined) {
    const { name } = cloudInit.secretRef;
    const secret = await sources.secrets.find({ namespace, name }, { signal });
    if (secret === undefined) throw missingSecret(volume, name);
    for (const key of cloudInitKeys) {
      const value = secret.data?.[key];
      if (value !== undefined) texts[key] = Buffer.from(value, 'base64').toString('utf8');
    }
  }
  for (const key of cloudInitKeys) texts[key] = cloudInit[key] ?? texts[key] ?? '';
  const { userData = '', networkData = '', metaData = '' } = texts;
  if (cloudInit.type === 'ConfigDrive') {
    const meta = JSON.stringify({ uuid: uid, hostname: machineName, name: machineName });
    return {
      label: 'config-2',
      files: [
        { name: 'openstack/latest/meta_data.json', content: meta },
        { name: 'openstack/latest/user_data', content: userData },
        ...(networkData === '' ? [] : [{ name: 'openstack/latest/network_data.json', content: networkData }]),
      ],
    };
  }
  const own = [
    /^instance-id:/m.test(metaData) ? '' : `instance-id: ${uid}\n`,
    /^local-hostname:/m.test(metaData) ? '' : `local-hostname: ${machineName}\n`,
  ];
  return {
    label: 'cidata',
    files: [
      { name: 'meta-data', content: own.join('') + metaData },
      { name: 'user-data', content: userData },
      ...(networkData === '' ? [] : [{ name: 'network-config', content: networkData }]),
    ],
  };
}

function missingSecret(volume: string, name: string): NotReadyError {
  return new NotReadyError('SecretNotFound', 'Provisioning', `volume ${volume}: there is no Secret "${name}"`);
}

function decoded(data: Readonly<Record<string, string>> | undefined): ImageFile[] {
  return Object.entries(data ?? {}).map(([name, text]) => ({ name, content: Buffer.from(text, 'base64') }));
}
