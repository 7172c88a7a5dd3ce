/**
 * Which entry of one list is which entry of another. Lists of a domain are not ordered records: libvirt adds devices of
 * its own, sorts some, and a user takes one out of the middle. So entries are matched by what names them (a disk by its
 * target, an interface by its MAC address), then by content, then by order among those that could be the same.
 */
import { isObject, memberAt, sameScalar, type Data } from './same-value.ts';

/** Names an entry; undefined where this entry has no such name. */
type Identity = (entry: Data) => string | undefined;

const at =
  (...keys: readonly string[]): Identity =>
  (entry) => {
    const value = memberAt(entry, ...keys);
    return value === undefined || value === null || typeof value === 'object' ? undefined : String(value).toLowerCase();
  };

const all =
  (...parts: readonly Identity[]): Identity =>
  (entry) => {
    const words = parts.map((part) => part(entry));
    return words.includes(undefined) ? undefined : words.join(' ');
  };

/** The strongest name that an entry has. */
const first =
  (...parts: readonly Identity[]): Identity =>
  (entry) => {
    for (const part of parts) {
      const word = part(entry);
      if (word !== undefined) return word;
    }
    return undefined;
  };

/** Nothing names an entry for good: what follows is how it is known as long as it stays. */
const nameless: Identity = () => undefined;

const orNone =
  (part: Identity): Identity =>
  (entry) =>
    part(entry) ?? '';

const ipFamily: Identity = (entry) => (at('address')(entry)?.includes(':') === true ? 'ipv6' : 'ipv4');

/** Only aliases that start with `ua-` are the user's and survive a define. */
const userAlias: Identity = (entry) => {
  const name = memberAt(entry, 'alias', 'name');
  return typeof name === 'string' && name.startsWith('ua-') ? name : undefined;
};

/** How a list's entries are matched. */
interface ListRule {
  /** Names, strongest first. Two entries whose first names are both set and differ are never the same. */
  readonly names: readonly Identity[];
  /** What must be equal, where both have it, for entries to be matched by order. */
  readonly kind?: Identity;
  /** Only equal content makes two entries the same, never their order: another host device is another device. */
  readonly byContent?: boolean;
}

const rules: Readonly<Record<string, ListRule>> = {
  'devices.disk': { names: [at('target', 'dev'), userAlias] },
  'devices.interface': { names: [at('mac', 'address'), userAlias, at('target', 'dev')] },
  'devices.hostdev': { names: [userAlias], kind: all(at('mode'), at('type')), byContent: true },
  'devices.controller': { names: [all(at('type'), at('index')), userAlias], kind: at('type') },
  'devices.channel': { names: [at('target', 'name'), userAlias], kind: at('type') },
  'devices.serial': { names: [at('target', 'port'), userAlias] },
  'devices.parallel': { names: [at('target', 'port'), userAlias] },
  'devices.console': { names: [all(at('target', 'type'), at('target', 'port')), userAlias] },
  'devices.filesystem': { names: [at('target', 'dir'), userAlias] },
  'devices.graphics': { names: [at('type')] },
  'devices.input': { names: [userAlias], kind: all(at('type'), at('bus')) },
  'devices.video': { names: [userAlias], kind: at('model', 'type') },
  'devices.sound': { names: [userAlias], kind: at('model') },
  'devices.audio': { names: [at('id')], kind: at('type') },
  'devices.shmem': { names: [at('name')] },
  'devices.lease': { names: [all(at('lockspace'), at('key'))] },
  'devices.memory': { names: [userAlias], kind: at('model') },
  'devices.rng': { names: [userAlias], kind: at('model') },
  'devices.watchdog': { names: [userAlias], kind: at('model') },
  'devices.panic': { names: [userAlias], kind: at('model') },
  'devices.redirdev': { names: [userAlias], kind: all(at('bus'), at('type')) },
  'devices.tpm': { names: [userAlias], kind: at('model') },
  'cpu.feature': { names: [at('name')] },
  'cpu.numa.cell': { names: [at('id')] },
  'cputune.vcpupin': { names: [at('vcpu')] },
  'cputune.iothreadpin': { names: [at('iothread')] },
  'cputune.vcpusched': { names: [at('vcpus')] },
  'vcpus.vcpu': { names: [at('id')] },
  'iothreadids.iothread': { names: [at('id')] },
  'blkiotune.device': { names: [at('path')] },
  'numatune.memnode': { names: [at('cellid')] },
  'clock.timer': { names: [at('name')] },
  'memoryBacking.hugepages.page': { names: [all(at('size'), at('nodeset'))] },
  'perf.event': { names: [at('name')] },
  sysinfo: { names: [at('type')] },
  seclabel: { names: [all(at('model'), at('type')), at('model')] },
  'keywrap.cipher': { names: [at('name')] },
  'qemu:commandline.qemu:env': { names: [at('name')] },
  // A network (../virtual-network) is compared below the key `network`.
  'network.ip': { names: [nameless, at('address')], kind: ipFamily },
  'network.ip.dhcp.range': { names: [nameless, all(at('start'), at('end')), at('start')] },
  'network.ip.dhcp.host': { names: [first(at('mac'), at('id'), at('name')), at('ip')] },
  'network.forward.interface': { names: [at('dev')] },
  'network.forward.address': { names: [nameless], byContent: true },
  'network.portgroup': { names: [at('name')] },
  'network.dns.host': { names: [at('ip')] },
  'network.dns.txt': { names: [at('name')] },
  'network.dns.srv': { names: [all(at('service'), at('protocol'), orNone(at('domain')), orNone(at('target')))] },
};

/** Lists whose order is their meaning, or whose entries have nothing of libvirt's: the whole list is one value. */
const wholeLists: readonly RegExp[] = [
  /^os\.(boot|initarg)$/,
  /^qemu:commandline\.qemu:arg$/,
  /(^|\.)source\.(host|cookies\.cookie)$/,
  /\.(ip|route|portForward|filterref\.parameter|vlan\.tag|slices\.slice)$/,
  /^metadata$/,
  /^sysinfo\..*entry$/,
];

/** Whether a list is compared and replaced as a whole. */
export function isWholeList(path: string, entries: readonly Data[]): boolean {
  const isWhole = rules[path] === undefined && wholeLists.some((one) => one.test(path));
  return isWhole || entries.some((entry) => !isObject(entry));
}

/**
 * Matches the entries of two lists.
 *
 * @param path Keys from the domain's root, joined by dots, without list indices.
 * @returns For each entry of `left` the index of its entry in `right`, or undefined. No index occurs twice.
 */
export function matchEntries(path: string, left: readonly Data[], right: readonly Data[]): (number | undefined)[] {
  const rule = rules[path] ?? { names: [userAlias] };
  const found = left.map((): number | undefined => undefined);
  const taken = new Set<number>();
  const pass = (same: (a: Data, b: Data) => boolean): void => {
    left.forEach((entry, index) => {
      if (found[index] !== undefined) return;
      const candidate = right.findIndex((other, at) => !taken.has(at) && same(entry, other));
      if (candidate < 0) return;
      found[index] = candidate;
      taken.add(candidate);
    });
  };
  const couldBe = (a: Data, b: Data): boolean => {
    const differ = (name: Identity | undefined): boolean => {
      const [one, other] = [name?.(a), name?.(b)];
      return one !== undefined && other !== undefined && one !== other;
    };
    return !differ(rule.names[0]) && !differ(rule.kind) && !differ(at('type'));
  };
  for (const name of rule.names) pass((a, b) => name(a) !== undefined && name(a) === name(b) && sameKind(a, b));
  pass((a, b) => couldBe(a, b) && contains(path, a, b));
  // By order only where the entry has no name of its own, or its counterpart lacks it.
  if (rule.byContent !== true) pass((a, b) => couldBe(a, b) && !(named(rule, a) && named(rule, b)));
  return found;

  function sameKind(a: Data, b: Data): boolean {
    const [one, other] = [rule.kind?.(a), rule.kind?.(b)];
    return one === undefined || other === undefined || one === other || rule.names[0]?.(a) === rule.names[0]?.(b);
  }
}

/** The strongest name of an entry; undefined where it has none. */
export function strongName(path: string, entry: Data): string | undefined {
  return rules[path]?.names[0]?.(entry);
}

function named(rule: ListRule, entry: Data): boolean {
  return rule.names[0]?.(entry) !== undefined;
}

/** Whether everything that `wanted` has is the same in `actual`. */
export function contains(path: string, wanted: Data, actual: Data | undefined): boolean {
  if (Array.isArray(wanted)) {
    const list: readonly Data[] = wanted;
    if (!Array.isArray(actual)) return list.length === 0;
    const other: readonly Data[] = actual;
    return list.length === other.length && list.every((entry, index) => contains(path, entry, other[index]));
  }
  if (isObject(wanted)) {
    if (!isObject(actual)) return false;
    return Object.entries(wanted).every(
      ([key, value]) => value === undefined || contains(path === '' ? key : `${path}.${key}`, value, actual[key]),
    );
  }
  return sameScalar(path, wanted, actual);
}

/** The label of an entry in a path where it has no index in spec: `disk[vdb]`. */
export function entryLabel(path: string, entry: Data, index: number): string {
  for (const name of rules[path]?.names ?? []) {
    const label = name(entry);
    if (label !== undefined && label.length <= 64 && !label.includes('{')) return label;
  }
  return `#${index}`;
}

/** The same value with its keys in order, for comparing as text. */
export function canonical(value: Data | undefined): Data | undefined {
  if (Array.isArray(value)) return (value as readonly Data[]).map((entry) => canonical(entry) ?? null);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, member]) => member !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, member]) => [key, canonical(member)]),
  );
}
