import type { MetricFamily, Sample } from './exposition.ts';
import { domainStates } from '../../libvirt/objects/domain-state.ts';
import type { DomainStats } from '../../libvirt/objects/domain-stats.ts';

/** Whose domain it is, where it is ours. */
export interface MachineName {
  readonly namespace: string;
  readonly name: string;
}

type Read = (
  stats: DomainStats,
) => readonly { readonly labels?: Readonly<Record<string, string>>; readonly value: number | undefined }[];

interface Definition {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge';
  readonly read: Read;
}

const nanoseconds = 1e9;
const kib = 1024;
const scaled = (value: number | undefined, factor: number): number | undefined =>
  value === undefined ? undefined : value * factor;

const blocks = (
  name: string,
  help: string,
  read: (block: NonNullable<DomainStats['blocks']>[number]) => number | undefined,
): Definition => ({
  name,
  help,
  type: 'counter',
  read: ({ blocks: list = [] }) =>
    // Members of a chain behind the disk itself have a backing index, and no counters of their own.
    list
      .filter(({ backingIndex }) => backingIndex === undefined)
      .map((block) => ({ labels: { device: block.name ?? '' }, value: read(block) })),
});

const interfaces = (
  name: string,
  help: string,
  read: (one: NonNullable<DomainStats['interfaces']>[number]) => number | undefined,
): Definition => ({
  name,
  help,
  type: 'counter',
  read: ({ interfaces: list = [] }) => list.map((one) => ({ labels: { device: one.name ?? '' }, value: read(one) })),
});

/** Everything that one bulk call tells of a domain, in base units. */
const definitions: readonly Definition[] = [
  {
    name: 'virtctl_domain_cpu_seconds_total',
    help: 'CPU time that the domain used.',
    type: 'counter',
    read: ({ cpu }) => [{ value: scaled(cpu?.time, 1 / nanoseconds) }],
  },
  {
    name: 'virtctl_domain_vcpu_seconds_total',
    help: 'CPU time that a virtual CPU used.',
    type: 'counter',
    read: ({ vcpus = [] }) =>
      vcpus.map((vcpu) => ({ labels: { vcpu: String(vcpu.index ?? 0) }, value: scaled(vcpu.time, 1 / nanoseconds) })),
  },
  {
    name: 'virtctl_domain_vcpus',
    help: 'Virtual CPUs that the domain has now.',
    type: 'gauge',
    read: ({ vcpus }) => [{ value: vcpus?.length }],
  },
  {
    name: 'virtctl_domain_memory_bytes',
    help: 'Memory that the guest has now.',
    type: 'gauge',
    read: ({ balloon }) => [{ value: scaled(balloon?.current, kib) }],
  },
  {
    name: 'virtctl_domain_memory_maximum_bytes',
    help: 'Memory that the guest can have.',
    type: 'gauge',
    read: ({ balloon }) => [{ value: scaled(balloon?.maximum, kib) }],
  },
  {
    name: 'virtctl_domain_memory_unused_bytes',
    help: 'Memory that the guest does not use, as its balloon tells.',
    type: 'gauge',
    read: ({ balloon }) => [{ value: scaled(balloon?.unused, kib) }],
  },
  {
    name: 'virtctl_domain_memory_resident_bytes',
    help: 'Memory of the node that the domain takes.',
    type: 'gauge',
    read: ({ balloon }) => [{ value: scaled(balloon?.rss, kib) }],
  },
  blocks('virtctl_domain_block_read_bytes_total', 'Bytes read.', ({ rdBytes }) => rdBytes),
  blocks('virtctl_domain_block_written_bytes_total', 'Bytes written.', ({ wrBytes }) => wrBytes),
  blocks('virtctl_domain_block_reads_total', 'Read requests.', ({ rdReqs }) => rdReqs),
  blocks('virtctl_domain_block_writes_total', 'Write requests.', ({ wrReqs }) => wrReqs),
  blocks('virtctl_domain_block_flushes_total', 'Flush requests.', ({ flReqs }) => flReqs),
  blocks('virtctl_domain_block_read_seconds_total', 'Time spent on reads.', ({ rdTimes }) =>
    scaled(rdTimes, 1 / nanoseconds),
  ),
  blocks('virtctl_domain_block_write_seconds_total', 'Time spent on writes.', ({ wrTimes }) =>
    scaled(wrTimes, 1 / nanoseconds),
  ),
  interfaces('virtctl_domain_network_receive_bytes_total', 'Bytes received.', ({ rxBytes }) => rxBytes),
  interfaces('virtctl_domain_network_receive_packets_total', 'Packets received.', ({ rxPkts }) => rxPkts),
  interfaces('virtctl_domain_network_receive_errors_total', 'Errors on receiving.', ({ rxErrs }) => rxErrs),
  interfaces(
    'virtctl_domain_network_receive_dropped_total',
    'Received packets that were dropped.',
    ({ rxDrop }) => rxDrop,
  ),
  interfaces('virtctl_domain_network_transmit_bytes_total', 'Bytes sent.', ({ txBytes }) => txBytes),
  interfaces('virtctl_domain_network_transmit_packets_total', 'Packets sent.', ({ txPkts }) => txPkts),
  interfaces('virtctl_domain_network_transmit_errors_total', 'Errors on sending.', ({ txErrs }) => txErrs),
  interfaces(
    'virtctl_domain_network_transmit_dropped_total',
    'Packets to send that were dropped.',
    ({ txDrop }) => txDrop,
  ),
];

/**
 * Metrics of all domains of a node, from one bulk call.
 *
 * @param nameOf The machine of a domain, by the domain's UUID; undefined for other people's.
 */
export function domainMetrics(
  stats: readonly DomainStats[],
  nameOf: (domainUuid: string) => MachineName | undefined,
): MetricFamily[] {
  const labelled = stats.map((one) => {
    const machine = nameOf(one.uuid);
    const own = machine === undefined ? {} : { namespace: machine.namespace, name: machine.name };
    return { one, labels: { domain: one.name, ...own } };
  });
  const counts = new Map<string, number>(domainStates.map((state) => [state, 0]));
  for (const { state } of stats) {
    if (state !== undefined) counts.set(state.state, (counts.get(state.state) ?? 0) + 1);
  }
  return [
    {
      name: 'virtctl_domains',
      help: 'Domains of the node by state.',
      type: 'gauge',
      samples: [...counts].map(([state, value]) => ({ labels: { state }, value })),
    },
    ...definitions.map(({ name, help, type, read }) => ({
      name,
      help,
      type,
      samples: labelled.flatMap(({ one, labels }) =>
        read(one).flatMap(({ labels: more, value }): Sample[] =>
          value === undefined || !Number.isFinite(value) ? [] : [{ labels: { ...labels, ...more }, value }],
        ),
      ),
    })),
  ];
}
