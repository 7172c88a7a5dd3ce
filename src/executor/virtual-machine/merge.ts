/**
 * What libvirt is given: its own definition, with what spec sets put in and what spec no longer sets taken out. Addresses,
 * MAC addresses, aliases and everything else that libvirt chose stays as it is.
 */
import { isContainer, matchThreeWays } from './compare.ts';
import { isWholeList } from './list-identity.ts';
import {
  isList,
  isObject,
  kibOf,
  machineFamily,
  memberAt,
  sameScalar,
  textOf,
  type Data,
  type DataObject,
} from './same-value.ts';

/**
 * Merges three ways.
 *
 * @param applied What spec said when it was applied last; `{}` when never.
 * @param wanted What it says now.
 * @param current libvirt's inactive definition; undefined when there is none.
 */
export function mergeDomain(applied: DataObject, wanted: DataObject, current: DataObject | undefined): DataObject {
  if (current === undefined) return wanted;
  const base = forgetStale(wanted, current);
  const merged = mergeObject(applied, wanted, base, '');
  return { ...merged, metadata: wanted['metadata'] ?? current['metadata'] };
}

function mergeValue(
  applied: Data | undefined,
  wanted: Data | undefined,
  current: Data | undefined,
  keys: string,
): Data | undefined {
  if (wanted === undefined) {
    if (applied === undefined) return current;
    if (!isContainer(keys, applied)) return undefined;
    if (isList(applied) && isList(current)) return mergeList(applied, [], current, keys);
    return isObject(applied) && isObject(current) ? mergeObject(applied, {}, current, keys) : current;
  }
  if (isList(wanted)) {
    return mergeList(isList(applied) ? applied : [], wanted, isList(current) ? current : [], keys);
  }
  if (isObject(wanted)) {
    if (!isObject(current)) return wanted;
    return mergeObject(isObject(applied) ? applied : {}, wanted, current, keys);
  }
  // libvirt's own writing of the same value stays: a machine type keeps its version.
  return current !== undefined && sameScalar(keys, wanted, current) ? current : wanted;
}

function mergeObject(applied: DataObject, wanted: DataObject, current: DataObject, keys: string): DataObject {
  const kept = turned(wanted, current, keys) ? onTurn(current, keys) : current;
  const out: Record<string, Data | undefined> = {};
  for (const key of new Set([...Object.keys(kept), ...Object.keys(wanted)])) {
    const path = keys === '' ? key : `${keys}.${key}`;
    const value = mergeValue(applied[key], wanted[key], kept[key], path);
    if (value !== undefined) out[key] = value;
  }
  // A number without unit is in libvirt's default unit, whatever unit libvirt wrote.
  if (wanted['value'] !== undefined && wanted['unit'] === undefined) delete out['unit'];
  return out;
}

function mergeList(
  applied: readonly Data[],
  wanted: readonly Data[],
  current: readonly Data[],
  keys: string,
): readonly Data[] {
  if (isWholeList(keys, wanted.length > 0 ? wanted : applied)) return wanted;
  const { kept, wantedToActual, gone } = matchThreeWays(keys, applied, wanted, current);
  const oldOf = new Map(kept.map((match) => [match.wanted, match.applied]));
  const merged = wanted.map((entry, index): Data => {
    const match = wantedToActual[index];
    const old = oldOf.get(index);
    return (
      mergeValue(
        old === undefined ? undefined : applied[old],
        entry,
        match === undefined ? undefined : current[match],
        keys,
      ) ?? entry
    );
  });
  const wantedAt = new Map(
    wantedToActual.flatMap((at, index): [number, number][] => (at === undefined ? [] : [[at, index]])),
  );
  const staying = current.flatMap((entry, index): Data[] => {
    const at = wantedAt.get(index);
    if (at !== undefined) return [merged[at] ?? entry];
    return gone.includes(index) ? [] : [entry];
  });
  return [...staying, ...merged.filter((_entry, index) => wantedToActual[index] === undefined)];
}

/** Members that decide what the others mean: when one changes, what libvirt chose for the old one must not stay. */
const turningKeys: Readonly<Record<string, readonly string[]>> = {
  cpu: ['mode'],
  'devices.disk': ['device', 'type'],
  'devices.disk.source': [],
  'devices.interface': ['type'],
  'devices.hostdev': ['type', 'mode'],
  'devices.input': ['type', 'bus'],
  'devices.controller': ['type', 'model'],
  'devices.video.model': ['type'],
  'devices.graphics': ['type'],
  'devices.tpm': ['model'],
  'devices.rng': ['model'],
  'devices.rng.backend': ['model'],
  'devices.memory': ['model'],
  'devices.sound': ['model'],
  'devices.watchdog': ['model'],
  'devices.filesystem': ['type'],
  'devices.channel': ['type'],
  'devices.serial': ['type'],
  'devices.console': ['type'],
  'network.forward': ['mode', 'dev'],
  'network.ip': ['address'],
};

function turned(wanted: DataObject, current: DataObject, keys: string): boolean {
  const changed = (path: string, now: Data | undefined, before: Data | undefined): boolean =>
    now !== undefined && before !== undefined && !sameScalar(path, now, before);
  if ((turningKeys[keys] ?? []).some((key) => changed(`${keys}.${key}`, wanted[key], current[key]))) return true;
  // A disk or an interface on another bus or of another model has another address.
  return [
    ['target', 'bus'],
    ['model', 'type'],
  ].some(
    ([outer = '', inner = '']) =>
      (keys === 'devices.disk' || keys === 'devices.interface' || keys === 'devices.video') &&
      changed(`${keys}.${outer}.${inner}`, memberAt(wanted, outer, inner), memberAt(current, outer, inner)),
  );
}

/** What an element keeps when its kind changes: its name, not what libvirt chose for the old kind. */
function onTurn(current: DataObject, keys: string): DataObject {
  const keep = keys === 'devices.interface' ? ['mac'] : [];
  return Object.fromEntries(Object.entries(current).filter(([key]) => keep.includes(key)));
}

/** Takes out of libvirt's definition what would contradict the change as a whole. */
function forgetStale(wanted: DataObject, current: DataObject): DataObject {
  let base = current;
  const memory = wanted['memory'];
  if (memory !== undefined && wanted['currentMemory'] === undefined && kibOf(memory) !== kibOf(current['memory'])) {
    base = { ...base, currentMemory: undefined };
  }
  const [now, before] = [memberAt(wanted, 'vcpu', 'value'), memberAt(current, 'vcpu', 'value')];
  if (now !== undefined && memberAt(wanted, 'vcpu', 'current') === undefined) {
    const vcpu = current['vcpu'];
    base = { ...base, vcpu: isObject(vcpu) ? { ...vcpu, current: undefined } : vcpu };
  }
  if (now !== undefined && textOf(now) !== textOf(before) && wanted['vcpus'] === undefined) {
    base = { ...base, vcpus: undefined };
  }
  const disks = memberAt(base, 'devices', 'disk');
  if (isList(disks) && isObject(base['devices'])) {
    // Which files lie below a disk's is in their headers; what libvirt noted of it after a snapshot goes out of date.
    base = { ...base, devices: { ...base['devices'], disk: disks.map(withoutChain) } };
  }
  const machine = memberAt(wanted, 'os', 'type', 'machine');
  const had = memberAt(current, 'os', 'type', 'machine');
  if (typeof machine === 'string' && typeof had === 'string' && machineFamily(machine) !== machineFamily(had)) {
    base = forgetAddresses(base);
  }
  return base;
}

function withoutChain(disk: Data): Data {
  if (!isObject(disk)) return disk;
  const { backingStore: _chain, ...rest } = disk;
  return rest;
}

/** Another machine has other buses: addresses and the controllers that libvirt added mean nothing there. */
function forgetAddresses(domain: DataObject): DataObject {
  const devices = domain['devices'];
  if (!isObject(devices)) return domain;
  const kept = Object.entries(devices).flatMap(([kind, value]): [string, Data | undefined][] => {
    if (kind === 'controller' || value === undefined) return [];
    return [[kind, isList(value) ? value.map(withoutAddress) : withoutAddress(value)]];
  });
  return { ...domain, devices: Object.fromEntries(kept) };
}

/** Not only undefined: what has no address in the schema would have a key that it cannot have. */
function withoutAddress(device: Data): Data {
  if (!isObject(device)) return device;
  const { address: _address, ...rest } = device;
  return rest;
}
