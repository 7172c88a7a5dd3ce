/**
 * The entry of src/executor/adoption: objects for what a host has already.
 *
 *   libvirt's domain ─▶ toEnvelope ─▶ volumes of pools become VirtualDisks, interfaces of networks VirtualNetworks
 *                            ─▶ check: would the executor change anything? ─▶ objects, in the order to make them
 *
 * Called by `virtctl adopt` and `virtctl recover`. Nothing is changed at libvirt: the executor finds the domain as asked for,
 * and writes our mark into its metadata.
 */
import { diskObject, networkObject, type AdoptionContext } from './host-objects.ts';
import type { HostVolume } from './host-inventory.ts';
import { compareWanted } from '../virtual-machine/compare.ts';
import { desiredDomain } from '../virtual-machine/desired-domain.ts';
import { bootNamespace, machineNamespace } from '../virtual-machine/domain-metadata.ts';
import { interfaceDevice } from '../virtual-machine/interfaces.ts';
import { canonical } from '../virtual-machine/list-identity.ts';
import type { PowerState } from '../virtual-machine/power-policy.ts';
import { isList, isObject, memberAt, textOf, type Data, type DataObject } from '../virtual-machine/same-value.ts';
import { diskDevice } from '../virtual-machine/volumes.ts';
import type { OverlayEntry } from '../../analyser/analyse.ts';
import { toEnvelope } from '../../analyser/envelope.ts';
import type { NetworkInterface, RunStrategy, VirtualMachine, Volume } from '../../api/virtual-machine.ts';
import { networkName } from '../../api/virtual-network.ts';

/** A domain that is to become a machine. */
export interface AdoptedDomain {
  /** Its definition for the next start, without passwords. */
  readonly value: DataObject;
  readonly overlay: readonly OverlayEntry[];
  readonly state: PowerState;
  /** Whether libvirt starts it with the host. */
  readonly autostart: boolean;
}

/** What became of a domain. */
export interface AdoptedMachine {
  readonly machine: VirtualMachine;
  /** What the executor would do with the domain, as paths; empty when it is as asked for. */
  readonly changes: readonly string[];
}

/**
 * Makes a machine of a domain, and the objects that it needs.
 *
 * @param namespace Where its objects are made.
 * @param runStrategy When it runs; chosen so that nothing starts or stops when left out.
 */
export async function adoptMachine(
  context: AdoptionContext,
  domain: AdoptedDomain,
  namespace: string,
  runStrategy?: RunStrategy,
): Promise<AdoptedMachine> {
  const { node, known } = context;
  const value = withoutDefaults(withoutMarks(domain.value));
  const envelope = toEnvelope({ kind: 'domain', value, overlay: [...domain.overlay] });
  const { name = 'domain', labels, annotations } = envelope?.metadata ?? {};
  const parts = await split(context, value, domain.overlay, namespace);
  const machine: VirtualMachine = {
    apiVersion: 'virtctl.dev/v1alpha1',
    kind: 'VirtualMachine',
    metadata: {
      namespace,
      name: known.freeName('VirtualMachine', namespace, name, node.name),
      ...(labels === undefined ? {} : { labels }),
      ...(annotations === undefined ? {} : { annotations }),
    },
    spec: {
      runStrategy: runStrategy ?? strategyOf(domain),
      nodeName: node.name,
      ...(parts.volumes.length === 0 ? {} : { volumes: parts.volumes.map(({ entry }) => entry) }),
      ...(parts.interfaces.length === 0 ? {} : { interfaces: parts.interfaces.map(({ entry }) => entry) }),
      domain: parts.value,
      ...(parts.overlay.length === 0
        ? {}
        : { overlay: parts.overlay.map(({ at, xml, attributes }) => ({ at, xml, attributes })) }),
    },
  };
  context.add(machine);
  const wanted = desiredDomain(
    machine,
    { disks: parts.volumes.map(({ device }) => device), interfaces: parts.interfaces.map(({ device }) => device) },
    { arch: textOf(memberAt(value, 'os', 'type', 'arch')), nativeType: textOf(value['type']), emulate: false },
  );
  return { machine, changes: compareWanted(wanted, domain.value).map(({ path }) => path) };
}

/**
 * The run strategy with which a domain goes on as it is. One that runs is to run: it comes back after a crash, and after
 * the guest shut it down only when libvirt was to restart it then. One that is off stays off; but one that libvirt starts
 * with the host must not be stopped then.
 */
export function strategyOf({ value, state, autostart }: AdoptedDomain): RunStrategy {
  switch (state) {
    case 'off':
      return autostart ? 'Manual' : 'Halted';
    case 'crashed':
    case 'stopping':
      return 'Manual';
    default:
      return value['on_poweroff'] === 'restart' ? 'Always' : 'RerunOnFailure';
  }
}

/** Our own elements are written by the executor; a domain that was ours once may carry old ones. */
function withoutMarks(value: DataObject): DataObject {
  const { metadata, id: _id, ...rest } = value;
  const others = (isList(metadata) ? metadata : []).filter(
    (xml) => typeof xml === 'string' && !xml.includes(machineNamespace) && !xml.includes(bootNamespace),
  );
  return others.length === 0 ? rest : { ...rest, metadata: others };
}

/** What the domain does not have, and a new machine would be given, is said to be wanted as it is: not there. */
function withoutDefaults(value: DataObject): DataObject {
  const devices = isObject(value['devices']) ? value['devices'] : {};
  const hasConsole = devices['serial'] !== undefined || devices['console'] !== undefined;
  return {
    ...value,
    ...(value['features'] === undefined ? { features: {} } : {}),
    devices: hasConsole ? devices : { ...devices, serial: [] },
  };
}

interface Part<Entry> {
  readonly entry: Entry;
  /** What the entry becomes at libvirt. */
  readonly device: DataObject;
}

interface Parts {
  /** The domain without what became entries. */
  readonly value: DataObject;
  readonly overlay: readonly OverlayEntry[];
  readonly volumes: readonly Part<Volume>[];
  readonly interfaces: readonly Part<NetworkInterface>[];
}

async function split(
  context: AdoptionContext,
  value: DataObject,
  overlay: readonly OverlayEntry[],
  namespace: string,
): Promise<Parts> {
  const devices = isObject(value['devices']) ? value['devices'] : {};
  const isPlain = (key: string, index: number): boolean =>
    !overlay.some(({ at }) => at === `devices.${key}[${index}]` || at.startsWith(`devices.${key}[${index}].`));
  const disks = await divide(devices['disk'], (disk, index) =>
    isPlain('disk', index) ? volumeOf(context, disk, namespace) : Promise.resolve(undefined),
  );
  const interfaces = await divide(devices['interface'], (one, index) =>
    isPlain('interface', index) ? interfaceOf(context, one, index, namespace) : Promise.resolve(undefined),
  );
  const { disk: _disks, interface: _interfaces, ...rest } = devices;
  return {
    value: {
      ...value,
      devices: {
        ...rest,
        ...(disks.kept.length === 0 ? {} : { disk: disks.kept }),
        ...(interfaces.kept.length === 0 ? {} : { interface: interfaces.kept }),
      },
    },
    overlay: overlay.map((entry) => ({
      ...entry,
      at: renumber(renumber(entry.at, 'disk', disks), 'interface', interfaces),
    })),
    volumes: disks.parts,
    interfaces: interfaces.parts,
  };
}

interface Divided<Entry> {
  readonly kept: readonly Data[];
  /** The new index of each that was kept. */
  readonly indices: ReadonlyMap<number, number>;
  readonly parts: readonly Part<Entry>[];
}

async function divide<Entry>(
  list: Data | undefined,
  partOf: (device: DataObject, index: number) => Promise<Part<Entry> | undefined>,
): Promise<Divided<Entry>> {
  const kept: Data[] = [];
  const indices = new Map<number, number>();
  const parts: Part<Entry>[] = [];
  for (const [index, device] of (isList(list) ? list : []).entries()) {
    const part = isObject(device) ? await partOf(device, index) : undefined;
    if (part !== undefined) parts.push(part);
    else {
      indices.set(index, kept.length);
      kept.push(device);
    }
  }
  return { kept, indices, parts };
}

function renumber(at: string, key: string, { indices }: Divided<unknown>): string {
  return at.replace(new RegExp(`^devices\\.${key}\\[(\\d+)\\]`), (all, index: string) => {
    const now = indices.get(Number(index));
    return now === undefined ? all : `devices.${key}[${now}]`;
  });
}

/** A disk that is a volume of a pool, as an entry of spec.volumes. Media of drives come and go, and stay in the domain. */
async function volumeOf(
  context: AdoptionContext,
  disk: DataObject,
  namespace: string,
): Promise<Part<Volume> | undefined> {
  if (!['', 'disk', 'lun'].includes(textOf(disk['device']))) return undefined;
  const volume = await volumeBehind(context, disk);
  const target = disk['target'];
  const dev = textOf(memberAt(target, 'dev'));
  if (volume === undefined || !/^[a-z]{1,8}[a-z0-9]{1,8}$/.test(dev)) return undefined;
  const isShareable = disk['shareable'] !== undefined;
  const existing = context.known.diskOf(context.node.name, volume.pool, volume.name);
  // Two that write to the same volume, and were never told that they may: whoever comes second keeps its path.
  const users = existing === undefined ? [] : context.known.usersOf(existing);
  if (users.length > 0 && !isShareable && disk['readonly'] === undefined) return undefined;
  const bus = textOf(memberAt(target, 'bus'));
  const plain: Volume = {
    name: dev,
    virtualDisk: 'disk',
    target: { dev, ...(bus === '' ? {} : { bus: bus as NonNullable<Volume['target']>['bus'] }) },
    ...(isShareable ? { shareable: true } : {}),
    ...(disk['readonly'] === undefined ? {} : { readOnly: true }),
  };
  const isBlock = volume.path.startsWith('/dev/');
  const source = { path: volume.path, format: volume.format, isBlock };
  const part = withRest(plain, disk, (entry) => diskDevice(entry, source));
  if (part === undefined) return undefined;
  const object = await diskObject(context, namespace, volume);
  if (object?.metadata.name === undefined) return undefined;
  return { ...part, entry: { ...part.entry, virtualDisk: object.metadata.name } };
}

function volumeBehind({ inventory }: AdoptionContext, disk: DataObject): Promise<HostVolume | undefined> {
  const source = disk['source'];
  const [file, dev, pool, volume] = ['file', 'dev', 'pool', 'volume'].map((key) => textOf(memberAt(source, key)));
  switch (disk['type']) {
    case 'file':
      return file === undefined || file === '' ? Promise.resolve(undefined) : inventory.volumeAt(file);
    case 'block':
      return dev === undefined || dev === '' ? Promise.resolve(undefined) : inventory.volumeAt(dev);
    case 'volume':
      return inventory.volumeIn(pool ?? '', volume ?? '');
    default:
      return Promise.resolve(undefined);
  }
}

/** An interface on a network of libvirt's, as an entry of spec.interfaces. */
async function interfaceOf(
  context: AdoptionContext,
  device: DataObject,
  index: number,
  namespace: string,
): Promise<Part<NetworkInterface> | undefined> {
  if (device['type'] !== 'network') return undefined;
  const network = textOf(memberAt(device, 'source', 'network'));
  const mac = textOf(memberAt(device, 'mac', 'address')).toLowerCase();
  const model = textOf(memberAt(device, 'model', 'type'));
  const portgroup = textOf(memberAt(device, 'source', 'portgroup'));
  if (network === '' || mac === '' || model === '') return undefined;
  const plain: NetworkInterface = {
    name: `net${index}`,
    virtualNetwork: 'network',
    mac,
    model,
    ...(portgroup === '' ? {} : { portgroup }),
  };
  const part = withRest(plain, device, (entry) => interfaceDevice(entry, '', network));
  if (part === undefined) return undefined;
  const object = await networkObject(context, namespace, network);
  if (object?.metadata.name === undefined || networkName(object) !== network) return undefined;
  return { ...part, entry: { ...part.entry, virtualNetwork: object.metadata.name } };
}

/**
 * Puts into `device` whatever the entry alone does not come to.
 *
 * @returns undefined when even that is not the device: what the entry adds, and the device does not have.
 */
function withRest<Entry extends Volume | NetworkInterface>(
  plain: Entry,
  device: DataObject,
  make: (entry: Entry) => DataObject,
): Part<Entry> | undefined {
  const made = make(plain);
  const rest = Object.fromEntries(Object.entries(device).filter(([key, member]) => !isSame(member, made[key])));
  const entry = Object.keys(rest).length === 0 ? plain : { ...plain, device: rest as Entry['device'] };
  const whole = make(entry);
  return isSame(whole, device) ? { entry, device: whole } : undefined;
}

function isSame(left: Data | undefined, right: Data | undefined): boolean {
  return JSON.stringify(canonical(left)) === JSON.stringify(canonical(right));
}
