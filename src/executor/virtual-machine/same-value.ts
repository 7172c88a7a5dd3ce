/**
 * Whether two values of a domain's field mean the same to libvirt, however they are written: units of memory, upper and
 * lower case of MAC addresses and UUIDs, hexadecimal and decimal addresses, CPU sets, aliases of machine types.
 */

/** What YAML and the analysed XML hold. */
export type Data = null | boolean | number | string | readonly Data[] | { readonly [key: string]: Data | undefined };

/** A mapping. */
export type DataObject = { readonly [key: string]: Data | undefined };

/** Whether a value is a mapping. */
export function isObject(value: Data | undefined): value is DataObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Whether a value is a list. */
export function isList(value: Data | undefined): value is readonly Data[] {
  return Array.isArray(value);
}

/** The member at a path of keys; undefined where there is none. */
export function memberAt(value: Data | undefined, ...keys: readonly string[]): Data | undefined {
  let at = value;
  for (const key of keys) at = isObject(at) ? at[key] : undefined;
  return at;
}

/** A scalar as text, as XML would have it; empty for anything else. */
export function textOf(value: Data | undefined): string {
  return value === undefined || value === null || typeof value === 'object' ? '' : String(value);
}

/** virScaleInteger's suffixes, in bytes (libvirt src/util/virutil.c). */
const units: Readonly<Record<string, bigint>> = Object.fromEntries([
  ['b', 1n],
  ['byte', 1n],
  ['bytes', 1n],
  ...['k', 'm', 'g', 't', 'p', 'e'].flatMap((letter, index): [string, bigint][] => [
    [letter, 1024n ** BigInt(index + 1)],
    [`${letter}ib`, 1024n ** BigInt(index + 1)],
    [`${letter}b`, 1000n ** BigInt(index + 1)],
  ]),
]);

/** A number of bytes; undefined when value or unit cannot be understood. */
export function bytesOf(value: Data | undefined, unit: Data | undefined, defaultUnit: string): bigint | undefined {
  const number = integerOf(value);
  const factor = units[(typeof unit === 'string' && unit !== '' ? unit : defaultUnit).toLowerCase()];
  return number === undefined || factor === undefined ? undefined : number * factor;
}

/** libvirt's memory elements count in KiB and round up. */
export function kibOf(quantity: Data | undefined): bigint | undefined {
  const value = isObject(quantity) ? quantity['value'] : quantity;
  const bytes = bytesOf(value, memberAt(quantity, 'unit'), 'KiB');
  return bytes === undefined ? undefined : (bytes + 1023n) / 1024n;
}

/** An integer in decimal or, with 0x, hexadecimal. */
export function integerOf(value: Data | undefined): bigint | undefined {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : undefined;
  if (typeof value !== 'string' || !/^(0[xX][0-9a-fA-F]+|-?[0-9]+)$/.test(value)) return undefined;
  return BigInt(value);
}

/** Elements whose text is an amount of memory in `unit`, and what unit libvirt takes when there is none. */
const quantityPaths: Readonly<Record<string, string>> = {
  memory: 'KiB',
  currentMemory: 'KiB',
  maxMemory: 'KiB',
  'memtune.hard_limit': 'KiB',
  'memtune.soft_limit': 'KiB',
  'memtune.min_guarantee': 'KiB',
  'memtune.swap_hard_limit': 'KiB',
  'devices.memory.target.size': 'KiB',
  'devices.memory.target.block': 'KiB',
  'devices.memory.target.requested': 'KiB',
  'devices.memory.target.current': 'KiB',
  'devices.memory.target.label.size': 'KiB',
  'devices.memory.source.pagesize': 'KiB',
  'devices.memory.source.alignsize': 'KiB',
  'devices.shmem.size': 'bytes',
  'devices.filesystem.space_hard_limit': 'bytes',
  'devices.filesystem.space_soft_limit': 'bytes',
};

/** Attributes that are an amount with a sibling `unit`: path of the element, then the attribute. */
const attributeQuantities: Readonly<Record<string, string>> = {
  'cpu.numa.cell': 'memory',
  'memoryBacking.hugepages.page': 'size',
};

const cpuSetKeys = new Set(['cpuset', 'nodeset', 'cpus', 'nodeMask']);
const addressPath = /(^|\.)(address|vendor|product|iobase|irq)(\.|$)/;

/**
 * Whether a leaf that spec sets is as libvirt has it.
 *
 * @param path Keys from the domain's root, joined by dots, without list indices.
 * @param actual undefined where libvirt has none.
 */
export function sameScalar(path: string, wanted: Data, actual: Data | undefined): boolean {
  if (wanted === actual) return true;
  // `default` is libvirt's word for an attribute that is not there; a limit of 0 is none.
  if (actual === undefined) return wanted === 'default' || (wanted === 0 && /(^|\.)(iotune|bandwidth)\./.test(path));
  if (isObject(wanted) || isObject(actual) || isList(wanted) || isList(actual)) return false;
  const [left, right] = [String(wanted), String(actual)];
  if (left === right) return true;
  const key = path.slice(path.lastIndexOf('.') + 1);
  if (path.endsWith('mac.address') || path === 'uuid' || path === 'genid' || key === 'uuid') {
    return left.toLowerCase().replaceAll('-', '') === right.toLowerCase().replaceAll('-', '');
  }
  if (path === 'os.type.machine') return sameMachine(left, right);
  if (cpuSetKeys.has(key)) return sameCpuSet(left, right);
  if (addressPath.test(path)) {
    const [a, b] = [integerOf(wanted), integerOf(actual)];
    return a !== undefined && a === b;
  }
  return false;
}

/**
 * Whether a mapping is compared as one amount rather than member by member; then whether both are the same.
 *
 * @returns undefined for a mapping that is no amount.
 */
export function sameQuantity(path: string, wanted: Data, actual: Data | undefined): boolean | undefined {
  const defaultUnit = quantityPaths[path];
  if (defaultUnit === undefined) return undefined;
  const [a, b] = [wanted, actual].map((side) =>
    bytesOf(isObject(side) ? side['value'] : side, memberAt(side, 'unit'), defaultUnit),
  );
  if (a === undefined || b === undefined) return memberAt(wanted, 'value') === undefined;
  return defaultUnit === 'KiB' ? (a + 1023n) / 1024n === (b + 1023n) / 1024n : a === b;
}

/** The member of a list entry that is an amount with a sibling `unit`, as a NUMA cell's memory. */
export function quantityAttribute(path: string): string | undefined {
  return attributeQuantities[path];
}

/** Whether a machine type is the other, or its alias: libvirt writes `pc-q35-7.2` where `q35` was given. */
function sameMachine(wanted: string, actual: string): boolean {
  const family: Readonly<Record<string, RegExp>> = { q35: /^pc-q35-/, pc: /^pc-i440fx-/ };
  return (family[wanted] ?? new RegExp(`^${wanted.replace(/[^a-z0-9]/gi, '\\$&')}-[0-9]`, 'i')).test(actual);
}

/** The family of a machine type: `q35` for `pc-q35-7.2`. Addresses of one family mean nothing to another. */
export function machineFamily(machine: string): string {
  if (machine === 'pc') return 'i440fx';
  return machine.replace(/^pc-/, '').replace(/-[0-9].*$/, '');
}

function sameCpuSet(left: string, right: string): boolean {
  const [a, b] = [left, right].map(cpuSet);
  return a !== undefined && b !== undefined && a.size === b.size && [...a].every((cpu) => b.has(cpu));
}

/** The numbers of `0-3,^2,8`; undefined when it cannot be read. */
export function cpuSet(text: string): ReadonlySet<number> | undefined {
  const cpus = new Set<number>();
  for (const part of text.split(',')) {
    const match = /^\s*(\^?)([0-9]{1,6})(?:-([0-9]{1,6}))?\s*$/.exec(part);
    if (match === null) return undefined;
    const [first, last] = [Number(match[2]), Number(match[3] ?? match[2])];
    if (last - first > 16384) return undefined;
    for (let cpu = first; cpu <= last; cpu += 1) {
      if (match[1] === '^') cpus.delete(cpu);
      else cpus.add(cpu);
    }
  }
  return cpus;
}
