import { cpuSet, isList, isObject, memberAt, textOf, type Data, type DataObject } from './same-value.ts';

/**
 * The running domain without pins to all that the machine may run on: libvirt has no call that takes a pin away, only one
 * that widens it, and what is left of it says nothing. A pin that spec names stays.
 *
 * @param host The host's processors; undefined when they were not asked for.
 */
export function withoutResetPins(
  live: DataObject,
  wanted: DataObject,
  host: ReadonlySet<number> | undefined,
): DataObject {
  const { cputune } = live;
  if (!isObject(cputune) || host === undefined) return live;
  const all = cpuSet(textOf(memberAt(live, 'vcpu', 'cpuset'))) ?? host;
  const isReset = (pin: Data | undefined): boolean => {
    const set = cpuSet(textOf(memberAt(pin, 'cpuset')));
    return set !== undefined && [...host].every((cpu) => set.has(cpu) === all.has(cpu));
  };
  const kept: Record<string, Data | undefined> = { ...cputune };
  for (const [list, number] of [
    ['vcpupin', 'vcpu'],
    ['iothreadpin', 'iothread'],
  ] as const) {
    const pins = cputune[list];
    if (!isList(pins)) continue;
    const named = memberAt(wanted, 'cputune', list);
    const numbers = new Set((isList(named) ? named : []).map((pin) => textOf(memberAt(pin, number))));
    const left = pins.filter((pin) => numbers.has(textOf(memberAt(pin, number))) || !isReset(pin));
    kept[list] = left.length === 0 ? undefined : left;
  }
  if (isReset(cputune['emulatorpin']) && memberAt(wanted, 'cputune', 'emulatorpin') === undefined) {
    kept['emulatorpin'] = undefined;
  }
  return { ...live, cputune: kept };
}
