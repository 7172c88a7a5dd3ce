/**
 * Where a domain differs from what was asked for. Only what was asked for is looked at: a field that the user did not
 * set belongs to libvirt.
 */
import { contains, entryLabel, isWholeList, matchEntries, strongName } from './list-identity.ts';
import {
  integerOf,
  isList,
  isObject,
  bytesOf,
  memberAt,
  quantityAttribute,
  sameQuantity,
  sameScalar,
  textOf,
  type Data,
  type DataObject,
} from './same-value.ts';

/** One field, or one whole entry of a list, that differs. */
export interface Difference {
  /** The path below the domain: `devices.disk[0].driver.cache`; `devices.disk[vdb]` for what spec no longer has. */
  readonly path: string;
  /** The same without indices, joined by dots. */
  readonly keys: string;
  /** What is asked for; undefined when it is to go. */
  readonly to: Data | undefined;
  /** What is; undefined when there is none. */
  readonly from: Data | undefined;
  /** The device it is part of. */
  readonly device?: DeviceDifference;
}

/** The device, below `devices`, that a difference is part of. */
export interface DeviceDifference {
  /** The element's name, as `disk`. */
  readonly kind: string;
  /** The path of the device, as `devices.disk[0]`. */
  readonly path: string;
  /** What spec says of it; undefined when it is to be detached. */
  readonly wanted: DataObject | undefined;
  /** What libvirt has; undefined when it is to be attached. */
  readonly actual: DataObject | undefined;
}

interface Place {
  readonly path: string;
  readonly keys: string;
  readonly device: DeviceDifference | undefined;
}

const root: Place = { path: '', keys: '', device: undefined };

/** Fields that are compared nowhere: ours by other means, or libvirt's alone. */
const ignoredKeys: ReadonlySet<string> = new Set(['metadata', 'id']);

/**
 * The fields of `wanted` that `actual` does not have so.
 *
 * @param wanted The domain as asked for (rule set of design section 3).
 * @param actual The domain as libvirt has it, of the same shape.
 */
export function compareWanted(wanted: DataObject, actual: DataObject): Difference[] {
  const out: Difference[] = [];
  for (const [key, value] of Object.entries(wanted)) {
    if (value === undefined || ignoredKeys.has(key)) continue;
    if (key === 'memory' && memoryIsComputed(wanted, actual)) continue;
    if (key === 'vcpu' && isObject(value)) {
      compareVcpu(value, actual[key], out);
      continue;
    }
    compareValue(value, actual[key], child(root, key), out);
  }
  return out;
}

/**
 * The fields that were applied before, are no longer asked for, and are still there.
 *
 * @param applied What was asked for before.
 * @param wanted What is asked for now.
 * @param actual The domain as libvirt has it.
 * @param reference What stands in the place of a removed field by default: where `actual` equals it, nothing differs.
 */
export function compareRemoved(
  applied: DataObject,
  wanted: DataObject,
  actual: DataObject,
  reference?: DataObject,
): Difference[] {
  const out: Difference[] = [];
  removed(applied, wanted, actual, reference, root, out);
  return out.filter(({ keys }) => !ignoredKeys.has(keys));
}

function compareValue(wanted: Data, actual: Data | undefined, place: Place, out: Difference[]): void {
  const amount = sameQuantity(place.keys, wanted, actual);
  if (amount !== undefined) {
    if (!amount) out.push(difference(place, wanted, actual));
    // An amount's other attributes (memory's dumpCore) are compared as usual.
    if (isObject(wanted)) compareMembers(omit(wanted, 'unit', 'value'), actual, place, out);
    return;
  }
  if (isList(wanted)) compareList(wanted, isList(actual) ? actual : [], place, out);
  else if (!isObject(wanted)) {
    if (!sameScalar(place.keys, wanted, actual)) out.push(difference(place, wanted, actual));
  } else if (actual === undefined) {
    if (hasLeaf(wanted) && !isEmptyBag(place.keys, wanted)) out.push(difference(place, wanted, undefined));
  } else compareMembers(wanted, actual, place, out);
}

/** Elements that say nothing when they are empty: libvirt leaves them out. */
const bags: ReadonlySet<string> = new Set([
  ...['blkiotune', 'clock', 'cputune', 'iothreadids', 'keywrap', 'memoryBacking', 'memtune', 'numatune', 'pm', 'vcpus'],
  ...['devices.disk.iotune', 'devices.interface.bandwidth'],
]);

/** What a server-side apply leaves of an element whose fields are no longer in the file. */
function isEmptyBag(keys: string, value: DataObject): boolean {
  return bags.has(keys) && Object.values(value).every((one) => one === undefined);
}

function compareMembers(wanted: DataObject, actual: Data | undefined, place: Place, out: Difference[]): void {
  const amount = quantityAttribute(place.keys);
  for (const [key, value] of Object.entries(wanted)) {
    if (value === undefined) continue;
    if (amount !== undefined && (key === amount || key === 'unit')) {
      const [a, b] = [wanted, actual].map((side) => bytesOf(memberAt(side, amount), memberAt(side, 'unit'), 'KiB'));
      if (key === amount && a !== b) out.push(difference(child(place, key), value, memberAt(actual, key)));
      continue;
    }
    compareValue(value, memberAt(actual, key), child(place, key), out);
  }
}

function compareList(wanted: readonly Data[], actual: readonly Data[], place: Place, out: Difference[]): void {
  if (isWholeList(place.keys, wanted)) {
    if (!contains(place.keys, wanted, actual)) out.push(difference(place, wanted, actual));
    return;
  }
  const matches = matchEntries(place.keys, wanted, actual);
  wanted.forEach((entry, index) => {
    const match = matches[index];
    const other = match === undefined ? undefined : actual[match];
    const path = `${place.path}[${index}]`;
    const here: Place = { path, keys: place.keys, device: deviceOf(place.keys, path, entry, other) };
    if (other === undefined) out.push(difference(here, entry, undefined));
    else compareValue(entry, other, here, out);
  });
}

/** `vcpu.current` left out means all of them. */
function compareVcpu(wanted: DataObject, actual: Data | undefined, out: Difference[]): void {
  const place = child(root, 'vcpu');
  compareMembers(omit(wanted, 'current'), actual, place, out);
  if (wanted['value'] === undefined) return;
  const [a, b] = [wanted, actual].map((side) => memberAt(side, 'current') ?? memberAt(side, 'value'));
  if (a !== undefined && integerOf(a) !== integerOf(b)) out.push(difference(child(place, 'current'), a, b));
}

/** libvirt counts `memory` itself from the NUMA cells and the memory modules. */
function memoryIsComputed(wanted: DataObject, actual: DataObject): boolean {
  const modules = [wanted, actual].some((side) => {
    const list = memberAt(side, 'devices', 'memory');
    return isList(list) && list.length > 0;
  });
  return modules || memberAt(wanted, 'cpu', 'numa', 'cell') !== undefined;
}

function removed(
  applied: Data,
  wanted: Data | undefined,
  actual: Data | undefined,
  reference: Data | undefined,
  place: Place,
  out: Difference[],
): void {
  if (actual === undefined) return;
  if (wanted === undefined && !isContainer(place.keys, applied)) {
    const same = reference !== undefined && contains(place.keys, actual, reference);
    if (!same && !isUnlimited(place.keys, actual)) out.push(difference(place, undefined, actual));
    return;
  }
  if (isList(applied)) {
    removedEntries(applied, isList(wanted) ? wanted : [], isList(actual) ? actual : [], reference, place, out);
  } else if (isObject(applied) && isObject(actual)) {
    for (const [key, value] of Object.entries(applied)) {
      if (value === undefined || (place === root && ignoredKeys.has(key))) continue;
      removed(value, memberAt(wanted, key), actual[key], memberAt(reference, key), child(place, key), out);
    }
  }
}

function removedEntries(
  applied: readonly Data[],
  wanted: readonly Data[],
  actual: readonly Data[],
  reference: Data | undefined,
  place: Place,
  out: Difference[],
): void {
  if (isWholeList(place.keys, applied)) return;
  const { kept, gone } = matchThreeWays(place.keys, applied, wanted, actual);
  const references = isList(reference) ? reference : [];
  const inReference = matchEntries(place.keys, actual, references);
  for (const index of gone) {
    const entry = actual[index];
    if (entry === undefined) continue;
    const match = inReference[index];
    if (match !== undefined && contains(place.keys, entry, references[match])) continue;
    const path = `${place.path}[${entryLabel(place.keys, entry, index)}]`;
    out.push(
      difference({ path, keys: place.keys, device: deviceOf(place.keys, path, undefined, entry) }, undefined, entry),
    );
  }
  for (const { applied: old, wanted: index, actual: other } of kept) {
    const [before, entry, now] = [applied[old], wanted[index], other === undefined ? undefined : actual[other]];
    if (before === undefined || entry === undefined || now === undefined) continue;
    const path = `${place.path}[${index}]`;
    const match = other === undefined ? undefined : inReference[other];
    const here: Place = { path, keys: place.keys, device: deviceOf(place.keys, path, entry, now) };
    removed(before, entry, now, match === undefined ? undefined : references[match], here, out);
  }
}

/** How three versions of a list belong together. */
export interface ThreeWayMatch {
  /** Indices of entries that were applied and are still wanted; `actual` is undefined when libvirt has lost it. */
  readonly kept: readonly { readonly applied: number; readonly wanted: number; readonly actual: number | undefined }[];
  /** For each wanted entry its index in `actual`. */
  readonly wantedToActual: readonly (number | undefined)[];
  /** Indices in `actual` of entries that were applied and are no longer wanted. */
  readonly gone: readonly number[];
}

/**
 * Matches wanted entries first with what was applied, so that the right one of two equal devices goes when the user takes
 * one out, and then with what libvirt has.
 */
export function matchThreeWays(
  keys: string,
  applied: readonly Data[],
  wanted: readonly Data[],
  actual: readonly Data[],
): ThreeWayMatch {
  const wantedToApplied = exactFirst(keys, wanted, applied);
  const appliedToActual = matchEntries(keys, applied, actual);
  const taken = new Set<number>();
  const wantedToActual = wanted.map((entry) => {
    const name = strongName(keys, entry);
    const match =
      name === undefined
        ? -1
        : actual.findIndex((other, index) => !taken.has(index) && strongName(keys, other) === name);
    if (match < 0) return undefined;
    taken.add(match);
    return match;
  });
  wanted.forEach((_entry, index) => {
    const old = wantedToApplied[index];
    const match = old === undefined ? undefined : appliedToActual[old];
    if (wantedToActual[index] !== undefined || match === undefined || taken.has(match)) return;
    wantedToActual[index] = match;
    taken.add(match);
  });
  // What was not applied before may be there all the same: an adopted domain, or added by hand.
  const free = wanted.flatMap((entry, index) => (wantedToActual[index] === undefined ? [{ entry, index }] : []));
  const spare = actual.flatMap((entry, index) => (taken.has(index) ? [] : [{ entry, index }]));
  const late = matchEntries(
    keys,
    free.map(({ entry }) => entry),
    spare.map(({ entry }) => entry),
  );
  free.forEach(({ index }, position) => {
    const match = late[position];
    const found = match === undefined ? undefined : spare[match]?.index;
    if (found === undefined) return;
    wantedToActual[index] = found;
    taken.add(found);
  });
  return {
    kept: wantedToApplied.flatMap((old, index) =>
      old === undefined ? [] : [{ applied: old, wanted: index, actual: wantedToActual[index] }],
    ),
    wantedToActual,
    gone: appliedToActual.flatMap((match) => (match === undefined || taken.has(match) ? [] : [match])),
  };
}

/** Unchanged entries are the same before anything else is tried. */
function exactFirst(keys: string, left: readonly Data[], right: readonly Data[]): (number | undefined)[] {
  const taken = new Set<number>();
  const found = left.map((entry) => {
    const match = right.findIndex(
      (other, index) => !taken.has(index) && contains(keys, entry, other) && contains(keys, other, entry),
    );
    if (match < 0) return undefined;
    taken.add(match);
    return match;
  });
  const free = left.flatMap((_entry, index) => (found[index] === undefined ? [index] : []));
  const spare = right.flatMap((_entry, index) => (taken.has(index) ? [] : [index]));
  const pick = (list: readonly Data[], indices: readonly number[]): Data[] =>
    indices.flatMap((index) => {
      const entry = list[index];
      return entry === undefined ? [] : [entry];
    });
  const late = matchEntries(keys, pick(left, free), pick(right, spare));
  free.forEach((index, position) => {
    const match = late[position];
    if (match !== undefined) found[index] = spare[match];
  });
  return found;
}

/** Elements that hold others and stay when spec no longer names them: only what was set in them goes. */
export function isContainer(keys: string, value: Data): boolean {
  return ['', 'devices', 'os'].includes(keys) || (isList(value) && /^devices\.[^.]+$/.test(keys));
}

/** What libvirt shows of a limit that was taken away from a running domain, where the definition shows nothing. */
const unlimited: Readonly<Record<string, readonly string[]>> = {
  'cputune.shares': ['1024', '100'],
  ...Object.fromEntries(
    ['', 'global_', 'emulator_', 'iothread_'].flatMap((prefix) => [
      [`cputune.${prefix}period`, ['100000']],
      [`cputune.${prefix}quota`, ['-1', '17592186044415', '0']],
    ]),
  ),
  'blkiotune.weight': ['500', '100'],
};

/** Whether nothing is left of a setting but what means "none". */
export function isUnlimited(keys: string, actual: Data): boolean {
  if (isObject(actual)) {
    return Object.entries(actual).every(([key, value]) => value === undefined || isUnlimited(`${keys}.${key}`, value));
  }
  if (isList(actual)) return actual.length === 0;
  // An empty drive keeps the number of its medium's place.
  if (keys === 'devices.disk.source.index') return true;
  return unlimited[keys]?.includes(textOf(actual)) ?? (/\.iotune\./.test(keys) && textOf(actual) === '0');
}

function difference(place: Place, to: Data | undefined, from: Data | undefined): Difference {
  const { path, keys, device } = place;
  return { path, keys, to, from, ...(device === undefined ? {} : { device }) };
}

function child(place: Place, key: string): Place {
  const join = (prefix: string): string => (prefix === '' ? key : `${prefix}.${key}`);
  const keys = join(place.keys);
  // A device that is not in a list, as memballoon.
  const single = place.device === undefined && place.keys === 'devices';
  return { path: join(place.path), keys, device: single ? undefined : place.device };
}

function deviceOf(
  keys: string,
  path: string,
  wanted: Data | undefined,
  actual: Data | undefined,
): DeviceDifference | undefined {
  const match = /^devices\.([^.]+)$/.exec(keys);
  if (match === null) return undefined;
  return {
    kind: match[1] ?? '',
    path,
    wanted: isObject(wanted) ? wanted : undefined,
    actual: isObject(actual) ? actual : undefined,
  };
}

function hasLeaf(value: DataObject): boolean {
  const members = Object.values(value).filter((member) => member !== undefined);
  // An empty element (`<acpi/>`) is itself the statement.
  return members.length === 0 || members.some((member) => !isList(member) || member.length > 0);
}

function omit(value: DataObject, ...keys: readonly string[]): DataObject {
  return Object.fromEntries(Object.entries(value).filter(([key]) => !keys.includes(key)));
}
