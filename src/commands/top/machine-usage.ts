import type { DomainStats } from '../../libvirt/objects/domain-stats.ts';

/** What a domain uses; undefined where libvirt does not tell. */
export interface Usage {
  /** libvirt's word, as `running`. */
  readonly state: string;
  /** Of one processor: a machine with two busy ones has 200. */
  readonly cpuPercent: number | undefined;
  readonly cpus: number | undefined;
  /** What the guest says it uses; of a guest without a balloon driver, what QEMU has in memory. */
  readonly memoryUsedBytes: number | undefined;
  readonly memoryBytes: number | undefined;
  readonly blockReadBytesPerSecond: number | undefined;
  readonly blockWriteBytesPerSecond: number | undefined;
  readonly netReceiveBytesPerSecond: number | undefined;
  readonly netTransmitBytesPerSecond: number | undefined;
}

/** The usage of a machine. */
export interface MachineUsage extends Usage {
  readonly namespace: string;
  readonly name: string;
}

/**
 * The usage between two samples of one domain.
 *
 * @param before Undefined when it was not there yet: then there are no rates.
 * @param seconds The time between them.
 */
export function usageOf(before: DomainStats | undefined, now: DomainStats, seconds: number): Usage {
  // Counters begin anew when a domain is started again: another id.
  const old = before?.id === now.id && now.id !== undefined && seconds > 0 ? before : undefined;
  const rate = (read: (stats: DomainStats) => number | undefined): number | undefined => {
    const [a, b] = [old === undefined ? undefined : read(old), read(now)];
    return a === undefined || b === undefined ? undefined : Math.max(0, b - a) / seconds;
  };
  const cpu = rate((stats) => stats.cpu?.time);
  const { current, available, unused, rss } = now.balloon ?? {};
  const isOff = now.id === undefined;
  // What the guest told last, of what it had then: the balloon may have moved since.
  const had = available ?? current;
  const usedKib = had !== undefined && unused !== undefined && had >= unused ? had - unused : rss;
  return {
    state: now.state?.state ?? 'unknown',
    cpuPercent: cpu === undefined ? undefined : (cpu / 1e9) * 100,
    cpus: now.vcpus?.length,
    memoryUsedBytes: usedKib === undefined || isOff ? undefined : usedKib * 1024,
    memoryBytes: current === undefined ? undefined : current * 1024,
    blockReadBytesPerSecond: rate((stats) => blockSum(stats, 'rdBytes')),
    blockWriteBytesPerSecond: rate((stats) => blockSum(stats, 'wrBytes')),
    netReceiveBytesPerSecond: rate((stats) => sum(stats.interfaces?.map(({ rxBytes }) => rxBytes))),
    netTransmitBytesPerSecond: rate((stats) => sum(stats.interfaces?.map(({ txBytes }) => txBytes))),
  };
}

/** Members of a chain behind a disk have a backing index, and no counters of their own. */
function blockSum({ blocks }: DomainStats, counter: 'rdBytes' | 'wrBytes'): number | undefined {
  return sum(blocks?.filter(({ backingIndex }) => backingIndex === undefined).map((block) => block[counter]));
}

function sum(values: readonly (number | undefined)[] | undefined): number | undefined {
  return values?.reduce<number>((total, value) => total + (value ?? 0), 0);
}

/** Sorted, the largest first; by name where equal. */
export function busiest(
  usages: readonly MachineUsage[],
  by: 'cpu' | 'memory' | 'block' | 'net' | 'name',
): MachineUsage[] {
  const weight = (usage: MachineUsage): number => {
    switch (by) {
      case 'cpu':
        return usage.cpuPercent ?? -1;
      case 'memory':
        return usage.memoryUsedBytes ?? -1;
      case 'block':
        return (usage.blockReadBytesPerSecond ?? 0) + (usage.blockWriteBytesPerSecond ?? 0);
      case 'net':
        return (usage.netReceiveBytesPerSecond ?? 0) + (usage.netTransmitBytesPerSecond ?? 0);
      case 'name':
        return 0;
    }
  };
  const key = ({ namespace, name }: MachineUsage): string => `${namespace}/${name}`;
  return [...usages].sort((a, b) => weight(b) - weight(a) || (key(a) < key(b) ? -1 : 1));
}
