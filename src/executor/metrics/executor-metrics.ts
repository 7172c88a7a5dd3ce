import { domainMetrics } from './domain-metrics.ts';
import { expose, type Counter, type Histogram } from './exposition.ts';
import type { DomainStats } from '../../libvirt/objects/domain-stats.ts';

/** What an executor tells of itself and of its domains. */
export interface ExecutorFigures {
  /** Each controller's queue. */
  readonly queues: readonly {
    readonly controller: string;
    readonly queueDepth: number;
    readonly running: number;
    readonly delayed: number;
  }[];
  /** By controller and outcome. */
  readonly reconciles: Counter;
  /** In seconds, by controller. */
  readonly durations: Histogram;
  /** Kubernetes Events by type and reason. */
  readonly events: Counter;
  readonly isConnected: boolean;
  readonly connects: number;
  /** Domains whose machine is gone. */
  readonly orphans: number;
  readonly machines: number;
  readonly stats: readonly DomainStats[];
  /** The machine of a domain, by its UUID; undefined when it is not one of this node's. */
  readonly machineOf: (domainUuid: string) => { readonly namespace: string; readonly name: string } | undefined;
}

/** The executor's metrics in Prometheus' text format. */
export function executorMetrics(figures: ExecutorFigures): string {
  const { queues, reconciles, durations, events, isConnected, connects, orphans, machines, stats, machineOf } = figures;
  const gauge = (name: string, help: string, read: (queue: (typeof queues)[number]) => number) =>
    ({
      name,
      help,
      type: 'gauge',
      samples: queues.map((queue) => ({ labels: { controller: queue.controller }, value: read(queue) })),
    }) as const;
  return expose([
    {
      name: 'virtctl_reconciles_total',
      help: 'Reconciles by controller and outcome.',
      type: 'counter',
      samples: reconciles.samples(),
    },
    {
      name: 'virtctl_reconcile_duration_seconds',
      help: 'How long reconciles took.',
      type: 'histogram',
      samples: durations.samples(),
    },
    gauge('virtctl_queue_depth', 'Objects that wait for a worker.', ({ queueDepth }) => queueDepth),
    gauge('virtctl_queue_running', 'Objects that are worked on.', ({ running }) => running),
    gauge('virtctl_queue_delayed', 'Objects that will be looked at later.', ({ delayed }) => delayed),
    {
      name: 'virtctl_events_total',
      help: 'Kubernetes Events by type and reason.',
      type: 'counter',
      samples: events.samples(),
    },
    {
      name: 'virtctl_libvirt_connected',
      help: 'Whether libvirt is connected.',
      type: 'gauge',
      samples: [{ value: isConnected ? 1 : 0 }],
    },
    {
      name: 'virtctl_libvirt_connects_total',
      help: 'Connections to libvirt, and gaps in its events.',
      type: 'counter',
      samples: [{ value: connects }],
    },
    {
      name: 'virtctl_orphaned_domains',
      help: 'Domains of this node whose VirtualMachine is gone.',
      type: 'gauge',
      samples: [{ value: orphans }],
    },
    {
      name: 'virtctl_machines',
      help: 'VirtualMachines of this node.',
      type: 'gauge',
      samples: [{ value: machines }],
    },
    ...domainMetrics(stats, machineOf),
  ]);
}
