import type { DomainStatsRecord } from '../protocol.gen.ts';
import { domainStateOf, type DomainStateAndReason } from './domain-state.ts';
import { uuidToString } from './uuid.ts';
import type { Value } from './values.ts';

/** virDomainStatsTypes: groups of statistics, and their bits. */
export const statsGroups = {
  state: 1,
  cpu: 2,
  balloon: 4,
  vcpu: 8,
  interface: 16,
  block: 32,
  perf: 64,
  iothread: 128,
  memory: 256,
  dirtyRate: 512,
  vm: 1024,
} as const;

/** A group of statistics. */
export type StatsGroup = keyof typeof statsGroups;

type Counters<Known extends string> = { readonly [Name in Known]?: number } & Readonly<
  Record<string, Value | undefined>
>;

/** Times in nanoseconds. */
export type CpuStats = Counters<'time' | 'user' | 'system' | 'cacheMonitorCount'>;
/** Sizes in KiB. */
export type BalloonStats = Counters<
  'current' | 'maximum' | 'available' | 'unused' | 'usable' | 'rss' | 'swapIn' | 'swapOut' | 'lastUpdate'
>;
/** Times in nanoseconds; `state` 0 offline, 1 running, 2 blocked. */
export type VcpuStats = Counters<'index' | 'state' | 'time' | 'wait' | 'delay'>;
/** Bytes and packets since start. */
export type InterfaceStats = Counters<
  'index' | 'rxBytes' | 'rxPkts' | 'rxErrs' | 'rxDrop' | 'txBytes' | 'txPkts' | 'txErrs' | 'txDrop'
> & { readonly name?: string };
/** Bytes, requests, and times in nanoseconds. */
export type BlockStats = Counters<
  | 'index'
  | 'backingIndex'
  | 'rdReqs'
  | 'rdBytes'
  | 'rdTimes'
  | 'wrReqs'
  | 'wrBytes'
  | 'wrTimes'
  | 'flReqs'
  | 'flTimes'
  | 'errors'
  | 'allocation'
  | 'capacity'
  | 'physical'
> & { readonly name?: string; readonly path?: string };

/** Statistics of one domain; a group is there when it was asked for and the driver has it. */
export interface DomainStats {
  readonly name: string;
  readonly uuid: string;
  /** Undefined while it does not run. */
  readonly id: number | undefined;
  readonly state?: DomainStateAndReason;
  readonly cpu?: CpuStats;
  readonly balloon?: BalloonStats;
  readonly vcpus?: readonly VcpuStats[];
  readonly interfaces?: readonly InterfaceStats[];
  readonly blocks?: readonly BlockStats[];
  readonly iothreads?: readonly Counters<'index' | 'pollMaxNs' | 'pollGrow' | 'pollShrink'>[];
  readonly dirtyRate?: Counters<'calcStatus' | 'calcStartTime' | 'calcPeriod' | 'megabytesPerSecond'>;
  /** Everything, under libvirt's own names: `block.0.rd.bytes`. */
  readonly raw: Readonly<Record<string, Value>>;
}

/** Where a parameter's value goes: `block.0.rd.bytes` is member `rdBytes` of item 0 of the blocks. */
interface Place {
  readonly group: 'cpu' | 'balloon' | 'dirtyRate' | 'vcpus' | 'interfaces' | 'blocks' | 'iothreads' | undefined;
  /** -1 where the group is not a list. */
  readonly index: number;
  /** Empty for `block.count`, which makes an empty list. */
  readonly member: string;
}

const groups: Readonly<Record<string, Place['group']>> = {
  cpu: 'cpu',
  balloon: 'balloon',
  dirtyrate: 'dirtyRate',
  vcpu: 'vcpus',
  net: 'interfaces',
  block: 'blocks',
  iothread: 'iothreads',
};

/** Names repeat from domain to domain: each is taken apart once. Bounded, since a host chooses the names. */
const places = new Map<string, Place>();
const maxPlaces = 16_384;

function placeOf(name: string): Place {
  let place = places.get(name);
  if (place === undefined) {
    if (places.size >= maxPlaces) places.clear();
    place = parsePlace(name);
    places.set(name, place);
  }
  return place;
}

function parsePlace(name: string): Place {
  const [prefix = '', ...rest] = name.split('.');
  const group = groups[prefix];
  const isList = group === 'vcpus' || group === 'interfaces' || group === 'blocks' || group === 'iothreads';
  if (!isList) return { group, index: -1, member: camelCase(rest) };
  const index = /^\d+$/.test(rest[0] ?? '') ? Number(rest[0]) : -1;
  if (index >= 0) return { group, index, member: camelCase(rest.slice(1)) };
  return { group: rest.join('.') === 'count' ? group : undefined, index, member: '' };
}

function camelCase(words: readonly string[]): string {
  return words.join('.').replaceAll(/[._-]([a-z0-9])/gi, (_match, letter: string) => letter.toUpperCase());
}

type Members = Record<string, Value>;
type Groups = { [Name in NonNullable<Place['group']>]?: Members | Members[] };

/** Groups the flat parameters that libvirt sends. */
export function domainStatsOf({ dom, params }: DomainStatsRecord): DomainStats {
  const raw: Members = {};
  const grouped: Groups = {};
  for (const { field, value: exact } of params) {
    const value = typeof exact === 'bigint' ? Number(exact) : exact;
    raw[field] = value;
    const { group, index, member } = placeOf(field);
    if (group === undefined) continue;
    if (index < 0) {
      if (member === '') grouped[group] ??= [];
      else ((grouped[group] ??= {}) as Members)[member] = value;
      continue;
    }
    const items = (grouped[group] ??= []) as Members[];
    // Items come in order; those of processors that are not there are left out.
    let item = items.at(-1);
    if (item?.['index'] !== index) item = items.find((other) => other['index'] === index);
    if (item === undefined) items.push((item = { index }));
    item[member] = value;
  }
  const id = dom.id < 0 ? undefined : dom.id;
  const number = raw['state.state'];
  const state = typeof number === 'number' ? { state: domainStateOf(number, Number(raw['state.reason'] ?? 0)) } : {};
  return { name: dom.name, uuid: uuidToString(dom.uuid), id, ...state, ...(grouped as object), raw };
}
