import type { DomainStatsRecord } from '../protocol.gen.ts';
import { domainStateOf, type DomainStateAndReason } from './domain-state.ts';
import { uuidToString } from './uuid.ts';
import { valuesOf, type Value } from './values.ts';

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

const camelCase = (name: string): string =>
  name.replaceAll(/[._-]([a-z0-9])/gi, (_match, letter: string) => letter.toUpperCase());

/** Groups the flat parameters that libvirt sends. */
export function domainStatsOf(record: DomainStatsRecord): DomainStats {
  const raw = valuesOf(record.params);
  const state = raw['state.state'];
  const single = (prefix: string): Record<string, Value> | undefined => membersOf(raw, `${prefix}.`);
  return dropUndefined({
    name: record.dom.name,
    uuid: uuidToString(record.dom.uuid),
    id: record.dom.id < 0 ? undefined : record.dom.id,
    state: typeof state === 'number' ? domainStateOf(state, Number(raw['state.reason'] ?? 0)) : undefined,
    cpu: single('cpu'),
    balloon: single('balloon'),
    vcpus: listOf(raw, 'vcpu'),
    interfaces: listOf(raw, 'net'),
    blocks: listOf(raw, 'block'),
    iothreads: listOf(raw, 'iothread'),
    dirtyRate: single('dirtyrate'),
    raw,
  }) as unknown as DomainStats;
}

function membersOf(raw: Readonly<Record<string, Value>>, prefix: string): Record<string, Value> | undefined {
  const found = Object.entries(raw).filter(([name]) => name.startsWith(prefix));
  if (found.length === 0) return undefined;
  return Object.fromEntries(found.map(([name, value]) => [camelCase(name.slice(prefix.length)), value]));
}

/** `net.0.name`, `net.1.name` … by their index; `vcpu` leaves out the processors that are not there. */
function listOf(raw: Readonly<Record<string, Value>>, group: string): Record<string, Value>[] | undefined {
  const items = new Map<number, Record<string, Value>>();
  for (const [name, value] of Object.entries(raw)) {
    const match = new RegExp(`^${group}\\.(\\d+)\\.(.+)$`).exec(name);
    if (match === null) continue;
    const index = Number(match[1]);
    const item = items.get(index) ?? { index };
    item[camelCase(match[2] ?? '')] = value;
    items.set(index, item);
  }
  if (items.size > 0) return [...items.entries()].sort(([a], [b]) => a - b).map(([, item]) => item);
  return `${group}.count` in raw ? [] : undefined;
}

function dropUndefined(object: Record<string, unknown>): Record<string, unknown> {
  const kept = Object.entries(object).filter(([name, value]) => value !== undefined || name === 'id');
  return Object.fromEntries(kept);
}
