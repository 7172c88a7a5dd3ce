import { findCondition } from '../../api/meta.ts';
import { virtualNetworkConditions as conditions, type VirtualNetwork } from '../../api/virtual-network.ts';
import { shortDuration } from '../../base/short-duration.ts';

/** How a network is to be shown. */
export interface NetworkTableOptions {
  readonly wide: boolean;
  readonly headers: boolean;
  readonly namespaces: boolean;
  /** Milliseconds since 1970. */
  readonly nowMs: number;
}

/** One line for each network, as `virsh net-list` and with what is known of its nodes. */
export function networkLines(networks: readonly VirtualNetwork[], options: NetworkTableOptions): string[][] {
  const header = [
    ...(options.namespaces ? ['NAMESPACE'] : []),
    ...['NAME', 'STATE', 'NODES', 'MODE', 'AUTOSTART', 'GUESTS', 'AGE'],
    ...(options.wide ? ['BRIDGE', 'SUBNETS', 'MESSAGE'] : []),
  ];
  const rows = networks.map((network) => {
    const { metadata, spec, status } = network;
    const lines = status?.nodes ?? [];
    const guests = new Set(lines.flatMap(({ attached }) => attached ?? [])).size;
    const created = Date.parse(metadata.creationTimestamp ?? '');
    const bridges = new Set(lines.flatMap(({ bridge }) => (bridge === undefined ? [] : [bridge])));
    return [
      ...(options.namespaces ? [metadata.namespace ?? ''] : []),
      metadata.name ?? '',
      networkState(network),
      status?.summary ?? '0/0',
      modeOf(network),
      (spec.autostart ?? true) ? 'yes' : 'no',
      String(guests),
      Number.isNaN(created) ? '<unknown>' : shortDuration(options.nowMs - created),
      ...(options.wide
        ? [
            [...bridges].join(',') || '<none>',
            (spec.network?.ip ?? []).map(({ address }) => address ?? '').join(',') || '<none>',
            findCondition(status, conditions.Ready)?.message ?? '',
          ]
        : []),
    ];
  });
  return options.headers ? [header, ...rows] : rows;
}

/** The state in one word. */
export function networkState({ metadata, spec, status }: VirtualNetwork): string {
  if (typeof metadata.deletionTimestamp === 'string') return 'Terminating';
  const ready = findCondition(status, conditions.Ready);
  if (ready === undefined) return 'Pending';
  if (ready.status !== 'True') return ready.reason ?? 'NotReady';
  if (findCondition(status, conditions.RestartRequired)?.status === 'True') return 'RestartRequired';
  return spec.active === false ? 'Inactive' : 'Active';
}

function modeOf({ spec }: VirtualNetwork): string {
  const { network } = spec;
  if (network?.forward === undefined) return network?.name === undefined ? 'isolated' : '';
  return network.forward.mode ?? 'nat';
}
