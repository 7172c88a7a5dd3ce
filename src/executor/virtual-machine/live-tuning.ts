/**
 * Tunables of a running domain that one libvirt call sets together: which differences belong to which call, and the values
 * that it takes. Pure; part of live-plan.ts.
 */
import type { Difference } from './compare.ts';
import { integerOf, isList, isObject, kibOf, memberAt, textOf, type Data, type DataObject } from './same-value.ts';

/** The tunables that one libvirt call sets together, with the value that means "none" where spec no longer sets one. */
export type TuneGroup = 'scheduler' | 'blkio' | 'memory' | 'numa';

/** cputune's members by the name that the scheduler parameters call has, and what means "no limit". */
const schedulerParameters: Readonly<Record<string, readonly [name: string, none: bigint]>> = {
  shares: ['cpu_shares', 1024n],
  period: ['vcpu_period', 100000n],
  quota: ['vcpu_quota', -1n],
  global_period: ['global_period', 100000n],
  global_quota: ['global_quota', -1n],
  emulator_period: ['emulator_period', 100000n],
  emulator_quota: ['emulator_quota', -1n],
  iothread_period: ['iothread_period', 100000n],
  iothread_quota: ['iothread_quota', -1n],
};

/** VIR_DOMAIN_MEMORY_PARAM_UNLIMITED, in KiB. */
const unlimitedKib = 9007199254740991n;

/** blkiotune.device's members by the name of the parameter, which lists every device: `path,value,…`. */
const blkioDeviceParameters: Readonly<Record<string, string>> = {
  weight: 'device_weight',
  read_iops_sec: 'device_read_iops_sec',
  write_iops_sec: 'device_write_iops_sec',
  read_bytes_sec: 'device_read_bytes_sec',
  write_bytes_sec: 'device_write_bytes_sec',
};

/** The call that sets a field; undefined when there is none for it. */
export function tuneGroup(keys: string): TuneGroup | undefined {
  const [element = '', member = ''] = keys.split('.');
  if (element === 'cputune' && member in schedulerParameters) return 'scheduler';
  if (element === 'blkiotune') return 'blkio';
  if (element === 'memtune' && member !== 'min_guarantee') return 'memory';
  return keys === 'numatune.memory.nodeset' ? 'numa' : undefined;
}

/** The values of a group's call; undefined when one of the differences is none that the call can make. */
export function tuneValues(
  group: TuneGroup,
  differences: readonly Difference[],
  wanted: DataObject,
  live: DataObject,
): Readonly<Record<string, number | string>> | undefined {
  const values: Record<string, number | string> = {};
  for (const difference of differences) {
    // A whole element that is new, or gone, is the sum of its members.
    for (const { keys, to } of leaves(difference)) {
      const [, member = '', inner] = keys.split('.');
      if (group === 'scheduler') {
        const [name, none] = schedulerParameters[member] ?? ['', 0n];
        values[name] = Number(integerOf(to) ?? none);
      } else if (group === 'memory') {
        if (inner !== undefined && inner !== 'value' && inner !== 'unit') return undefined;
        values[member] = Number(kibOf(memberAt(wanted, 'memtune', member)) ?? unlimitedKib);
      } else if (group === 'numa') {
        if (typeof to !== 'string') return undefined;
        values['numa_nodeset'] = to;
      } else if (member === 'weight') values['weight'] = Number(integerOf(to) ?? 500n);
      else if (member === 'device') Object.assign(values, blkioDevices(wanted, live));
      else return undefined;
    }
  }
  return group === 'scheduler' ? inOrder(values) : values;
}

/**
 * Scheduler parameters in an order that the kernel takes: no group may have a larger share of time than the one above it
 * (global_* is above the others), at any moment. So limits that go do so first, from above, and new ones come from below.
 */
function inOrder(values: Readonly<Record<string, number | string>>): Record<string, number | string> {
  const rank = ([name, value]: readonly [string, number | string]): number => {
    const isGlobal = name.startsWith('global');
    if (name.endsWith('_period')) return 2;
    if (!name.endsWith('_quota')) return 5;
    return Number(value) < 0 ? (isGlobal ? 0 : 1) : isGlobal ? 4 : 3;
  };
  return Object.fromEntries(Object.entries(values).sort((a, b) => rank(a) - rank(b)));
}

function blkioDevices(wanted: DataObject, live: DataObject): Record<string, string> {
  const entries = (domain: DataObject): readonly Data[] => {
    const list = memberAt(domain, 'blkiotune', 'device');
    return isList(list) ? list : [];
  };
  const values: Record<string, string> = {};
  for (const [member, name] of Object.entries(blkioDeviceParameters)) {
    const set = new Map<string, string>();
    // 0 takes away what the running domain still has.
    for (const entry of entries(live))
      if (memberAt(entry, member) !== undefined) set.set(textOf(memberAt(entry, 'path')), '0');
    for (const entry of entries(wanted)) {
      const value = memberAt(entry, member);
      if (value !== undefined) set.set(textOf(memberAt(entry, 'path')), textOf(value));
    }
    if (set.size > 0) values[name] = [...set].map(([path, value]) => `${path},${value}`).join(',');
  }
  return values;
}

function leaves(difference: Difference): Difference[] {
  const value = difference.to ?? difference.from;
  if (!isObject(value) || difference.keys.includes('device')) return [difference];
  return Object.keys(value).flatMap((key) =>
    leaves({
      path: `${difference.path}.${key}`,
      keys: `${difference.keys}.${key}`,
      to: memberAt(difference.to, key),
      from: memberAt(difference.from, key),
    }),
  );
}
