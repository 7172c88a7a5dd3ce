/**
 * A machine whose object is lost, from the mark in its domain. What the mark does not keep is taken from the domain itself
 * (passwords), or from the host (the volumes and networks that it names).
 */
import { diskObject, networkObject, type AdoptionContext } from './host-objects.ts';
import { machineVolumes, type MachineVolume } from './machine-volumes.ts';
import type { RecoveredVolume } from './kept-snapshot.ts';
import { recoverEmptyDisk } from './recover-empty-disk.ts';
import { settledStatus } from './settled-machine.ts';
import type { MachineMark } from '../virtual-machine/domain-metadata.ts';
import { devicesOf, type DomainView } from '../virtual-machine/domain-view.ts';
import { matchEntries } from '../virtual-machine/list-identity.ts';
import { isList, isObject, memberAt, textOf, type Data, type DataObject } from '../virtual-machine/same-value.ts';
import { diskOfVolume } from '../../api/empty-disk.ts';
import { domainName, type VirtualMachine, type Volume } from '../../api/virtual-machine.ts';

/** A machine that is to be made again. */
export interface RecoveredMachine {
  /** As it was. It is not noted in the context. */
  readonly machine: VirtualMachine;
  /** Whether it can be made so: else it is made as settled-machine.ts says. */
  readonly isSettled: boolean;
  /** What could not be brought back, each in a sentence. */
  readonly notes: readonly string[];
  /** What it names and no host keeps, as `Secret seed`. */
  readonly missing: readonly string[];
  readonly volumes: readonly RecoveredVolume[];
}

/** What stands in a mark for a secret's value. */
const lost = '(not kept)';

/** Makes the machine of a domain with a mark, and the objects that it needs. */
export async function recoverMachine(
  context: AdoptionContext,
  view: DomainView,
  mark: MachineMark,
): Promise<RecoveredMachine> {
  const notes: string[] = [];
  const { namespace, name } = mark;
  const kept = isObject(mark.spec) ? mark.spec : {};
  const domain = fill(isObject(kept['domain']) ? kept['domain'] : {}, view.inactive, '');
  const isRenamed = view.domain.name !== domainName({ metadata: { namespace, name } });
  const spec = {
    ...kept,
    nodeName: context.node.name,
    domain: {
      ...(isRenamed ? { name: view.domain.name } : {}),
      ...domain,
      // The object will have another uid; the domain keeps its UUID, and all that is derived from it.
      uuid: view.domain.uuid,
    },
  } as VirtualMachine['spec'];
  const volumes = volumesOf(spec.volumes ?? [], mark, view, notes);
  await findObjects(context, { ...spec, volumes }, mark, view, notes);
  const found = {
    missing: volumes.flatMap(({ entry }) => missingOf(entry)),
    volumes: volumes.flatMap(({ entry, target }): RecoveredVolume[] =>
      target === '' ? [] : [{ name: entry.name, virtualDisk: diskOfVolume({ metadata: { name } }, entry), target }],
    ),
  };
  const machine: VirtualMachine = {
    apiVersion: 'virtctl.dev/v1alpha1',
    kind: 'VirtualMachine',
    metadata: { namespace, name, ...mark.metadata },
    spec: volumes.length === 0 ? spec : { ...spec, volumes: volumes.map(({ entry }) => entry) },
  };
  const missing = pathsOfLost(machine.spec as unknown as Data, 'spec');
  if (missing.length > 0) notes.push(`the values of ${missing.join(', ')} are lost: set them again`);
  return { machine, isSettled: settledStatus(spec.runStrategy ?? 'Always', view) === undefined, notes, ...found };
}

/** Each volume with the disk that it became; what is lost as the file that it is. */
function volumesOf(volumes: readonly Volume[], mark: MachineMark, view: DomainView, notes: string[]): MachineVolume[] {
  return machineVolumes(volumes, mark, view.inactive).map((volume): MachineVolume => {
    const { entry, disk, path } = volume;
    if (!isLost(entry)) return volume;
    if (path === undefined || disk === undefined) {
      notes.push(`volume ${entry.name}: what cloud-init was given is lost`);
      return volume;
    }
    notes.push(
      `volume ${entry.name}: what cloud-init was given is only in ${path} on the node, which it is from now on`,
    );
    return { ...volume, entry: asFile(entry, disk, path) };
  });
}

/** The file that was made of what is lost, as it is in the domain. */
function asFile(volume: Volume, disk: DataObject, path: string): Volume {
  const { cloudInit: _, ...rest } = volume;
  const target = disk['target'] as Volume['target'];
  const isCdrom = disk['device'] === 'cdrom';
  return {
    ...rest,
    hostPath: { path, format: 'raw' },
    ...(target === undefined ? {} : { target }),
    ...(isCdrom ? { cdrom: true } : { readOnly: true }),
  };
}

/** What a volume is made of that is on no host. */
function missingOf({ virtualImage, cloudInit, secret, configMap }: Volume): string[] {
  const secretName = cloudInit?.secretRef?.name ?? secret?.name;
  return [
    ...(virtualImage === undefined ? [] : [`VirtualImage ${virtualImage}`]),
    ...(secretName === undefined ? [] : [`Secret ${secretName}`]),
    ...(configMap === undefined ? [] : [`ConfigMap ${configMap.name}`]),
  ];
}

function isLost({ cloudInit }: Volume): boolean {
  const { userData, networkData, metaData } = cloudInit ?? {};
  return [userData, networkData, metaData].includes(lost);
}

/** The disks and networks that a machine names and nobody has any more, from what its domain has. */
async function findObjects(
  context: AdoptionContext,
  spec: Omit<VirtualMachine['spec'], 'volumes'> & { readonly volumes: readonly MachineVolume[] },
  { namespace, name: machine, applied }: MachineMark,
  view: DomainView,
  notes: string[],
): Promise<void> {
  const { known, inventory } = context;
  for (const { entry, path } of spec.volumes) {
    const name = diskOfVolume({ metadata: { name: machine } }, entry);
    if (name === undefined || known.disk(namespace, name) !== undefined) continue;
    const volume = path === undefined ? undefined : await inventory.volumeAt(path);
    const disk =
      volume === undefined
        ? undefined
        : entry.virtualDisk === undefined
          ? await recoverEmptyDisk(context, { namespace, name: machine }, entry, volume)
          : await diskObject(context, namespace, volume, name);
    if (disk?.metadata.name === name && disk.metadata.namespace === namespace) continue;
    const other = disk === undefined ? '' : `VirtualDisk ${disk.metadata.namespace ?? ''}/${disk.metadata.name ?? ''}`;
    const why = other === '' ? 'is in no pool of this host that runs' : `is that of ${other}`;
    notes.push(`VirtualDisk ${name} is not brought back: ${path ?? 'its volume'} ${why}`);
  }
  const specInterfaces = memberAt(spec.domain as DataObject | undefined, 'devices', 'interface');
  const before = isList(specInterfaces) ? specInterfaces.length : 0;
  const devices =
    devicesOf(applied, 'interface').length > 0
      ? devicesOf(applied, 'interface')
      : devicesOf(view.inactive, 'interface');
  for (const [index, entry] of (spec.interfaces ?? []).entries()) {
    const name = entry.virtualNetwork;
    if (name === undefined || known.network(namespace, name) !== undefined) continue;
    const network = textOf(memberAt(devices[before + index], 'source', 'network'));
    const object = network === '' ? undefined : await networkObject(context, namespace, network, name);
    if (object?.metadata.name === name) continue;
    notes.push(`VirtualNetwork ${name} is not brought back: this host has no network "${network}"`);
  }
}

/** Puts passwords back where the mark says that there were some, from the definition. */
function fill<T extends Data>(value: T, actual: Data | undefined, keys: string): T {
  if (isList(value)) {
    const others = isList(actual) ? actual : [];
    const matches = matchEntries(keys, value, others);
    return value.map((entry, index) => fill(entry, others[matches[index] ?? -1], keys)) as unknown as T;
  }
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, member]): [string, Data | undefined] => {
      const there = memberAt(actual, key);
      if (member === lost && typeof there === 'string') return [key, there];
      return [key, member === undefined ? undefined : fill(member, there, keys === '' ? key : `${keys}.${key}`)];
    }),
  ) as T;
}

function pathsOfLost(value: Data | undefined, path: string): string[] {
  if (value === lost) return [path];
  if (isList(value)) return value.flatMap((entry, index) => pathsOfLost(entry, `${path}[${index}]`));
  if (!isObject(value)) return [];
  return Object.entries(value).flatMap(([key, member]) => pathsOfLost(member, `${path}.${key}`));
}
