/**
 * Which differences between what is wanted and the running domain libvirt can take away at once, and how; everything else
 * waits for the next start. Pure: `apply-live.ts` carries the steps out and looks afterwards whether they worked.
 *
 *   difference ──▶ whole device missing / too many ──▶ attach, detach      (kinds that can be hot-plugged)
 *              ├─▶ field of a device               ──▶ update, blockIoTune (fields libvirt updates)
 *              ├─▶ field of the domain             ──▶ vcpus, balloon, scheduler, blkio, …
 *              └─▶ anything else                   ──▶ restart required
 */
import type { DeviceDifference, Difference } from './compare.ts';
import { tuneGroup, tuneValues, type TuneGroup } from './live-tuning.ts';
import { integerOf, isList, isObject, kibOf, memberAt, textOf, type Data, type DataObject } from './same-value.ts';

/** One libvirt call on the running domain. */
export type LiveAction =
  | { readonly type: 'attach' | 'detach' | 'update'; readonly kind: string; readonly device: DataObject }
  | { readonly type: 'vcpus'; readonly count: number }
  | { readonly type: 'vcpu'; readonly id: number; readonly enabled: boolean }
  | { readonly type: 'balloon'; readonly kib: bigint }
  | { readonly type: 'balloonStats'; readonly periodSeconds: number }
  | {
      readonly type: 'tune';
      readonly group: TuneGroup;
      readonly values: Readonly<Record<string, number | string>>;
    }
  | {
      readonly type: 'blockIoTune';
      readonly target: string;
      readonly values: Readonly<Record<string, number | string>>;
    }
  | { readonly type: 'pinVcpu'; readonly vcpu: number; readonly cpuset: string | undefined }
  | { readonly type: 'pinEmulator'; readonly cpuset: string | undefined }
  | { readonly type: 'pinIoThread'; readonly iothread: number; readonly cpuset: string | undefined }
  | { readonly type: 'addIoThread' | 'removeIoThread'; readonly iothread: number }
  | { readonly type: 'text'; readonly element: 'title' | 'description'; readonly text: string | undefined }
  | { readonly type: 'lifecycle'; readonly event: 'on_poweroff' | 'on_reboot' | 'on_crash'; readonly action: string };

/** A call and the differences that it is meant to take away. */
export interface LiveStep {
  readonly action: LiveAction;
  readonly differences: readonly Difference[];
}

/** What to do with a running domain. */
export interface LivePlan {
  /** In the order in which they are to be made. */
  readonly steps: readonly LiveStep[];
  readonly restartRequired: readonly Difference[];
  /** Why a field waits for a restart that can otherwise be changed at once, by its path. */
  readonly reasons: ReadonlyMap<string, string>;
}

/** Devices that QEMU can plug in and out, as far as their bus allows it (formatdomain.html, qemu_hotplug.c). */
const hotplug: Readonly<Record<string, (device: DataObject) => boolean>> = {
  disk: (device) => {
    const bus = memberAt(device, 'target', 'bus');
    return !['cdrom', 'floppy'].includes(textOf(device['device'])) && ['virtio', 'scsi', 'usb'].includes(textOf(bus));
  },
  interface: () => true,
  hostdev: () => true,
  memory: () => true,
  controller: (device) => device['type'] === 'scsi' && memberAt(device, 'model') !== 'lsilogic',
  rng: () => true,
  channel: () => true,
  serial: (device) => ['pci-serial', 'usb-serial'].includes(textOf(memberAt(device, 'target', 'type'))),
  redirdev: () => true,
  shmem: () => true,
  watchdog: (device) => device['model'] === 'i6300esb',
  input: (device) => ['usb', 'virtio'].includes(textOf(device['bus'])),
  vsock: () => true,
  filesystem: (device) => memberAt(device, 'driver', 'type') === 'virtiofs',
  lease: () => true,
};

/** Fields of a device that libvirt changes while it is plugged in. Below the device, by prefix. */
const updatable: Readonly<Record<string, (field: string, device: DataObject) => boolean>> = {
  disk: (field, device) =>
    ['cdrom', 'floppy'].includes(textOf(device['device'])) && /^(source|type|readonly|startupPolicy)(\.|$)/.test(field),
  interface: (field) =>
    /^(link|bandwidth|filterref|vlan|trustGuestRxFilters|coalesce)(\.|$)/.test(field) ||
    /^source\.(network|bridge|portgroup)$/.test(field),
  graphics: (field) => /^(passwd|passwdValidTo|connected)$/.test(field),
  memory: (field, device) => device['model'] === 'virtio-mem' && /^target\.requested(\.|$)/.test(field),
};

/**
 * Sorts differences into calls and what waits for the next start.
 *
 * @param differences What {@link compareWanted} and {@link compareRemoved} found in the live domain.
 * @param wanted The domain as asked for.
 * @param inactive The definition, whose MAC addresses and aliases a device that is attached takes over.
 * @param live The running domain.
 */
export function planLive(
  differences: readonly Difference[],
  wanted: DataObject,
  inactive: DataObject,
  live: DataObject,
): LivePlan {
  const steps: LiveStep[] = [];
  const restartRequired: Difference[] = [];
  const reasons = new Map<string, string>();
  const updates = new Map<string, Difference[]>();
  const tunes = new Map<TuneGroup, Difference[]>();
  const iotunes = new Map<string, Difference[]>();
  const ioThreads: Difference[] = [];
  for (const difference of differences.flatMap(spreadBags)) {
    const { device, keys } = difference;
    const place = device === undefined ? undefined : placeOfDevice(difference, device);
    const reason = whyNotLive(difference, wanted, live);
    if (reason !== undefined) {
      reasons.set(difference.path, reason);
      restartRequired.push(difference);
    } else if (place === 'attach' || place === 'detach') {
      const value = place === 'attach' ? attachable(device?.wanted ?? {}, inactive, device) : (device?.actual ?? {});
      steps.push({ action: { type: place, kind: device?.kind ?? '', device: value }, differences: [difference] });
    } else if (place === 'update' && device !== undefined) collect(updates, device.path, difference);
    else if (place === 'iotune' && device !== undefined) collect(iotunes, device.path, difference);
    else if (place === 'restart') restartRequired.push(difference);
    else if (/^(iothreads|iothreadids|iothreadids\.iothread)$/.test(keys)) ioThreads.push(difference);
    else {
      const group = tuneGroup(difference.keys);
      const action = group === undefined ? domainAction(difference, wanted, inactive, live) : undefined;
      if (group !== undefined) collect(tunes, group, difference);
      else if (action !== undefined && action.length > 0) {
        steps.push(...action.map((one) => ({ action: one, differences: [difference] })));
      } else restartRequired.push(difference);
    }
  }
  for (const same of updates.values()) {
    const device = same[0]?.device;
    if (device?.actual === undefined) continue;
    const value = patched(device, same);
    steps.push({ action: { type: 'update', kind: device.kind, device: value }, differences: same });
  }
  for (const same of iotunes.values()) {
    const target = memberAt(same[0]?.device?.actual, 'target', 'dev');
    if (typeof target !== 'string') continue;
    const values = Object.fromEntries(same.map(({ keys, to }) => [iotuneParameter(keys), iotuneValue(to)]));
    steps.push({ action: { type: 'blockIoTune', target, values }, differences: same });
  }
  for (const [group, same] of tunes) {
    const values = tuneValues(group, same, wanted, live);
    if (values === undefined) restartRequired.push(...same);
    else steps.push({ action: { type: 'tune', group, values }, differences: same });
  }
  if (ioThreads.length > 0) {
    const actions = ioThreadActions(wanted, live);
    if (actions.length === 0) restartRequired.push(...ioThreads);
    steps.push(...actions.map((action) => ({ action, differences: ioThreads })));
  }
  return { steps: steps.sort((a, b) => rank(a.action) - rank(b.action)), restartRequired, reasons };
}

/**
 * QEMU's TCG takes a processor away when the guest gives it back, but never says so: its object stays referenced, so
 * DEVICE_DELETED does not come and libvirt goes on counting it. The next processor that is plugged in then crashes QEMU
 * (seen with 7.2 on pc and q35; with `thread=single` taking it away is enough). So an emulated guest is never asked.
 */
const emulatedUnplug =
  'QEMU cannot give back a processor of an emulated machine (type qemu): it never reports the end of it, and crashes when ' +
  'one is plugged in again';

/** Why a field that usually can be changed at once cannot here; undefined when nothing is known against it. */
function whyNotLive({ keys, path, to }: Difference, wanted: DataObject, live: DataObject): string | undefined {
  if (live['type'] !== 'qemu') return undefined;
  if (keys === 'vcpu.current') {
    const [count, now] = [integerOf(to), liveProcessors(live)];
    return count !== undefined && now !== undefined && count < now ? emulatedUnplug : undefined;
  }
  if (keys === 'vcpus.vcpu.enabled') return entryOf(wanted, path)?.['enabled'] === false ? emulatedUnplug : undefined;
  return undefined;
}

function liveProcessors(live: DataObject): bigint | undefined {
  return integerOf(memberAt(live, 'vcpu', 'current') ?? memberAt(live, 'vcpu', 'value'));
}

/** The entry of spec's `vcpus.vcpu` that a path is in. */
function entryOf(wanted: DataObject, path: string): DataObject | undefined {
  const index = /^vcpus\.vcpu\[([0-9]+)\]/.exec(path)?.[1];
  const list = memberAt(wanted, 'vcpus', 'vcpu');
  const entry = isList(list) && index !== undefined ? list[Number(index)] : undefined;
  return isObject(entry) ? entry : undefined;
}

/** What leaves first makes room: a slot, a target name, an address. Controllers come before what hangs on them. */
function rank({ type, ...rest }: LiveAction): number {
  if (type === 'detach') return 0;
  if (type === 'addIoThread') return 1;
  if (type === 'attach') return 'kind' in rest && ['controller', 'memory'].includes(rest.kind) ? 2 : 3;
  // Single processors before their count, which would choose by itself.
  if (type === 'vcpu') return 3;
  return type === 'removeIoThread' ? 5 : 4;
}

function placeOfDevice(
  { path, keys, to }: Difference,
  device: DeviceDifference,
): 'attach' | 'detach' | 'update' | 'iotune' | 'restart' {
  const { kind, wanted, actual } = device;
  if (path === device.path) {
    const value = wanted !== undefined && actual === undefined ? wanted : actual;
    if (value === undefined || (wanted !== undefined && actual !== undefined)) return 'restart';
    if (hotplug[kind]?.(value) !== true) return 'restart';
    return wanted === undefined ? 'detach' : 'attach';
  }
  const field = keys.slice(`devices.${kind}.`.length);
  const iotune = kind === 'disk' && /^iotune\.[a-z_]+$/.test(field);
  if (iotune && (typeof to !== 'object' || to === null)) return 'iotune';
  return actual !== undefined && updatable[kind]?.(field, actual) === true ? 'update' : 'restart';
}

/**
 * The device to attach: what spec says, with the MAC address and alias that its definition has. Not its address: the
 * running machine may have no such bus.
 */
function attachable(wanted: DataObject, inactive: DataObject, device: DeviceDifference | undefined): DataObject {
  const list = memberAt(inactive, 'devices', device?.kind ?? '');
  const index = Number(/\[([0-9]+)\]$/.exec(device?.path ?? '')?.[1] ?? -1);
  if (device?.kind !== 'interface' || !isList(list) || wanted['mac'] !== undefined) return wanted;
  const mac = memberAt(list[index], 'mac');
  return mac === undefined ? wanted : { ...wanted, mac };
}

/** The running device with the wanted fields, whole: what spec does not say of it stays. */
function patched(device: DeviceDifference, differences: readonly Difference[]): DataObject {
  let value: DataObject = device.actual ?? {};
  for (const { keys, to } of differences) {
    value = setAt(value, keys.slice(`devices.${device.kind}.`.length).split('.'), to);
  }
  // Another medium: libvirt refuses the details of the old one.
  if (device.kind === 'disk') {
    const source = memberAt(device.wanted, 'source');
    value = { ...value, backingStore: undefined, source: source ?? undefined };
  }
  return value;
}

function setAt(object: DataObject, [key = '', ...rest]: readonly string[], value: Data | undefined): DataObject {
  if (rest.length === 0) return { ...object, [key]: value };
  const inner = object[key];
  return { ...object, [key]: setAt(isObject(inner) ? inner : {}, rest, value) };
}

/** Elements that are only a bag of settings: when the whole bag came or went, its members did. */
const bags = new Set(['cputune', 'blkiotune', 'memtune', 'numatune', 'numatune.memory', 'devices.disk.iotune']);

/** A difference of a whole bag of settings as the differences of what is in it. */
export function spreadBags(difference: Difference): Difference[] {
  const { path, keys, to, from, device } = difference;
  const value = to ?? from;
  if (!bags.has(keys) || !isObject(value)) return [difference];
  return Object.keys(value).flatMap((key) =>
    spreadBags({
      path: `${path}.${key}`,
      keys: `${keys}.${key}`,
      to: memberAt(to, key),
      from: memberAt(from, key),
      ...(device === undefined ? {} : { device }),
    }),
  );
}

function iotuneParameter(keys: string): string {
  return keys.slice(keys.lastIndexOf('.') + 1);
}

function iotuneValue(to: Data | undefined): number | string {
  const number = integerOf(to);
  return number === undefined ? (typeof to === 'string' ? to : 0) : Number(number);
}

/** The calls that change one field of the domain itself; undefined when there are none for it. */
function domainAction(
  { keys, path, to, from }: Difference,
  wanted: DataObject,
  inactive: DataObject,
  live: DataObject,
): LiveAction[] | undefined {
  const text = typeof to === 'string' ? to : undefined;
  // What spec no longer says becomes what the definition has, as the next start would bring it.
  const next = to ?? inactive[keys];
  switch (keys) {
    case 'title':
    case 'description':
      return [{ type: 'text', element: keys, text }];
    case 'on_poweroff':
    case 'on_reboot':
    case 'on_crash':
      return typeof next === 'string' ? [{ type: 'lifecycle', event: keys, action: next }] : undefined;
    case 'vcpu.current':
      return vcpuAction(to, live);
    case 'vcpus.vcpu.enabled': {
      const id = integerOf(entryOf(wanted, path)?.['id']);
      return id === undefined || typeof to !== 'boolean' ? undefined : [{ type: 'vcpu', id: Number(id), enabled: to }];
    }
    case 'currentMemory':
      return balloonAction(next, live);
    case 'devices.memballoon.stats':
    case 'devices.memballoon.stats.period':
      return [
        { type: 'balloonStats', periodSeconds: Number(memberAt(to, 'period') ?? (isObject(to) ? 0 : (to ?? 0))) },
      ];
    case 'cputune.vcpupin':
    case 'cputune.vcpupin.cpuset':
      return pins('vcpupin', 'vcpu', wanted, live).map(([vcpu, cpuset]) => ({ type: 'pinVcpu', vcpu, cpuset }));
    case 'cputune.iothreadpin':
    case 'cputune.iothreadpin.cpuset':
      return pins('iothreadpin', 'iothread', wanted, live).map(([iothread, cpuset]) => ({
        type: 'pinIoThread',
        iothread,
        cpuset,
      }));
    case 'cputune.emulatorpin':
    case 'cputune.emulatorpin.cpuset': {
      const cpuset = memberAt(wanted, 'cputune', 'emulatorpin', 'cpuset');
      return [{ type: 'pinEmulator', cpuset: typeof cpuset === 'string' ? cpuset : undefined }];
    }
    case 'devices.vsock':
      // The one device that is no list and can be plugged.
      if (to === undefined && isObject(from)) return [{ type: 'detach', kind: 'vsock', device: from }];
      return from === undefined && isObject(to) ? [{ type: 'attach', kind: 'vsock', device: to }] : undefined;
    default:
      return undefined;
  }
}

/** Up to the processors the machine was started with; more need another start. */
function vcpuAction(to: Data | undefined, live: DataObject): LiveAction[] | undefined {
  const [count, max] = [integerOf(to), integerOf(memberAt(live, 'vcpu', 'value'))];
  if (count === undefined || max === undefined || count > max || count < 1n) return undefined;
  return [{ type: 'vcpus', count: Number(count) }];
}

/** Up to the memory the machine was started with, and only with a balloon. */
function balloonAction(to: Data | undefined, live: DataObject): LiveAction[] | undefined {
  const [kib, max] = [kibOf(to), kibOf(live['memory'])];
  const balloon = memberAt(live, 'devices', 'memballoon', 'model');
  if (kib === undefined || max === undefined || kib > max || balloon === undefined || balloon === 'none')
    return undefined;
  return [{ type: 'balloon', kib }];
}

/** The pins of a list that differ, by number. */
function pins(
  list: 'vcpupin' | 'iothreadpin',
  name: 'vcpu' | 'iothread',
  wanted: DataObject,
  live: DataObject,
): [number, string | undefined][] {
  const read = (domain: DataObject): Map<number, string> => {
    const entries = memberAt(domain, 'cputune', list);
    const pairs = (isList(entries) ? entries : []).map((entry): [number, string] => [
      Number(memberAt(entry, name)),
      textOf(memberAt(entry, 'cpuset')),
    ]);
    return new Map(pairs);
  };
  const [want, have] = [read(wanted), read(live)];
  return [...new Set([...want.keys(), ...have.keys()])]
    .filter((number) => want.get(number) !== have.get(number))
    .map((number) => [number, want.get(number)]);
}

/** The threads that spec names by number, and as many more as it counts, against those that run. */
export function ioThreadActions(wanted: DataObject, live: DataObject): LiveAction[] {
  const idsOf = (domain: DataObject): number[] => {
    const list = memberAt(domain, 'iothreadids', 'iothread');
    return (isList(list) ? list : []).map((entry) => Number(memberAt(entry, 'id')));
  };
  const count = Math.min(Number(wanted['iothreads'] ?? 0), maxIoThreads);
  const want = new Set(idsOf(wanted));
  for (let id = 1; want.size < count; id += 1) want.add(id);
  const have = new Set(idsOf(live));
  for (let id = 1; have.size < Number(live['iothreads'] ?? 0) && id <= maxIoThreads; id += 1) have.add(id);
  const action = (type: 'addIoThread' | 'removeIoThread', iothread: number): LiveAction => ({ type, iothread });
  return [
    ...[...want].filter((id) => !have.has(id)).map((id) => action('addIoThread', id)),
    ...[...have].filter((id) => !want.has(id)).map((id) => action('removeIoThread', id)),
  ];
}

/** More than any machine has. */
const maxIoThreads = 256;

function collect<K>(map: Map<K, Difference[]>, key: K, difference: Difference): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [difference]);
  else list.push(difference);
}
